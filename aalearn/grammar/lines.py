"""Lines in, sightings out: the fast way through the grammar, with the grammar behind it.

Four steps, each for what the one before did not know:

1. no `apparmor="` in the line: a companion, a sign of loss, or none of our business;
2. the line without pid, time and serial was met before: the entry made then is the answer;
3. its shape was met before: that shape's extractor reads it;
4. the grammar parses it, and leaves a shape for the next one.

Why step 2 is exact: the cut-out pid is the first ` pid=` of the body. Whether that is the record's own pid or text
inside somebody's quotes depends on what stands before it, and that is part of the key; an entry is stored only if the
grammar or an extractor found the record's own pid in this very place.
"""

import re
from binascii import unhexlify
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from aalearn.grammar.entries import Aside, Companion, Entry, Form, Sighting
from aalearn.grammar.envelopes import Envelope, milliseconds
from aalearn.grammar.records import trail
from aalearn.grammar.shapes import Commons, Reading, Shape
from aalearn.grammar.words import record_words

__all__ = ["COMPANION", "OTHER", "Aside", "Companion", "Entry", "Lines", "Sighting"]

_WORDS = record_words()
_MARK = b'apparmor="'
_AVC = b"type=AVC msg=audit("
_SHOWN = 4096  # how much of a line an Aside keeps (bytes)


_AUDIT = Form("audit", False, b"", ())
_ENRICHED = Form("audit-enriched", False, b"", ())
COMPANION = Aside("companion")
OTHER = Aside("other")
_sighting: Callable[[type[Sighting], tuple[int, int, int, Entry]], Sighting] = tuple.__new__
_SYSCALL = re.compile(
    rb"(?:type=SYSCALL msg=|node=[^ ]+ type=SYSCALL msg=|(?:[^\"]*? )?type=1300 )"
    rb"audit\((\d{1,11})\.(\d{3}):(\d{1,10})\): arch="
)
_LINEAGE = re.compile(rb" ppid=(\d{1,10}) pid=(\d{1,10}) ")
_EXE = re.compile(rb' exe=(?:"([^"]*)"|((?:[0-9A-F]{2})+)(?= |\x1d|\r?\Z)|\(null\))')
_AUDIT_FORM = re.compile(rb"audit\((\d{1,11})\.(\d{3}):\d{1,10}\)")
_COMPANION_TYPE = re.compile(rb"\btype=" + _WORDS.companion_numbers.encode() + rb" audit\(")


