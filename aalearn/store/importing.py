"""Reading what `store.portable` writes into a store, once or often: the same content again changes nothing.

All of a file is applied in one transaction or nothing. A file may come from anywhere: what is not exactly of the form
is refused with its line, before anything is written.

Nodes guard against counting twice. Where a node was counted by other stores here than in the file, the two may have
read the same records, so such a file is refused, unless one side's ledger and counters are a continuation of the other
or the two ledgers have no event in common.

Runs, losses, loads of policy and decisions are joined as sets. Revisions continue ours, or are added with new numbers
where the two differ. Steps are taken only where they continue ours: another machine's state is not this one's.
Positions are taken only where there is none.

Unless the file is trusted its word is not taken for the kernel's or a person's of this machine: its accesses are
untrusted, its decisions, revisions and steps carry IMPORTED before who made them, its positions and the horizons of
nodes that this store counts itself are left out. What is here already stays as it is. A horizon that would hide what is
yet to come is refused: one later than now, from anybody, and in an untrusted file one later than its own events.
"""

from typing import Any, Final

from sqlalchemy import Connection, and_, func, insert, select, update

from aalearn.model.errors import UsageError
from aalearn.model.text import shown
from aalearn.store import codec, schema
from aalearn.store import ledger as ledgers
from aalearn.store.exported import MOST
from aalearn.store.portable import own_number, own_share
from aalearn.store.readings import IMPORTED
from aalearn.store.state import State, decode
from aalearn.store.statements import Statements
from aalearn.store.writing import base_id, label_id, node_id


class Claims:
    """The guard against counting twice: looks at a file's nodes and marks before anything is written."""

    def __init__(self, connection: Connection, now: int, *, trusted: bool) -> None:
        self._connection = connection
        self._trusted = trusted
        self._now = now
        self._horizons: dict[int, tuple[bytes, int]] = {}
        self._newest: dict[int, int] = {}  # of the events in the node's ledger
        self._names: dict[int, bytes] = {}
        self._writers: dict[int, tuple[set[int], set[int]]] = {}  # of the file, of ours
        self._relations: dict[int, list[bool]] = {}  # file within ours, ours within file, disjoint
        self._blocks: dict[int, set[int]] = {}

    def see(self, kind: str, values: list[Any]) -> None:
        """Take in a line."""
        if kind == "node":
            number = node_id(codec.to_str(values[0]))
            self._horizons[number] = (values[0], values[1])
            table = schema.writers.c
            ours = set(self._connection.execute(select(table.store).where(table.node == number)).scalars())
            theirs = set(values[2])
            if ours and theirs and ours != theirs:
                self._names[number] = values[0]
                self._writers[number] = (theirs, ours)
                self._relations[number] = [True, True, True]
        elif kind == "marks":
            self._newest[values[0]] = max(self._newest.get(values[0], 0), values[2])
            self._compare(values)

    def _compare(self, values: list[Any]) -> None:
        if values[0] in self._writers:
            table = schema.ledger.c
            same = and_(table.node == values[0], table.block == values[1])
            blob = self._connection.execute(select(table.marks).where(same)).scalar()
            mine, its = ledgers.decode(blob) if blob is not None else set(), ledgers.decode(values[3])
            known = self._relations[values[0]]
            found = (its <= mine, mine <= its, its.isdisjoint(mine))
            self._relations[values[0]] = [old and new for old, new in zip(known, found, strict=True)]
            self._blocks.setdefault(values[0], set()).add(values[1])

    def settle(self) -> None:
        """Raises UsageError where a node may have been counted by both sides, or what is yet to come be hidden."""
        for node, (name, horizon) in self._horizons.items():
            if horizon > (self._now if self._trusted else min(self._now, self._newest.get(node, self._now))):
                raise UsageError(
                    f"the file says that all events of the node {shown(name)} were counted up to a time that is not "
                    "over, so new ones would be lost: export it anew; nothing was imported"
                )
        table = schema.ledger.c
        for node, (theirs, ours) in self._writers.items():
            within, around, apart = self._relations[node]
            blocks = set(self._connection.execute(select(table.block).where(table.node == node)).scalars())
            around = around and blocks <= self._blocks.get(node, set())
            if not (apart or (within and theirs <= ours) or (around and ours <= theirs)):
                raise UsageError(
                    f"the node {shown(self._names[node])} was counted by other stores here than in the file, so its "
                    "records may count twice: import into an empty store; nothing was imported"
                )


