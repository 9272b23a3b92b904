"""Compressed files as streams of bounded pieces. What a file is, its first bytes say, not its name."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import zstandard

from aalearn.model.errors import BadInput
from aalearn.model.text import shown
from aalearn.sources.base import CHUNK

_MEMORY = 256 << 20  # the most that an xz dictionary or a zstd window may take (bytes)
_ZSTD_STEP = 1 << 10  # fed at once: zstd has no output limit, and 4 bytes can become 128 KiB


class _Machine(Protocol):
    """What bz2 and lzma decompressors share."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _gzip(file: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as opened:
        while piece := opened.read(CHUNK):
            yield piece


def _machines(file: IO[bytes], make: Callable[[], _Machine]) -> Iterator[bytes]:
    """Decompress streams that may stand one after the other (bz2, xz); zero padding after an xz stream is allowed."""
    machine = make()
    raw = b""
    begun = False
    while True:
        if machine.eof:
            raw = machine.unused_data.lstrip(b"\0") or file.read(CHUNK).lstrip(b"\0")
            if not raw:
                return
            machine, begun = make(), False
        elif machine.needs_input:
            raw = file.read(CHUNK)
            if not raw:
                if begun:
                    raise EOFError
                return
        else:
            raw = b""
        begun = True
        if piece := machine.decompress(raw, CHUNK):
            yield piece


def _bzip2(file: IO[bytes]) -> Iterator[bytes]:
    return _machines(file, lambda: cast("_Machine", bz2.BZ2Decompressor()))


def _xz(file: IO[bytes]) -> Iterator[bytes]:
    return _machines(file, lambda: cast("_Machine", lzma.LZMADecompressor(memlimit=_MEMORY)))


def _zstd(file: IO[bytes]) -> Iterator[bytes]:
    ready: list[bytes] = []
    size = 0
    for piece in _zstd_pieces(file):
        ready.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(ready)
            ready, size = [], 0
    yield b"".join(ready)


def _zstd_pieces(file: IO[bytes]) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
    machine = frame.decompressobj()
    begun = False
    while raw := file.read(CHUNK):
        for start in range(0, len(raw), _ZSTD_STEP):
            rest = raw[start : start + _ZSTD_STEP]
            while rest:
                if machine.eof:
                    machine = frame.decompressobj()
                begun = True
                if piece := machine.decompress(rest):
                    yield piece
                rest = machine.unused_data if machine.eof else b""
                begun = not machine.eof
    if begun:
        raise EOFError


_MAGIC: tuple[tuple[bytes, str, Callable[[IO[bytes]], Iterator[bytes]]], ...] = (
    (b"\x1f\x8b", "gzip", _gzip),
    (b"BZh", "bzip2", _bzip2),
    (b"\xfd7zXZ\0", "xz", _xz),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
)

_SALVAGE = {"gzip": "zcat", "bzip2": "bzcat", "xz": "xzcat", "zstd": "zstdcat"}


def kind_of(head: bytes) -> str | None:
    """Return "gzip", "bzip2", "xz" or "zstd" if `head` starts like such a file, None for anything else."""
    return next((kind for magic, kind, _ in _MAGIC if head.startswith(magic)), None)


def pieces(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the decompressed (or plain) content of `file`, from its start, in pieces of bounded size.

    Raises BadInput naming the file if the compressed data are cut or damaged; what was yielded before is right.
    """
    head = file.read(8)
    file.seek(0)
    packed = next(((kind, machine) for magic, kind, machine in _MAGIC if head.startswith(magic)), None)
    if packed is None:
        while piece := file.read(CHUNK):
            yield piece
        return
    kind, machine = packed
    try:
        yield from machine(file)
    except EOFError:
        raise BadInput(
            f"{shown(name)}: the {kind} data end too early: the file is truncated; nothing of it was used "
            f"(to read what is left: {_SALVAGE[kind]} FILE | aalearn ingest -)"
        ) from None
    except (OSError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInput(f"{shown(name)}: damaged {kind} data ({shown(str(error))}); nothing of it was used") from None