class Lines:
    """A reader of lines with its caches. One for each thread; the caches are bounded, whatever the input."""

    __slots__ = ("_clocks", "_commons", "_envelopes", "_old", "_pids", "_shape_count", "_shapes", "_size", "_young")

    def __init__(self, cache: int = 12_000) -> None:
        """Keep at most twice `cache` entries."""
        self._size = cache
        self._young: dict[object, Entry] = {}
        self._old: dict[object, Entry] = {}
        self._clocks: dict[bytes, int] = {}
        self._pids: dict[bytes, int] = {}
        self._commons: Commons = {}
        self._envelopes: list[Envelope] = []
        self._shapes: dict[tuple[bool, bytes, bytes], list[Shape]] = {}
        self._shape_count = 0

    def read(self, line: bytes) -> Sighting | Aside:
        """Return what a line (without its newline) says. Never raises, whatever the bytes."""
        if line[:19] != _AVC:
            if line[:5] == b"type=" and line[5 : line.find(b" ", 5, 40)] in _COMPANIONS:
                return COMPANION
            return self._unmarked(line) if line.find(_MARK) < 0 else self._careful(line)
        head, _, rest = line.partition(b" pid=")
        stamp, _, body = head.partition(b'): apparmor="')
        digits, _, tail = rest.partition(b" ")
        entry = self._young.get((body, tail))
        serial = stamp[34:]
        if serial.isdigit() and len(serial) < 11:
            time = self._clocks.get(line[19:34]) or self._clock(line[19:34])
            pid = self._pids.get(digits) or self._pid(digits)
            if time and pid:
                if entry is not None:
                    return _sighting(Sighting, (time, int(serial), pid, entry))
                found = self.fresh(line, len(stamp) + 3, body, tail)
                if found is not None:
                    return _sighting(Sighting, (time, int(serial), pid, found))
        return self._unmarked(line) if line.find(_MARK) < 0 else self._careful(line)

    def _clock(self, clock: bytes) -> int:
        """Return the milliseconds of "1700000000.123:", 0 if it is no such thing; kept, most lines share theirs."""
        digits = clock[:10] + clock[11:14]
        if len(clock) != 15 or clock[10:11] != b"." or clock[14:] != b":" or not digits.isdigit():
            return 0
        if len(self._clocks) > _MOST_NUMBERS:
            self._clocks.clear()
        time = self._clocks[clock] = int(digits)
        return time

    def _pid(self, digits: bytes) -> int:
        """Return the number of a pid, 0 if it is none; kept likewise."""
        if not digits.isdigit() or len(digits) > 10:
            return 0
        if len(self._pids) > _MOST_NUMBERS:
            self._pids.clear()
        pid = self._pids[digits] = int(digits)
        return pid

    def met(self) -> Callable[[tuple[bytes, bytes]], Entry | None]:
        """Return the quickest way to ask for the entry of a plain line that was met before, by `fresh`'s (body, tail).

        It is for loops that cut such lines themselves, as `read` does, and good for some thousands of lines.
        """
        return self._young.get

    def fresh(self, line: bytes, at: int, body: bytes, tail: bytes) -> Entry | None:
        """Return the entry of a plain kernel line by a shape that is known; None leaves the line to `read`.

        Plain: `type=AVC msg=audit(TIME:SERIAL): apparmor="` + body + ` pid=PID ` + tail, with `at` where `apparmor`
        begins. The caller has looked at TIME, SERIAL and PID.
        """
        key = (body, tail)
        old = self._old.get(key)
        if old is not None:
            self._keep(key, old)
            return old
        words = body.split(b'"', 3)
        if len(words) < 4 or len(line) > _SHORT:
            return None
        cut = at + len(_MARK) + len(body) + len(b" pid=")
        for shape in self._shapes.get((False, words[0], words[2]), ()):
            reading = shape.read(line, at, self._commons)
            if reading is None:
                continue
            common, name, _, pid_at, pid_end, end = reading
            if pid_at != cut or not shape.complete or common.nameless:
                return None
            digest = blake2b(line[at:pid_at] + line[pid_end:end], digest_size=8).digest()
            form = _AUDIT if line.find(b"\x1d", end) < 0 else _ENRICHED
            entry = Entry(common, name, int.from_bytes(digest, "big"), form)
            if len(line) <= _KEPT:
                self._keep(key, entry)
            return entry
        return None

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
        form = Form(envelope.transport, envelope.forgeable, envelope.node(match), envelope.daemon(match))
        time, serial = envelope.stamp(match)
        cut = line.find(b" pid=", at)
        blank = line.find(b" ", cut + 5)
        digits = line[cut + 5 : blank if blank > 0 else len(line)]
        key = _key(line, at, envelope, form, cut, blank)
        if cut > 0 and digits.isdigit() and len(digits) < 11 and (entry := self._young.get(key) or self._old.get(key)):
            self._keep(key, entry)
            if envelope.bus(match) and not _of_bus(entry.need.operation):
                return Aside("forged", line[:_SHOWN])
            return _sighting(Sighting, (time, serial, int(digits), entry))
        for shape in self._shapes.get(_bucket(line, at, envelope), ()):
            if (reading := shape.read(line, at, self._commons)) is not None:
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
        form = Form(envelope.transport, envelope.forgeable, envelope.node(match), envelope.daemon(match))
        cut = line.find(b" pid=", at)
        key = _key(line, at, envelope, form, cut, line.find(b" ", cut + 5))
        return self._made(line, at, _Found(envelope, match, form, key, cut), shape, shape.parsed(met.body))

    def _made(self, line: bytes, at: int, found: "_Found", shape: Shape, reading: Reading) -> Sighting | Aside:
        """Make a sighting of what a shape read, and an entry that the next such line will find."""
        envelope, match, form, key, cut = found
        if envelope.bus(match) and not _of_bus(shape.operation):
            return Aside("forged", line[:_SHOWN])
        if not shape.complete or envelope.cut(match, reading.end) or envelope.partial(match):
            return Aside("truncated", line[:_SHOWN])
        if reading.common.nameless:
            return Aside("malformed", line[:_SHOWN])
        body = (
            line[at : reading.pid_at] + line[reading.pid_end : reading.end]
            if reading.pid_at
            else line[at : reading.end]
        )
        digest = int.from_bytes(blake2b(body, digest_size=8).digest(), "big")
        if envelope.transport == "audit" and line.find(b"\x1d", reading.end) > 0:
            form = form._replace(transport="audit-enriched")
        entry = Entry(reading.common, reading.name, digest, form)
        if len(line) <= _KEPT and reading.pid_at == cut + 5 and not envelope.cut(match, reading.end + _SLACK):
            self._keep(key, entry)
        time, serial = envelope.stamp(match)
        return _sighting(Sighting, (time, serial, reading.pid, entry))

    def _envelope(self, new: Envelope) -> Envelope:
        """Return the envelope met before with the same extractor, or keep this one. The grammar bounds their number."""
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
        if line.find(b"audit") < 0 and line.find(b"Missed ") < 0:  # (find is twice as fast as `in` for bytes)
            return OTHER
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
        head = _SYSCALL.match(line)
        lineage = _LINEAGE.match(line, line.find(b" ppid=")) if head else None
        if head is None or lineage is None:
            return None
        seconds, millis, serial = head.groups()
        path = _EXE.match(line, line.find(b" exe=", lineage.end()))
        exe: bytes = (path[1] or (unhexlify(path[2]) if path[2] else b"")) if path else b""
        return Companion(int(seconds + millis), int(serial), int(lineage[2]), int(lineage[1]), exe)


