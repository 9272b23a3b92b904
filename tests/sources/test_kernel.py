"""The kernel's own ways: netlink datagrams and records of the ring; losses, and what a program wrote."""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aalearn.model.errors import AalearnError, UsageError
from aalearn.sources import Chunk
from aalearn.sources.kmsg import Kmsg
from aalearn.sources.netlink import Netlink

EVENT = (
    'apparmor="ALLOWED" operation="open" profile="p" name="/x" pid=1 comm="c" requested_mask="r" denied_mask="r" '
    "fsuid=0 ouid=0"
)
USER = 'pid=7 uid=0 auid=4294967295 ses=4294967295 msg=\'apparmor="DENIED" operation="dbus_method_call"\''


def datagram(kind: int, serial: int, text: str = EVENT, stamp: bool = True) -> bytes:
    body = (f"audit(1700000000.123:{serial}): " if stamp else "").encode() + text.encode()
    return struct.pack("=IHHII", len(body), kind, 0, 0, 0) + body + b"\0"


class FakeSocket(socket.socket):
    """A real datagram socket that gives senders as netlink does, and the errors that the test asks for."""

    errors: list[int]
    ports: list[int]

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, tuple[int, int]]:
        if self.errors and self.errors[0]:
            raise OSError(self.errors.pop(0), "No buffer space available")
        data, _ = super().recvfrom(bufsize, flags)
        if self.errors:
            self.errors.pop(0)
        return data, (self.ports.pop(0) if self.ports else 0, 1)


Send = Callable[..., None]


@pytest.fixture
def pair() -> Iterator[tuple[FakeSocket, Send]]:
    """A socket for the source, and a function that sends to it: datagrams, or the error that comes before the next."""
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    fake = FakeSocket(one.family, one.type, one.proto, one.detach())
    fake.errors, fake.ports = [], []

    def send(*datagrams: bytes | int, port: int = 0) -> None:
        for one in datagrams:
            if isinstance(one, int):
                fake.errors.append(one)
            else:
                two.send(one)
                fake.ports.append(port)
                if fake.errors:
                    fake.errors.append(0)

    yield fake, send
    fake.close()
    two.close()


def netlink(made: socket.socket, position: str | None = None) -> Netlink:
    source = Netlink("web-1", made, "b007")
    source.open(position)
    return source


def test_records_companions_and_nothing_else(pair: tuple[FakeSocket, Send]) -> None:
    made, send = pair
    source = netlink(made)
    assert source.read(0) == []
    send(
        datagram(1400, 5),
        datagram(1300, 5, "arch=c000003e syscall=257"),
        datagram(1107, 6, USER),
        datagram(1105, 7, "pid=1 msg='" + EVENT + "'"),
        datagram(1320, 5, ""),
        datagram(1400, 8, EVENT, stamp=False),
        b"short",
    )
    send(datagram(1400, 9), port=4711)  # a program's
    (chunk,) = source.read(1)
    assert chunk.data.split(b"\n") == [
        b"type=AVC msg=audit(1700000000.123:5): " + EVENT.encode(),
        b"type=SYSCALL msg=audit(1700000000.123:5): arch=c000003e syscall=257",
        b"type=USER_AVC msg=audit(1700000000.123:6): " + USER.encode(),
    ]
    assert chunk.counts == {"forged": 2, "other": 1, "malformed": 2}
    assert chunk.trusted
    assert chunk.position == "b007:6"
    assert chunk.losses == ()


def test_an_overflow_is_a_loss(pair: tuple[FakeSocket, Send]) -> None:
    made, send = pair
    source = netlink(made)
    send(datagram(1400, 5), errno.ENOBUFS, datagram(1400, 99))
    chunks = source.read(1)
    assert sum(chunk.data.count(b"apparmor") for chunk in chunks) == 2
    assert [(loss.kind, loss.amount) for chunk in chunks for loss in chunk.losses] == [("netlink", 1)]


@pytest.mark.parametrize(
    ("position", "loss"),
    [
        (None, ""),
        ("b007:5", ""),
        ("b007:4", ""),
        ("b007:3", "netlink-down"),
        ("other", "position"),
        ("aaaa:5", "netlink-down"),
    ],
)
def test_what_was_made_while_nobody_listened(pair: tuple[FakeSocket, Send], position: str | None, loss: str) -> None:
    made, send = pair
    source = netlink(made, position)
    send(datagram(1400, 5), datagram(1400, 77))
    chunks = source.read(1)
    assert [one.kind for chunk in chunks for one in chunk.losses] == ([loss] if loss else [])


def test_the_real_socket_or_a_clear_refusal() -> None:
    source = Netlink("web-1")
    try:
        source.open(None)
    except UsageError as error:
        assert "CAP_AUDIT_READ" in str(error) or "no audit multicast" in str(error)
    else:
        assert source.read(0) is not None
    source.close()
    source.close()


class Ring:
    """What os.read of /dev/kmsg would give."""

    def __init__(self) -> None:
        self.answers: list[bytes | int] = []

    def read(self, file: int, size: int) -> bytes:
        if not self.answers:
            raise BlockingIOError
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer


