"""A tiny in-memory store for tests: log lines to `Access` values, as the real store would give them."""

from collections.abc import Iterable

from aalearn.grammar.lines import Lines, Sighting
from aalearn.model.event import Access, Event, Verdict


class Tally:
    """Aggregates sightings by (event, owner); a run is what the caller says it is."""

    def __init__(self) -> None:
        self._found: dict[tuple[Event, bool | None], dict[str, object]] = {}
        self._rows: dict[tuple[Event, bool | None], Row] = {}
        self._lines = Lines()

    def read(self, lines: Iterable[bytes], run: int | None = None, trusted: bool = True) -> None:
        """Read log lines as one run (or, by None, as a run a process)."""
        for line in lines:
            found = self._lines.read(line)
            if not isinstance(found, Sighting) or found.entry.event.verdict is Verdict.STATUS:
                continue
            row = self._rows.setdefault((found.entry.need, found.entry.owner), Row())
            row.add(found, found.pid if run is None else run, line, trusted)

    def accesses(self) -> list[Access]:
        """Return the accesses, in the order in which they were first seen."""
        return [row.access(at + 1, *key) for at, (key, row) in enumerate(self._rows.items())]


class Row:
    """One access as it grows."""

    def __init__(self) -> None:
        self.count, self.first, self.last = 0, 0, 0
        self.programs: set[bytes] = set()
        self.runs: set[int] = set()
        self.sample = b""
        self.trusted = True

    def add(self, found: Sighting, run: int, line: bytes, trusted: bool) -> None:
        """Count one sighting."""
        self.first = min(self.first, found.time) if self.count else found.time
        self.last = max(self.last, found.time)
        self.count += 1
        self.programs.add(found.entry.program)
        self.runs.add(run)
        self.sample = self.sample or line
        self.trusted = self.trusted and trusted

    def access(self, number: int, event: Event, owner: bool | None) -> Access:
        """Return the value."""
        return Access(
            id=number,
            event=event,
            owner=owner,
            count=self.count,
            first=self.first,
            last=self.last,
            programs=tuple(sorted(self.programs)),
            runs=tuple(sorted(self.runs)),
            run_count=len(self.runs),
            nodes=("node",),
            trusted=self.trusted,
            sample=self.sample,
        )