class _Found(NamedTuple):
    """Where `read` stands in a line."""

    envelope: Envelope
    match: re.Match[bytes]
    form: Form
    key: object
    cut: int


_COMPANIONS = _WORDS.companions
_MOST_NUMBERS = 1000
_MOST_SHAPES = 2000
_MOST_IN_BUCKET = 64
_SHORT = _WORDS.audit_limit - 64  # lines that auditd can't have cut (bytes)
_KEPT = 2048  # longer lines are read anew each time: what is remembered is bounded in bytes too
_SLACK = 64  # pid, serial and seconds together never differ in length by more
_RECORD = re.compile(b'apparmor="(?:' + "|".join(_WORDS.verdicts).encode() + b')"')
_NODE_COMPANION = re.compile(b"node=[^ ]+ type=(?:" + b"|".join(sorted(_WORDS.companions)) + b") ")
_ISO_START = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d) ")


def _of_bus(operation: str) -> bool:
    """Is it an operation of a bus daemon? All others are the kernel's, and a daemon that tells of one lies."""
    return operation.startswith("dbus_")


def _key(line: bytes, at: int, envelope: Envelope, form: Form, cut: int, blank: int) -> object:
    """Return the key of a line's entry: all of it but the moment and the digits of the first pid= in its body."""
    if cut < 0:
        return form, line[at:]
    head, tail = line[at:cut], line[blank + 1 :] if blank > 0 else b""
    if envelope.trail == ("kernel type",) and line.startswith(_AVC):
        return head[len(_MARK) :], tail
    return form, head, tail


def _bucket(line: bytes, at: int, envelope: Envelope) -> tuple[bool, bytes, bytes]:
    """Return where the shapes are kept that may fit: by verdict and second quoted value, most often the operation."""
    parts = line[at : at + 200].split(b'"', 4)
    return envelope.quoted, parts[1], parts[3] if len(parts) > 3 else b""


def _moment(line: bytes) -> int:
    """Return the time of a line that is no record, ms since the epoch, 0 where it doesn't say."""
    if stamp := _AUDIT_FORM.search(line, 0, 200):
        return int(stamp[1] + stamp[2])
    return milliseconds(iso[0][:-1].decode("ascii")) if (iso := _ISO_START.match(line)) else 0
