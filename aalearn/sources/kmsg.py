"""The kernel's ring, /dev/kmsg: where records go when nobody else takes them. It is small, and its texts are cut.

Source: the kernel's Documentation/ABI/testing/dev-kmsg. What a program writes to /dev/kmsg has a facility other than 0.
"""

import errno
import os
import re
import select
import time
from collections.abc import Callable
from pathlib import Path

from aalearn.model.errors import BadInput, UsageError
from aalearn.sources.base import Chunk, Missing
from aalearn.sources.entries import Entries
from aalearn.sources.journal_feeds import Followed
from aalearn.sources.live import READ_BYTES, Lag
from aalearn.sources.netlink import boot_id
from aalearn.sources.rotated import unreadable

_RECORD = re.compile(rb"(\d{1,6}),(\d{1,20}),(\d{1,20}),[^;]*;([^\n]*)")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
_POSITION = re.compile(r"([0-9a-f-]{1,40}):(\d{1,20})")
_LARGEST = 1 << 16  # a shorter buffer than the record is an error (bytes)


class Kmsg:
    """A live source of the kernel's ring. The position is the boot and the last sequence number.

    `complete`: every record comes by another source too, so that what the ring overwrites, cuts or leaves out is no
    loss; it is then read for what the kernel says of the audit system's own losses. `read` stands for os.read in tests.
    """

    name = "kmsg"
    resumable = True

    def __init__(
        self,
        node: str,
        path: Path = Path("/dev/kmsg"),
        *,
        complete: bool = False,
        boot: str | None = None,
        read: Callable[[int, int], bytes] = os.read,
    ) -> None:
        self._node = node
        self._path = path
        self._boot = boot_id() if boot is None else boot
        self._read = read
        self._complete = complete
        self._file = -1
        self._sequence = -1  # of the last record
        self._overrun = False
        self._losses: list[Missing] = []
        self._time = 0.0

    def open(self, position: str | None) -> None:
        """See LiveSource. It begins with the oldest record in the ring that was not read before."""
        self.close()
        found = _POSITION.fullmatch(position or "")
        if found is not None and found[1] == self._boot:
            self._sequence = int(found[2])
        elif position and found is None:
            self._lose("position", 1)
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            mend = " (it needs root, or CAP_SYSLOG where kernel.dmesg_restrict is 1)"
            raise UsageError(unreadable(str(self._path), error).partition(" (")[0] + mend) from error

    def read(self, timeout: float) -> list[Chunk]:
        """See LiveSource."""
        if self._file < 0:
            raise BadInput("kmsg: it was closed")
        if not select.select([self._file], [], [], max(0.0, timeout))[0] and not self._losses:
            return []
        entries, size = Followed(complete=self._complete), 0
        before = self._sequence
        while size < READ_BYTES and (record := self._receive()):
            size += len(record)
            self._take(record, entries)
        if not self._losses and (not size or before == self._sequence):
            return []
        cut, losses = entries.cut(size), tuple(self._losses)
        self._losses.clear()
        position = f"{self._boot}:{self._sequence}" if self._sequence >= 0 else ""
        return [Chunk(cut.data, self.name, True, self._node, position, size, cut.truncated, cut.counts, losses)]

    def _receive(self) -> bytes:
        """Return a record, b"" when there is none now."""
        while True:
            try:
                return self._read(self._file, _LARGEST)
            except BlockingIOError:
                return b""
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise BadInput(f"kmsg: {error.strerror or error}") from error
                self._overrun = True  # overwritten before it was read; the next one tells by its number how many

    def _take(self, record: bytes, entries: Entries) -> None:
        found = _RECORD.match(record)
        if found is None:
            entries.count("malformed")
            return
        priority, sequence, micros, text = int(found[1]), int(found[2]), int(found[3]), found[4]
        if sequence <= self._sequence:
            return  # it was read before
        missed = sequence - self._sequence - 1 if self._sequence >= 0 else 0
        if (missed or self._overrun) and not self._complete:
            self._lose("kmsg-overrun", max(1, missed))
        self._overrun, self._sequence = False, sequence
        self._time = time.time() - max(0.0, time.clock_gettime(time.CLOCK_MONOTONIC) - micros / 1e6)
        entries.add(
            {
                b"_TRANSPORT": b"kernel",
                b"SYSLOG_FACILITY": b"%d" % (priority >> 3),
                b"MESSAGE": _ESCAPED.sub(_byte, text) if b"\\x" in text else text,
                b"__REALTIME_TIMESTAMP": b"%d" % int(self._time * 1e6),
                b"_HOSTNAME": b"localhost",
            }
        )

    def _lose(self, kind: str, amount: int) -> None:
        self._losses.append(Missing(kind, amount, int(time.time() * 1000)))

    def lag(self) -> Lag:
        """See LiveSource. How much is left the ring does not tell."""
        return Lag(None, None)

    def close(self) -> None:
        """Close the ring."""
        if self._file >= 0:
            os.close(self._file)
        self._file = self._sequence = -1
        self._overrun = False
        self._losses.clear()


def _byte(found: re.Match[bytes]) -> bytes:
    """Return the byte that the kernel spelled as \\xNN."""
    return bytes((int(found[1], 16),))
