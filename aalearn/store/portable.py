"""A store's content as JSON lines (zstd): the same on SQLite and PostgreSQL, the same content the same bytes.

The first line is `{"aalearn": "export", "version": 1}`; each other one is `["kind", value, …]`, the kinds in the order
of KINDS, each kind sorted. Bytes are strings of code points 0 to 255 (one a byte), times are ms since the epoch, ids
are those of the schema (hashes of names, so that they mean the same in every store); marks and sketches are base64.

Who counted what: every store has a random number. An access has a *share* for each store that counted some of it:
[count, first, last, trusted, {program: count}, [node ids], [run ids], sketch], trusted being true, false or "some"
(not all came from sources that programs can't forge, but some did). A share only ever grows, so merging
takes of two versions of one store's share the greater, and a count is the sum of the shares: importing twice, or an
old export after a new one, changes nothing. Counters are shared out in the same way.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, and_, select

from aalearn.store import codec, schema
from aalearn.store.state import State, decode

VERSION: Final = 1
HEAD: Final = {"aalearn": "export", "version": VERSION}
KINDS: Final = (
    "node", "marks", "counter", "position", "loss", "status", "run", "forgotten", "access", "decision", "revision",
    "step",
)  # fmt: skip


def chars(value: bytes) -> str:
    """Return bytes as a string, one code point each."""
    return value.decode("latin-1")


def own_number(connection: Connection) -> int:
    """Return the store's own number."""
    return int(connection.execute(select(schema.stores.c.id).where(schema.stores.c.own)).scalar_one())


def lines(connection: Connection) -> Iterator[bytes]:
    """Yield all lines. The caller has begun a transaction, so that they are of one state."""
    yield _line(HEAD)
    for make in (_nodes, _marks, _counters, _plain, _accesses, _lives):
        for row in make(connection):
            yield _line(row)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _nodes(connection: Connection) -> Iterator[list[Any]]:
    writers: dict[int, list[int]] = {}
    for node, store in connection.execute(select(schema.writers)):
        writers.setdefault(node, []).append(store)
    table = schema.nodes.c
    for number, name, horizon in connection.execute(select(table.id, table.name, table.horizon).order_by(table.id)):
        yield ["node", chars(name), horizon, sorted(writers.get(number, []))]


def _marks(connection: Connection) -> Iterator[list[Any]]:
    table = schema.ledger.c
    for row in connection.execute(select(schema.ledger).order_by(table.node, table.block)):
        yield ["marks", row.node, row.block, row.newest, base64.b64encode(row.marks).decode()]


def _counters(connection: Connection) -> Iterator[list[Any]]:
    own = own_number(connection)
    others: dict[int, dict[int, int]] = {}
    for store, counter, value in connection.execute(select(schema.counts)):
        others.setdefault(counter, {})[store] = value
    for number, name, value in connection.execute(select(schema.counters).order_by(schema.counters.c.id)):
        shares = others.get(number, {})
        mine = value - sum(shares.values())
        if mine > 0:
            shares[own] = mine
        yield ["counter", chars(name), {str(store): shares[store] for store in sorted(shares)}]


def _plain(connection: Connection) -> Iterator[list[Any]]:
    for kind, table in (
        ("position", schema.positions),
        ("loss", schema.losses),
        ("status", schema.timeline),
        ("run", schema.runs),
        ("forgotten", schema.forgotten),
    ):
        for row in connection.execute(select(table).order_by(next(iter(table.primary_key.columns)))):
            yield [kind, *(chars(value) if isinstance(value, bytes) else value for value in row)]


def _accesses(connection: Connection) -> Iterator[list[Any]]:
    own = own_number(connection)
    labels, table = schema.labels.c, schema.accesses.c
    for label, low, high in connection.execute(select(labels.label, labels.low, labels.high).order_by(labels.id)).all():
        shares = shares_of(connection, low, high)
        near = and_(table.digest >= low, table.digest < high)
        for row in connection.execute(select(schema.accesses).where(near).order_by(table.digest)):
            event, owner = codec.decode_need(label, row.need)
            parts = dict(shares.get(row.digest, {}))
            mine = own_share(decode(row.state), parts.values())
            if mine.count:
                parts[own] = mine
            need = [event.verdict.value, event.operation, [[key, chars(value)] for key, value in event.fields], owner]
            told = {str(store): share_value(parts[store]) for store in sorted(parts)}
            yield ["access", chars(label), need, told, chars(row.sample)]


def shares_of(connection: Connection, low: bytes, high: bytes) -> dict[bytes, dict[int, State]]:
    """Return what other stores brought to a label's accesses: by digest and store."""
    table = schema.shares.c
    found: dict[bytes, dict[int, State]] = {}
    near = and_(table.digest >= low, table.digest < high)
    for store, digest, state in connection.execute(select(schema.shares).where(near)):
        found.setdefault(digest, {})[store] = decode(state)
    return found


def own_share(total: State, others: Any) -> State:
    """Return what of a total is this store's own: what the others did not bring."""
    programs = dict(total.programs)
    count = total.count
    for share in others:
        count -= share.count
        for program, amount in share.programs.items():
            if program in programs:
                programs[program] -= amount
    programs = {program: amount for program, amount in programs.items() if amount > 0}
    ids = (total.nodes, total.runs)
    return State(count, total.first, total.last, total.trusted, programs, *ids, total.sketch, total.partly)


def share_value(state: State) -> list[Any]:
    """Return a share as it stands in a line."""
    programs = {chars(name): state.programs[name] for name in sorted(state.programs)}
    sketch = base64.b64encode(state.sketch).decode()
    ids = (sorted(state.nodes), sorted(state.runs))
    trusted: bool | str = "some" if state.partly else state.trusted
    return [state.count, state.first, state.last, trusted, programs, *ids, sketch]


def _lives(connection: Connection) -> Iterator[list[Any]]:
    """Yield decisions, revisions and steps, each profile's in its order."""
    table = schema.decisions.c
    columns = (table.profile, table.at, table.rule, table.decision, table.who, table.why)
    rows = [tuple(row) for row in connection.execute(select(*columns).order_by(table.base, table.at, table.id))]
    last = {row: place for place, row in enumerate(rows)}  # the same decision again: its last place holds
    for place, row in enumerate(rows):
        if last[row] == place:
            yield ["decision", *(chars(value) if isinstance(value, bytes) else value for value in row)]
    for kind, life in (("revision", schema.revisions), ("step", schema.steps)):
        for one in connection.execute(select(life).order_by(life.c.base, life.c.number)):
            yield [kind, *(chars(value) if isinstance(value, bytes) else value for value in one[1:])]
