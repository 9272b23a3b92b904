"""The commit: everything of a batch, and the ledgers' news, in the one transaction that the caller opened."""

import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Final

from sqlalchemy import Connection, delete, or_, select

from aalearn.model.event import Event, Verdict
from aalearn.store import schema
from aalearn.store.batch import SAMPLE_BYTES, AccessKey, Batch, RunKey, Tally
from aalearn.store.codec import VERDICTS, encode_need, fit, group, identity, low, name_id, to_bytes
from aalearn.store.ledger import Ledger
from aalearn.store.state import PROGRAM_BYTES, State, encode_one, trust
from aalearn.store.state import decode as decode_state
from aalearn.store.statements import Statements

# So many rows are made and written at a time: memory stays small however large the batch.
_STEP: Final = 5000
_NEVER: Final = 1 << 62  # later than every time
# So many runs are kept a profile, the least by id; `reading.runs_in_all` estimates beyond.
RUNS_A_PROFILE: Final = 20_000


def node_id(node: str) -> int:
    """Return the id of a node's name."""
    return name_id(b"node", to_bytes(node))


def base_id(base: bytes) -> int:
    """Return the id of a profile (a base label)."""
    return name_id(b"base", base)


def label_id(label: bytes) -> int:
    """Return the id of a label as logged."""
    return name_id(b"label", label)


def run_id(node: int, base: int, pid: int, start: int) -> int:
    """Return the id of a run, or of a stretch of one."""
    return name_id(b"run", b"%d %d %d %d" % (node, base, pid, start))


@dataclass(slots=True)
class _Total:
    """What a commit adds to one label and verdict: new accesses, and the sum of all events."""

    accesses: int = 0
    state: State = field(default_factory=State)


# identity, encoded need, encoded state, sample
_Row = tuple[bytes, bytes, bytes, bytes]
_digest: Final = itemgetter(0)


