"""Ways to read journald's journal as it is written: systemd-python's Reader, and `journalctl --follow`.

Sources: journalctl(1), sd_journal_seek_cursor(3), systemd.journal-fields(7). `journalctl --follow` shows the current
boot alone, unless told `--merge`, which would also read journals that others sent to this machine: so it is to be given
this machine's own folder.
"""

import os
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Protocol

from aalearn.model.errors import UsageError
from aalearn.model.text import shown
from aalearn.sources.base import CHUNK, LINE
from aalearn.sources.entries import KMSG_LIMIT, WANTED, Entries, Export, Fields
from aalearn.sources.live import READ_BYTES

CURSOR = re.compile(r"s=([0-9a-f]{1,32});i=([0-9a-f]{1,16})(?:;[a-z]=[0-9a-f]{1,32}){0,8}")
_PRINTK = (b" callbacks suppressed", b"Missed ")
_ENTRIES = 4096  # taken at once from the library


class Followed(Entries):
    """Entries after a cursor.

    `complete`: every record comes by another way than the kernel's ring, so that what the ring leaves out or cuts is no
    loss.
    """

    def __init__(self, *, complete: bool) -> None:
        super().__init__()
        self.cursor = ""
        self.awaited = ""  # the cursor that reading began with, until its entry was met
        self.passed = False  # an entry came that is later than the awaited one
        self.micros = 0
        self._complete = complete

    def add(self, fields: Fields) -> None:
        """Take one entry, unless it is the awaited one: that was counted before."""
        cursor = fields.get(b"__CURSOR", b"").decode("ascii", "replace")
        self.cursor = cursor or self.cursor
        moment = fields.get(b"__REALTIME_TIMESTAMP", b"")
        self.micros = int(moment[:16]) if moment.isdigit() else self.micros
        if self.awaited:
            if cursor == self.awaited:
                self.awaited = ""
                return
            self.passed = self.passed or _later(cursor, self.awaited)
        message = fields.get(b"MESSAGE", b"")
        copied = self._complete and fields.get(b"_TRANSPORT") != b"audit"
        if copied and (len(message) >= KMSG_LIMIT or any(sign in message for sign in _PRINTK)):
            self.count("other")
            return
        super().add(fields)


def _later(cursor: str, other: str) -> bool:
    """Is the first a later entry of the same series?"""
    one, two = CURSOR.fullmatch(cursor), CURSOR.fullmatch(other)
    return one is not None and two is not None and one[1] == two[1] and int(one[2], 16) > int(two[2], 16)


def has_library() -> bool:
    """Is systemd-python installed?"""
    try:
        return find_spec("systemd.journal") is not None
    except ModuleNotFoundError:
        return False


class Feed(Protocol):
    """A way to read the journal."""

    def start(self, cursor: str) -> None:
        """Begin at the entry of the cursor, or near it; "" is the oldest one."""

    def pump(self, entries: Followed, timeout: float) -> int:
        """Take what is there into `entries`; wait for it at most so long (s). Returns about how many bytes it was."""

    def ended(self) -> str | None:
        """Say why nothing more can come; None while more may come."""

    def stop(self) -> None:
        """Give back what is held. May be called twice."""


class Program:
    """`journalctl --follow`."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._export = Export()

    def start(self, cursor: str) -> None:
        """See Feed. Raises UsageError without journalctl."""
        self.stop()
        program = shutil.which("journalctl")
        if program is None:
            raise UsageError("journalctl is needed to read the journal: install systemd, or systemd-python")
        fields = ",".join(name.decode() for name in WANTED if not name.startswith(b"__"))
        command = [
            program,
            "--follow",
            "--no-pager",
            "--quiet",
            "--all",
            "--output=export",
            f"--output-fields={fields}",
        ]
        if cursor:
            command.append(f"--cursor={cursor}")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self._process = subprocess.Popen(
            [*command, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        self._export = Export()

    def pump(self, entries: Followed, timeout: float) -> int:
        """See Feed."""
        stream = self._process.stdout if self._process is not None else None
        if stream is None:
            return 0
        self._export.entries = entries
        taken = 0
        while taken < READ_BYTES and select.select([stream], [], [], 0 if taken else timeout)[0]:
            piece = os.read(stream.fileno(), CHUNK)
            if not piece:
                break
            self._export.feed(piece)
            taken += len(piece)
        return taken

    def ended(self) -> str | None:
        """See Feed."""
        if self._process is None or self._said is None:
            return "it was not started"
        code = self._process.poll()
        if code is None:
            return None
        self._said.seek(0)
        said = self._said.read(CHUNK).strip().split(b"\n")[0]
        return shown(said) or f"journalctl ended with exit code {code}"

    def stop(self) -> None:
        """See Feed."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._said is not None:
            self._said.close()
            self._said = None


class Library:
    """systemd-python's Reader."""

    def __init__(self, folder: Path | None, matches: Sequence[str]) -> None:
        """Read a folder, or (None) the journal of this machine."""
        self._folder = folder
        self._matches = tuple(matches)
        self._reader: Any = None

    def start(self, cursor: str) -> None:
        """See Feed. Raises UsageError for what can't be read."""
        self.stop()
        journal = import_module("systemd.journal")
        keep = {name.decode(): _unchanged for name in (*WANTED, b"__CURSOR")}
        try:
            if self._folder is not None:
                self._reader = journal.Reader(path=str(self._folder), converters=keep)
            else:
                self._reader = journal.Reader(flags=journal.LOCAL_ONLY | journal.SYSTEM_ONLY, converters=keep)
            self._reader.data_threshold = LINE
            for match in self._matches:
                self._reader.add_match(match)
            if cursor:
                self._reader.seek_cursor(cursor)
            else:
                self._reader.seek_head()
        except OSError as error:
            self.stop()
            raise UsageError(f"the journal can't be read: {error.strerror or error}") from error

    def pump(self, entries: Followed, timeout: float) -> int:
        """See Feed."""
        taken = self._take(entries)
        if not taken and timeout > 0:
            self._reader.wait(timeout)
            taken = self._take(entries)
        return taken

    def _take(self, entries: Followed) -> int:
        taken = 0
        for _ in range(_ENTRIES):
            found = self._reader.get_next()
            if not found:
                break
            fields = {name: _bytes(found[key]) for name in WANTED if (key := name.decode()) in found}
            entries.add(fields)
            taken += sum(map(len, fields.values()))
            if taken >= READ_BYTES:
                break
        return taken

    def ended(self) -> str | None:
        """See Feed. The library's reader never ends by itself."""
        return None

    def stop(self) -> None:
        """See Feed."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _unchanged(value: object) -> object:
    return value


def _bytes(value: object) -> bytes:
    """Return a field's bytes; of several values of one field, the first."""
    match value:
        case bytes():
            return value
        case [first, *_]:
            return _bytes(first)
        case _:
            return str(value).encode("utf-8", "surrogateescape")
