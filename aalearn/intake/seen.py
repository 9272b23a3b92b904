"""What was seen since the last commit, an entry at a time, and how it becomes accesses and runs of a batch."""

from collections import Counter
from collections.abc import Iterable

from aalearn.grammar.lines import Entry
from aalearn.intake.runs import Run
from aalearn.model.data import words
from aalearn.model.event import Event, Verdict
from aalearn.model.text import shown
from aalearn.rules import kind_of
from aalearn.store.batch import Batch, RunRow, Tally
from aalearn.store.ledger import fold

_NEVER = 1 << 62
_MOST_KINDS = 4_096
_MOST_NAMES = 1_000  # of unknown operations
_LONGEST = 200
_NAMES = "names of unknown operations"
# What is done to a process is logged with the pid of who does it. Source: security/apparmor/{ipc,lsm}.c
_ON_OTHERS = frozenset({"signal", "ptrace"})
_SUFFERED = frozenset({b"receive", b"tracedby", b"readby"})
_kinds: dict[tuple[object, ...], str] = {}


class Seen:
    """What one entry was seen to do since the last commit. `run` is the last one, `runs` all if there was a second.

    It is the memo of its entry, for the `owner` that counts. `suffered`: another process did it to one of the profile
    (it sent the signal, it traced), and the record's pid is that other one's. `retold`: a source that programs can't
    forge told one of its records again.
    """

    __slots__ = (
        "base", "count", "first", "folded", "last", "owner", "retold", "run", "runs", "sample", "status", "suffered",
    )  # fmt: skip

    def __init__(self, owner: object, digest: int, base: bytes, need: Event) -> None:
        self.owner = owner
        self.folded = fold(digest)
        self.base = base
        self.status = need.verdict is Verdict.STATUS
        self.retold = False
        self.suffered = need.operation in _ON_OTHERS and need.get("requested_mask") in _SUFFERED
        self.forget()

    def forget(self) -> None:
        """Begin anew: what was seen is handed over."""
        self.count = 0
        self.first = _NEVER
        self.last = 0
        self.sample = b""
        self.run: Run | None = None
        self.runs: set[Run] | None = None

    def earlier(self, time: int, line: bytes) -> None:
        """Keep the least record of the least time as the sample, so that the order of reading doesn't matter."""
        if time < self.first or whole(line) < whole(self.sample):
            self.first = time
            self.sample = line

    def timeless(self, line: bytes) -> None:
        """Keep the least record as the sample, as long as none has a time that can be."""
        if self.first == _NEVER and (not self.sample or whole(line) < whole(self.sample)):
            self.sample = line

    def met(self, run: Run) -> None:
        """Note a run that is not the last one."""
        if self.run is not None:
            if self.runs is None:
                self.runs = {self.run}
            self.runs.add(run)
        self.run = run

    def all_runs(self) -> Iterable[Run]:
        """Return all runs."""
        return self.runs if self.runs is not None else () if self.run is None else (self.run,)


def whole(line: bytes) -> bytes:
    """Return the record as the kernel wrote it, without what auditd appends after 0x1d: all transports agree on it."""
    return line.partition(b"\x1d")[0].rstrip()


def kind_word(need: Event) -> str:
    """Return the rule kind of an access, "silent" if it never needs a rule, "unknown" if no kind knows it.

    `rules.kind_of` decides; the answer is kept by all that it looks at.
    """
    values = dict(need.fields)
    sock = "addr" in values or "peer_addr" in values or "peer" in values
    key = (
        need.verdict,
        need.operation,
        values.get("class"),
        values.get("family"),
        values.get("flags"),
        sock,
        "name" in values,
    )
    kind = _kinds.get(key)
    if kind is None:
        silent = words("operations")["silent"]
        kind = kind_of(need) or ("silent" if need.operation in silent else "unknown")
        if len(_kinds) >= _MOST_KINDS:
            _kinds.clear()
        _kinds[key] = kind
    return kind


def hand_over(
    found: Iterable[tuple[Entry, Seen]], batch: Batch, totals: "Counter[str]", node: str, trusted: bool
) -> None:
    """Add what was seen on a node to the batch, and to the totals of the summary."""
    counts: Counter[tuple[str, str]] = Counter()
    runs: set[Run] = set()
    for entry, seen in found:
        need = entry.need
        kind = "status" if seen.status else kind_word(need)
        counts[kind, need.verdict] += seen.count
        if kind == "unknown":
            _unknown(need.operation, seen.count, totals)
        if not seen.status:
            _tally(entry, seen, need, batch, node, trusted)
            runs.update(seen.all_runs())
        seen.forget()
    for (kind, verdict), count in counts.items():
        totals[f"event {kind} {verdict}"] += count
        for name in ("events", f"kind {kind}", f"verdict {verdict}"):
            totals[name] += count
            batch.count(name, count)
    _note_runs(runs, batch)


def _unknown(operation: str, count: int, totals: "Counter[str]") -> None:
    """Count an operation that no kind knows, by name as long as there are not too many (some logs can be forged)."""
    name = f"unknown {shown(operation)[:_LONGEST]}"
    if name not in totals:
        totals[_NAMES] += 1
        if totals[_NAMES] > _MOST_NAMES:
            name = "unknown (others)"
    totals[name] += count


def _tally(entry: Entry, seen: Seen, need: Event, batch: Batch, node: str, trusted: bool) -> None:
    runs = {run.first().key for run in seen.all_runs()}
    trusted = trusted and not entry.forgeable
    programs = {entry.program: seen.count}
    first = seen.first if seen.first != _NEVER else 0
    new = Tally(seen.count, first, seen.last, whole(seen.sample), programs, runs, {node}, trusted, trusted)
    tally = batch.tallies.setdefault((need.profile, need, entry.owner), new)
    if tally is new:
        return
    if (new.first or _NEVER, new.sample) < (tally.first or _NEVER, tally.sample):
        tally.first, tally.sample = new.first, new.sample
    tally.last = max(tally.last, new.last)
    tally.count += new.count
    tally.programs[entry.program] = tally.programs.get(entry.program, 0) + new.count
    tally.runs |= new.runs
    tally.nodes |= new.nodes
    tally.trusted = tally.trusted and new.trusted
    tally.confirmed = tally.confirmed or new.confirmed


def _note_runs(runs: Iterable[Run], batch: Batch) -> None:
    """Note the times of the runs, each under the first process of its lineage."""
    rows = batch.runs
    for run in runs:
        first = run.first()
        row = rows.get(first.key)
        if row is None:
            row = rows[first.key] = RunRow(first.start, first.end, first.program, first.fresh)
            if (place := first.place or run.place) is not None:
                row.container, row.pod = place.container, place.pod
        row.start, row.end = min(row.start, run.start), max(row.end, run.end)
