"""What the databases complain of, in one line that a person can act on."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from aalearn.model.errors import StoreError
from aalearn.model.text import shown

# By the beginning of SQLite's error name (source: sqlite.org/rescode.html); the first that fits.
_SQLITE = (
    ("SQLITE_FULL", "its disk is full: free some space and run it again; nothing of this was written"),
    ("SQLITE_IOERR", "its disk can't be read or written (full, or failing): mend that and run it again"),
    ("SQLITE_BUSY_SNAPSHOT", "another program changed it meanwhile: run it again"),
    ("SQLITE_BUSY", "another program keeps it locked: wait for that one, or stop it, and run it again"),
    ("SQLITE_LOCKED", "another program keeps it locked: wait for that one, or stop it, and run it again"),
    ("SQLITE_NOTADB", "it is not an SQLite database: name another with --db, or move this file away"),
    ("SQLITE_CORRUPT", "it is damaged: restore it from a copy, or move it away and ingest the logs again"),
    ("SQLITE_READONLY", "it may not be written by this user: run as its owner, or name another with --db"),
    ("SQLITE_PERM", "it may not be used by this user: run as its owner, or name another with --db"),
    ("SQLITE_AUTH", "it may not be used by this user: run as its owner, or name another with --db"),
    ("SQLITE_CANTOPEN", "it can't be opened: look at the rights of the file and its folder"),
    ("SQLITE_TOOBIG", "a value is too big for it"),
)

# By SQLSTATE or its class (source: PostgreSQL manual, appendix A).
_POSTGRESQL = (
    ("53100", "the server's disk is full: free some space and run it again; nothing of this was written"),
    ("53", "the server lacks resources"),
    ("55P03", "another writer keeps it locked: run it again later"),
    ("57", "the server ended the connection: run it again when it is up"),
    ("08", "the connection broke: run it again when the server is up"),
    ("25006", "this server takes no writes (a standby?): name the primary with --db"),
    ("42501", "this user lacks the rights: grant them on the schema and its tables"),
    ("42P01", "a table is missing: the store is damaged, restore it from a copy"),
    ("42703", "a column is missing: the store is damaged, restore it from a copy"),
)


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return shown(lines[0]) if lines else type(error).__name__


def explain(error: SQLAlchemyError) -> str:
    """Return the reason without its beginning (which store it is)."""
    origin = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(origin, sqlite3.Error):
        name = getattr(origin, "sqlite_errorname", "") or ""
        for start, reason in _SQLITE:
            if name.startswith(start):
                return reason
        if "no such table" in str(origin) or "no such column" in str(origin):
            return "a table is missing: it is damaged, restore it from a copy"
    elif origin is not None:
        state = getattr(origin, "sqlstate", None) or ""
        for start, reason in _POSTGRESQL:
            if state.startswith(start):
                return f"{reason} ({_first_line(origin)})"
    return _first_line(origin or error)


@contextmanager
def told(where: str) -> Iterator[None]:
    """Turn what the database complains of into a StoreError that names the store `where` (already safe to show)."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"the store {where}: {explain(error)}") from error
