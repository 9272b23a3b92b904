"""What ingestion is told, what it tells while it runs, and what it tells at the end. Frozen values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Options:
    """What a person says of the logs.

    `node` names the machine whose records these are (lines that begin with `node=NAME` say it themselves). `trusted`:
    no program could have written them (root alone could write the files); only then may their events be accepted
    without a person.
    """

    node: str
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch is full: about so many rows to write, bytes of different records (in memory about eight times that)
    or lines read. What is remembered: `cache` understood records (twice as many at most, about 1.5 KB each), `marks` of
    counted events (about 80 bytes each; None: as the ledger itself thinks right) what belongs to `nodes`
    nodes, and on each `runs` runs (about 700 bytes each).
    """

    rows: int
    size: int
    lines: int
    cache: int = 12_000
    marks: int | None = None
    nodes: int = 1_000
    runs: int = 20_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far ingestion is: bytes read of all bytes (None: unknown), lines read, seconds since it began."""

    source: str
    consumed: int
    total: int | None
    lines: int
    seconds: float

    @property
    def rate(self) -> float:
        """Lines a second so far."""
        return self.lines / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds still needed at this speed, None while unknown."""
        if not self.total or not self.consumed:
            return None
        return max(0.0, self.seconds * (self.total - self.consumed) / self.consumed)


Reporter = Callable[[Progress], None]
"""Is called at most ten times a second."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one ingestion did. Every line is in exactly one of: events, duplicates, companions, other, malformed,
    truncated, forged, losses.

    `events` are new ones; `kinds` divides them by rule kind (beside them "status", "silent": no rule is needed, and
    "unknown"), `verdicts` by the word after apparmor=; `unknown` names the operations that no kind knows. `companions`
    are SYSCALL, PROCTITLE and the like. `losses` are lines that tell of lost records, `lost` how many records these say
    at least; truncated ones are lost too.
    """

    sources: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    lines: int = 0
    size: int = 0
    events: int = 0
    duplicates: int = 0
    companions: int = 0
    other: int = 0
    malformed: int = 0
    truncated: int = 0
    forged: int = 0
    losses: int = 0
    lost: int = 0
    kinds: Counts = field(default_factory=lambda: MappingProxyType({}))
    verdicts: Counts = field(default_factory=lambda: MappingProxyType({}))
    unknown: Counts = field(default_factory=lambda: MappingProxyType({}))
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Lines a second."""
        return self.lines / self.seconds if self.seconds > 0 else 0.0

    @property
    def incomplete(self) -> bool:
        """Are records known to be missing?"""
        return bool(self.truncated or self.losses)