def ring(sequence: int, text: str, priority: int = 5) -> bytes:
    return f"{priority},{sequence},{sequence * 1000},-;{text}\n SUBSYSTEM=x\n".encode()


AUDIT = "audit: type=1400 audit(1700000000.123:5): "


@pytest.fixture
def kmsg(tmp_path: Path) -> Iterator[Callable[..., tuple[Kmsg, Ring]]]:
    (tmp_path / "kmsg").write_bytes(b"")
    made: list[Kmsg] = []

    def start(position: str | None = None, complete: bool = False) -> tuple[Kmsg, Ring]:
        given = Ring()
        source = Kmsg("web-1", tmp_path / "kmsg", complete=complete, boot="b007", read=given.read)
        source.open(position)
        made.append(source)
        return source, given

    yield start
    for one in made:
        one.close()


Start = Callable[..., tuple[Kmsg, Ring]]


def only(chunks: list[Chunk]) -> Chunk:
    (chunk,) = chunks
    return chunk


def test_the_ring(kmsg: Start) -> None:
    source, given = kmsg()
    assert source.read(0) == []
    given.answers = [
        ring(7, AUDIT + EVENT),
        ring(8, "usb 1-1: new device"),
        ring(9, AUDIT + EVENT, priority=12),  # facility 1: a program's
        ring(10, "audit: backlog limit exceeded"),
        ring(11, AUDIT + 'apparmor="ALLOWED" name="/a\\x5cb\\xc3\\xa9" pid=1'),
        ring(12, AUDIT + EVENT + " x" * 500),
        b"rubbish",
    ]
    chunk = only(source.read(0))
    lines = chunk.data.split(b"\n")
    assert lines[0] == b"type=AVC msg=audit(1700000000.123:5): " + EVENT.encode()
    assert lines[2].endswith(b" localhost kernel: audit: backlog limit exceeded")
    assert lines[3].endswith(b'apparmor="ALLOWED" name="/a\\b\xc3\xa9" pid=1')
    assert len(lines) == 4
    assert chunk.counts == {"forged": 1, "malformed": 1}
    assert len(chunk.truncated) == 1
    assert chunk.position == "b007:12"
    assert chunk.trusted


def test_gaps_and_overruns_are_losses(kmsg: Start) -> None:
    source, given = kmsg()
    given.answers = [ring(7, "a"), ring(9, "b"), errno.EPIPE, ring(40, "c")]
    assert [(loss.kind, loss.amount) for loss in only(source.read(0)).losses] == [
        ("kmsg-overrun", 1),
        ("kmsg-overrun", 30),
    ]


def test_beside_a_complete_source_only_the_audit_systems_losses_count(kmsg: Start) -> None:
    source, given = kmsg(None, complete=True)
    given.answers = [
        ring(7, "a"),
        errno.EPIPE,
        ring(40, "kauditd_printk_skb: 903 callbacks suppressed"),
        ring(41, AUDIT + EVENT + " x" * 500),
        ring(42, "audit: backlog limit exceeded"),
    ]
    chunk = only(source.read(0))
    assert (chunk.losses, chunk.truncated) == ((), ())
    assert b"suppressed" not in chunk.data
    assert chunk.data.endswith(b"audit: backlog limit exceeded")


def test_resumed_after_the_sequence_number(kmsg: Start) -> None:
    source, given = kmsg("b007:8")
    given.answers = [ring(number, AUDIT + EVENT) for number in (7, 8, 9)]
    chunk = only(source.read(0))
    assert chunk.data.count(b"apparmor") == 1
    assert chunk.losses == ()
    source, given = kmsg("b007:8")
    given.answers = [ring(7, "x"), ring(8, "x")]
    assert source.read(0) == []
    source, given = kmsg("b007:8")
    given.answers = [ring(12, "x")]
    assert [(loss.kind, loss.amount) for loss in only(source.read(0)).losses] == [("kmsg-overrun", 3)]
    source, given = kmsg("aaaa:8")
    given.answers = [ring(0, "x")]
    assert only(source.read(0)).losses == ()


def test_a_read_that_fails_is_one_line(kmsg: Start) -> None:
    source, given = kmsg()
    given.answers = [errno.EIO]
    with pytest.raises(AalearnError, match="kmsg: Input/output error"):
        source.read(0)


def test_the_real_ring_and_what_a_program_writes_to_it() -> None:
    """The text is perfect, but its facility is not the kernel's."""
    source = Kmsg("web-1")
    try:
        source.open(None)
    except UsageError as error:
        assert "/dev/kmsg: can't be read" in str(error)
        return
    while source.read(0):
        pass
    forged = 0
    try:
        with open("/dev/kmsg", "wb", buffering=0) as out:
            out.write(b"<5>" + AUDIT.encode() + EVENT.encode())
        for chunk in source.read(1):
            assert b"apparmor" not in chunk.data
            forged += chunk.counts.get("forged", 0)
        assert forged <= 1  # the kernel may limit what programs write
    except PermissionError:
        pass
    source.close()


def test_no_ring(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kmsg: can't be read: No such file or directory"):
        Kmsg("n", tmp_path / "kmsg").open(None)
