"""Journal entries as lines in the form of audit.log: the export format and `journalctl -o json`.

Sources: systemd's "Journal Export Formats" and systemd.journal-fields(7). Which entries may be believed: only journald
itself writes fields that begin with an underscore. The audit transport is the kernel's audit multicast; the kernel
transport carries /dev/kmsg too, where everything that user space writes has a syslog facility other than 0.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from aalearn.sources.base import LINE, NOTHING, TRUNCATED_HEAD
from aalearn.sources.cut import Cut, whole_lines

Fields = dict[bytes, bytes]
"""The fields of one entry that matter here, by name."""

WANTED = (
    b"__CURSOR",
    b"_TRANSPORT",
    b"MESSAGE",
    b"_AUDIT_TYPE",
    b"_AUDIT_ID",
    b"_SOURCE_REALTIME_TIMESTAMP",
    b"__REALTIME_TIMESTAMP",
    b"SYSLOG_FACILITY",
    b"_HOSTNAME",
)
_WANTED_TEXT = {name.decode(): name for name in WANTED}
_TEXT_FIELD = re.compile(rb"^(" + b"|".join(WANTED) + rb")=(.*)$", re.MULTILINE)
_BINARY_FIELD = re.compile(rb"^[^=\n]+$", re.MULTILINE)
_KERNEL_AUDIT = re.compile(rb"audit: type=(\d+) audit\(")
_TYPES = {b"1400": b"AVC", b"1300": b"SYSCALL", b"1107": b"USER_AVC", b"1327": b"PROCTITLE"}
KMSG_LIMIT = 1021  # where a text of the kernel ring is cut (bytes, measured on 6.12); one of this length may be whole


class Entries:
    """Turns entries into lines and counts those that it does not: see `Chunk.counts`."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.truncated: list[bytes] = []
        self.lines: list[bytes] = []

    def add(self, fields: Fields) -> None:
        """Take one entry."""
        message = fields.get(b"MESSAGE", b"")
        if b"\n" in message:
            message = message.replace(b"\n", b" ")  # no entry may become two lines
        handler = _TRANSPORTS.get(fields.get(b"_TRANSPORT", b""))
        kind, line = handler(fields, message) if handler else (None, b"")
        if kind == "line":
            self.lines.append(line)
        elif kind == "truncated":
            self.truncated.append(line[:TRUNCATED_HEAD])
        else:
            self.count(kind or ("forged" if b"apparmor=" in message else "other"))

    def count(self, kind: str) -> None:
        """Count an entry that gives no line."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def cut(self, read: int) -> Cut:
        """Hand out what has been gathered."""
        done = Cut(b"\n".join(self.lines), read, tuple(self.truncated), self.counts or NOTHING)
        self.counts, self.truncated, self.lines = {}, [], []
        return done


# What becomes of an entry: ("line", its line), ("truncated", what is known of it), (a word to count, b"") or NOBODY.
Told = tuple[str | None, bytes]
NOBODY: Told = (None, b"")


def _audit(fields: Fields, message: bytes) -> Told:
    name, _, body = message.partition(b" ")
    kind = fields.get(b"_AUDIT_TYPE", b"")
    micros = fields.get(b"_SOURCE_REALTIME_TIMESTAMP") or fields.get(b"__REALTIME_TIMESTAMP", b"")
    if not micros.isdigit():
        return "malformed", b""
    if kind == b"1400":
        name = b"AVC"
    elif name == b"AVC" or not name:
        return NOBODY
    micros = micros.rjust(7, b"0")
    line = b"type=%b msg=audit(%b.%b:%b): %b" % (
        name,
        micros[:-6],
        micros[-6:-3],
        fields.get(b"_AUDIT_ID", b"0"),
        body,
    )
    # journalctl leaves long texts out unless it is told --all
    return ("truncated" if kind == b"1400" and not body else "line"), line


def _kernel(fields: Fields, message: bytes) -> Told:
    if fields.get(b"SYSLOG_FACILITY") != b"0":
        return NOBODY
    found = _KERNEL_AUDIT.match(message)
    if not found:
        return _own_words(fields, message)
    name = _TYPES.get(found[1]) or b"UNKNOWN[%b]" % found[1]
    line = b"type=%b msg=%b" % (name, message[found.end() - 6 :])
    return ("truncated" if len(message) >= KMSG_LIMIT and name == b"AVC" else "line"), line


def _own_words(fields: Fields, message: bytes) -> Told:
    """Spell what journald or the kernel says of itself (losses, most of all) as a syslog line with its time."""
    if b"apparmor=" in message:
        return NOBODY
    micros = fields.get(b"__REALTIME_TIMESTAMP", b"")
    moment = datetime.fromtimestamp(int(micros[:16]) / 1e6 if micros.isdigit() else 0, UTC).isoformat()
    speaker = b"kernel" if fields[b"_TRANSPORT"] == b"kernel" else b"systemd-journald[1]"
    host = fields.get(b"_HOSTNAME", b"localhost").replace(b" ", b"_")
    return "line", b"%b %b %b: %b" % (moment.encode(), host, speaker, message)


_TRANSPORTS: dict[bytes, Callable[[Fields, bytes], Told]] = {
    b"audit": _audit,
    b"kernel": _kernel,
    b"driver": _own_words,
}


def export_lines(pieces: Iterable[bytes]) -> Iterator[Cut]:
    """Read the export format. A cut last entry is counted as truncated, and so is one with a field over LINE bytes."""
    reader = Export()
    for piece in pieces:
        reader.feed(piece)
        yield reader.entries.cut(len(piece))
    reader.finish()
    yield reader.entries.cut(0)


class Export:
    """The export format piece by piece.

    Sizes of binary fields are always obeyed, so that no field's content can pass for an entry; memory stays bounded
    because fields over LINE bytes are passed over.
    """

    def __init__(self, entries: Entries | None = None) -> None:
        self.entries = entries or Entries()
        self._data = b""
        self._at = 0
        self._open: Fields | None = None  # the entry that is being read field by field
        self._pass = 0  # bytes still to be passed over
        self._pass_line = False
        self._damaged = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the stream."""
        self._data = self._data[self._at :] + piece
        self._at = 0
        while self._whole() if self._open is None else self._field():
            pass

    def finish(self) -> None:
        """The stream has ended: what is left is an entry without its blank line, or a cut one."""
        if not (self._data[self._at :].strip(b"\n") or self._open or self._pass or self._pass_line):
            return
        if self._data.endswith(b"\n") and not (self._pass or self._pass_line):
            self.feed(b"\n")
        if self._open or self._at < len(self._data):
            self.entries.truncated.append(b"")

    def _whole(self) -> bool:
        """Take one entry of text fields alone: the usual case, and quick. True if there may be more to do."""
        start = self._at
        if self._data.startswith(b"\n", start):
            self._at += 1
            return True
        end = self._data.find(b"\n\n", start)
        if end < 0 and len(self._data) - start <= LINE:
            return False
        block = self._data[start : end + 1] if end >= 0 else b""
        if end < 0 or _BINARY_FIELD.search(block):
            self._open = {}
            return True
        self.entries.add(dict(_TEXT_FIELD.findall(block)))
        self._at = end + 2
        return True

    def _field(self) -> bool:
        """Take one field. True if there may be more to do."""
        if self._pass:
            step = min(self._pass, len(self._data) - self._at)
            self._at += step
            self._pass -= step
            return not self._pass
        start, end = self._at, self._data.find(b"\n", self._at)
        if end < 0 or self._pass_line:
            return self._long_line(end)
        if end == start:
            self._end_entry(end)
            return True
        name, equals, value = self._data[start:end].partition(b"=")
        if not equals:
            begin = end + 9
            if len(self._data) < begin:
                return False
            size = int.from_bytes(self._data[end + 1 : begin], "little")
            if size > LINE:
                self._at, self._pass, self._damaged = begin, size + 1, True
                return True
            end = begin + size
            if len(self._data) <= end:
                return False
            value = self._data[begin:end]
        if name in WANTED and self._open is not None:
            self._open[name] = value
        self._at = end + 1
        return True

    def _long_line(self, end: int) -> bool:
        if end >= 0:
            self._at, self._pass_line = end + 1, False
            return True
        if self._pass_line or len(self._data) - self._at > LINE:
            self._at, self._pass_line, self._damaged = len(self._data), True, True
        return False

    def _end_entry(self, end: int) -> None:
        if self._damaged:
            self.entries.truncated.append(b"")
        elif self._open:
            self.entries.add(self._open)
        self._open, self._damaged, self._at = None, False, end + 1


def json_lines(pieces: Iterable[bytes]) -> Iterator[Cut]:
    """Read `journalctl -o json` (also json-seq): an object a line. What is no object is counted as malformed."""
    entries = Entries()
    for cut in whole_lines(pieces):
        entries.truncated.extend(cut.truncated)
        for line in cut.data.split(b"\n"):
            text = line.strip(b"\x1e \r\t")
            if not text:
                continue
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                found = None
            if isinstance(found, dict):
                entries.add({name: _json_bytes(found[key]) for key, name in _WANTED_TEXT.items() if key in found})
            else:
                entries.count("malformed")
        yield entries.cut(cut.read)


def _json_bytes(value: object) -> bytes:
    """Return a field's bytes: text, an array of byte values, null (too long to be shown), or a list of values."""
    match value:
        case str():
            return value.encode("utf-8", "surrogateescape" if value.isprintable() else "replace")
        case [int(), *_]:
            return bytes(byte & 255 for byte in value if isinstance(byte, int))
        case [first, *_]:
            return _json_bytes(first)
        case int():
            return str(value).encode()
        case _:
            return b""
