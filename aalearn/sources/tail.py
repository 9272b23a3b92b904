"""audit.log while it is written to, rotated, compressed and truncated: nothing is skipped, what is lost is told.

Rotation by rename: the old file is read to its end through its open descriptor, once its successor holds something (a
single writer begins a file only after it has ended the one before). Rotation by copy and truncation (copytruncate):
what was read last no longer stands before the place that was read to, so its content is looked for among the rotated
files. What was written between copy and truncation is lost; the gap between the serials of both sides tells it.

A rotated file is found again (see Mark) by its inode and a hash of what was read last, a copied or compressed one by
the hash alone.
"""

import time
from pathlib import Path
from stat import S_ISREG

from aalearn.model.errors import BadInput, UsageError
from aalearn.sources.base import CHUNK, LINE, NOTHING, TRUNCATED_HEAD, Chunk, Missing
from aalearn.sources.cut import by_node
from aalearn.sources.live import POLL_S, READ_BYTES, Lag
from aalearn.sources.marks import Mark, stamp_of
from aalearn.sources.rotated import (
    LIVE,
    Followed,
    Place,
    Rank,
    digest_of,
    find_content,
    first_line,
    listing,
    unreadable,
)

_REMEMBERED = 1024  # how many files that were read to their ends are known again, whatever becomes of them
_OPEN = 256  # files kept open at once
_NEWEST: Rank = (1, -1)  # where a copy of the log appears
_TRIES = 50


