"""What a file is, by its first bytes."""

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

HEAD = 1 << 16
"""How many decompressed bytes are looked at (bytes)."""

# The starts that a log line can have: auditd (also with node=), priorities, kernel ring (plain, -T, -x), syslog in both
# spellings, journalctl's own remarks, and AppArmor text alone.
LOG_LINE = re.compile(
    rb"^(?:node=\S+ )?(?:type=\S+ (?:msg=)?audit\(|<\d+>|\[ *\d+\.\d+\] |\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d"
    rb"|\w+ *: ?\w+ *: ?\[ *\d|\w{3} [ \d]\d \d\d:\d\d:\d\d |\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d|-- |audit: type="
    rb"|.{0,200}?apparmor=\")",
    re.MULTILINE,
)
_EXPORT = re.compile(rb"\A\n*(?:__CURSOR=|__REALTIME_TIMESTAMP=|(?:[A-Z_][A-Z0-9_]*=.*\n)+?__REALTIME_TIMESTAMP=)")
_JSON = re.compile(rb"\A[\x1e\s]*\{[^\n]*\"(?:__REALTIME_TIMESTAMP|__CURSOR|_TRANSPORT)\"")
_AUDIT_TIME = re.compile(rb"\baudit\((\d{9,11})\.(\d{3})\d*:\d+\)")
_JOURNAL_TIME = re.compile(rb"\b_?_?(?:SOURCE_)?REALTIME_TIMESTAMP\"?\s*[=:]\s*\"?(\d{15,17})")
_ISO_TIME = re.compile(rb"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.MULTILINE)


class Kind(StrEnum):
    """How a file's records are stored."""

    LINES = "lines"
    EXPORT = "journal export"
    JSON = "journal json"
    JOURNAL = "journal file"
    OTHER = "not a log"


def kind_of(head: bytes) -> Kind:
    """Say what `head`, the first decompressed bytes of a file, is. Nothing but blanks counts as lines."""
    if head.startswith(b"LPKSHHRH"):
        return Kind.JOURNAL
    if _EXPORT.match(head):
        return Kind.EXPORT
    if _JSON.match(head):
        return Kind.JSON
    if not head.strip() or LOG_LINE.search(head):
        return Kind.LINES
    return Kind.OTHER


def has_log_line(pieces: Iterable[bytes]) -> bool:
    """Look through a whole content for one line that starts like a log's (a log may begin with other text)."""
    return any(LOG_LINE.search(piece) for piece in pieces)


def first_time(head: bytes) -> int | None:
    """Return the time of the first record (ms since the epoch) where the head tells it: audit, journal or ISO time."""
    if found := _AUDIT_TIME.search(head):
        return int(found[1]) * 1000 + int(found[2])
    if found := _JOURNAL_TIME.search(head):
        return int(found[1]) // 1000
    if found := _ISO_TIME.search(head):
        try:
            text = (found[1] + (found[2] or b"Z").replace(b"Z", b"+00:00")).decode().replace(" ", "T")
            return int(datetime.fromisoformat(text).timestamp() * 1000)
        except (ValueError, OverflowError):
            return None
    return None
