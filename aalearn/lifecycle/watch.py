"""After a promotion: follow what the kernel denies, tell each with its rule, and take the profile back within limits.

A follower of the service (`service.follower`). It is unprivileged: taking back is asked of aalearn-apply, which knows
only texts that root applied here before. Nothing is done silently: each reversal is a step in the store, a line on the
journal and a metric, and one that fails is told and tried again.
"""

import json
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import monotonic, time_ns
from typing import Final

from aalearn.learn.options import Options
from aalearn.lifecycle import pending as taking
from aalearn.lifecycle import units
from aalearn.lifecycle.denials import REFUSALS, Denial, Memory, Weigher, denials, of_node, summed
from aalearn.lifecycle.figures import Figures
from aalearn.lifecycle.limits import Back, Cause, Guard, Limits, Promoted, Trip, Way, counts, promoted_of, way_back
from aalearn.lifecycle.past import here, pasts
from aalearn.lifecycle.pending import Basis, Pending, Reverter
from aalearn.lifecycle.permits import Permits
from aalearn.lifecycle.stages import Stage
from aalearn.lifecycle.unitwatch import UnitWatch
from aalearn.lifecycle.weighing import access_of, decided, in_container
from aalearn.model.errors import AalearnError
from aalearn.model.event import Access
from aalearn.model.nodes import same_node
from aalearn.model.text import shown
from aalearn.store import Store
from aalearn.store.batch import Batch, Tally
from aalearn.store.codec import group

WHO: Final = "aalearn"  # who takes back by itself, in the store's steps
_LOG: Final = logging.getLogger("aalearn.watch")
_REFRESH_MS: Final = 2_000
_FIRST_WAIT_MS: Final = 1_000
_LONGEST_WAIT_MS: Final = 60_000
_LINES: Final = 20  # told at once, a profile; the rest is counted
_LONGEST: Final = 2_000  # characters of such a line: a name may have 4 KB, and each byte of it be spelled \\xNN
_KINDS: Final = 5_000  # denials that are told apart, a profile


