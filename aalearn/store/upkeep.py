"""Upkeep of a store: is it sound, a copy of it while it is written, its file rewritten small."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.exc import DBAPIError

from aalearn.model.errors import StoreError
from aalearn.model.text import shown
from aalearn.store import codec, schema
from aalearn.store.ledger import decode as decode_marks
from aalearn.store.state import decode as decode_state
from aalearn.store.writing import base_id, label_id, node_id

MOST_FINDINGS: Final = 100
_COPY_PAGES: Final = 1024


def findings(connection: Connection) -> Iterator[str]:
    """Yield what is wrong, a line each: the database's own check, then ours. In one transaction, so of one state."""
    if connection.dialect.name == "sqlite":
        for (line,) in connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_FINDINGS})"):
            if line != "ok":
                yield f"SQLite: {shown(str(line))}"
    yield from _names(connection)
    yield from _labels(connection)
    yield from _ledger(connection)
    own = connection.execute(select(func.count()).select_from(schema.stores).where(schema.stores.c.own)).scalar_one()
    if own != 1:
        yield f"the store has {own} numbers of its own instead of one"


def _names(connection: Connection) -> Iterator[str]:
    nodes = schema.nodes.c
    for number, name in connection.execute(select(nodes.id, nodes.name)):
        if number != node_id(codec.to_str(name)):
            yield f"the node {shown(name)} has a wrong id"
    for table in (schema.revisions, schema.steps):
        rows = select(table.c.profile, func.count(), func.max(table.c.number)).group_by(table.c.base, table.c.profile)
        for profile, count, last in connection.execute(rows):
            if count != last:
                yield f"the {table.name} of {shown(profile)} have gaps: {count} up to number {last}"


def _labels(connection: Connection) -> Iterator[str]:
    """Yield labels whose ranges are wrong, and totals that are not the sums of their accesses."""
    labels, totals = schema.labels.c, schema.totals.c
    ranges = set()
    for row in connection.execute(select(schema.labels).order_by(labels.id)).all():
        low, high = codec.low(row.id), codec.low(row.id + 1)
        if row.id != label_id(row.label) or row.base != base_id(codec.group(row.label)):
            yield f"the label {shown(row.label)} has a wrong id"
        if (row.low, row.high) != (low, high):
            yield f"the label {shown(row.label)} has a wrong range"
        ranges.add(low)
        asked = select(totals.verdict, totals.accesses, totals.state).where(totals.label == row.id)
        told = {verdict: (amount, decode_state(state).count) for verdict, amount, state in connection.execute(asked)}
        summed = _summed(connection, row.label, low, high)
        for verdict in sorted(told.keys() | summed.keys()):
            if told.get(verdict) != summed.get(verdict):
                yield (
                    f"the totals of {shown(row.label)} are {told.get(verdict)} (accesses, events), "
                    f"its accesses make {summed.get(verdict)}"
                )
    for digest in connection.execute(select(schema.accesses.c.digest)).scalars():
        if digest[:8] not in ranges:
            yield f"the access {digest.hex()} belongs to no label"


def _summed(connection: Connection, label: bytes, low: bytes, high: bytes) -> dict[int, tuple[int, int]]:
    table = schema.accesses.c
    asked = select(table.digest, table.need, table.state).where(and_(table.digest >= low, table.digest < high))
    found: dict[int, tuple[int, int]] = {}
    for digest, need, state in connection.execute(asked):
        event, _ = codec.decode_need(label, need)
        if digest != codec.identity(low, need):
            raise StoreError(f"the store is damaged: an access of {shown(label)} has a wrong digest")
        verdict = codec.VERDICTS.index(event.verdict)
        amount, events = found.get(verdict, (0, 0))
        found[verdict] = (amount + 1, events + decode_state(state).count)
    return found


def _ledger(connection: Connection) -> Iterator[str]:
    table = schema.ledger.c
    known = set(connection.execute(select(schema.nodes.c.id)).scalars())
    for node, block, marks in connection.execute(select(table.node, table.block, table.marks)):
        if node not in known:
            yield f"the ledger has a block of an unknown node ({node})"
        try:
            decode_marks(marks)
        except StoreError as error:
            yield f"block {block} of the ledger: {error}"


def vacuum(connection: Connection) -> None:
    """Rewrite the database small (SQLite: with room for a copy on the disk). Outside of any transaction."""
    raw = connection.connection.driver_connection
    try:
        if isinstance(raw, sqlite3.Connection):
            for statement in ("PRAGMA auto_vacuum = INCREMENTAL", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                raw.execute(statement).fetchall()
            return
    except sqlite3.Error as error:
        raise DBAPIError.instance("VACUUM", None, error, sqlite3.Error) from error
    for name in schema.metadata.tables:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"VACUUM (FULL, ANALYZE) {name}")


def copy(connection: Connection, target: Path, *, force: bool) -> int:
    """Copy an SQLite database as it is at one moment, while others write to it; return the copy's bytes.

    The copy appears whole under its name or not at all, with mode 0600. Raises StoreError; DBAPIError.
    """
    raw = connection.connection.driver_connection
    if not isinstance(raw, sqlite3.Connection):
        raise StoreError("a PostgreSQL store is backed up with pg_dump; `aalearn db export FILE` works with both")
    try:
        with written(target, force=force) as stream:
            made = sqlite3.connect(stream.name)
            try:
                raw.backup(made, pages=_COPY_PAGES, sleep=0.01)
                made.execute("PRAGMA journal_mode = DELETE").fetchall()
            finally:
                made.close()
    except sqlite3.Error as error:
        raise DBAPIError.instance("backup", None, error, sqlite3.Error) from error
    return target.stat().st_size


@contextmanager
def written(target: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Give a temporary file (0600) beside `target`, which gets its name when all went well, else is gone.

    Raises StoreError where the name is taken, unless `force`, or can't be written.
    """
    if not force and os.path.lexists(target):
        raise _taken(target)
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{target.name[:100]}.", dir=target.parent, delete=False) as stream:
            try:
                yield stream
                stream.flush()
                put(Path(stream.name), target, force=force)
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StoreError(f"{shown(str(target))} can't be written: {error.strerror}") from None


def _taken(target: Path) -> StoreError:
    return StoreError(f"{shown(str(target))} is there already: name another, or add --force")


def put(made: Path, target: Path, *, force: bool) -> None:
    """Give a finished temporary file its name, on the disk for good. StoreError where it is taken, unless `force`."""
    with made.open("rb") as stream:
        os.fsync(stream.fileno())
    if force:
        made.replace(target)
    else:
        try:
            target.hardlink_to(made)
        except FileExistsError:
            raise _taken(target) from None
        made.unlink()
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