class Tail:
    """A live source of audit.log and its rotated files.

    Files are told apart by how they begin, up to the first record: renaming, copying and compressing leave that alone.
    Its chunks are trusted where the file and its folder belong to `owner` (a user id) and nobody else may write them.
    Of a `kind` other than audit.log (syslog's, which programs write to) nothing is.
    """

    resumable = True

    def __init__(self, path: Path, node: str, *, owner: int = 0, kind: str = "audit.log") -> None:
        self.name = f"{kind}:{path}"
        self._audit = kind == "audit.log"
        self._path = path
        self._folder = path.parent
        self._node = node
        self._owner = owner
        self._file: Followed | None = None
        self._previous: Followed | None = None  # may still grow, where a writer is late
        self._waiting: list[Followed] = []
        self._done: dict[bytes, None] = {}  # first lines of what was read to its end, in that order
        self._heads: dict[Place, bytes] = {}  # first lines of files that are not open
        self._live: tuple[tuple[int, int], bytes] | None = None  # the newest file at the last look, and its first line
        self._copying = False  # it is rotated by copytruncate
        self._joint = ""  # which loss it would be if the next record does not follow the last one
        self._losses: list[Missing] = []
        self._lost_at = 0
        self._last = (0, 0)  # serial and time (ms) of the last record
        self._position = ""

    def open(self, position: str | None) -> None:
        """See LiveSource. The log itself need not be there yet, its folder must."""
        self.close()
        self._position = position or ""
        wanted = Mark.parse(position) if position else None
        try:
            if wanted is not None:
                self._last = (wanted.serial, wanted.time)
                self._resume(wanted)
            elif position:
                self._lose("position")
            self._look()
        except OSError as error:
            self.close()
            raise UsageError(unreadable(str(error.filename or self._path), error)) from error

    def _resume(self, wanted: Mark) -> None:
        """Find the file that was being read; else all is read, and told as lost unless the records go on seamlessly."""
        me = (wanted.device, wanted.inode)
        found = find_content(self._path, wanted.offset, wanted.digest, lambda place: place.id == me)
        if found is None:
            self._copying = any(place.id == me and place.rank == LIVE for place in listing(self._path))
            found = find_content(self._path, wanted.offset, wanted.digest, lambda place: place.id != me)
            self._copying = self._copying or (found is not None and not found.packed)
        if found is None:
            self._joint = "copytruncate" if self._copying else "rotated-away"
            return
        self._file = found
        for _ in range(_TRIES):
            try:
                for place in listing(self._path):
                    if place.id == found.place.id:
                        break
                    self._finish(self._first_line(place))
            except FileNotFoundError:
                continue
            break

    def _finish(self, head: bytes) -> None:
        """Remember that the content that begins so was read."""
        if head:
            self._done[head] = None
            if len(self._done) > _REMEMBERED:
                del self._done[next(iter(self._done))]

    def _first_line(self, place: Place) -> bytes:
        """Return how a file that is not open begins, b"" if it is empty or damaged.

        Raises FileNotFoundError if it was renamed meanwhile.
        """
        head = self._heads.get(place)
        if head is None:
            file = Followed(self._folder, place)
            try:
                head = file.head()
            except BadInput:
                self._lose("damaged")
                head = b""
            finally:
                file.close()
            self._heads[place] = head
        return head

    def read(self, timeout: float) -> list[Chunk]:
        """See LiveSource."""
        deadline = time.monotonic() + timeout
        while True:
            found: list[Chunk] = []
            size = 0
            try:
                if not self._quiet():
                    self._look()
                while size < READ_BYTES and (chunks := self._more()):
                    found += chunks
                    size += sum(len(chunk.data) for chunk in chunks)
            except OSError as error:
                raise BadInput(unreadable(str(error.filename or self._path), error)) from error
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(POLL_S, left))

    def _quiet(self) -> bool:
        """Is the log still the very file that is being read?"""
        file = self._file
        if file is None or file.place.rank != LIVE or not file.offset or self._waiting:
            return False
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return True  # in the middle of a rotation
        return (status.st_dev, status.st_ino) == file.place.id

    def _look(self) -> None:
        """Open every file that is not read yet, before it can vanish, and put them in the order of time."""
        if self._file is not None and not self._file.offset:
            self._waiting.insert(0, self._file)  # not begun: copies of what it held may come before it
            self._file = None
        before = [one for one in (self._file, *self._waiting) if one is not None]
        for _ in range(_TRIES):
            try:
                self._open_live()
                # First lines before the listing: what was copied from these files before they began so is listed.
                for one in self._waiting:
                    one.looked = one.head()
                self._arrange(listing(self._path), before)
            except FileNotFoundError:
                if not self._folder.is_dir():
                    raise
                continue
            return

    def _open_live(self) -> None:
        """Open the log itself, if there is one and it is not open yet."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return
        if not S_ISREG(status.st_mode):
            return
        place = Place(LIVE, self._path.name, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if place.id not in {one.place.id for one in (self._file, *self._waiting) if one is not None}:
            self._waiting.append(Followed(self._folder, place))

    def _arrange(self, places: list[Place], before: list[Followed]) -> None:
        """See `_look`. `before`: what was open before it. Raises FileNotFoundError if a file is renamed meanwhile."""
        by_id = {one.place.id: one for one in (self._file, *self._waiting) if one is not None}
        known = {one.looked for one in self._waiting} | ({self._file.first} if self._file is not None else set())
        named: dict[bytes, Rank] = {}  # rotated files that are not open
        coming: list[tuple[Place, bytes]] = []
        for place in places:
            if one := by_id.get(place.id):
                one.place = place
            elif place.rank != LIVE and (head := self._first_line(place)):
                named.setdefault(head, place.rank)
                if head not in known and head not in self._done:
                    coming.append((place, head))
        ids = {place.id for place in places}
        named_still = any(one.place.id in ids or one.head() in named for one in before)
        if self._position and before and not named_still and (coming or self._waiting[-1:] != before[-1:]):
            self._joint = "rotated-away"  # nothing that was open has a name: who knows what else came and went
        line = [(one.place.rank if one.place.id in ids else named.get(one.looked, ()), one) for one in self._waiting]
        room = max(1, _OPEN - len(line))
        if len(coming) > room:  # the newest wait until those between are open
            for _, late in [item for item in line if item[0] > coming[room][0].rank]:
                late.close()
            line = [item for item in line if item[0] < coming[room][0].rank]
        line += self._opened(coming[:room])
        self._waiting = [one for _, one in sorted(line, key=lambda item: item[0])]
        self._heads = {place: self._heads[place] for place in places if place in self._heads}
        self._watch_live([place for place, _ in coming])

    def _opened(self, coming: list[tuple[Place, bytes]]) -> list[tuple[Rank, Followed]]:
        """Open files that begin so."""
        found: list[tuple[Rank, Followed]] = []
        try:
            for place, head in coming:
                found.append((place.rank, Followed(self._folder, place)))
                found[-1][1].looked = head
        except OSError:
            for _, one in found:
                one.close()
            raise
        return found

    def _watch_live(self, coming: list[Place]) -> None:
        """Find out which way the log is rotated: does the newest file stay while its content goes elsewhere?"""
        held = (self._file, *self._waiting)
        live = next((one for one in held if one is not None and one.place.rank == LIVE), None)
        if live is None:
            return
        before, self._live = self._live, (live.place.id, live.head())
        if before is None:
            return
        if before[0] != live.place.id:
            self._copying = False
        elif (before[1] and not live.head().startswith(before[1])) or any(
            place.rank == _NEWEST and not place.packed for place in coming
        ):
            self._copying = True

    def _more(self) -> list[Chunk]:
        """Return the next piece as chunks, [] when there is none now."""
        while file := self._current():
            try:
                data = file.fetch()
            except BadInput:
                self._lose("damaged")
                self._next(file)
                continue
            if not file.intact():
                self._truncated(file)
                continue
            if not file.offset and data and not (first_line(data) == file.looked == file.head()):
                self._look()  # it was begun, or truncated, since it was looked at
                continue
            if not file.offset and data.startswith(b"\0"):
                data = self._hole(file, data)
            if self._joint and data and self._late(data):
                continue
            if len(data) == CHUNK and b"\n" not in data:
                data = file.fetch(LINE + CHUNK)
            final = self._ended(file, data)
            if chunks := self._cut(file, data, final=final):
                return chunks
            if not final and not self._back(file):
                break
            if final:
                self._next(file)
        return self._told(b"")

    def _current(self) -> Followed | None:
        if self._file is None and self._waiting:
            self._file = self._waiting.pop(0)
        return self._file

    def _ended(self, file: Followed, data: bytes) -> bool:
        """Is `data` all that will ever come of this file?

        It is once its successor holds something: whoever wrote it has ended it before. Only after that was seen, its
        end is its end.
        """
        if len(data) > LINE or b"\n" in data:
            return False
        succeeded = file.packed or any(one.packed or one.left() for one in self._waiting)
        return succeeded and file.fetch(len(data) + 1) == data

    def _next(self, file: Followed) -> None:
        """Go on to the file after this one."""
        self._forget_previous()
        self._previous, self._file = file, None
        self._finish(file.head() if file.offset else b"")
        if self._copying:
            self._joint = self._joint or "copytruncate"

    def _forget_previous(self) -> None:
        if self._previous is not None:
            self._previous.close()
            self._previous = None

    def _hole(self, file: Followed, data: bytes) -> bytes:
        """Pass over the hole that a writer without O_APPEND leaves after a truncation."""
        while data and not data.strip(b"\0"):
            file.advance(data)
            data = file.fetch()
        file.advance(data[: len(data) - len(data.lstrip(b"\0"))])
        data = file.fetch()
        file.first = b""  # what comes now is how it begins
        return data

    def _back(self, file: Followed) -> bool:
        """Go back to the file before if it has grown after all: somebody else still writes to it. True if so."""
        previous = self._previous
        if previous is None or previous.packed or not previous.left():
            return False
        self._waiting.insert(0, file)
        self._file, self._previous = previous, None
        return True

    def _late(self, data: bytes) -> bool:
        """Before a loss is told: has the file before grown meanwhile? Then it is read on first. True if so."""
        if self._file is not None and self._back(self._file):
            return True
        serial, moment = stamp_of(data[: data.find(b"\n") + 1] or data)
        last, when = self._last
        seamless = 0 <= serial - last <= 1 or (serial < last and moment <= when)
        if last and serial and seamless:
            self._joint = ""
        else:
            amount = serial - last - 1 if last and serial > last + 1 else 1
            self._lose(self._joint, amount)
            self._joint = ""
        return False

    def _truncated(self, file: Followed) -> None:
        """The file was truncated under us: go on in the copy of what it held, and after that with it anew."""
        digest, me = digest_of(file.window), file.place.id
        found = find_content(self._path, file.offset, digest, lambda place: place.id != me)
        if found is None:
            self._finish(file.head())
            self._joint = "copytruncate"
        file.restart()
        self._waiting.append(file)
        self._file = found
        self._copying = True
        self._forget_previous()
        self._look()

    def _cut(self, file: Followed, data: bytes, *, final: bool) -> list[Chunk]:
        """Take the whole lines of what was fetched (`final`: all of it); [] if there are none yet."""
        truncated: tuple[bytes, ...] = ()
        end = data.rfind(b"\n") + 1
        if not end and len(data) > LINE:
            if not file.skipping:
                truncated, file.skipping = (data[:TRUNCATED_HEAD],), True
            file.advance(data)
            return self._told(b"", truncated, always=True)
        if final and not end and self._copying and data and not file.skipping:
            return self._torn(file, data)
        if final and not end:
            end = len(data)
        if not end:
            return []
        lines = data[:end]
        file.advance(lines)
        if file.skipping:
            lines, file.skipping = lines[lines.find(b"\n") + 1 or len(lines) :], False
        return self._told(lines, truncated, always=True)

    def _torn(self, file: Followed, data: bytes) -> list[Chunk]:
        """Take the last line of a copy that was made in its midst: its rest went with the truncation, so it is lost.

        Where it doesn't even tell its serial, the gap to the next record tells of it.
        """
        file.advance(data)
        self._remember(data)
        return self._told(b"", (data[:TRUNCATED_HEAD],) if stamp_of(data)[0] else (), always=True)

    def _told(self, data: bytes, truncated: tuple[bytes, ...] = (), *, always: bool = False) -> list[Chunk]:
        """Make chunks of lines: those of other nodes first, then this node's with the position after all of them."""
        losses, self._losses = tuple(self._losses), []
        if not (data or truncated or losses or always):
            return []
        file = self._file
        trusted = self._audit and file is not None and file.safe(self._folder, self._owner)
        before, consumed = self._position, file.offset if file is not None else 0
        if file is not None and file.offset:
            self._remember(data)
            place = Mark(*file.place.id, file.offset, digest_of(file.window), *self._last)
            self._position = str(place)
        own, chunks = b"", []
        for node, lines in by_node(data, self._node):
            if node == self._node:
                own = lines
            else:
                chunks.append(Chunk(lines, self.name, trusted, node, before, consumed))
        chunks.append(Chunk(own, self.name, trusted, self._node, self._position, consumed, truncated, NOTHING, losses))
        return chunks

    def _remember(self, data: bytes) -> None:
        """Note serial and time of the last record."""
        stamp = stamp_of(data[data.rfind(b"\n", 0, len(data) - 1) + 1 :])
        if stamp[0]:
            self._last = stamp

    def _lose(self, kind: str, amount: int = 1) -> None:
        # The store takes losses of the same moment and amount for one.
        self._lost_at = max(int(time.time() * 1000), self._lost_at + 1)
        self._losses.append(Missing(kind, amount, self._lost_at))

    def lag(self) -> Lag:
        """See LiveSource. Compressed files count with their own size."""
        left = sum(one.left() for one in (self._file, *self._waiting) if one is not None)
        behind = max(0.0, time.time() - self._last[1] / 1000) if self._last[1] else None
        return Lag(left, behind if left else 0.0)

    def close(self) -> None:
        """Close all files."""
        for one in (self._file, self._previous, *self._waiting):
            if one is not None:
                one.close()
        self._file = self._previous = self._live = None
        self._waiting, self._losses = [], []
        self._done, self._heads = {}, {}
        self._copying, self._joint, self._last, self._position = False, "", (0, 0), ""
