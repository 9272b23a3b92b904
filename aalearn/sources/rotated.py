"""A log with its rotated files: which there are, in which order they were written, and what is left to read of each.

Sources: auditd.conf(5) (`audit.log.1` is newer than `audit.log.2`), logrotate(8) (compress, dateext, copytruncate).
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from errno import ELOOP, ENOENT, ENXIO
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

from aalearn.model.errors import BadInput
from aalearn.model.text import shown
from aalearn.sources import compressed
from aalearn.sources.base import CHUNK

WINDOW = 1024
"""How much before the place that was read to tells that it is the same content (bytes): the last line, or its end."""

_SUFFIX = re.compile(r"(?:[.-](\d[\d-]{0,31}))?(?:\.(?:gz|bz2|xz|zst))?")
PACKED = (".gz", ".bz2", ".xz", ".zst")
_DATE = 8  # a rotation number of so many digits is a date
_TRIES = 50
_STAMP = re.compile(rb"audit\(\d+\.\d{3}:\d+\)")

Rank = tuple[int, ...]
LIVE: Rank = (2,)
"""The rank of the file that is written to now; ranks grow with time."""


class Place(NamedTuple):
    """One file of the log, as the folder tells."""

    rank: Rank
    name: str
    device: int
    inode: int
    changed: int  # ns
    size: int

    @property
    def id(self) -> tuple[int, int]:
        """What tells files apart, as long as they are open."""
        return self.device, self.inode

    @property
    def packed(self) -> bool:
        """Is it compressed, by its name?"""
        return self.name.endswith(PACKED)


def rank_of(name: str, base: str) -> Rank | None:
    """Return where a file stands in the order of time, None if it is no part of the log `base`."""
    found = _SUFFIX.fullmatch(name[len(base) :]) if name.startswith(base) else None
    if found is None:
        return None
    number = found[1]
    if number is None:
        return LIVE if name == base else None
    if len(number) < _DATE and number.isdigit():
        return (1, -int(number))
    return (0, *[int(part) for part in number.split("-") if part])


def listing(path: Path) -> list[Place]:
    """Return the files of the log `path`, oldest first: one moment's, even while they are being renamed.

    Where a rotated file stands beside its compressed twin, the compressed one may be half made and is left out.
    """
    before: list[Place] = []
    for _ in range(_TRIES):
        now = _once(path)
        if [(place.name, place.id) for place in now] == [(place.name, place.id) for place in before]:
            return now
        before = now
    return before


def _once(path: Path) -> list[Place]:
    found: dict[Rank, Place] = {}
    with os.scandir(path.parent) as inside:
        for entry in inside:
            rank = rank_of(entry.name, path.name)
            if rank is None:
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            known = found.get(rank)
            if known is None or known.packed:
                found[rank] = Place(rank, entry.name, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    places = sorted(found.values())
    return [place for at, place in enumerate(places) if place.id not in {later.id for later in places[at + 1 :]}]


def _opened(path: Path, *, follow: bool) -> int:
    """Open a file for reading; a pipe without a writer is no reason to wait. See `Followed`."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno in (ELOOP, ENXIO):  # it has become a link, or a socket or a device
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(path)) from None
        raise


def digest_of(window: bytes) -> str:
    """Return the hash that a position keeps of the bytes before it."""
    return blake2b(window, digest_size=8).hexdigest()


