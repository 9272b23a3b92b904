"""When an enforced profile is taken back by itself, and to what. Pure.

A program that was taken over can cause denials at will. So the way back must never be the attacker's way out:

- It is open only during the probation after a promotion. Later denials are told, and a person decides.
- It leads to the revision that was enforced before, if there is one; else to what was found here before the first
  promotion, if that was enforced. Complain mode is for the rest, or where the settings say so, and never for what was
  enforced without aalearn.
- A denial of tier 1 never opens complain mode.
- Records that programs can forge count for nothing, nor does what a person refused (that denial was meant).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from aalearn.lifecycle.denials import Denial
from aalearn.model.text import shown

_ENFORCING: Final = frozenset({"canary", "enforced"})
_FINEST_MS: Final = 1_000  # the rate's grain
_MOST_SPREAD: Final = 3_600  # parts that one denial's time is divided into


class Cause(StrEnum):
    """Why a limit passed."""

    RATE = "rate"
    TIER = "tier1"
    UNIT = "unit"


class Back(StrEnum):
    """Where a profile goes back to."""

    PREVIOUS = "previous"  # the revision that was enforced before
    FOUND = "found"  # what was enforced here before aalearn
    COMPLAIN = "complain"  # the same text, in complain mode
    NOWHERE = "nowhere"  # it stays: a person decides


@dataclass(frozen=True, slots=True)
class Limits:
    """What a promotion may cost. `denials` events within `seconds` are too many; a unit that fails within
    `unit_seconds` after a denial failed because of it. Times are in seconds.
    """

    denials: int = 10
    seconds: float = 60.0
    probation: float = 3_600.0
    unit_seconds: float = 60.0
    back_to: Literal["previous", "complain"] = "previous"


@dataclass(frozen=True, slots=True)
class Promoted:
    """A profile that is enforced: since when (ms), by which revision, which one was enforced before (None: none), the
    systemd unit where it is known. `final`: it was taken back already, so it goes no further by itself. `found`: the
    profile was enforced before aalearn's first promotion.
    """

    profile: bytes
    revision: int
    since: int
    previous: int | None = None
    unit: str = ""
    canary: bool = False
    final: bool = False
    found: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """A step of a profile's life: the stage, the revision, when (ms), and what else was recorded."""

    stage: str
    revision: int
    when: int
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trip:
    """A limit that passed: why, in one safe line, and when (ms)."""

    cause: Cause
    why: str
    when: int


@dataclass(frozen=True, slots=True)
class Way:
    """What follows from a trip: back to where, to which revision, and why just there."""

    back: Back
    revision: int
    why: str = ""


def way_back(trip: Trip, promoted: Promoted, limits: Limits, now: int, helps: bool | None = None) -> Way:
    """Return where a profile goes back to. `now` is in ms; `helps`: whether the revision before permits anything of
    what was denied, None where that is not known.
    """
    stays = promoted.revision
    if promoted.final:
        return Way(Back.NOWHERE, stays, "it was taken back already")
    if now > promoted.since + limits.probation * 1000:
        return Way(Back.NOWHERE, stays, "its probation is over, and nothing is loosened without a person after that")
    previous = promoted.previous
    opens = trip.cause is not Cause.TIER
    if previous is not None and (limits.back_to == "previous" or not opens):
        if helps is False:
            return Way(Back.NOWHERE, stays, f"revision {previous}, enforced before, would deny all of it too")
        return Way(Back.PREVIOUS, previous, f"revision {previous} was enforced before")
    if promoted.found:
        return Way(Back.FOUND, 0, "it was enforced before aalearn's first promotion")
    if not opens:
        return Way(Back.NOWHERE, stays, "no other revision was enforced before, and tier 1 never opens complain mode")
    why = "the settings say so" if previous is not None else "no other revision was enforced before"
    return Way(Back.COMPLAIN, stays, why)


@dataclass(slots=True)
class Rate:
    """How many events the last `seconds` held. Out of order is fine; memory is bounded by the window's length."""

    seconds: float
    _parts: dict[int, float] = field(default_factory=dict)
    _newest: int = 0

    def see(self, first: int, last: int, count: int) -> float:
        """Count events between two times (ms), spread evenly; return the most that a window up to now held.

        The store keeps of an access when it was first and last seen and how often, not each time.
        """
        begin, end = first // self._grain, max(first, last) // self._grain
        parts = min(end - begin + 1, _MOST_SPREAD)
        step = (end - begin) / parts if parts > 1 else 0.0
        for at in range(parts):
            place = end - int(at * step)
            self._parts[place] = self._parts.get(place, 0.0) + count / parts
        self._newest = max(self._newest, end)
        most = self._most()
        oldest = self._newest - self._width
        self._parts = {place: held for place, held in self._parts.items() if place > oldest}
        return most

    def clock(self, now: int) -> None:
        """Follow a clock that was set back to `now` (ms): what was counted last by the old time was just now."""
        at = now // self._grain
        if self._newest > at:
            late = sum(held for place, held in self._parts.items() if place > at)
            self._parts = {place: held for place, held in self._parts.items() if place <= at}
            self._parts[at] = self._parts.get(at, 0.0) + late
            self._newest = at

    @property
    def _grain(self) -> int:
        return min(_FINEST_MS, max(1, int(self.seconds * 1000)))

    @property
    def _width(self) -> int:
        return max(1, round(self.seconds * 1000 / self._grain))

    def _most(self) -> float:
        """Return the most that any window held, among the parts that are kept."""
        places = sorted(self._parts)
        most = total = 0.0
        low = 0
        for place in places:
            total += self._parts[place]
            while places[low] <= place - self._width:
                total -= self._parts[places[low]]
                low += 1
            most = max(most, total)
        return most


