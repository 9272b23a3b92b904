"""After a promotion: follow what the kernel denies, tell each with its rule, and take the profile back within limits.

A follower of the service (`service.follower`). It is unprivileged: taking back is asked of aalearn-apply, which knows
only texts that root applied here before. Nothing is done silently: each reversal is a step in the store, a line on the
journal and a metric, and one that fails is told and tried again.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import monotonic, time_ns
from typing import Final, Protocol

from aalearn.learn.options import Options
from aalearn.lifecycle import units
from aalearn.lifecycle.decided import decisions
from aalearn.lifecycle.denials import REFUSALS, Denial, Weigher, denials, of_node, summed
from aalearn.lifecycle.figures import Figures
from aalearn.lifecycle.limits import Back, Guard, Limits, Promoted, Trip, Way, counts, promoted_of, way_back
from aalearn.lifecycle.node.wire import Answer
from aalearn.lifecycle.past import pasts
from aalearn.lifecycle.permits import Permits
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import AalearnError
from aalearn.model.event import Access, Event
from aalearn.model.text import shown
from aalearn.store import Store
from aalearn.store.batch import Batch, Tally
from aalearn.store.codec import group

WHO: Final = "aalearn"  # who takes back by itself, in the store's steps
_LOG: Final = logging.getLogger("aalearn.watch")
_REFRESH_MS: Final = 2_000
_POLL_MS: Final = 2_000
_FIRST_WAIT_MS: Final = 1_000
_LONGEST_WAIT_MS: Final = 60_000
_LINES: Final = 20  # told at once, a profile; the rest is counted
_KINDS: Final = 5_000  # denials that are told apart, a profile
_BASIS: Final = 200  # denials that are kept to ask whether another revision would permit them


class Reverter(Protocol):
    """What may be asked of the privileged side. Both return what was done, and raise AalearnError where nothing was."""

    def revert(self, profile: bytes, sha256: str) -> Answer:
        """Enforce again the text with this digest, which was applied here before; with "" what stood before."""

    def complain(self, profile: bytes) -> Answer:
        """Put the profile's own applied text into complain mode; where it was enforced without aalearn, that again."""


@dataclass(slots=True)
class _Pending:
    """A profile that shall be taken back: why, where to, what runs for it, and when it is tried (again)."""

    trip: Trip
    way: Way
    text: str  # of the revision to go back to, "" for complain mode
    sha256: str
    basis: tuple[Denial, ...]
    tries: int = 0
    at: int = 0
    running: "Future[Way] | None" = None
    done: Way | None = None


@dataclass(slots=True)
class _Watched:
    """One enforced profile."""

    promoted: Promoted
    number: int  # of the last step that was read
    guard: Guard
    weigher: Weigher
    told: dict[tuple[bytes, str], int] = field(default_factory=dict)
    basis: dict[tuple[bytes, str], Denial] = field(default_factory=dict)
    unit: str = ""
    before: units.UnitState | None = None
    polled: int = 0
    polling: "Future[units.UnitState | None] | None" = None
    pending: _Pending | None = None


