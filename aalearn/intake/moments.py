"""When a record that is no event was made, as far as its text says."""

import re
from datetime import UTC, datetime, timedelta

_AUDIT = re.compile(rb"audit\((\d{1,11})\.(\d{3})")
_BSD = re.compile(rb"(?:<\d{1,3}>)?(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ \d]\d) (\d\d):(\d\d):(\d\d)")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def audit_time(text: bytes) -> int:
    """Return the time (ms) of an audit header somewhere in the text, 0 without one."""
    found = _AUDIT.search(text)
    return int(found[1] + found[2]) if found else 0


def bsd_time(text: bytes, now: datetime) -> int:
    """Return the time (ms) of a syslog line that names no year, 0 if it is none.

    The year is the last one in which that day was not in the future; the zone is taken for UTC.
    """
    found = _BSD.match(text)
    if not found:
        return 0
    month, day = _MONTHS.index(found[1]) + 1, int(found[2])
    for year in range(now.year, now.year - 5, -1):  # 29 February is not in every year
        try:
            moment = datetime(year, month, day, int(found[3]), int(found[4]), int(found[5]), tzinfo=UTC)
        except ValueError:
            continue
        if moment <= now + timedelta(days=1):
            return int(moment.timestamp() * 1000)
    return 0
