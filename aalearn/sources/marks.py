"""Where audit.log was read to, as the store keeps it, and the stamps of its records."""

import re
from typing import NamedTuple, Self

_POSITION = re.compile(r"1:(\d{1,20}):(\d{1,20}):(\d{1,18}):([0-9a-f]{16}):(\d{1,10}):(\d{1,14})")
_STAMP = re.compile(rb"(?:node=\S{1,255} )?type=[A-Z0-9_\[\]]{1,40} msg=audit\((\d{1,11})\.(\d{3}):(\d{1,10})\)")


class Mark(NamedTuple):
    """A position: the file, the offset in its content, and a hash of up to WINDOW bytes before that."""

    device: int
    inode: int
    offset: int
    digest: str
    serial: int  # of the last record, 0: unknown
    time: int  # of that record (ms)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the position that `str` wrote, None if the text is none."""
        found = _POSITION.fullmatch(text)
        if found is None:
            return None
        device, inode, offset, digest, serial, moment = found.groups()
        return cls(int(device), int(inode), int(offset), digest, int(serial), int(moment))

    def __str__(self) -> str:
        return ":".join(["1", *[str(part) for part in self]])


def stamp_of(line: bytes) -> tuple[int, int]:
    """Return serial and time (ms) of a record, (0, 0) if it is none."""
    found = _STAMP.match(line)
    return (int(found[3]), int(found[1] + found[2])) if found else (0, 0)
