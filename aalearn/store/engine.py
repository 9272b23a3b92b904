"""Opening a database by its URL: SQLite in a file (or in memory), or PostgreSQL."""

import os
import socket
import sqlite3
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from aalearn.model.errors import StoreError, UsageError
from aalearn.model.text import shown
from aalearn.model.urls import without_password
from aalearn.store.owning import open_own, refuse_tricks

_MAGIC: Final = b"SQLite format 3\0"
# "aaln" in the file's header: `file` and we know by it whose database this is.
APPLICATION_ID: Final = 0x61616C6E
_WAIT_SECONDS: Final = 10
_WRITES: Final = "aalearn_writes"


class Place:
    """Where a store is, taken from its URL. `file` is None for PostgreSQL and for a store in memory.

    What follows `sqlite:///` is the file's name as it is: nothing in it is an escape or an option.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        backend, _, driver = scheme.partition("+")
        self.url: URL | None = None
        self.file: Path | None = None
        self.is_sqlite = backend == "sqlite"
        if self.is_sqlite and driver in ("", "pysqlite") and (rest == "" or rest.startswith("/")):
            name = rest[1:]
            if "\0" in name:
                raise UsageError(f"{shown(url)} is no store: a file's name has no NUL")
            self.file = Path(name) if name and name != ":memory:" else None
            self.name = shown(str(self.file)) if self.file else "in memory"
        elif backend == "postgresql" and driver in ("", "psycopg"):
            try:
                self.url = make_url(url).set(drivername="postgresql+psycopg")
            except (ArgumentError, ValueError):
                raise UsageError(
                    "this is no URL of a PostgreSQL database: postgresql+psycopg://user@host/name"
                ) from None
            self.name = shown(without_password(url))
        else:
            known = "sqlite:///PATH or postgresql+psycopg://user@host/name"
            raise UsageError(f"{shown(backend.partition(':')[0])} is no store: use {known}")

    def engine(self, *, readonly: bool, immutable: bool = False) -> Engine:
        """Return an engine that opens one connection when asked; nothing is touched yet."""
        if self.url is not None:
            return self._postgresql(self.url)
        file = self.file

        def connect() -> sqlite3.Connection:
            target = ":memory:"
            if file is not None:
                options = "mode=ro" + ("&immutable=1" if immutable else "") if readonly else "mode=rw"
                target = f"file:{quote(os.fsencode(file.absolute()))}?{options}"
            return sqlite3.connect(target, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)

        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
        event.listen(engine, "begin", _begin)
        return engine

    def _postgresql(self, url: URL) -> Engine:
        name = f"aalearn {os.getpid()}@{socket.gethostname()}"[:63]
        try:
            return create_engine(
                url,
                poolclass=NullPool,
                paramstyle="format",
                connect_args={"application_name": name, "connect_timeout": _WAIT_SECONDS},
            )
        except ModuleNotFoundError as error:
            if error.name == "psycopg":
                raise UsageError("PostgreSQL needs psycopg: pip install 'aalearn[postgresql]'") from None
            raise UsageError(f"{self.name}: the driver {shown(str(error.name))} is not installed") from None
        except ArgumentError as error:
            raise UsageError(f"{self.name} is no store: {shown(str(error))}") from None


def _begin(connection: Connection) -> None:
    """Begin by hand: the driver would begin too late (after reads) and not at all before DDL."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def for_writing(connection: Connection, writes: bool) -> Connection:
    """Let the connection's next transactions take the write lock at once (SQLite), or not."""
    return connection.execution_options(**{_WRITES: writes})


def look_at(file: Path, name: str, *, readonly: bool) -> None:
    """Refuse what can't be a store, before SQLite sees it; make a new file (see `store/owning`).

    Raises StoreError.
    """
    try:
        _look_at(file, name, readonly=readonly)
    except OSError as error:
        raise StoreError(f"the store {name} can't be opened: {error.strerror}") from error


def _look_at(file: Path, name: str, *, readonly: bool) -> None:
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        if readonly:
            raise StoreError(f"there is no store at {name}: run `aalearn ingest LOG…` first") from None
        if not file.parent.is_dir():
            raise StoreError(f"the store {name} can't be made: its folder does not exist") from None
        os.close(open_own(file))
        return
    refuse_tricks(file)
    if S_ISDIR(mode):
        raise StoreError(f"the store {name} is a folder: name a file with --db")
    if not S_ISREG(mode):
        raise StoreError(f"the store {name} is not an ordinary file: name another with --db")
    with file.open("rb") as stream:
        head = stream.read(len(_MAGIC))
    if head and head != _MAGIC:
        raise StoreError(f"{name} is not an SQLite database: name another with --db, or move this file away")
    if not head and readonly:
        raise StoreError(f"the store {name} is empty: run `aalearn ingest LOG…` first")
    if not readonly and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        raise StoreError(f"the store {name} or its folder may not be written by this user: run as its owner")


def prepare(connection: Connection, *, new: bool, readonly: bool) -> None:
    """Set what SQLite keeps for each connection, and for a new file what it keeps for good."""
    pragmas = ["PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON", "PRAGMA cache_size = -16384"]
    if readonly:
        pragmas.append("PRAGMA query_only = ON")
    else:
        if new:
            # Free pages can then be given back to the disk a few at a time, without rewriting the whole file.
            # This must be the first that is written.
            pragmas += ["PRAGMA auto_vacuum = INCREMENTAL", f"PRAGMA application_id = {APPLICATION_ID}"]
        # With WAL a crash of the machine may take back the last commits, but whole ones: positions and counts together.
        pragmas += ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "PRAGMA journal_size_limit = 67108864"]
    for one in pragmas:
        pragma(connection, one)


def pragma(connection: Connection, statement: str) -> None:
    """Run a PRAGMA outside of any transaction, where SQLite wants it. Raises SQLAlchemy's DBAPIError."""
    try:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error


def give_pages_back(connection: Connection, pages: int) -> None:
    """Shorten SQLite's file by so many free pages, outside of any transaction. Raises SQLAlchemy's DBAPIError.

    The statement gives a row a page, and the driver's `execute` would stop at the first.
    """
    statement = f"PRAGMA incremental_vacuum({pages})"
    try:
        raw = connection.connection.driver_connection
        if isinstance(raw, sqlite3.Connection):
            raw.executescript(statement)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error