class Watch:
    """See the module. All methods are called by one thread; what may take long runs in another one."""

    def __init__(
        self,
        limits: Limits,
        reverter: Reverter,
        options: Options | None = None,
        *,
        node: str = "",
        permits: Permits | None = None,
        unit_state: Callable[[str], units.UnitState | None] = units.state,
        unit_of: Callable[[int], str] = units.of_pid,
        worker: Executor | None = None,
        clock: Callable[[], int] = lambda: time_ns() // 1_000_000,
    ) -> None:
        self.figures = Figures()
        self._limits = limits
        self._reverter = reverter
        self._options = options or Options()
        self._node = node  # "": what was denied anywhere counts
        self._permits = permits
        self._unit_state = unit_state
        self._unit_of = unit_of
        self._worker = worker or ThreadPoolExecutor(1, "aalearn-revert")
        self._watched: dict[bytes, _Watched] = {}
        self._refreshed = -_REFRESH_MS
        self._clock = clock
        self._now = 0

    def close(self) -> None:
        """Let go of the worker; what it does now it does to the end."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def committed(self, batch: Batch, store: Store) -> None:
        """Look at what was denied in a batch."""
        rows = [(key, tally) for key, tally in batch.tallies.items() if key[1].verdict in REFUSALS]
        if not rows:
            return
        self._now = self._clock()
        fresh = self._refresh(store)
        found: dict[bytes, list[Access]] = {}
        for (label, need, owner), tally in rows:
            name = group(label)
            # What is new here was just read from the store, with this batch in it.
            if name in self._watched and name not in fresh:
                one = of_node(_access(label, need, owner, tally), self._node)
                if one is None:
                    continue
                found.setdefault(name, []).append(one)
                self._place(self._watched[name], tally)
        for name in sorted(found):
            self._heed(self._watched[name], found[name], store)

    def tick(self, now_ms: int, store: Store) -> None:
        """Learn of new promotions, ask for units, try again what failed."""
        self._now = now_ms
        if now_ms - self._refreshed >= _REFRESH_MS or now_ms < self._refreshed:
            self._refresh(store)
        for watched in list(self._watched.values()):
            self._look_at_unit(watched, store)
            self._go_on(watched, store)

    # ── who is watched ────────────────────────────────────────────────────────────────────────────────────────────

    def _refresh(self, store: Store) -> frozenset[bytes]:
        """Read the stages; return the profiles whose watch began now, with all that was denied to them since."""
        self._refreshed = self._now
        stages = store.stages()
        fresh = set()
        for name in list(self._watched):
            if name not in stages:
                del self._watched[name]
        for name, last in stages.items():
            known = self._watched.get(name)
            if known is not None and known.number == last.number:
                continue
            steps = store.steps(name)
            promoted = promoted_of(name, pasts(steps))
            if promoted is None:
                self._watched.pop(name, None)
            elif known is None or known.promoted != promoted:
                self._begin(promoted, steps[-1].number, store)
                fresh.add(name)
            else:
                known.number = steps[-1].number
        self.figures.watched = {name: one.promoted.revision for name, one in self._watched.items()}
        self.figures.pending = {name for name, one in self._watched.items() if one.pending is not None}
        return frozenset(fresh)

    def _begin(self, promoted: Promoted, number: int, store: Store) -> None:
        """Begin to watch a promotion: what was denied since then counts, also where nobody was there to see it."""
        weigher = Weigher(promoted.profile, self._options, decisions(store.decisions(promoted.profile))[0])
        unit = promoted.unit if units.is_service(promoted.unit) else ""
        watched = _Watched(promoted, number, Guard(promoted, self._limits), weigher, unit=unit)
        self._watched[promoted.profile] = watched
        _LOG.info("watching %s: revision %d is enforced", shown(promoted.profile), promoted.revision)
        accesses = store.accesses(promoted.profile, verdicts=REFUSALS)
        here = (own for one in accesses if (own := of_node(one, self._node)) is not None)
        found = denials(weigher, here, promoted.since)
        if found:
            kinds, events = len(found), summed(found)
            _LOG.warning(
                "%s: %d denials (%d kinds) since revision %d was promoted; `aalearn watch %s` shows them",
                shown(promoted.profile), events, kinds, promoted.revision, shown(promoted.profile),
            )  # fmt: skip
        for at, denial in enumerate(found):
            watched.told[denial.key] = denial.count
            if not watched.unit and at < _LINES:
                watched.unit = self._unit_of(units.pid_of(denial.sample))
            self._count(watched, denial, store)

    # ── what was denied ───────────────────────────────────────────────────────────────────────────────────────────

    def _place(self, watched: _Watched, tally: Tally) -> None:
        """Find out the unit, while the process that was denied may still be there."""
        if watched.unit or watched.promoted.final:
            return
        pids = [units.pid_of(tally.sample), *sorted(run.pid for run in tally.runs)]
        watched.unit = next((unit for pid in pids[:8] if pid and (unit := self._unit_of(pid))), "")

    def _heed(self, watched: _Watched, accesses: Iterable[Access], store: Store) -> None:
        """Tell and count the denials of a batch."""
        name = watched.promoted.profile
        known = decisions(store.decisions(name))[0]
        if known != watched.weigher.decisions:
            watched.weigher = Weigher(name, self._options, known)
        lines, untold = 0, 0
        for denial in denials(watched.weigher, accesses, watched.promoted.since):
            before = watched.told.get(denial.key, 0)
            if len(watched.told) < _KINDS or before:
                watched.told[denial.key] = before + denial.count
            news = not before or len(str(before)) < len(str(before + denial.count))
            if news and lines < _LINES and len(watched.told) < _KINDS:
                total = replace(denial, count=before + denial.count)
                _LOG.warning("%s", total.line())
                lines += 1
            elif news:
                untold += 1
            self._count(watched, denial, store)
        if untold:
            _LOG.warning(
                "%s: %d more kinds of denials; `aalearn watch %s` shows them", shown(name), untold, shown(name)
            )

    def _count(self, watched: _Watched, denial: Denial, store: Store) -> None:
        """Count a denial towards the limits, and act where one passes."""
        name = watched.promoted.profile
        self.figures.denied[name, denial.judgement.tier] += denial.count
        if denial.judgement.meant:
            self.figures.meant[name] += denial.count
        elif counts(denial) and len(watched.basis) < _BASIS:
            watched.basis[denial.key] = denial
        trip = watched.guard.see(denial)
        if trip is not None:
            self._passed(watched, trip, store)

    # ── taking back ───────────────────────────────────────────────────────────────────────────────────────────────

    def _passed(self, watched: _Watched, trip: Trip, store: Store) -> None:
        """A limit passed: say so, and begin to take the profile back where that is the way."""
        name = watched.promoted.profile
        self.figures.tripped[name, str(trip.cause)] += 1
        if watched.pending is not None:
            return
        way = way_back(trip, watched.promoted, self._limits, self._now)
        if way.back is Back.NOWHERE:
            _stays(name, trip, way)
            return
        text = digest = ""
        if way.back is Back.PREVIOUS:
            kept = next((one for one in store.revisions(name) if one.number == way.revision), None)
            if kept is None:
                _stays(name, trip, replace(way, why=f"revision {way.revision} is not in the store"))
                return
            text, digest = kept.text, kept.sha256
        _LOG.error("%s: a limit passed: %s; it goes back to %s", shown(name), trip.why, _where(way))
        watched.pending = _Pending(trip, way, text, digest, tuple(watched.basis.values()))
        self.figures.pending.add(name)
        self._go_on(watched, store)

    def _go_on(self, watched: _Watched, store: Store) -> None:
        """Do the next thing for a profile that shall be taken back."""
        pending, name = watched.pending, watched.promoted.profile
        if pending is None:
            return
        if pending.running is None and pending.done is None:
            if self._now < pending.at:
                return
            pending.tries += 1
            if pending.tries > 1 and self._over(watched):  # root does nothing any more
                pending.done = replace(pending.way, back=Back.NOWHERE, why="its probation is over")
                self._record(watched, pending, store)
                return
            pending.running = self._worker.submit(self._take_back, watched.promoted, pending)
        if pending.running is not None:
            if not pending.running.done():
                return
            try:
                pending.done = pending.running.result()
            except AalearnError as error:
                self.figures.failed[name] += 1
                wait = min(_FIRST_WAIT_MS << min(pending.tries - 1, 10), _LONGEST_WAIT_MS)
                pending.at = self._now + wait
                _LOG.error(
                    "%s is NOT taken back (try %d): %s; trying again in %d s, or: aalearn rollback %s",
                    shown(name), pending.tries, error, wait // 1000, shown(name),
                )  # fmt: skip
                return
            finally:
                pending.running = None
        self._record(watched, pending, store)

    def _take_back(self, promoted: Promoted, pending: _Pending) -> Way:
        """Ask for it (in the worker's thread); return what was done. Raises AalearnError."""
        way = pending.way
        if way.back is Back.PREVIOUS and self._permits is not None:
            helps = self._permits(promoted.profile, pending.text, pending.basis)
            way = way_back(pending.trip, promoted, self._limits, pending.trip.when, helps)
        if way.back is Back.PREVIOUS:
            self._reverter.revert(promoted.profile, pending.sha256)
        elif way.back is Back.FOUND:
            self._reverter.revert(promoted.profile, "")
        elif way.back is Back.COMPLAIN and self._reverter.complain(promoted.profile).mode != "complain":
            return Way(Back.FOUND, 0, "it was enforced before aalearn's first promotion")
        return way

    def _over(self, watched: _Watched) -> bool:
        return self._now > watched.promoted.since + self._limits.probation * 1000

    def _record(self, watched: _Watched, pending: _Pending, store: Store) -> None:
        """Write down what was done. Where the store can't be written it is tried again with the next tick."""
        promoted, way = watched.promoted, pending.done
        assert way is not None
        name = promoted.profile
        if way.back is Back.NOWHERE:
            watched.pending = None
            self.figures.pending.discard(name)
            _stays(name, pending.trip, way)
            return
        last = store.stages().get(name)
        if last is None or last.number == watched.number:  # else a person took a step meanwhile: theirs stands
            store.step(
                name,
                Stage.REVERTED,
                revision=way.revision,
                who=WHO,
                reason=pending.trip.why,
                when=self._now,
                detail=json.dumps(_detail(promoted, pending, way), sort_keys=True),
            )
        watched.pending = None
        self.figures.pending.discard(name)
        self.figures.reverted[name, str(way.back)] += 1
        _LOG.error("%s was taken back to %s: %s", shown(name), _where(way), pending.trip.why)
        self._refresh(store)

    # ── units ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_at_unit(self, watched: _Watched, store: Store) -> None:
        """Ask now and then, while a failure would matter, whether the unit failed."""
        if watched.polling is not None and watched.polling.done():
            found, watched.polling = watched.polling.result(), None
            if found is not None:
                denied = int((monotonic() * 1000 - (self._now - watched.guard.last_denial)) * 1000)
                how = units.failure(watched.before, found, denied) if watched.guard.last_denial else ""
                watched.before = watched.before or found
                if how and (trip := watched.guard.unit_failed(watched.unit, how, self._now)):
                    self._passed(watched, trip, store)
        if not watched.unit or self._over(watched) or watched.promoted.final or watched.polling is not None:
            return
        wanted = watched.before is None or watched.guard.watches_unit(self._now)
        if wanted and self._now - watched.polled >= _POLL_MS:
            watched.polled = self._now
            watched.polling = self._worker.submit(self._unit_state, watched.unit)


def _stays(name: bytes, trip: Trip, way: Way) -> None:
    _LOG.error("%s: a limit passed: %s; it stays enforced: %s", shown(name), trip.why, way.why)


def _where(way: Way) -> str:
    if way.back is Back.FOUND:
        return "what was enforced here before aalearn"
    return f"revision {way.revision}" if way.back is Back.PREVIOUS else "complain mode"


def _detail(promoted: Promoted, pending: _Pending, way: Way) -> Mapping[str, object]:
    """Return what the step keeps: from where to where, why, and the rules that were lacking."""
    lacking = [
        {"rule": one.rule, "block": one.block, "tier": one.tier, "what": denial.judgement.what, "events": denial.count}
        for denial in pending.basis
        for one in denial.judgement.wanted
    ]
    return {
        "from": promoted.revision,
        "mode": "complain" if way.back is Back.COMPLAIN else "enforce",
        "cause": str(pending.trip.cause),
        "automatic": True,
        "lacking": lacking[:50],
    }


def _access(label: bytes, need: Event, owner: bool | None, tally: Tally) -> Access:
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
        sample=tally.sample,
    )
