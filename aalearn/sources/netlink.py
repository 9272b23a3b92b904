"""The kernel's audit multicast: every record as it is made, beside or without auditd. No program can forge it.

Sources: linux/audit.h (AUDIT_NLGRP_READLOG), netlink(7), kernel/audit.c. The length in a record's header is not to be
relied on (it counts differently in unicast and multicast), so a record is its whole datagram.
"""

import errno
import re
import select
import socket
import struct
import time
from pathlib import Path

from aalearn.model.errors import BadInput, UsageError
from aalearn.sources.base import Chunk, Missing
from aalearn.sources.live import READ_BYTES, Lag

_NETLINK_AUDIT = 9
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_READLOG = 1
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20  # the default lost 154 of 10,000 records, this none (bytes)
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port of the sender
_LARGEST = 1 << 16
_NAMES = {1400: b"AVC", 1300: b"SYSCALL", 1107: b"USER_AVC", 1327: b"PROCTITLE"}
_STAMP = re.compile(rb"audit\(\d{1,11}\.\d{3}:(\d{1,10})\): ")
_POSITION = re.compile(r"([0-9a-f-]{1,40}):(\d{1,10})")


class Netlink:
    """A live source of the audit multicast.

    It can't be resumed: what was made while nobody listened is gone. The position (boot and last serial) only tells
    whether something was. `made` stands for the socket in tests: one of datagrams, whose senders are (port, groups).
    """

    name = "netlink"
    resumable = False  # what was read and not counted can't be read again

    def __init__(self, node: str, made: socket.socket | None = None, boot: str | None = None) -> None:
        self._node = node
        self._given = made
        self._socket: socket.socket | None = None
        self._boot = boot_id() if boot is None else boot
        self._serial = 0
        self._resumed: tuple[str, int] | None = None
        self._losses: list[Missing] = []

    def open(self, position: str | None) -> None:
        """See LiveSource. Raises UsageError without CAP_AUDIT_READ, or outside of the first network namespace."""
        self.close()
        found = _POSITION.fullmatch(position or "")
        self._resumed = (found[1], int(found[2])) if found else None
        if position and found is None:
            self._lose("position")
        self._socket = self._given or _bound()
        self._socket.setblocking(False)

    def read(self, timeout: float) -> list[Chunk]:
        """See LiveSource."""
        if self._socket is None:
            raise BadInput("netlink: it was closed")
        if not select.select([self._socket], [], [], max(0.0, timeout))[0] and not self._losses:
            return []
        lines: list[bytes] = []
        counts: dict[str, int] = {}
        size = 0
        while size < READ_BYTES and (got := self._receive(self._socket)) is not None:
            data, port = got
            size += len(data) + 1
            kind, line = self._judge(data, port)
            if kind == "line":
                lines.append(line)
            else:
                counts[kind] = counts.get(kind, 0) + 1
        if not (size or self._losses):
            return []
        losses, self._losses = tuple(self._losses), []
        position = f"{self._boot}:{self._serial}" if self._serial else ""
        return [Chunk(b"\n".join(lines), self.name, True, self._node, position, size, (), counts, losses)]

    def _receive(self, made: socket.socket) -> tuple[bytes, int] | None:
        """Return a datagram and its sender's port, None when there is none now."""
        while True:
            try:
                data, sender = made.recvfrom(_LARGEST)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    self._lose("netlink")
                    continue
                raise BadInput(f"netlink: {error.strerror or error}") from error
            return data, sender[0] if isinstance(sender, tuple) else -1

    def _judge(self, data: bytes, port: int) -> tuple[str, bytes]:
        """Return ("line", its line) of a record of the kernel, or the word by which something else is counted."""
        if len(data) < _HEADER.size:
            return "malformed", b""
        text = data[_HEADER.size :].rstrip(b"\0\n").replace(b"\n", b" ")
        name = _NAMES.get(_HEADER.unpack_from(data)[1])
        stamp = _STAMP.match(text)
        if port or name is None:
            return ("forged" if b"apparmor=" in text else "other"), b""
        if stamp is None:
            return "malformed", b""
        self._note(int(stamp[1]))
        return "line", b"type=%b msg=%b" % (name, text)

    def _note(self, serial: int) -> None:
        """Look whether records were made while nobody listened."""
        if self._resumed is not None:
            boot, last = self._resumed
            if boot != self._boot or serial > last + 1:
                self._lose("netlink-down")
            self._resumed = None
        self._serial = max(serial, self._serial)

    def _lose(self, kind: str) -> None:
        self._losses.append(Missing(kind, 1, int(time.time() * 1000)))

    def lag(self) -> Lag:
        """See LiveSource. What waits in the kernel can't be seen."""
        return Lag(None, None)

    def close(self) -> None:
        """Leave the multicast."""
        if self._socket is not None and self._socket is not self._given:
            self._socket.close()
        self._socket = None
        self._losses.clear()
        self._serial = 0


def _bound() -> socket.socket:
    """Return a socket that is member of READLOG, with room for a storm."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_AUDIT)
    try:
        try:
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except PermissionError:  # without CAP_NET_ADMIN as much as net.core.rmem_max allows
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.bind((0, 0))
        made.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _READLOG)
    except PermissionError as error:
        made.close()
        raise UsageError(
            "netlink: reading the kernel's audit multicast needs CAP_AUDIT_READ: run as root, or give the service "
            "AmbientCapabilities=CAP_AUDIT_READ"
        ) from error
    except OSError as error:
        made.close()
        raise UsageError(
            f"netlink: this kernel has no audit multicast here: {error.strerror or error} (it is only in the first "
            "network namespace, of a kernel with CONFIG_AUDIT)"
        ) from error
    return made


def boot_id() -> str:
    """Return the id of this boot of the machine, "" where /proc does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
