"""The live figures of the service: plain numbers that the loop keeps and the metrics show."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from aalearn.model.event import Verdict
from aalearn.model.text import shown
from aalearn.service.queue import ByteQueue
from aalearn.service.reader import Reader
from aalearn.store.batch import Batch
from aalearn.store.codec import group

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of a commit's duration (seconds)."""
OTHERS: Final = "(others)"
_LONGEST: Final = 100


class Names:
    """Makes foreign names safe as values of a label: printable, not long, and not more than so many in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[bytes | str, str] = {}
        self._taken = {OTHERS}

    def of(self, name: bytes | str) -> str:
        """Return the name to show; OTHERS once there are too many."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= self._most:
                return OTHERS
            text = shown(name)
            known = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
            while known in self._taken:  # different names that look the same are different series
                known += "~"
            self._taken.add(known)
            self._known[name] = known
        return known


@dataclass(slots=True)
class Histogram:
    """Durations in the buckets of BUCKETS."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    sum: float = 0.0

    def see(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many are not above it), as Prometheus wants it."""
        bounds = [*map(str, BUCKETS), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


@dataclass(frozen=True, slots=True)
class ProfileFigures:
    """How far learning one profile has come. `name` is safe to show."""

    name: str
    rules: int
    coverage: float
    runs: int
    waiting: int
    incomplete: int
    ready: bool


@dataclass(slots=True)
class Figures:
    """All of them. Written by the loop's thread alone; others may look (`sorted(dict.items())` copies in one step).

    Times are seconds since the epoch (0: never). `lost` is by kind of loss, `denied` by profile.
    """

    version: str
    started: float
    totals: Mapping[str, int]
    queue: ByteQueue
    readers: tuple[Reader, ...] = ()
    lost: "Counter[str]" = field(default_factory=Counter)
    denied: "Counter[str]" = field(default_factory=Counter)
    commits: Histogram = field(default_factory=Histogram)
    commit_failures: int = 0
    last_commit: float = 0.0
    trouble: str = ""
    reloads: int = 0
    bad_reloads: int = 0
    follower_failures: int = 0
    profiles: tuple[ProfileFigures, ...] = ()
    profiles_known: int = 0
    profiles_seconds: float = 0.0
    profiles_failures: int = 0
    store_bytes: int = 0
    names: Names = field(default_factory=lambda: Names(200))
    learned: Names = field(default_factory=lambda: Names(500))
    kinds: Names = field(default_factory=lambda: Names(50))
    sources: Names = field(default_factory=lambda: Names(50))

    def committed(self, batch: Batch, now: float) -> None:
        """Take from a batch what no total tells: what was lost, what was denied."""
        self.last_commit = now
        for loss in batch.losses:
            self.lost[self.kinds.of(loss.kind)] += loss.amount
        for (label, need, _), tally in batch.tallies.items():
            if need.verdict is Verdict.DENIED:
                self.denied[self.names.of(group(label))] += tally.count

    def behind(self) -> tuple[int, float]:
        """Return how far all sources together are behind: bytes, and the most seconds of one."""
        lags = [reader.lag for reader in self.readers]
        return sum(lag.bytes or 0 for lag in lags), max((lag.seconds or 0.0 for lag in lags), default=0.0)


def amount(number: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1024
    raise AssertionError


def sentence(figures: Figures, rate: float) -> str:
    """Return the line of `systemctl status`."""
    sources = [reader.name for reader in figures.readers if reader.up or reader.ended.is_set()]
    parts = [f"{figures.totals.get('events', 0):,} events ({rate:,.0f} records/s) from {_and(sources)}"]
    behind, seconds = figures.behind()
    if behind:
        parts.append(f"{amount(behind)} ({seconds:,.0f} s) behind")
    if lost := sum(figures.lost.values()):
        parts.append(f"{lost:,} records lost")
    down = [shown(reader.name) for reader in figures.readers if reader.trouble]
    if down:
        parts.append(f"not readable: {', '.join(down)}")
    if figures.trouble:
        parts.insert(0, f"NOT STORING: {figures.trouble}")
    return "; ".join(parts)


def _and(names: Iterable[str]) -> str:
    return ", ".join(map(shown, names)) or "no source"