class Commit:
    """One commit in the making: ids already worked out, totals as they add up."""

    def __init__(self, connection: Connection, statements: Statements, own: int) -> None:
        self._connection = connection
        self._statements = statements
        self._own = own
        self._nodes: dict[str, int] = {}
        self._labels: dict[bytes, int] = {}
        self._bases: dict[bytes, int] = {}
        self._runs: dict[RunKey, int] = {}
        self._totals: dict[tuple[bytes, Verdict], _Total] = {}

    def write(self, batch: Batch, ledgers: Mapping[str, Ledger]) -> None:
        """Write all of it."""
        self._write_labels({label for label, _, _ in batch.tallies})
        self._write_accesses(batch.tallies)
        self._confirm(batch.retold)
        counted = set(self._nodes.values()) | {node_id(node) for node, one in ledgers.items() if one.has_news()}
        self._write_totals()
        self._write_runs(batch)
        self._write_small(batch)
        self._write_ledgers(ledgers, _newest(batch))
        nodes = [(number, to_bytes(name), 0) for name, number in self._nodes.items()]
        self._statements.nodes.run(self._connection, nodes)
        self._statements.writers.run(self._connection, [(number, self._own) for number in counted])

    def _node(self, node: str) -> int:
        number = self._nodes.get(node)
        if number is None:
            number = self._nodes[node] = node_id(node)
        return number

    def _base(self, label: bytes) -> int:
        number = self._bases.get(label)
        if number is None:
            number = self._bases[label] = base_id(group(label))
        return number

    def _run(self, key: RunKey) -> int:
        number = self._runs.get(key)
        if number is None:
            number = run_id(self._node(key.node), self._base(key.profile), key.pid, key.opened)
            self._runs[key] = number
        return number

    def _write_labels(self, labels: Iterable[bytes]) -> None:
        self._labels = {label: label_id(label) for label in labels}
        self._new_labels = set(self._labels.values())
        ids = list(self._new_labels)
        column = schema.labels.c.id
        for start in range(0, len(ids), _STEP):
            asked = select(column).where(column.in_(ids[start : start + _STEP]))
            self._new_labels.difference_update(self._connection.execute(asked).scalars())
        rows = [
            (number, self._base(label), label, low(number), low(number + 1))
            for label, number in self._labels.items()
            if number in self._new_labels
        ]
        self._statements.labels.run(self._connection, rows)

    def _write_accesses(self, tallies: Mapping[AccessKey, Tally]) -> None:
        items = iter(tallies.items())
        lows = {label: low(number) for label, number in self._labels.items()}
        fresh = frozenset(low(number) for number in self._new_labels)
        while step := list(islice(items, _STEP)):
            rows: list[_Row] = []
            for (label, need, owner), tally in step:
                blob = encode_need(need, owner)
                total = self._totals.get((label, need.verdict)) or self._total(label, need.verdict)
                rows.append(self._row(identity(lows[label], blob), blob, tally, total))
            # The accesses of labels that this batch brought can't be there yet.
            asked = sorted([row[0] for row in rows if row[0][:8] not in fresh])
            known = self._statements.known_among(self._connection, asked)
            if known:
                for place, ((label, need, _), tally) in enumerate(step):
                    before = known.get(rows[place][0])
                    if before is not None:
                        self._totals[label, need.verdict].accesses -= 1
                        rows[place] = self._merged(rows[place], tally, before)
            rows.sort(key=_digest)  # neighbours in the index are written together
            self._statements.accesses.run(self._connection, rows)

    def _confirm(self, retold: Iterable[AccessKey]) -> None:
        """Note of accesses that are there that a source told of them again that programs can't forge."""
        needs: dict[bytes, bytes] = {}
        for label, need, owner in retold:
            blob = encode_need(need, owner)
            needs[identity(low(label_id(label)), blob)] = blob
        asked = sorted(needs)
        for start in range(0, len(asked), _STEP):
            known = self._statements.known_among(self._connection, asked[start : start + _STEP])
            rows = []
            for digest, (blob, sample) in sorted(known.items()):
                state = decode_state(blob)
                if not (state.trusted or state.partly):
                    state.partly = True
                    rows.append((digest, needs[digest], state.encode(), sample))
            self._statements.accesses.run(self._connection, rows)

    def _total(self, label: bytes, verdict: Verdict) -> _Total:
        total = self._totals[label, verdict] = _Total()
        return total

    def _row(self, digest: bytes, need: bytes, tally: Tally, total: _Total) -> _Row:
        """Return the row of an access as if it were new, and add it to the total."""
        count, first, last, trusted = tally.count, tally.first, tally.last, tally.trusted
        sure = trust(trusted, tally.confirmed)
        total.accesses += 1
        total.state.add(count, first, last, trusted)
        programs, nodes, runs = tally.programs, tally.nodes, tally.runs
        sample = tally.sample[:SAMPLE_BYTES]
        if len(programs) == len(nodes) == len(runs) == 1:
            (program,), (node,), (run,) = programs, nodes, runs
            place = self._nodes.get(node) or self._node(node)
            total.state.nodes.add(place)
            number = self._runs.get(run) or self._run(run)
            try:
                return digest, need, encode_one(count, first, last, sure, program, place, number), sample
            except struct.error:
                pass  # too big for the quick way
        state = self._added(State(), tally)
        total.state.nodes |= state.nodes
        return digest, need, state.encode(), sample

    def _added(self, state: State, tally: Tally) -> State:
        state.add(tally.count, tally.first, tally.last, tally.trusted)
        state.partly = (state.partly or tally.confirmed) and not state.trusted
        nodes = [self._node(node) for node in tally.nodes]
        state.add_who(tally.programs, nodes, [self._run(run) for run in tally.runs])
        return state

    def _merged(self, row: _Row, tally: Tally, before: tuple[bytes, bytes]) -> _Row:
        """Return the row of an access that is there already."""
        digest, need, _, sample = row
        state = decode_state(before[0])
        if (state.first or _NEVER, before[1]) < (tally.first or _NEVER, sample):
            sample = before[1]
        return digest, need, self._added(state, tally).encode(), sample

    def _write_totals(self) -> None:
        table = schema.totals
        labels = list({self._labels[label] for label, _ in self._totals} - self._new_labels)
        before: dict[tuple[int, int], bytes] = {}
        for start in range(0, len(labels), _STEP):
            asked = select(table.c.label, table.c.verdict, table.c.state)
            rows = self._connection.execute(asked.where(table.c.label.in_(labels[start : start + _STEP])))
            before |= {(label, verdict): state for label, verdict, state in rows}
        written = []
        for (name, verdict), total in self._totals.items():
            label, code, summed = self._labels[name], VERDICTS.index(verdict), total.state
            known = before.get((label, code))
            state = decode_state(known) if known is not None else State()
            state.add(summed.count, summed.first, summed.last, summed.trusted)
            state.add_who({}, summed.nodes, ())
            written.append((label, code, total.accesses, state.encode()))
        self._statements.totals.run(self._connection, written)

    def _write_runs(self, batch: Batch) -> None:
        rows = []
        for key, run in batch.runs.items():
            node, base = self._node(key.node), self._base(key.profile)
            program = run.program[:PROGRAM_BYTES]
            start, end = fit(run.start), fit(run.end)
            where = (run.container[:PROGRAM_BYTES], run.pod[:PROGRAM_BYTES])
            rows.append((self._run(key), base, node, fit(key.pid), start, end, program, run.fresh, *where))
        self._statements.runs.run(self._connection, rows)
        table = schema.runs
        for base in {row[1] for row in rows}:
            mine = select(table.c.id).where(table.c.base == base).order_by(table.c.id)
            last = self._connection.execute(mine.offset(RUNS_A_PROFILE - 1).limit(1)).scalar()
            if last is not None:
                self._connection.execute(delete(table).where(table.c.base == base, table.c.id > last))

    def _write_small(self, batch: Batch) -> None:
        run, statements = self._connection, self._statements
        losses: dict[int, tuple[int, int, int, bytes, int, bytes, int, int]] = {}
        known = _told_already(run, [self._node(loss.node) for loss in batch.losses]) if batch.losses else None
        for loss in batch.losses:
            node, at, amount = self._node(loss.node), fit(loss.time), fit(loss.amount)
            kind, source = to_bytes(loss.kind), to_bytes(loss.source)
            if known is not None and known(node, kind, at):
                continue
            number = name_id(b"loss", b"%d %d %d" % (node, at, amount), kind)
            row = (number, node, at, kind, amount, source, at, 1)
            losses[number] = min(row, losses.get(number, row))
        statements.losses.run(run, list(losses.values()))
        timeline = {}
        for status in batch.timeline:
            node, at = self._node(status.node), fit(status.time)
            words = (to_bytes(status.operation), status.profile, to_bytes(status.mode))
            number = name_id(b"status", b"%d %d" % (node, at), *words)
            timeline[number] = (number, node, at, *words)
        statements.timeline.run(run, list(timeline.values()))
        counters = [(to_bytes(name), fit(value)) for name, value in batch.counters.items()]
        statements.counters.run(run, [(name_id(b"counter", name), name, value) for name, value in counters])
        positions = [(to_bytes(source), to_bytes(position)) for source, position in batch.positions.items()]
        statements.positions.run(run, [(name_id(b"source", name), name, place) for name, place in positions])

    def _write_ledgers(self, ledgers: Mapping[str, Ledger], newest: int) -> None:
        for node, ledger in ledgers.items():
            number = self._node(node)
            rows = [(number, block, marks, newest) for block, marks in ledger.news().items()]
            self._statements.ledger.run(self._connection, rows)


