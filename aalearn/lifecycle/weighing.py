"""What judges a profile's denials, made from the store: by persons' decisions, as a container's profile or not.

All is read within bounds: the service must not grow with what programs make up.
"""

from dataclasses import replace
from typing import Final

from aalearn.learn.containers import recognised
from aalearn.learn.options import Decision, Options
from aalearn.lifecycle.decided import decisions
from aalearn.lifecycle.denials import REFUSALS, Memory, Weigher
from aalearn.model.event import Access, Event, Verdict
from aalearn.store import Store
from aalearn.store.batch import Tally

_EVIDENCE: Final = frozenset(Verdict) - REFUSALS


def decided(store: Store, name: bytes) -> tuple[Decision, ...]:
    """Return the decisions that hold, without those that an untrusted import brought."""
    return decisions(one for one in store.decisions(name) if not one.imported)[0]


def in_container(store: Store, name: bytes) -> bool:
    """Return whether a profile is a container's, as its records tell: as `aalearn promote` finds it out, but by the
    records that were seen last alone.
    """
    runs = store.runs(name)
    seen = sum(bool(run.container) for run in runs)
    return bool(recognised(store.latest(name, _EVIDENCE).accesses, seen, len(runs)))


def weigher(store: Store, name: bytes, options: Options, memory: Memory | None = None) -> Weigher:
    """Return what judges a profile's denials."""
    return Weigher(name, replace(options, container=in_container(store, name)), decided(store, name), memory)


def access_of(label: bytes, need: Event, owner: bool | None, tally: Tally) -> Access:
    """Return what a batch holds of one access as the value that judgements take."""
    return Access(
        id=0,
        event=need.with_(profile=label),
        owner=owner,
        count=tally.count,
        first=tally.first,
        last=tally.last,
        programs=tuple(sorted(tally.programs)),
        nodes=tuple(sorted(tally.nodes)),
        trusted=tally.trusted,
        confirmed=tally.confirmed,
        sample=tally.sample,
    )
