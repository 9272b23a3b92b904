"""Lines in, sightings out: the fast way through the grammar, with the grammar behind it.

Four steps, each for what the one before did not know:

1. no `apparmor="` in the line: a companion, a sign of loss, or none of our business;
2. the line without pid, time and serial was met before: the entry made then is the answer;
3. its shape was met before: that shape's extractor reads it;
4. the grammar parses it, and leaves a shape for the next one.

Why step 2 is exact: the cut-out pid is the first ` pid=` of the body. Whether that is the record's own pid or text inside
somebody's quotes depends on what stands before it, and that is part of the key; an entry is stored only if the grammar
or an extractor found the record's own pid in this very place.
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from aalearn.grammar.envelopes import Envelope, milliseconds
from aalearn.grammar.records import trail
from aalearn.grammar.shapes import Fields, Reading, Shape, Values
from aalearn.grammar.words import record_words
from aalearn.model.event import Event

_WORDS = record_words()
_MARK = b'apparmor="'
_AVC = b"type=AVC msg=audit("
_SHOWN = 4096  # how much of a line an Aside keeps (bytes)


class Entry:
    """A body understood, shared by all lines that differ from it only in pid, time and serial.

    `digest` is a stable 64-bit number of the body without its pid, the same in each transport. `owner` is fsuid == ouid,
    None where the record has not both. `program` is comm. `transport` names the envelope; `forgeable` is True unless only
    the kernel can write such a line into audit.log. `node` is what node= said (b"" without it).
    """

    __slots__ = ("_event", "_extra", "_need", "_shape", "_values", "digest", "forgeable", "node", "transport")

    def __init__(self, shape: Shape, values: Values, digest: int, envelope: "_Form") -> None:
        self._shape = shape
        self._values = values
        self._event: Event | None = None
        self._need: Event | None = None
        self.digest = digest
        self.transport = envelope.transport
        self.forgeable = envelope.forgeable
        self.node = envelope.node
        self._extra = envelope.extra

    @property
    def event(self) -> Event:
        """The whole event."""
        if self._event is None:
            shape = self._shape
            fields: Fields = tuple(zip(shape.keys, self._values[1:], strict=False))
            if self._extra:
                fields = tuple(sorted({**dict(self._extra), **dict(fields)}.items()))
            self._event = Event(shape.verdict, shape.operation, self._values[0], fields)
        return self._event

    @property
    def need(self) -> Event:
        """The event without who did it (WHO_FIELDS) and without what differs by chance: the identity of an access."""
        if self._need is None:
            shape = self._shape
            fields: Fields = tuple(zip(shape.need_keys, shape.need(self._values), strict=True))
            if shape.local or shape.foreign:
                fields = _without_chance(shape, fields)
            self._need = Event(shape.verdict, shape.operation, self._values[0], fields)
        return self._need

    @property
    def owner(self) -> bool | None:
        """True where the file's owner is the process's user, None where the record doesn't say."""
        shape = self._shape
        return self._values[shape.fsuid] == self._values[shape.ouid] if shape.fsuid and shape.ouid else None

    @property
    def program(self) -> bytes:
        """The comm of the process, b"" when absent."""
        shape = self._shape
        return self._values[shape.program] if shape.program else b""


def _without_chance(shape: Shape, fields: Fields) -> Fields:
    """Drop ports that the kernel picked, and with a foreign one the address of that passing client."""
    dropped: set[str] = set()
    for key, value in fields:
        if shape.local and key == "lport" and _ephemeral(value):
            dropped.add("lport")
        if shape.foreign and key == "fport" and _ephemeral(value):
            dropped.update(("fport", "faddr"))
    return tuple(pair for pair in fields if pair[0] not in dropped) if dropped else fields


def _ephemeral(port: bytes) -> bool:
    return port.isdigit() and len(port) < 6 and int(port) >= _WORDS.ephemeral


class Sighting(NamedTuple):
    """One record: when (ms since the epoch, 0: the envelope doesn't say), its audit serial and pid (0: none), and what."""

    time: int
    serial: int
    pid: int
    entry: Entry