class Guard:
    """The limits of one promotion. It trips once for each cause, until it begins anew."""

    def __init__(self, promoted: Promoted, limits: Limits) -> None:
        self.promoted = promoted
        self.tripped: dict[Cause, Trip] = {}
        self.last_denial = 0  # ms; of those that count
        self.since = promoted.since  # ms, by the clock as it is set now
        self._limits = limits
        self._rate = Rate(limits.seconds)

    def see(self, denial: Denial) -> Trip | None:
        """Count a denial; return the limit that it passes, if it is the first to do so."""
        if not counts(denial) or denial.last < self.since:
            return None
        if denial.judgement.tier == 1:
            return self._trip(Cause.TIER, f"a denial of tier 1: {denial.line()}", denial.last)
        self.last_denial = max(self.last_denial, denial.last)
        first = max(denial.first, self.since)
        held = self._rate.see(first, denial.last, denial.count)
        if round(held) < max(1, self._limits.denials):
            return None
        window = f"{round(held):,} denials within {self._limits.seconds:g} s (the limit is {self._limits.denials:,})"
        return self._trip(Cause.RATE, f"{window}, the last: {denial.line()}", denial.last)

    def clock(self, now: int) -> None:
        """Follow the clock where it was set back to `now` (ms): nothing waits until the old time is reached again."""
        self.since = min(self.since, now)
        self.last_denial = min(self.last_denial, now)
        self._rate.clock(now)

    def begin_anew(self) -> None:
        """Forget which limits passed, and what was counted: what led to it is being asked about."""
        self.tripped = {}
        self._rate = Rate(self._limits.seconds)

    def unit_failed(self, unit: str, how: str, now: int) -> Trip | None:
        """Note that the unit failed by now (ms); it passes the limit if a denial that counts came shortly before."""
        if not self.recent(now):
            return None
        after = now - self.last_denial
        why = f"the unit {shown(unit)} failed ({shown(how)}) within {max(0, after) / 1000:.0f} s after a denial"
        return self._trip(Cause.UNIT, why, now)

    def watches_unit(self, now: int) -> bool:
        """Return whether a failure of the unit would pass the limit now (ms)."""
        return self.recent(now) and Cause.UNIT not in self.tripped

    def recent(self, now: int) -> bool:
        """Return whether a denial that counts came so shortly before now (ms) that a failure may be due to it."""
        return bool(self.last_denial) and now - self.last_denial <= self._limits.unit_seconds * 1000

    def _trip(self, cause: Cause, why: str, when: int) -> Trip | None:
        if cause in self.tripped:
            return None
        self.tripped[cause] = Trip(cause, why, when)
        return self.tripped[cause]


def counts(denial: Denial) -> bool:
    """Return whether a denial counts towards the limits: it can't be forged, and no person refused it before."""
    return denial.trusted and not denial.judgement.meant


def _told(step: Past) -> int | None:
    """Return when the probation began, as who wrote the step says: with the load, which was before."""
    told = step.detail.get("since")
    return told if isinstance(told, int) and 0 < told <= step.when else None


def promoted_of(profile: bytes, steps: Sequence[Past]) -> Promoted | None:
    """Return what is enforced by a profile's steps, oldest first; None for nothing.

    After a reversal to the revision before it is still enforced: that is `final`. A revision that was taken back is
    none to go back to.
    """
    enforced: list[int] = []  # revisions that stood, the last one last
    since, standing = 0, ""
    for step in steps:
        if step.stage in _ENFORCING:
            told = _told(step)
            if told is not None:
                since = told
            elif not (enforced and enforced[-1] == step.revision and standing == step.stage):
                since = step.when  # else it is told again (a restart was waited for): the probation goes on
            enforced = [*(one for one in enforced if one != step.revision), step.revision]
        elif step.stage == "reverted":
            enforced = enforced[:-1]
            if step.detail.get("mode") == "enforce" and step.revision:  # 0: what was found here
                enforced = [*(one for one in enforced if one != step.revision), step.revision]
                since = step.when + 1  # what led to it is over
        elif step.stage == "retired":
            enforced = []
        standing = step.stage
    if not enforced or not steps:
        return None
    last = steps[-1]
    final = last.stage == "reverted"
    if (final and last.detail.get("mode") != "enforce") or (not final and last.stage not in _ENFORCING):
        return None
    unit = next((str(one.detail["unit"]) for one in reversed(steps) if one.detail.get("unit")), "")
    previous = enforced[-2] if len(enforced) > 1 and not final else None
    found = any(one.detail.get("found") == "enforce" for one in steps if one.stage in _ENFORCING)
    return Promoted(profile, enforced[-1], since, previous, unit, last.stage == "canary", final, found)
