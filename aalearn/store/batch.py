"""What intake hands to the store: all that was counted since the last commit, with the positions that belong to it.

A batch is a mutable builder of one owner. `Store.commit` writes it in one transaction, together with the marks that
the store's ledgers hold; afterwards the owner calls `clear` (or drops it). When a commit raises, batch and ledgers are
as they were, and may be committed again.

    ledger = store.ledger(node)                       # claims the writer's place; StoreError names who holds it
    if ledger.add(serial, mark_of(fold(digest), pid, time)):
        tally = batch.tallies.get(key) or batch.tallies.setdefault(key, Tally())
        tally.see(time, comm, run_key, node, trusted, raw_line)
    batch.positions[source] = chunk.position
    if batch.weight() > 50_000: store.commit(batch); batch.clear()
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from aalearn.model.event import Event

# The most that one access keeps; counts go on beyond. Which ones are kept depends on the set seen, not on its order.
PROGRAMS_KEPT = 32
RUNS_KEPT = 64
NODES_KEPT = 64
SAMPLE_BYTES = 8192

# Two stretches of one (node, profile, pid) less than this apart are one run, unless the later one is `fresh`.
RUN_GAP_MS = 6 * 3600 * 1000

# Processes of one profile on one node that begin within this of each other, or whose times overlap, are one run: one
# program start forks its helpers within seconds, and a double fork leaves nothing that tells whose they are. It also
# takes in systemd's quick restarts (after 100 ms) of a program that fails at its start: those repeat one sighting.
START_WINDOW_MS = 30_000

# (subject's label as logged, `Entry.need`, owner)
AccessKey = tuple[bytes, Event, bool | None]


class RunKey(NamedTuple):
    """Names one stretch of a run. `opened` is the time (ms) at which intake opened it; it never changes.

    A run read in two parts (two ingests, two files, a restart) may give two keys: that is fine. Reading joins stretches
    of the same node, profile and pid that overlap or are less than RUN_GAP_MS apart, and those of different pids that
    overlap or begin within START_WINDOW_MS, so that the order of ingestion and the cut between commits don't show.
    """

    node: str
    profile: bytes  # base label
    pid: int  # of the lineage's first process, as far as known
    opened: int


@dataclass(slots=True)
class RunRow:
    """The times (ms) of a run's first and last event so far, and the program of the first (of several, the least).

    `fresh`: it is known to begin here (an exec into the profile, another boot): what the pid did before is another run.
    `container` (64 hex digits) and `pod` (its uid) are where it ran, b"" for none or not known.
    """

    start: int
    end: int
    program: bytes = b""
    fresh: bool = False
    container: bytes = b""
    pod: bytes = b""


@dataclass(slots=True)
class Tally:
    """What one access was seen to do since the last commit. `sample` is the raw record of time `first`.

    `trusted` is False as soon as one sighting came from a source that programs can forge, `confirmed` is True as soon
    as one did not. Times are ms since the epoch.
    """

    count: int = 0
    first: int = 0
    last: int = 0
    sample: bytes = b""
    programs: dict[bytes, int] = field(default_factory=dict)
    runs: set[RunKey] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    trusted: bool = True
    confirmed: bool = False

    def see(self, time: int, program: bytes, run: RunKey | None, node: str, trusted: bool, sample: bytes) -> None:
        """Count one event. Of events of the same time the least sample is kept, so that order doesn't matter."""
        if not self.count:
            self.first = self.last = time
            self.sample = sample
        elif time > self.last:
            self.last = time
        elif time < self.first or (time == self.first and sample[:SAMPLE_BYTES] < self.sample[:SAMPLE_BYTES]):
            self.first = time
            self.sample = sample
        self.count += 1
        programs = self.programs
        programs[program] = programs.get(program, 0) + 1
        if run is not None:
            self.runs.add(run)
        self.nodes.add(node)
        if trusted:
            self.confirmed = True
        else:
            self.trusted = False


class StatusRow(NamedTuple):
    """A STATUS record: policy was loaded, replaced or removed. `mode` is "" where the record doesn't say."""

    node: str
    time: int
    operation: str
    profile: bytes
    mode: str = ""


class LossRow(NamedTuple):
    """Records that are known to be missing: when (ms, 0 = unknown), on which node, how (the Aside's word), how many.

    The same node, time, kind and amount is one loss, however often and by whichever source it is told.
    """

    node: str
    source: str
    time: int
    kind: str
    amount: int


@dataclass(slots=True)
class Batch:
    """See the module. `counters` are added to the store's; `positions` (by source) replace it. `retold` are accesses
    of which a source that programs can't forge told records that were counted already.

    A source's name must be unique in the store: where several machines share one, put the machine in.
    """

    tallies: dict[AccessKey, Tally] = field(default_factory=dict)
    runs: dict[RunKey, RunRow] = field(default_factory=dict)
    timeline: list[StatusRow] = field(default_factory=list)
    losses: list[LossRow] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    retold: set[AccessKey] = field(default_factory=set)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + amount

    def run(self, key: RunKey, time: int, program: bytes = b"", fresh: bool = False) -> None:
        """Note that a run had an event at `time` (ms). A long-lived run must be noted in each batch that tallies it."""
        row = self.runs.get(key)
        if row is None:
            self.runs[key] = RunRow(time, time, program, fresh)
            return
        if (time, program) < (row.start, row.program):
            row.start, row.program = time, program
        row.end = max(row.end, time)
        row.fresh |= fresh

    def weight(self) -> int:
        """Return about how many rows this will write."""
        return len(self.tallies) + len(self.runs) + len(self.timeline) + len(self.losses) + len(self.retold)

    def clear(self) -> None:
        """Empty the batch after a commit. New containers, so that what was handed out stays as it is."""
        self.tallies, self.runs, self.timeline, self.losses, self.counters, self.positions = {}, {}, [], [], {}, {}
        self.retold = set()
