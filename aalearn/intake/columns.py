"""Many lines at once: most of a log is lines of one form, which cost less as columns than one by one.

`type=AVC msg=audit(SECONDS.MILLIS:SERIAL): apparmor="BODY pid=PID comm=TAIL` is cut into its columns by operations on
all lines together. Lines that don't fit make the whole block go the ordinary way, so nothing is guessed here: what a
(BODY, TAIL) means is only ever learned from `grammar.lines`.
"""

import re
from typing import NamedTuple

MARK = b'apparmor="'
_STAMP = 34  # the length of `type=AVC msg=audit(1700000000.123:`
_FORM = re.compile(rb"type=AVC msg=audit\((\d{10})\.(\d{3}):")
_MOST_CLOCKS = 4_096


class Columns(NamedTuple):
    """The columns of some lines, each as long as these are many. `keys` are (BODY, TAIL)."""

    times: list[int]
    serials: list[int]
    pids: list[int]
    keys: list[tuple[bytes, bytes]]


class Cutter:
    """Cuts lines into columns. It keeps the clocks that it has read: many records share theirs."""

    def __init__(self) -> None:
        self._clocks: dict[bytes, int] = {}

    def cut(self, lines: list[bytes]) -> Columns | None:
        """Return the columns of lines that all hold MARK; None if one of them is of another form."""
        text = b"\n".join(lines)
        text = text.replace(b" pid=", b"\n").replace(b" comm=", b"\n").replace(b'): apparmor="', b"\n")
        parts = text.split(b"\n")
        if len(parts) != 4 * len(lines):
            return None
        stamps, pids = parts[0::4], parts[2::4]
        serials = [stamp[_STAMP:] for stamp in stamps]
        if not (b"".join(serials).isdigit() and b"".join(pids).isdigit()):
            return None
        clocks = self._clocks
        try:
            times = [clocks.get(stamp[:_STAMP]) or self._clock(stamp[:_STAMP]) for stamp in stamps]
            keys = list(zip(parts[1::4], parts[3::4], strict=True))
            columns = Columns(times, list(map(int, serials)), list(map(int, pids)), keys)
        except ValueError:  # no clock, or an empty number between others
            return None
        return columns if max(map(len, serials)) <= 10 and max(map(len, pids)) <= 10 else None

    def _clock(self, stamp: bytes) -> int:
        """Return the time (ms) of a line's beginning. Raises ValueError if it is another form."""
        found = _FORM.fullmatch(stamp)
        if found is None:
            raise ValueError(stamp)
        if len(self._clocks) >= _MOST_CLOCKS:
            self._clocks.clear()
        time = self._clocks[stamp] = int(found[1] + found[2])
        return time


def own_pid(body: bytes) -> bool:
    """Is what follows BODY the record's own pid, and not text inside quotes? No quoted value can hold a quote."""
    return body.count(b'"') % 2 == 1