class Importer:
    """Applies the lines of one file, in the transaction that the caller opened."""

    def __init__(self, connection: Connection, statements: Statements, *, trusted: bool) -> None:
        self._connection = connection
        self._statements = statements
        self._trusted = trusted
        self._own = own_number(connection)
        self._labels: set[int] = set()
        self._lives: dict[str, dict[bytes, list[list[Any]]]] = {"revision": {}, "step": {}}
        self.skipped = 0  # profiles whose steps were not taken

    def take(self, kind: str, values: list[Any]) -> None:
        """Apply a line; revisions and steps wait for `finish`."""
        run, statements = self._connection, self._statements
        if kind == "node":
            self._node(values)
        elif kind == "marks":
            self._marks(values)
        elif kind == "counter":
            self._counter(values)
        elif kind == "access":
            self._access(values)
        elif kind == "decision":
            self._decision(values)
        elif kind in self._lives:
            self._lives[kind].setdefault(values[1], []).append(values)
        elif kind == "forgotten":
            self._forgotten(values)
        elif kind == "position":
            if (
                self._trusted
                and run.execute(select(schema.positions.c.id).where(schema.positions.c.id == values[0])).scalar()
                is None
            ):
                statements.positions.run(run, [tuple(values)])
        elif kind == "loss":
            self._loss(values)
        else:
            {"status": statements.timeline, "run": statements.runs}[kind].run(run, [tuple(values)])

    def finish(self) -> None:
        """Write revisions and steps, and sum up the totals again."""
        for label in self._labels:
            self._sum_up(label)
        profiles = sorted(self._lives["revision"].keys() | self._lives["step"].keys())
        for profile in profiles:
            theirs = self._lives["step"].get(profile, [])
            if not self._continue(schema.revisions, profile, self._lives["revision"].get(profile, []), add=True):
                self.skipped += bool(theirs)
            elif not self._continue(schema.steps, profile, theirs, add=False):
                self.skipped += 1

    def _node(self, values: list[Any]) -> None:
        name, horizon, writers = values
        number, table = node_id(codec.to_str(name)), schema.nodes
        self._statements.nodes.run(self._connection, [(number, name, horizon)])
        later = and_(table.c.id == number, table.c.horizon < horizon)
        if self._trusted or not self._counted_here(number):
            self._connection.execute(update(table).where(later).values(horizon=horizon))
        self._statements.writers.run(self._connection, [(number, store) for store in writers])

    def _counted_here(self, node: int) -> bool:
        table = schema.writers.c
        same = and_(table.node == node, table.store == self._own)
        return self._connection.execute(select(table.node).where(same)).scalar() is not None

    def _marks(self, values: list[Any]) -> None:
        node, block, newest, blob = values
        table = schema.ledger.c
        same = and_(table.node == node, table.block == block)
        known = self._connection.execute(select(table.marks).where(same)).scalar()
        if known is not None and known != blob:
            blob = ledgers.encode(set(sorted(ledgers.decode(known) | ledgers.decode(blob))[: ledgers.BLOCK_MARKS]))
        self._statements.ledger.run(self._connection, [(node, block, blob, newest)])

    def _counter(self, values: list[Any]) -> None:
        name, shares = values
        number, table, counts = codec.name_id(b"counter", name), schema.counters.c, schema.counts
        total = self._connection.execute(select(table.value).where(table.id == number)).scalar() or 0
        asked = select(counts.c.store, counts.c.value).where(counts.c.counter == number)
        known: dict[int, int] = {row.store: row.value for row in self._connection.execute(asked)}
        known[self._own] = total - sum(known.values())
        self._statements.counters.run(self._connection, [(number, name, 0)])
        for store, value in shares.items():
            more = value - known.get(store, 0)
            if more <= 0:
                continue
            self._statements.counters.run(self._connection, [(number, name, codec.fit(more))])
            if store != self._own:
                self._put(counts, {"store": store, "counter": number}, {"value": value})

    def _put(self, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
        same = and_(*[table.c[name] == value for name, value in key.items()])
        if self._connection.execute(update(table).where(same).values(**values)).rowcount == 0:
            self._connection.execute(insert(table), {**key, **values})

    def _forgotten(self, values: list[Any]) -> None:
        base, runs = values
        table = schema.forgotten.c
        known = self._connection.execute(select(table.runs).where(table.base == base)).scalar() or 0
        self._put(schema.forgotten, {"base": base}, {"runs": max(known, runs)})

    def _loss(self, values: list[Any]) -> None:
        """A loss that is there stays, but a sum of losses takes the greater one's figures."""
        table = schema.losses
        known = self._connection.execute(select(table.c.times).where(table.c.id == values[0])).scalar()
        if known is None or known < values[-1]:
            names = [column.name for column in table.columns]
            row = dict(zip(names, values, strict=True))
            self._put(table, {"id": row.pop("id")}, row)

    def _access(self, values: list[Any]) -> None:
        label, (event, owner), shares, sample = values
        number = label_id(label)
        low = codec.low(number)
        if number not in self._labels:
            self._labels.add(number)
            row = (number, base_id(codec.group(label)), label, low, codec.low(number + 1))
            self._statements.labels.run(self._connection, [row])
        need = codec.encode_need(event, owner)
        digest = codec.identity(low, need)
        table, parts = schema.accesses.c, schema.shares.c
        row_there = self._connection.execute(
            select(table.state, table.sample).where(table.digest == digest)
        ).one_or_none()
        total = decode(row_there.state) if row_there is not None else State()
        asked = select(parts.store, parts.state).where(parts.digest == digest)
        known = {store: decode(state) for store, state in self._connection.execute(asked)}
        known[self._own] = own_share(total, list(known.values()))
        mine: bytes = row_there.sample if row_there is not None else b""
        if mine and (not sample or (total.first, mine) <= (_first(shares), sample)):
            sample = mine
        for store, share in shares.items():
            before = known.get(store, State())
            if not self._trusted:
                share.trusted, share.partly = before.trusted, before.partly
            joined = _joined(before, share)
            if joined == before:
                continue
            if joined.trusted and not self._trusted:
                joined.trusted, joined.partly = False, before.count > 0
            _grow(total, before, joined)
            if store != self._own:
                self._put(schema.shares, {"store": store, "digest": digest}, {"state": joined.encode()})
        self._statements.accesses.run(self._connection, [(digest, need, total.encode(), sample)])

    def _sum_up(self, label: int) -> None:
        """Make the totals of a label from its accesses."""
        table = schema.accesses.c
        near = and_(table.digest >= codec.low(label), table.digest < codec.low(label + 1))
        sums: dict[int, tuple[int, State]] = {}
        for need, blob in self._connection.execute(select(table.need, table.state).where(near)):
            state = decode(blob)
            amount, total = sums.get(need[1], (0, State()))
            total.add(state.count, state.first, state.last, state.trusted)
            total.add_who({}, state.nodes, ())
            sums[need[1]] = (amount + 1, total)
        for verdict, (amount, total) in sums.items():
            values = {"accesses": amount, "state": total.encode()}
            self._put(schema.totals, {"label": label, "verdict": verdict}, values)

    def _decision(self, values: list[Any]) -> None:
        profile, at, rule, decision, who, why = values
        table = schema.decisions
        row = {"base": base_id(profile), "profile": profile, "at": at, "rule": rule}
        row |= {"decision": decision, "who": who, "why": why}
        if not self._has(row):
            row["who"] = who if self._trusted else marked(who)
            if self._trusted or not self._has(row):
                self._connection.execute(insert(table), row)

    def _has(self, row: dict[str, Any]) -> bool:
        """Is the decision here?"""
        table = schema.decisions.c
        same = and_(*[table[name] == value for name, value in row.items()])
        return self._connection.execute(select(table.id).where(same).limit(1)).scalar() is not None

    def _continue(self, table: Any, profile: bytes, theirs: list[list[Any]], *, add: bool) -> bool:
        """Add rows that continue ours; True if theirs and ours are one history. `add`: else append what is new."""
        base = base_id(profile)
        names = [column.name for column in table.columns][1:]
        asked = select(*[table.c[name] for name in names]).where(table.c.base == base).order_by(table.c.number)
        ours = [list(row) for row in self._connection.execute(asked)]
        if not self._trusted:
            by = names.index("author" if "author" in names else "who")
            theirs = [_imported(row, by, ours) for row in theirs]
        shared = min(len(ours), len(theirs))
        one = ours[:shared] == theirs[:shared]
        fresh = theirs[len(ours) :] if one else [row for row in theirs if row[1:] not in [own[1:] for own in ours]]
        if not (one or add):
            return False
        last = self._connection.execute(select(func.max(table.c.number)).where(table.c.base == base)).scalar() or 0
        for place, row in enumerate(fresh, last + 1):
            self._connection.execute(
                insert(table), {"base": base, **dict(zip(names, row, strict=True)), "number": place}
            )
        return one


IMPORTED_BYTES: Final = IMPORTED.encode()


def marked(who: bytes) -> bytes:
    """Return who made something, marked as another store's word."""
    return who if who.startswith(IMPORTED_BYTES) else IMPORTED_BYTES + who


def _imported(row: list[Any], by: int, ours: list[list[Any]]) -> list[Any]:
    """Return a row marked as imported, unless it is ours."""
    return row if row in ours else [*row[:by], marked(row[by]), *row[by + 1 :]]


def _first(shares: dict[int, State]) -> int:
    return min((share.first for share in shares.values()), default=MOST)


def _joined(one: State, other: State) -> State:
    """Return the greater of two versions of one store's share, part by part."""
    if not one.count:
        return other
    programs = {name: max(one.programs.get(name, 0), amount) for name, amount in other.programs.items()}
    made = State(max(one.count, other.count), min(one.first, other.first), max(one.last, other.last))
    made.trusted = one.trusted and other.trusted
    made.partly = not made.trusted and (one.trusted or one.partly or other.trusted or other.partly)
    made.sketch = _either(one.sketch, other.sketch)
    made.add_who(one.programs | programs, one.nodes | other.nodes, one.runs | other.runs)
    return made


def _grow(total: State, before: State, joined: State) -> None:
    """Add to a total what a share has more than before."""
    more = {name: amount - before.programs.get(name, 0) for name, amount in joined.programs.items()}
    total.add(joined.count - before.count, joined.first, joined.last, joined.trusted)
    total.partly = (total.partly or joined.partly) and not total.trusted
    total.sketch = _either(total.sketch, joined.sketch)
    total.add_who(more, joined.nodes, joined.runs)


def _either(one: bytes, other: bytes) -> bytes:
    if not (one and other):
        return one or other
    return bytes(a | b for a, b in zip(one, other, strict=True))
