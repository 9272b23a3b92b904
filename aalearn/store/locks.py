"""One writer at a time, and everybody else is told who it is."""

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from aalearn.model.errors import StoreError
from aalearn.model.text import shown
from aalearn.store.codec import name_id
from aalearn.store.owning import open_own

_PAUSE: Final = 0.05


class FileLock:
    """The writer's place of an SQLite store: a lock file beside it, which names the holder.

    The lock is the kernel's (flock), so it ends with its process, however that ends. The file stays.
    """

    def __init__(self, file: Path, name: str) -> None:
        self._path = file.with_name(file.name + ".lock")
        self._name = name
        self._handle = -1

    def take(self, wait: float = 0.0) -> None:
        """Take it, waiting up to `wait` seconds. Raises StoreError that names the holder's pid and host."""
        if self._handle >= 0:
            return
        try:
            handle = open_own(self._path)
        except OSError as error:
            raise StoreError(f"the lock {shown(str(self._path))} can't be made: {error.strerror}") from error
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(_PAUSE)
                    continue
                holder = shown(os.pread(handle, 300, 0)).strip() or "another process"
                os.close(handle)
                raise StoreError(
                    f"the store {self._name} is being written by {holder}: stop that one or wait"
                ) from None
            except OSError as error:
                os.close(handle)
                raise StoreError(f"the store {self._name} can't be locked: {error.strerror}") from error
        self._handle = handle
        self._sign(handle)

    def _sign(self, handle: int) -> None:
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()} on {socket.gethostname()}".encode(), 0)
        except OSError:
            # A full disk must not keep the one writer out; the holder is then "another process".
            return

    def release(self) -> None:
        """Let others in. May be called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _key(connection: Connection, what: bytes) -> int:
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    return name_id(b"aalearn", str(schema).encode(), what)


def take_for_session(connection: Connection, name: str, what: bytes) -> None:
    """Take a PostgreSQL advisory lock until the connection ends. Raises StoreError that names the holder."""
    key = _key(connection, what)
    if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one():
        return
    holder = connection.execute(
        text(
            "SELECT coalesce(nullif(a.application_name, ''), 'backend ' || l.pid) FROM pg_locks l"
            " LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND l.classid::bigint = :high AND l.objid::bigint = :low"
        ),
        {"high": key >> 32, "low": key & 0xFFFFFFFF},
    ).scalar()
    program, _, who = str(holder or "another process").partition(" ")
    pid, at, host = who.partition("@")
    said = f"pid {pid} on {host}" if program == "aalearn" and at else f"{program} {who}".strip()
    raise StoreError(f"the store {name} is being written by {shown(said)}: stop that one or wait")


def take_for_transaction(connection: Connection, what: bytes) -> None:
    """Take a PostgreSQL advisory lock until the transaction ends; wait for it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(connection, what)})
