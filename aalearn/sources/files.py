"""Single files (plain or compressed) and streams as sources."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from aalearn.model.errors import BadInput
from aalearn.model.text import shown
from aalearn.sources import compressed, sniff
from aalearn.sources.base import CHUNK, Chunk, Origin, Source
from aalearn.sources.cut import Cut, chunks_of, whole_lines
from aalearn.sources.entries import export_lines, json_lines
from aalearn.sources.journal import JournalFiles
from aalearn.sources.sniff import Kind


def decoded(kind: Kind, pieces: Iterator[bytes]) -> Iterator[Cut]:
    """Cut the content of a file into lines of records, whatever it keeps them in."""
    match kind:
        case Kind.EXPORT:
            return export_lines(pieces)
        case Kind.JSON:
            return json_lines(pieces)
        case _:
            return whole_lines(pieces)


class FileSource:
    """One file of records; it stays open, so that it may be renamed or deleted meanwhile."""

    def __init__(self, name: str, file: BinaryIO, origin: Origin) -> None:
        """Look at the first bytes of `file` (open, seekable; it is the source's from now on, even if this fails).

        Raises BadInput when they are damaged already.
        """
        self.name = name
        self._file = file
        self._origin = origin
        status = os.fstat(file.fileno())
        self.size: int | None = status.st_size
        try:
            self.packed = compressed.kind_of(file.read(8))
            head = self._head()
        except BaseException:
            file.close()
            raise
        self.kind = sniff.kind_of(head)
        self.begin = sniff.first_time(head)
        self.changed = int(status.st_mtime * 1000)

    def _head(self) -> bytes:
        head = bytearray()
        for piece in self._pieces():
            head += piece
            if len(head) >= sniff.HEAD:
                break
        return bytes(head)

    def _pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        try:
            yield from compressed.pieces(self._file, self.name)
        except OSError as error:
            raise BadInput(f"{shown(self.name)}: can't be read: {error.strerror or error}") from error

    def check(self) -> bool:
        """Look for a log line; read a compressed file through once, so that damage is known beforehand."""
        if self.packed:
            for _ in self._pieces():
                pass
        if self.kind is Kind.OTHER and sniff.has_log_line(self._pieces()):
            self.kind = Kind.LINES
        return self.kind is not Kind.OTHER

    def chunks(self) -> Iterator[Chunk]:
        """Yield the file's records, journal entries as lines. The position is the offset in its content, unpacked."""
        offset = 0
        for cut in decoded(self.kind, self._pieces()):
            offset += cut.read
            yield from chunks_of(cut, self.name, self._origin, offset, self._file.tell() if self.packed else offset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class StreamSource:
    """Standard input or a pipe. Compressed data and journal files are first put aside in a temporary file."""

    def __init__(self, name: str, file: IO[bytes], origin: Origin, *, owned: bool = False) -> None:
        """Take `file`, which need not be seekable; `close` closes it if it is `owned`."""
        self.name = name
        self.size: int | None = None
        self._file = file
        self._origin = origin
        self._owned = owned
        self._aside: Source | None = None
        self._head = b""
        self._kind = Kind.OTHER

    def check(self) -> bool:
        """Read until it is clear what comes (at most sniff.HEAD bytes, and all of what has to be put aside)."""
        head = bytearray()
        while len(head) < sniff.HEAD and sniff.kind_of(bytes(head)) in (Kind.OTHER, Kind.LINES):
            if head.count(b"\n") and sniff.kind_of(bytes(head)) is Kind.LINES:
                break
            piece = self._file.read(sniff.HEAD)
            if not piece:
                break
            head += piece
        self._head = bytes(head)
        self._kind = sniff.kind_of(self._head)
        if compressed.kind_of(self._head):
            self._aside = FileSource(self.name, self._put_aside(), self._origin)
            return self._aside.check()
        if self._kind is Kind.JOURNAL:
            kept = self._put_aside()
            self._aside = JournalFiles(self.name, (Path(kept.name),), self._origin, kept)
            return self._aside.check()
        return self._kind is not Kind.OTHER

    def _put_aside(self) -> BinaryIO:
        kept = tempfile.NamedTemporaryFile(prefix="aalearn-", suffix=".journal")  # noqa: SIM115 (closed by the source)
        for piece in self._rest():
            kept.write(piece)
        kept.flush()
        kept.seek(0)
        return kept  # type: ignore[return-value]  # a temporary file has all that a BinaryIO has

    def _rest(self) -> Iterator[bytes]:
        yield self._head
        self._head = b""
        while piece := self._file.read(CHUNK):
            yield piece

    def chunks(self) -> Iterator[Chunk]:
        """Yield what arrives until the stream ends."""
        if self._aside is not None:
            yield from self._aside.chunks()
            return
        offset = 0
        for cut in decoded(self._kind, self._rest()):
            offset += cut.read
            yield from chunks_of(cut, self.name, self._origin, offset, offset)

    def close(self) -> None:
        """Remove what was put aside, and close the stream if it is this source's own."""
        if self._aside is not None:
            self._aside.close()
        if self._owned:
            self._file.close()