class Followed:
    """One open file of the log: where it was read to, and the bytes before that. It may be renamed or deleted."""

    def __init__(self, folder: Path, place: Place) -> None:
        """Open it, without ever waiting. Raises OSError; FileNotFoundError also where another file, or what is no
        ordinary one (a pipe, a device), has taken its name meanwhile.
        """
        path = folder / place.name
        self.place = place
        self.linked = path.is_symlink()
        self._file: BinaryIO = os.fdopen(_opened(path, follow=self.linked), "rb")
        self._number = self._file.fileno()
        status = os.fstat(self._number)
        if (status.st_dev, status.st_ino) != place.id or not stat.S_ISREG(status.st_mode):
            self.close()
            raise FileNotFoundError(place.name)
        self.packed = compressed.kind_of(os.pread(self._number, 8, 0)) is not None
        self.offset = 0
        self.window = b""
        self.skipping = False  # inside a line that is too long
        self.first = b""  # the first line of what is read
        self.looked = b""  # the first line when it was last looked at
        self._pieces: Iterator[bytes] = iter(())
        self._ready = b""
        if self.packed:
            self._pieces = compressed.pieces(self._file, str(path))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def fetch(self, most: int = CHUNK) -> bytes:
        """Return what stands after the offset, at most `most` bytes. Raises BadInput for damaged compressed data."""
        if not self.packed:
            return os.pread(self._number, most, self.offset)
        while len(self._ready) < most and (piece := next(self._pieces, b"")):
            self._ready += piece
        return self._ready[:most]

    def advance(self, data: bytes) -> None:
        """Go on after `data`, which `fetch` gave."""
        if not self.offset or not _STAMP.search(self.first):  # then it is all that was read
            self.first = first_line(self.first + data[:WINDOW])
        self.offset += len(data)
        self.window = (self.window + data)[-WINDOW:] if len(data) < WINDOW else data[-WINDOW:]
        if self.packed:
            self._ready = self._ready[len(data) :]

    def seek(self, offset: int, digest: str) -> bool:
        """Go to the offset if the bytes before it have this hash; else the file should be closed."""
        begin = max(0, offset - WINDOW)
        if self.packed:
            while self.offset < offset and (data := self.fetch(min(CHUNK, offset - self.offset))):
                self.advance(data)
            window = self.window
        else:
            window = os.pread(self._number, offset - begin, begin)
            self.first = first_line(os.pread(self._number, min(WINDOW, offset), 0))
            self.offset, self.window = offset, window
        self.skipping = not window.endswith(b"\n")
        return self.offset == offset and len(window) == offset - begin and digest_of(window) == digest

    def restart(self) -> None:
        """Go back to the beginning: what was here is gone."""
        self.offset, self.window, self.skipping, self.first = 0, b"", False, b""

    def intact(self) -> bool:
        """Look whether what was read last still stands before the offset; if not, the file was truncated."""
        if self.packed:
            return True
        return os.pread(self._number, len(self.window), self.offset - len(self.window)) == self.window

    def head(self) -> bytes:
        """Return how it begins (see `first_line`): that tells whose content it is. b"": empty.

        Once reading has begun it is that of what is read, whatever becomes of the file. Raises BadInput as `fetch`.
        """
        if self.offset:
            return self.first
        return first_line(self.fetch(WINDOW))

    def left(self) -> int:
        """Return how many bytes are there to be read (compressed: about)."""
        size = os.fstat(self._number).st_size
        return size - min(size, self._file.tell()) + len(self._ready) if self.packed else max(0, size - self.offset)

    def safe(self, folder: Path, owner: int) -> bool:
        """Could nobody but the owner have written it: is it the owner's, in the owner's folder, both closed to others?

        A symbolic link may lead anywhere, so it is not safe.
        """
        return not self.linked and all(
            status.st_uid == owner and not status.st_mode & 0o022 for status in (os.fstat(self._number), folder.stat())
        )


def closed(status: os.stat_result, owner: int) -> bool:
    """Is it the owner's, and closed to the writing of others?"""
    return status.st_uid == owner and not status.st_mode & 0o022


def find_content(path: Path, offset: int, digest: str, accept: Callable[[Place], bool]) -> Followed | None:
    """Open the file, of those accepted, whose content has this hash before the offset, and go there.

    Plain and newer ones are looked at first. Files that are renamed meanwhile are looked for again.
    """
    for _ in range(_TRIES):
        places = [place for place in reversed(listing(path)) if accept(place)]
        try:
            for place in sorted(places, key=lambda place: place.packed):
                if (file := _with_content(path.parent, place, offset, digest)) is not None:
                    return file
        except FileNotFoundError:
            continue
        break
    return None


def _with_content(folder: Path, place: Place, offset: int, digest: str) -> Followed | None:
    file = Followed(folder, place)
    try:
        if file.seek(offset, digest):
            return file
    except BadInput:
        pass  # damaged: it is told when its turn to be read comes
    file.close()
    return None


def first_line(data: bytes) -> bytes:
    """Return a content up to the end of its first record, whose moment and serial no other has; at most WINDOW bytes.

    What stands before that (nothing but a newline, what a program wrote) may begin many files.
    """
    record = _STAMP.search(data, 0, WINDOW)
    if record is None:
        return data[:WINDOW]
    return data[: data.find(b"\n", record.end(), WINDOW) + 1 or WINDOW]


def unreadable(path: str, error: OSError) -> str:
    """Return what to tell of a file that can't be read, with the mend."""
    mend = " (run as root, or join the group that may read it, adm)" if isinstance(error, PermissionError) else ""
    return f"{shown(path)}: can't be read: {error.strerror or error}{mend}"
