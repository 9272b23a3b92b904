"""What the reader of lines gives: sightings of entries, and asides."""

from typing import NamedTuple

from aalearn.grammar.shapes import Common, Fields
from aalearn.model.event import Event


class Form(NamedTuple):
    """What an envelope says besides the moment; equal forms share entries."""

    transport: str
    forgeable: bool
    node: bytes
    extra: Fields


class Entry:
    """A body understood, shared by all lines that differ from it only in pid, time and serial.

    `digest` is a stable 64-bit number of the body without its pid, the same in each transport. `memo` is for whoever
    reads the lines, to keep what it knows of this entry without a table of its own.
    """

    __slots__ = ("_common", "_event", "_form", "_name", "_need", "digest", "memo")

    def __init__(self, common: Common, name: bytes, digest: int, form: Form) -> None:
        self._common = common
        self._name = name
        self._form = form
        self._event: Event | None = None
        self._need: Event | None = None
        self.digest = digest
        self.memo: object = None

    @property
    def transport(self) -> str:
        """The envelope's name: audit, audit-enriched, user_avc, kmsg, syslog, journal, cri or plain."""
        return self._form.transport

    @property
    def forgeable(self) -> bool:
        """True unless only the kernel can write such a line into audit.log."""
        return self._form.forgeable

    @property
    def node(self) -> bytes:
        """What node= said, b"" without it."""
        return self._form.node

    @property
    def event(self) -> Event:
        """The whole event."""
        if self._event is None:
            self._event = self._common.event(self._name, self._form.extra)
        return self._event

    @property
    def need(self) -> Event:
        """The event without who did it (WHO_FIELDS) and without what differs by chance: the identity of an access."""
        if self._need is None:
            self._need = self._common.need(self._name)
        return self._need

    @property
    def owner(self) -> bool | None:
        """True where the file's owner is the process's user, None where the record doesn't say."""
        return self._common.owner

    @property
    def program(self) -> bytes:
        """The comm of the process, b"" when absent."""
        return self._common.program


class Sighting(NamedTuple):
    """One record: when (ms since the epoch, 0: unknown), its audit serial and pid (0: none), and what it says."""

    time: int
    serial: int
    pid: int
    entry: Entry


class Aside(NamedTuple):
    """A line that is no record to learn from.

    `kind`: "companion" (SYSCALL, PROCTITLE, …), "other" (not AppArmor's), "malformed", "truncated", "forged" (a header
    that proves it was not the kernel's, or a bus daemon that tells of what only the kernel can know), "loss". Of a
    loss, `sign` names which, `amount` how many (at least 1) and `time` when (ms, 0: unknown). `text` is the line (at
    most 4,096 bytes), empty for companions and others.
    """

    kind: str
    text: bytes = b""
    amount: int = 0
    sign: str = ""
    time: int = 0


class Companion(NamedTuple):
    """A SYSCALL record: what it says of the process. `exe` is b"" where the kernel has none."""

    time: int
    serial: int
    pid: int
    ppid: int
    exe: bytes
