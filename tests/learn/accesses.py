"""A tiny in-memory store for tests: log lines to `Access` values, as the real store would give them; and made
accesses.
"""

from collections.abc import Iterable, Sequence

from aalearn.grammar.lines import Lines, Sighting
from aalearn.model.event import Access, Event, Verdict


class Tally:
    """Aggregates sightings by (event, owner); a run is what the caller says it is."""

    def __init__(self) -> None:
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


class Made:
    """Accesses made by hand, numbered as they come."""

    def __init__(self, profile: bytes = b"p") -> None:
        self.profile = profile
        self.all: list[Access] = []

    def add(self, operation: str, runs: Sequence[int] = (1, 2), count: int | None = None, **fields: object) -> Access:
        """Add an access. Fields are text or bytes; `owner`, `verdict`, `profile`, `trusted`, `first`, `nodes` are the
        access's own.
        """
        owner = fields.pop("owner", None)
        verdict = Verdict(str(fields.pop("verdict", "ALLOWED")))
        profile = _bytes(fields.pop("profile", self.profile))
        trusted = bool(fields.pop("trusted", True))
        first, nodes = fields.pop("first", 1_700_000_000_000), fields.pop("nodes", ("node",))
        pairs = tuple(sorted((key.rstrip("_"), _bytes(value)) for key, value in fields.items()))
        access = Access(
            id=len(self.all) + 1,
            event=Event(verdict, operation, profile, pairs),
            owner=owner if isinstance(owner, bool) else None,
            count=len(runs) if count is None else count,
            first=first if isinstance(first, int) else 0,
            last=first if isinstance(first, int) else 0,
            programs=(b"p",),
            runs=tuple(sorted(runs)),
            run_count=len(runs),
            nodes=nodes if isinstance(nodes, tuple) else (),
            trusted=trusted,
            sample=b"sample",
        )
        self.all.append(access)
        return access

    def file(self, path: str | bytes, mask: str = "r", runs: Sequence[int] = (1, 2), **more: object) -> Access:
        """Add a file access by an open."""
        operation = str(more.pop("operation", "open"))
        more.setdefault("owner", False)
        count = more.pop("count", None)
        rest = {"name": path, "denied_mask": mask, "requested_mask": mask, "class_": "file", **more}
        return self.add(operation, runs, count if isinstance(count, int) else None, **rest)

    def exec(self, path: str, runs: Sequence[int] = (1, 2), **more: object) -> Access:
        """Add an exec into a generated child."""
        profile = _bytes(more.get("profile", self.profile))
        more.setdefault("target", profile + b"//null-" + path.encode())
        return self.file(path, "x", runs, operation="exec", **more)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
