"""The writing statements, as Core says them for the dialect, compiled once to text for the driver's `executemany`.

Core's own way to the driver costs as much a row as SQLite needs to write it; the text is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, Connection, Dialect, Table, and_, bindparam, case, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.compiler import SQLCompiler

from aalearn.store import schema

Rows = Sequence[tuple[Any, ...]]
Columns = ReadOnlyColumnCollection[str, Any]
# From (the name of a column, what is stored, what is new) to what shall stand there.
Join = Callable[[str, Columns, Columns], ColumnElement[Any]]

# How many digests one look-up asks for.
ASKED = 500


class Statement:
    """SQL text with positional parameters in the order of `columns`."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self.sql = str(compiled)
        order = list(compiled.positiontup or ()) if isinstance(compiled, SQLCompiler) else []
        if order != list(columns):
            raise AssertionError(f"parameters stand in another order: {order}")

    def run(self, connection: Connection, rows: Rows) -> None:
        """Execute for many rows."""
        if rows:
            connection.exec_driver_sql(self.sql, list(rows))


def _add(name: str, old: Columns, new: Columns) -> ColumnElement[Any]:
    total: ColumnElement[Any] = old[name] + new[name]
    return total


def _least(name: str, old: Columns, new: Columns) -> ColumnElement[Any]:
    return case((new[name] < old[name], new[name]), else_=old[name])


def _most(name: str, old: Columns, new: Columns) -> ColumnElement[Any]:
    return case((new[name] > old[name], new[name]), else_=old[name])


def _new(name: str, _: Columns, new: Columns) -> ColumnElement[Any]:
    column: ColumnElement[Any] = new[name]
    return column


def _either(name: str, old: Columns, new: Columns) -> ColumnElement[Any]:
    return or_(old[name], new[name])


def _at_start(name: str, old: Columns, new: Columns) -> ColumnElement[Any]:
    """The value that belongs to the earlier `start`; of the same start, the least."""
    earlier = or_(new.start < old.start, and_(new.start == old.start, new[name] < old[name]))
    return case((earlier, new[name]), else_=old[name])


def _upsert(dialect: Dialect, table: Table, key: Sequence[str], joins: Mapping[str, Join]) -> Statement:
    """Return the upsert of all columns but a row number. Without joins, a row that is there stays."""
    columns = [column.name for column in table.columns if not (column.primary_key and column.autoincrement is True)]
    make = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    insert = make(table)
    if not joins:
        return Statement(insert.on_conflict_do_nothing(index_elements=list(key)), dialect, columns)
    new = insert.excluded
    changes: dict[str, Any] = {name: join(name, table.c, new) for name, join in joins.items()}
    return Statement(insert.on_conflict_do_update(index_elements=list(key), set_=changes), dialect, columns)


class Statements:
    """All writing statements of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.labels = _upsert(dialect, schema.labels, ["id"], {})
        self.nodes = _upsert(dialect, schema.nodes, ["id"], {})
        self.accesses = _upsert(dialect, schema.accesses, ["digest"], {"state": _new, "sample": _new})
        self.totals = _upsert(dialect, schema.totals, ["label", "verdict"], {"accesses": _add, "state": _new})
        span: dict[str, Join] = {"start": _least, "end": _most, "program": _at_start, "fresh": _either}
        span |= {"container": _most, "pod": _most}
        self.runs = _upsert(dialect, schema.runs, ["id"], span)
        self.ledger = _upsert(dialect, schema.ledger, ["node", "block"], {"marks": _new, "newest": _most})
        self.writers = _upsert(dialect, schema.writers, ["node", "store"], {})
        self.positions = _upsert(dialect, schema.positions, ["id"], {"position": _new})
        self.counters = _upsert(dialect, schema.counters, ["id"], {"value": _add})
        self.losses = _upsert(dialect, schema.losses, ["id"], {"source": _least})
        self.timeline = _upsert(dialect, schema.timeline, ["id"], {})
        table = schema.accesses.c
        asked = [f"d{i}" for i in range(ASKED)]
        known = select(table.digest, table.state, table.sample)
        self.known = Statement(known.where(table.digest.in_([bindparam(name) for name in asked])), dialect, asked)

    def known_among(self, connection: Connection, digests: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
        """Return state and sample of those accesses that are there already."""
        found: dict[bytes, tuple[bytes, bytes]] = {}
        for start in range(0, len(digests), ASKED):
            asked = digests[start : start + ASKED]
            filled = (*asked, *[asked[0]] * (ASKED - len(asked)))
            for digest, state, sample in connection.exec_driver_sql(self.known.sql, filled):
                found[digest] = (state, sample)
        return found


_made: dict[str, Statements] = {}


def statements_of(dialect: Dialect) -> Statements:
    """Return the statements for an engine's dialect; each engine has a dialect of its own, but the text is the same."""
    made = _made.get(dialect.name)
    if made is None:
        made = _made[dialect.name] = Statements(dialect)
    return made
