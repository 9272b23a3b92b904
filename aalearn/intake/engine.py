"""`ingest`: sources → grammar → store, in one loop of bounded memory.

What is counted is committed in batches, each together with the marks of its events. A crash at any moment loses at most
the last batch; to ingest the same files again then counts exactly what is missing. Everything is opened and checked
before the first record is read, archives by reading them through once: a damaged file is told while the store is as it
was before.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import BinaryIO

from aalearn.grammar.lines import Lines
from aalearn.intake.counting import Node
from aalearn.intake.runs import Origins
from aalearn.intake.summary import Counts, Limits, Options, Progress, Reporter, Summary
from aalearn.sources import Chunk, Origin, Plan, plan
from aalearn.store import Store
from aalearn.store.batch import Batch, LossRow

BATCH_ROWS = 150_000
"""A batch is committed when it will write about so many rows…"""
BATCH_BYTES = 32 << 20
"""…or holds so many bytes of different records (in memory they are about eight times that)…"""
BATCH_LINES = 1_000_000
"""…or has read so many lines."""
_REPORT_S = 0.1
_MOST_NODES = 1_000  # a log that names more nodes than this is counted for the node that the options name


def ingest(
    paths: Sequence[Path],
    store: Store,
    options: Options,
    progress: Reporter | None = None,
    stdin: BinaryIO | None = None,
) -> Summary:
    """Read logs into the store; see `sources.plan` for what a path may be.

    Raises UsageError and BadInput for what can't be read, before anything is stored (a pipe or a journal that turns out
    damaged later leaves what was committed so far); StoreError when the store can't be written.
    """
    made = plan(paths, Origin(options.node, options.trusted), stdin)
    try:
        return Intake(store, options, progress).run(made)
    finally:
        made.close()


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python's cyclic collector off: what is counted holds no cycles, and to search it again and again costs half
    of the time. What else may be cyclic is collected at each commit."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


class Intake:
    """The loop. `count`, `reached` and `commit` may also be used by themselves, for sources that never end.

    `on_commit` is called after each commit with what was committed, before the batch is cleared. `origins` tells in
    which container a process of this node runs; it is asked once a run, so give it only for what happens now.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        progress: Reporter | None = None,
        *,
        on_commit: Callable[[Batch], None] | None = None,
        origins: Origins | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._options = options
        self._progress = progress
        self._on_commit = on_commit
        self._origins = origins
        self._limits = limits or Limits(BATCH_ROWS, BATCH_BYTES, BATCH_LINES)
        self._batch = Batch()
        self._lines = Lines(self._limits.cache)
        self._nodes: dict[str, Node] = {}  # the one that was heard of last is the last
        self._names: set[str] = set()
        self._last: str | None = None
        self._totals: Counter[str] = Counter()
        self._committed = 0
        self._begun = monotonic()
        self._reported = 0.0

    def run(self, made: Plan) -> Summary:
        """Read all sources of a plan to their ends and commit."""
        self._store.claim()
        total, before = made.size, 0
        with without_collector():
            for source in made.sources:
                consumed = 0
                for chunk in source.chunks():
                    self.take(chunk)
                    consumed = chunk.consumed
                    self._report(chunk.source, before + consumed, total)
                before += source.size if source.size is not None else consumed
            self.commit()
        return self._summary(made, before)

    def take(self, chunk: Chunk) -> None:
        """Count a chunk; commit when enough has come together."""
        self.count(chunk)
        if chunk.source != "-":
            self.reached(f"{chunk.node}:{chunk.source}", chunk.position)
        if self.full:
            self.commit()
            gc.collect()

    def count(self, chunk: Chunk) -> None:
        """Count a chunk and nothing else. After a StoreError (a ledger that can't be read) count it again."""
        self._node(chunk.node).take(chunk)

    def reached(self, source: str, position: str) -> None:
        """Note that all of `source` before `position` is counted; the next commit keeps it."""
        self._batch.positions[source] = position

    def lost(self, loss: LossRow) -> None:
        """Count a loss that no source tells of."""
        self._totals["losses"] += 1
        self._totals["lost"] += loss.amount
        self._batch.losses.append(loss)

    @property
    def full(self) -> bool:
        """Has so much come together that it should be committed now?"""
        limits, nodes = self._limits, self._nodes.values()
        return (
            sum(node.weight() for node in nodes) + self._batch.weight() >= limits.rows
            or sum(node.held for node in nodes) >= limits.size
            or self._totals["lines"] - self._committed >= limits.lines
        )

    @property
    def empty(self) -> bool:
        """Is there nothing to commit, not even a position?"""
        batch = self._batch
        return not (
            batch.positions or batch.counters or batch.weight() or any(n.weight() for n in self._nodes.values())
        )

    @property
    def totals(self) -> Mapping[str, int]:
        """What was counted since the beginning, by the names of a summary's fields; a live view."""
        return MappingProxyType(self._totals)

    def commit(self) -> None:
        """Write what was counted since the last commit, in one transaction. After a StoreError try it again."""
        for node in self._nodes.values():
            node.hand_over()
        self._store.commit(self._batch)
        if self._on_commit is not None:
            self._on_commit(self._batch)
        self._batch.clear()
        self._committed = self._totals["lines"]
        self._share_memory()

    def _share_memory(self) -> None:
        """Keep what is remembered of nodes within the limits: those not heard of for longest are forgotten."""
        for name in list(self._nodes)[: max(0, len(self._nodes) - self._limits.nodes)]:
            self._nodes.pop(name).retire()
            self._store.forget_ledger(name)
        if self._limits.marks is not None:
            for name in self._nodes:
                self._store.ledger(name).kept = self._limits.marks // len(self._nodes)

    def _node(self, name: str) -> Node:
        if name == self._last:
            return self._nodes[name]
        node = self._nodes.pop(name, None)
        if node is None:
            if name not in self._names and len(self._names) >= _MOST_NODES and name != self._options.node:
                return self._node(self._options.node)
            self._names.add(name)
            origins = self._origins if name == self._options.node else None  # pids of others say nothing here
            ledger = self._store.ledger(name)
            node = Node(name, self._lines, ledger, self._batch, self._totals, origins, self._limits.runs)
        self._nodes[name] = node  # the last of all now
        self._last = name
        return node

    def _report(self, source: str, consumed: int, total: int | None) -> None:
        if self._progress is not None and monotonic() - self._reported > _REPORT_S:
            self._reported = monotonic()
            seconds = self._reported - self._begun
            self._progress(Progress(source, consumed, total, self._totals["lines"], seconds))

    def _summary(self, made: Plan, size: int) -> Summary:
        totals = self._totals
        return Summary(
            sources=tuple(source.name for source in made.sources),
            skipped=made.skipped,
            size=size,
            kinds=_part(totals, "kind "),
            verdicts=_part(totals, "verdict "),
            unknown=_part(totals, "unknown "),
            seconds=monotonic() - self._begun,
            **{name: totals[name] for name in _PLAIN},
        )


_PLAIN = (
    "lines", "events", "duplicates", "companions", "other",
    "malformed", "truncated", "forged", "losses", "lost",
)  # fmt: skip


def _part(totals: Counts, prefix: str) -> Counts:
    """Return the totals under a prefix, sorted by name."""
    found = {name.removeprefix(prefix): amount for name, amount in totals.items() if name.startswith(prefix)}
    return MappingProxyType(dict(sorted(found.items())))