class Aside(NamedTuple):
    """A line that is no record to learn from.

    `kind`: "companion" (SYSCALL, PROCTITLE, …), "other" (not AppArmor's), "malformed", "truncated", "forged" (a header
    that proves it was not the kernel's), "loss". Of a loss, `sign` names which, `amount` how many (at least 1) and `time`
    when (ms, 0: unknown). `text` is the line (at most 4,096 bytes), empty for companions and others.
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


class _Form(NamedTuple):
    """What an envelope says besides the moment; equal forms share entries."""

    transport: str
    forgeable: bool
    node: bytes
    extra: Fields


COMPANION = Aside("companion")
OTHER = Aside("other")
_sighting: Callable[[type[Sighting], tuple[int, int, int, Entry]], Sighting] = tuple.__new__
_SYSCALL = re.compile(
    rb"(?:type=SYSCALL msg=|audit: type=1300 |type=1300 )audit\((\d{1,11})\.(\d{3}):(\d{1,10})\): "
    rb'arch=[0-9a-f]+ [^"]*?\bppid=(\d{1,10}) pid=(\d{1,10}) [^"]*?(?:comm="[^"]*"|comm=[0-9A-F]+|comm=\(null\)) '
    rb'exe=(?:"([^"]*)"|([0-9A-F]+)|\(null\))'
)
_AUDIT_FORM = re.compile(rb"audit\((\d{1,11})\.(\d{3}):\d{1,10}\)")
_COMPANION_TYPE = re.compile(rb"\btype=" + _WORDS.companion_numbers.encode() + rb" audit\(")


class Lines:
    """A reader of lines with its caches. One for each thread; the caches are bounded, whatever the input."""

    __slots__ = ("_clocks", "_envelopes", "_old", "_shapes", "_shape_count", "_size", "_young")

    def __init__(self, cache: int = 25_000) -> None:
        """Keep at most twice `cache` entries."""
        self._size = cache
        self._young: dict[object, Entry] = {}
        self._old: dict[object, Entry] = {}
        self._clocks: dict[bytes, int] = {}
        self._envelopes: list[Envelope] = []
        self._shapes: dict[tuple[bool, bytes, bytes], list[Shape]] = {}
        self._shape_count = 0

    def read(self, line: bytes) -> Sighting | Aside:
        """Return what a line (without its newline) says. Never raises, whatever the bytes."""
        if _MARK not in line:
            return self._unmarked(line)
        head, _, rest = line.partition(b" pid=")
        stamp, _, body = head.partition(b'): apparmor="')
        if stamp[:19] == _AVC:
            pid, _, tail = rest.partition(b" ")
            clock, _, serial = stamp[19:].partition(b":")
            entry = self._young.get((body, tail))
            if entry is not None and serial.isdigit() and pid.isdigit() and len(serial) < 11 and len(pid) < 11:
                time = self._clocks.get(clock) or self._clock(clock)
                if time:
                    return _sighting(Sighting, (time, int(serial), int(pid), entry))
        return self._careful(line)

    def _clock(self, clock: bytes) -> int:
        """Return the milliseconds of "seconds.millis", 0 if it is no such thing; keep it, most lines share theirs."""
        seconds, _, millis = clock.partition(b".")
        if not (seconds.isdigit() and millis.isdigit() and len(millis) == 3 and len(seconds) < 12):
            return 0
        if len(self._clocks) > 1000:
            self._clocks.clear()
        time = self._clocks[clock] = int(seconds + millis)
        return time

    def _careful(self, line: bytes) -> Sighting | Aside:
        """Read a marked line of any envelope: by the caches if they know it, else by the grammar."""
        if len(line) > _WORDS.line_limit:
            return Aside("malformed", line[:_SHOWN])
        at = line.find(_MARK)
        for envelope in self._envelopes:
            match = envelope.pattern.fullmatch(line, 0, at)
            if match is not None:
                return self._known(line, at, envelope, match)
        return self._first(line, at)

    def _known(self, line: bytes, at: int, envelope: Envelope, match: re.Match[bytes]) -> Sighting | Aside:
        """Read a line whose form of envelope was met before."""
        if envelope.forged(match):
            return Aside("forged", line[:_SHOWN])
        form = _Form(envelope.transport, envelope.forgeable, envelope.node(match), envelope.extra(match))
        time, serial = envelope.stamp(match)
        cut = line.find(b" pid=", at)
        blank = line.find(b" ", cut + 5)
        digits = line[cut + 5 : blank if blank > 0 else len(line)]
        key = _key(line, at, envelope, form, cut, blank)
        if cut > 0 and digits.isdigit() and len(digits) < 11 and (entry := self._young.get(key) or self._old.get(key)):
            self._keep(key, entry)
            return _sighting(Sighting, (time, serial, int(digits), entry))
        for shape in self._shapes.get(_bucket(line, at, envelope), ()):
            if (reading := shape.read(line, at)) is not None:
                return self._made(line, at, _Found(envelope, match, form, key, cut), shape, reading)
        return self._first(line, at)

    def _first(self, line: bytes, at: int) -> Sighting | Aside:
        """Parse a line by the grammar, remember its envelope and shape, and read it by them."""
        met = trail(line)
        if met is None:
            return Aside("malformed" if _RECORD.search(line, at) else "other", line[:_SHOWN])
        envelope = self._envelope(Envelope(met.envelope))
        match = envelope.pattern.fullmatch(line, 0, at)
        if match is None or met.body[0].at != at:
            return Aside("malformed", line[:_SHOWN])
        if envelope.forged(match):
            return Aside("forged", line[:_SHOWN])
        shape = Shape(met.body, envelope.quoted)
        if not shape.sound:
            return Aside("malformed", line[:_SHOWN])
        self._learn(_bucket(line, at, envelope), shape)
        form = _Form(envelope.transport, envelope.forgeable, envelope.node(match), envelope.extra(match))
        cut = line.find(b" pid=", at)
        key = _key(line, at, envelope, form, cut, line.find(b" ", cut + 5))
        return self._made(line, at, _Found(envelope, match, form, key, cut), shape, shape.parsed(met.body))

    def _made(self, line: bytes, at: int, found: "_Found", shape: Shape, reading: Reading) -> Sighting | Aside:
        """Make a sighting of what a shape read, and an entry that the next such line will find."""
        envelope, match, form, key, cut = found
        if not shape.complete or envelope.cut(match, reading.end) or envelope.partial(match):
            return Aside("truncated", line[:_SHOWN])
        body = (
            line[at : reading.pid_at] + line[reading.pid_end : reading.end]
            if reading.pid_at
            else line[at : reading.end]
        )
        digest = int.from_bytes(blake2b(body, digest_size=8).digest(), "big")
        if envelope.transport == "audit" and line.find(b"\x1d", reading.end) > 0:
            form = form._replace(transport="audit-enriched")
        entry = Entry(shape, reading.values, digest, form)
        if reading.pid_at == cut + 5 and not envelope.cut(match, reading.end + _SLACK):
            self._keep(key, entry)
        time, serial = envelope.stamp(match)
        return _sighting(Sighting, (time, serial, reading.pid, entry))

    def _envelope(self, new: Envelope) -> Envelope:
        """Return the envelope met before with the same extractor, or keep this one. Their number is bounded by the grammar."""
        for known in self._envelopes:
            if known.pattern.pattern == new.pattern.pattern:
                return known
        self._envelopes.append(new)
        return new

    def _learn(self, bucket: tuple[bool, bytes, bytes], shape: Shape) -> None:
        """Keep a shape; forget all when hostile input has made too many."""
        if self._shape_count >= _MOST_SHAPES or len(self._shapes.get(bucket, ())) >= _MOST_IN_BUCKET:
            self._shapes.clear()
            self._shape_count = 0
        self._shapes.setdefault(bucket, []).insert(0, shape)
        self._shape_count += 1

    def _keep(self, key: object, entry: Entry) -> None:
        """Keep an entry in the young generation; the old one is dropped when the young one is full."""
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[key] = entry

    def _unmarked(self, line: bytes) -> Aside:
        """Say what a line without a record is."""
        if line.startswith(b"type="):
            word = line[5 : line.find(b" ", 5, 40)]
            if word in _WORDS.companions:
                return COMPANION
        for sign in _WORDS.losses:
            if sign.has in line:
                number = sign.amount.search(line, 0, _SHOWN) if sign.amount else None
                if number is None and sign.amount is not None:
                    continue
                amount = int(number[1][:18]) if number else 1
                return Aside("loss", line[:_SHOWN], amount, sign.name, _moment(line))
        if b"audit(" in line and (_COMPANION_TYPE.search(line, 0, 200) or _NODE_COMPANION.match(line)):
            return COMPANION
        return OTHER

    def companion(self, line: bytes) -> Companion | None:
        """Return what a SYSCALL record says of its process; None for every other line."""
        match = _SYSCALL.search(line)
        if match is None:
            return None
        seconds, millis, serial, ppid, pid, exe, hexed = match.groups()
        path: bytes = (
            exe if exe is not None else bytes.fromhex(hexed.decode()) if hexed and len(hexed) % 2 == 0 else b""
        )
        return Companion(int(seconds + millis), int(serial), int(pid), int(ppid), path)


class _Found(NamedTuple):
    """Where `read` stands in a line."""

    envelope: Envelope
    match: re.Match[bytes]
    form: _Form
    key: object
    cut: int


_MOST_SHAPES = 2000
_MOST_IN_BUCKET = 64
_SLACK = 64  # pid, serial and seconds together never differ in length by more
_RECORD = re.compile(b'apparmor="(?:' + "|".join(_WORDS.verdicts).encode() + b')"')
_NODE_COMPANION = re.compile(b"node=[^ ]+ type=(?:" + b"|".join(sorted(_WORDS.companions)) + b") ")
_ISO_START = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d) ")


def _key(line: bytes, at: int, envelope: Envelope, form: _Form, cut: int, blank: int) -> object:
    """Return the key of a line's entry: all of it but the moment and the digits of the first pid= in its body."""
    if cut < 0:
        return form, line[at:]
    head, tail = line[at:cut], line[blank + 1 :] if blank > 0 else b""
    if envelope.trail == ("kernel type",) and line.startswith(_AVC):
        return head[len(_MARK) :], tail
    return form, head, tail


def _bucket(line: bytes, at: int, envelope: Envelope) -> tuple[bool, bytes, bytes]:
    """Return where the shapes are kept that may fit: by verdict and the second quoted value, most often the operation."""
    parts = line[at : at + 200].split(b'"', 4)
    return envelope.quoted, parts[1], parts[3] if len(parts) > 3 else b""


def _moment(line: bytes) -> int:
    """Return the time of a line that is no record, ms since the epoch, 0 where it doesn't say."""
    if stamp := _AUDIT_FORM.search(line, 0, 200):
        return int(stamp[1] + stamp[2])
    return milliseconds(iso[0][:-1].decode("ascii")) if (iso := _ISO_START.match(line)) else 0