def _newest(batch: Batch) -> int:
    """Return a time (ms) that no event of the batch is later than; what claims to be of the future is of now."""
    now = int(time.time() * 1000)
    last = max((tally.last for tally in batch.tallies.values()), default=0)
    changed = max((status.time for status in batch.timeline), default=0)
    return min(now, max(last, changed)) or now


def _told_already(connection: Connection, nodes: list[int]) -> Callable[[int, bytes, int], bool]:
    """Return a function (node, kind, time): was a loss of that time summed up, so that it can't be told apart?"""
    table = schema.losses.c
    columns = select(table.node, table.kind, table.time, table.until)
    many = or_(table.times > 1, table.until > table.time)
    spans: dict[tuple[int, bytes], list[tuple[int, int]]] = {}
    for node, kind, start, end in connection.execute(columns.where(many, table.node.in_(nodes))):
        spans.setdefault((node, kind), []).append((start, end))
    return lambda node, kind, at: any(start <= at <= end for start, end in spans.get((node, kind), ()))


def access_id(digest: bytes) -> int:
    """Return the number by which an access is known outside the store: it depends on the access only."""
    return int.from_bytes(digest[8:16], "little") >> 1


def sort_key(event: Event, owner: bool | None) -> tuple[object, ...]:
    """Return what accesses are sorted by: nothing that depends on how they were ingested."""
    return (event.profile, event.operation, event.fields, event.verdict.value, 2 if owner is None else int(owner))
