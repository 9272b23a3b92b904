"""Cutting a stream of bytes between lines, in bounded memory whatever the stream holds."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from aalearn.model.text import shown
from aalearn.sources.base import LINE, NOTHING, TRUNCATED_HEAD, Chunk, Origin


class Cut(NamedTuple):
    """Some whole lines, how many bytes of content were taken for them, and what was judged on the way (see Chunk)."""

    data: bytes
    read: int
    truncated: tuple[bytes, ...] = ()
    counts: Mapping[str, int] = NOTHING


def chunks_of(cut: Cut, name: str, origin: Origin, offset: int, consumed: int) -> Iterator[Chunk]:
    """Make chunks of a cut: one, or one for each node that its lines name."""
    truncated, counts = cut.truncated, cut.counts
    for node, lines in by_node(cut.data, origin.node):
        yield Chunk(lines, name, origin.trusted, node, str(offset), consumed, truncated, counts)
        truncated, counts = (), NOTHING  # they belong to the first part alone


def whole_lines(pieces: Iterable[bytes]) -> Iterator[Cut]:
    """Cut after newlines (only the very last line may lack one), about one piece at a time.

    A line longer than LINE bytes is left out and its beginning told as truncated; memory is bounded by that.
    """
    kept: list[bytes] = []
    length = 0
    skipped = b""  # the beginning of a line that is too long
    for piece in pieces:
        read = len(piece)
        first = piece.find(b"\n") + 1
        if not first:
            length += read
            kept.append(piece if not skipped else b"")
            if length > LINE:
                skipped = skipped or b"".join(kept)[:TRUNCATED_HEAD]
                kept.clear()
            yield Cut(b"", read)
            continue
        end = piece.rfind(b"\n") + 1
        if length + first > LINE:
            skipped = skipped or b"".join((*kept, piece))[:TRUNCATED_HEAD]
            yield Cut(piece[first:end], read, (skipped,))
        else:
            yield Cut(b"".join((*kept, piece[:end])), read)
        skipped = b""
        kept = [piece[end:]] if end < read else []
        length = read - end
    if skipped:
        yield Cut(b"", 0, (skipped,))
    elif kept:
        yield Cut(b"".join(kept), 0)


def by_node(lines: bytes, node: str) -> Iterator[tuple[str, bytes]]:
    """Split lines by the `node=NAME ` that a central log host puts before each; lines without it are `node`'s.

    The order within a node is kept. The name is made safe for terminals: it is foreign text.
    """
    if not lines.startswith(b"node=") and lines.find(b"\nnode=") < 0:  # (`in` is slower, for bytes)
        yield node, lines
        return
    parts: dict[bytes, list[bytes]] = {}
    for name, group in groupby(lines.split(b"\n"), _node):
        parts.setdefault(name, []).extend(group)
    for name, found in parts.items():
        yield (shown(name) if name else node), b"\n".join(found)


def _node(line: bytes) -> bytes:
    return line[5:].split(b" ", 1)[0] if line.startswith(b"node=") else b""
