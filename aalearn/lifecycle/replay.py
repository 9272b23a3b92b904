"""Learned events asked of a policy that somebody else wrote: what would it do with each of them?

The events of `//null-` children are folded as this policy itself would place them: an execution that it permits by
ix stays in the block, by Cx goes to the child, by Px leaves the profile. What runs after an execution that the policy
denies can't happen at all, so it is not asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from aalearn.learn.evidence import Item, admitted, order
from aalearn.learn.labels import Context, Step, Way, context
from aalearn.learn.options import Options
from aalearn.model.event import Access, Event, Verdict
from aalearn.model.label import Label
from aalearn.model.text import shown
from aalearn.policy.ask.base import Answer, Subject
from aalearn.policy.ask.base import Verdict as Said
from aalearn.policy.oracle import Oracle
from aalearn.rules import rules_of
from aalearn.rules.base import Level

_PEERS = ("peer", "peer_label")
_UNASKED = frozenset({Level.UNNEEDED, Level.PROBE})


class Fate(StrEnum):
    """What the policy would do with a learned need."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNPROVED = "unproved"  # the policy alone can't tell
    ELSEWHERE = "elsewhere"  # it runs under another profile, or no profile at all
    AFTER = "after"  # it runs only after an execution that is denied


@dataclass(frozen=True, slots=True)
class Reply:
    """A learned need with what the policy would do: the block that it was asked of, and why.

    Where its fate is AFTER, `stopped` is the label of the block that denied the execution (or has no such hat), and
    `depth` how many steps of the event's context led there.
    """

    access: Access
    block: str
    event: Event
    fate: Fate
    why: str = ""
    stopped: bytes = b""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a context ends up: the block's name, or None with the fate and reason."""

    block: bytes | None
    fate: Fate = Fate.ALLOWED
    why: str = ""
    stopped: bytes = b""
    depth: int = 0


class Replay:
    """One top profile of a compiled policy, with its children and hats, ready to be asked."""

    def __init__(self, name: bytes, subjects: dict[bytes, Subject]) -> None:
        self._name = name
        self._subjects = subjects
        self._oracles = {label: Oracle.of(subject) for label, subject in subjects.items()}
        self._places: dict[Context, _Place] = {(): _Place(name)}

    def replies(self, learned_as: bytes, accesses: Sequence[Access], options: Options) -> tuple[Reply, ...]:
        """Return a reply for each access that is evidence of a need, in a fixed order.

        `learned_as` is the name under which the accesses were logged. What needs no rule in any profile is left out.
        """
        items = admitted(learned_as, order(accesses), options)
        replies = (self._reply(learned_as, item) for item in items)
        return tuple(
            reply for reply in replies if reply.fate is Fate.ALLOWED or not _needless(reply.access.event, options)
        )

    def _reply(self, learned_as: bytes, item: Item) -> Reply:
        place = self._place(item.context)
        if place.block is None:
            where = shown(place.stopped or self._name)
            return Reply(item.access, where, item.event, place.fate, place.why, place.stopped, place.depth)
        event = self._folded(learned_as, place.block, item.event)
        answer = self._oracles[place.block].ask(event, item.access.owner)
        return Reply(item.access, shown(place.block), event, _fate(answer), answer.why)

    def _place(self, steps: Context) -> _Place:
        place = self._places.get(steps)
        if place is None:
            above = self._place(steps[:-1])
            place = above
            if above.block is not None:
                place = self._step(above.block, steps[-1])
                if place.fate is Fate.AFTER:
                    place = replace(place, stopped=above.block, depth=len(steps) - 1)
            self._places[steps] = place
        return place

    def _step(self, block: bytes, step: Step) -> _Place:
        if step.way is Way.EXEC:
            return self._run(block, step.name)
        label = (self._name if step.way is Way.HAT else block) + b"//" + step.name
        if label in self._subjects:
            return _Place(label)
        return _Place(None, Fate.AFTER, f"there is no hat or child {shown(label)}")

    def _run(self, block: bytes, path: bytes) -> _Place:
        """Return where a program that `block` executes would run."""
        fields = (("denied_mask", b"x"), ("name", path), ("requested_mask", b"x"))
        answer = self._oracles[block].ask(Event(Verdict.ALLOWED, "exec", block, fields), None)
        if answer.verdict is not Said.ALLOWED:
            return _Place(None, Fate.AFTER, f"{shown(path)} may not be executed: {answer.why}")
        way, _, target = answer.transition.partition(" -> ")
        if way == "ix":
            return _Place(block)
        named = target.encode("utf-8", "surrogateescape") or path
        for label in (block + b"//" + named, self._name + b"//" + named) if way.startswith("C") else (named,):
            if label in self._subjects:
                return _Place(label)
        where = f"{shown(path)} is executed with {answer.transition}: under a profile that is not in this file"
        return _Place(None, Fate.ELSEWHERE, where)

    def _folded(self, learned_as: bytes, block: bytes, event: Event) -> Event:
        """Return the event as `block` meets it: its own name, peers of the same profile placed as they would run."""
        if event.profile == block and event.operation != "exec" and not any(key in _PEERS for key, _ in event.fields):
            return event
        changes: dict[str, bytes | None] = {"profile": block}
        for key in _PEERS:
            peer = event.get(key)
            if peer is not None:
                changes[key] = self._peer(learned_as, peer)
        if event.operation == "exec":
            changes["target"] = None
        return event.with_(**changes)

    def _peer(self, learned_as: bytes, peer: bytes) -> bytes:
        steps = context(learned_as, peer)
        if steps is None:
            return bytes(Label.parse(peer).folded())
        return self._place(steps).block or peer


def _needless(event: Event, options: Options) -> bool:
    """Return whether no profile needs anything for this event: a probe, or what every profile permits."""
    if event.operation == "change_hat":
        return False  # it needs no rule, but the hat
    outcome = rules_of(event, None, options.target)
    return not outcome.rules and bool(outcome.notes) and all(note.level in _UNASKED for note in outcome.notes)


def _fate(answer: Answer) -> Fate:
    return {Said.ALLOWED: Fate.ALLOWED, Said.DENIED: Fate.DENIED, Said.UNPROVED: Fate.UNPROVED}[answer.verdict]