@dataclass(slots=True)
class _Watched:
    """One enforced profile."""

    promoted: Promoted
    number: int  # of the last step that was read
    guard: Guard
    weigher: Weigher
    options: Options
    unit: UnitWatch
    told: dict[bytes, int] = field(default_factory=dict)  # how often, by the denial's mark
    basis: Basis = field(default_factory=Basis)
    pending: Pending | None = None
    later: dict[Cause, Trip] = field(default_factory=dict)  # limits that passed while something was pending
    vain: int = 0  # how often another revision was asked, and was no help


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
        self._memory = Memory()
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
        self._follow_clock()
        found: dict[bytes, tuple[_Watched, list[Access]]] = {}
        for (label, need, owner), tally in rows:
            watched = self._watched.get(group(label))
            # What is new here was just read from the store, with this batch in it.
            if watched is None or (watched.promoted.profile in fresh and tally.last >= watched.promoted.since):
                continue
            one = of_node(access_of(label, need, owner, tally), self._node)
            if one is not None:
                found.setdefault(watched.promoted.profile, (watched, []))[1].append(one)
                self._place(watched, tally)
        for _, (watched, accesses) in sorted(found.items()):
            self._heed(watched, accesses, store)

    def tick(self, now_ms: int, store: Store) -> None:
        """Learn of new promotions, ask for units, try again what failed."""
        self._now = now_ms
        if now_ms - self._refreshed >= _REFRESH_MS or now_ms < self._refreshed:
            self._refresh(store)
        self._follow_clock()
        for watched in list(self._watched.values()):
            self._look_at_unit(watched, store)
            self._go_on(watched, store)

    def _follow_clock(self) -> None:
        """Where the clock was set back, wait for nothing until the old time is reached again."""
        for watched in self._watched.values():
            watched.guard.clock(self._now)
            if watched.pending is not None:
                watched.pending.at = min(watched.pending.at, self._now + _LONGEST_WAIT_MS)

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
            promoted = promoted_of(name, pasts(here(store.steps(name), self._node)))
            if promoted is None:
                self._watched.pop(name, None)
            elif known is None or known.promoted != promoted:
                self._begin(promoted, last.number, store)
                fresh.add(name)
            else:
                known.number = last.number
        self.figures.watched = {name: one.promoted.revision for name, one in self._watched.items()}
        self.figures.pending = {name for name, one in self._watched.items() if one.pending is not None}
        return frozenset(fresh)

    def _begin(self, promoted: Promoted, number: int, store: Store) -> None:
        """Begin to watch a promotion: what was denied since then counts, also where nobody was there to see it."""
        name = promoted.profile
        options = replace(self._options, container=in_container(store, name))
        weigher = Weigher(name, options, decided(store, name), self._memory)
        unit = UnitWatch(promoted.unit if units.is_service(promoted.unit) else "")
        watched = _Watched(promoted, number, Guard(promoted, self._limits), weigher, options, unit)
        self._watched[name] = watched
        _LOG.info("watching %s: revision %d is enforced", shown(name), promoted.revision)
        latest = store.latest(name, REFUSALS, promoted.since, on=self._is_here)
        seen = (own for one in latest.accesses if (own := of_node(one, self._node)) is not None)
        found = denials(weigher, seen, promoted.since)
        if found:
            kinds, events = len(found) + latest.more, summed(found) + latest.more_events
            _LOG.warning(
                "%s: %s%d denials (%d kinds) since revision %d was promoted; `aalearn watch %s` shows them",
                shown(name), "" if latest.whole else "at least ", events, kinds, promoted.revision, shown(name),
            )  # fmt: skip
            self.figures.denied[name, 0] += latest.more_events  # nobody looked at what they are
        self._place_by(watched, found)
        for denial in found:
            watched.told[denial.mark] = denial.count
            self._count(watched, denial, store)

    def _is_here(self, node: str) -> bool:
        return not self._node or same_node(node, self._node)

    def _place_by(self, watched: _Watched, found: Iterable[Denial]) -> None:
        """Find out the unit by what was denied last: an older process may be gone, and its number another's."""
        if watched.unit.name or watched.promoted.final or self._over(watched):
            return
        fresh = [one for one in found if one.trusted and not one.at_least and all(map(self._is_here, one.nodes))]
        pids = [units.pid_of(one.sample) for one in sorted(fresh, key=lambda one: -one.first)[:_LINES]]
        watched.unit.name = next((unit for pid in pids if pid and (unit := self._unit_of(pid))), "")

    # ── what was denied ───────────────────────────────────────────────────────────────────────────────────────────

    def _place(self, watched: _Watched, tally: Tally) -> None:
        """Find out the unit, while the process that was denied may still be there. A forged record names any."""
        if watched.unit.name or watched.promoted.final or not tally.trusted:
            return
        own = sorted(run.pid for run in tally.runs if self._is_here(run.node))
        if all(map(self._is_here, tally.nodes)):  # else the sample may be another's
            own.insert(0, units.pid_of(tally.sample))
        watched.unit.name = next((unit for pid in own[:8] if pid and (unit := self._unit_of(pid))), "")

    def _heed(self, watched: _Watched, accesses: Iterable[Access], store: Store) -> None:
        """Tell and count the denials of a batch."""
        name = watched.promoted.profile
        known = decided(store, name)
        if known != watched.weigher.decisions:
            watched.weigher = Weigher(name, watched.options, known, self._memory)
        lines, untold = 0, 0
        for denial in denials(watched.weigher, accesses, watched.guard.since):
            mark = denial.mark
            before = watched.told.get(mark, 0)
            if len(watched.told) < _KINDS or before:
                watched.told[mark] = before + denial.count
            news = not before or len(str(before)) < len(str(before + denial.count))
            if news and lines < _LINES and len(watched.told) < _KINDS:
                total = replace(denial, count=before + denial.count)
                line = total.line()
                _LOG.warning("%s", line if len(line) <= _LONGEST else f"{line[:_LONGEST]}… (cut)")
                lines += 1
            elif news:
                untold += 1
            # A time after now is of a clock that was set back since, or of another node's.
            first, last = min(denial.first, self._now), min(denial.last, self._now)
            self._count(watched, replace(denial, first=first, last=last), store)
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
        if denial.confirmed:  # who forges the same besides must not hide it
            denial = replace(denial, trusted=True, count=1)
        if not counts(denial) or not watched.basis.add(denial):
            return
        trip = watched.guard.see(denial)
        if trip is not None:
            self._passed(watched, trip, store)

    # ── taking back ───────────────────────────────────────────────────────────────────────────────────────────────

    def _passed(self, watched: _Watched, trip: Trip, store: Store) -> None:
        """A limit passed: count it, and act."""
        self.figures.tripped[watched.promoted.profile, str(trip.cause)] += 1
        self._act(watched, trip, store)

    def _act(self, watched: _Watched, trip: Trip, store: Store) -> None:
        """Say that a limit passed, and begin to take the profile back where that is the way."""
        if watched.pending is not None:
            watched.later[trip.cause] = trip
            return
        name = watched.promoted.profile
        if self._watched.get(name) is not watched:  # it was taken back just now
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
        _LOG.error("%s: a limit passed: %s; it goes back to %s", shown(name), trip.why, taking.where(way))
        asks = way.back is Back.PREVIOUS and self._permits is not None
        # Who makes up denials that no revision permits must not keep us compiling.
        wait = _wait(watched.vain) if asks and watched.vain else 0
        watched.pending = Pending(trip, way, text, digest, asks, self._now + wait)
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
            if (pending.tries > 1 or watched.vain) and self._over(watched):  # root does nothing any more
                pending.done = replace(pending.way, back=Back.NOWHERE, why="its probation is over")
                self._record(watched, pending, store)
                return
            pending.basis = watched.basis.held()
            if pending.asks:  # what is denied from now on is looked at for itself, should this be in vain
                watched.guard.begin_anew()
                watched.later = {}
            pending.running = self._worker.submit(self._take_back, watched.promoted, pending)
        if pending.running is not None:
            if not pending.running.done():
                return
            try:
                pending.done = pending.running.result()
            except AalearnError as error:
                self.figures.failed[name] += 1
                wait = _wait(pending.tries)
                pending.at = self._now + wait
                _LOG.error(
                    "%s is NOT taken back (try %d): %s; trying again in %d s, or: aalearn rollback %s",
                    shown(name), pending.tries, error, wait // 1000, shown(name),
                )  # fmt: skip
                return
            finally:
                pending.running = None
        self._record(watched, pending, store)

    def _take_back(self, promoted: Promoted, pending: Pending) -> Way:
        """Ask for it (in the worker's thread); return what was done. Raises AalearnError."""
        way = pending.way
        if pending.asks and self._permits is not None:
            helps = self._permits(promoted.profile, pending.text, pending.basis)
            way = way_back(pending.trip, promoted, self._limits, pending.trip.when, helps)
        if way.back is Back.PREVIOUS:
            self._reverter.revert(promoted.profile, pending.sha256)
        elif way.back is Back.FOUND:
            return taking.as_root_did(way, self._reverter.revert(promoted.profile, ""))
        elif way.back is Back.COMPLAIN:
            return taking.as_root_did(way, self._reverter.complain(promoted.profile))
        return way

    def _over(self, watched: _Watched) -> bool:
        return self._now > watched.guard.since + self._limits.probation * 1000

    def _record(self, watched: _Watched, pending: Pending, store: Store) -> None:
        """Write down what was done. Where the store can't be written it is tried again with the next tick."""
        promoted, way = watched.promoted, pending.done
        assert way is not None
        name = promoted.profile
        if way.back is Back.NOWHERE:
            watched.pending = None
            self.figures.pending.discard(name)
            _stays(name, pending.trip, way)
            self._look_again(watched, pending, store)
            return
        standing = promoted_of(name, pasts(here(store.steps(name), self._node)))
        # Else a person took a step meanwhile, and theirs stands. The promotion may have been told again.
        if standing is not None and (standing.revision, standing.since) == (promoted.revision, promoted.since):
            store.step(
                name,
                Stage.REVERTED,
                revision=way.revision,
                who=WHO,
                reason=pending.trip.why,
                when=self._now,
                detail=json.dumps(taking.detail(promoted, pending, way, self._node), sort_keys=True),
            )
        watched.pending = None
        self.figures.pending.discard(name)
        self.figures.reverted[name, str(way.back)] += 1
        _LOG.error("%s was taken back to %s: %s", shown(name), taking.where(way), pending.trip.why)
        self._refresh(store)

    def _look_again(self, watched: _Watched, pending: Pending, store: Store) -> None:
        """It stays where it is: what was asked about counts no more, and the limits that passed meanwhile are due."""
        if pending.asks:
            watched.vain += 1
            watched.basis.no_help(pending.basis)
        later, watched.later = watched.later, {}
        for trip in later.values():
            self._act(watched, trip, store)

    # ── units ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_at_unit(self, watched: _Watched, store: Store) -> None:
        """Ask now and then during the probation how the unit is: whether it fails, and how it was before a denial."""
        unit, guard = watched.unit, watched.guard
        recent = guard.recent(self._now)
        found = unit.answer()
        if found is not None:
            denied = int((monotonic() * 1000 - (self._now - guard.last_denial)) * 1000) if recent else None
            how = unit.failed(found, denied)
            if how and (trip := guard.unit_failed(unit.name, how, self._now)):
                self._passed(watched, trip, store)
        if not self._over(watched) and not watched.promoted.final and Cause.UNIT not in guard.tripped:
            unit.ask(self._now, self._worker, self._unit_state, soon=recent)


def _wait(tries: int) -> int:
    """Return how long (ms) to wait after so many tries that were in vain."""
    return min(_FIRST_WAIT_MS << min(tries - 1, 10), _LONGEST_WAIT_MS)


def _stays(name: bytes, trip: Trip, way: Way) -> None:
    _LOG.error("%s: a limit passed: %s; it stays enforced: %s", shown(name), trip.why, way.why)
