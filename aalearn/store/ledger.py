"""The ledger: which events of a node were counted already. Pure: it loads blocks through a function and knows no SQL.

An event is (serial, mark): the audit serial, and 32 bits made from time, pid and the digest of the record's body.
Serials come in runs, so events are kept in blocks of 4,096 serials, on disk a little over 4 bytes an event.
"""

import struct
import zlib
from collections.abc import Callable
from itertools import accumulate, pairwise
from struct import Struct, pack, unpack
from typing import Final
from zlib import compressobj, decompressobj

from aalearn.model.errors import StoreError

BLOCK_BITS: Final = 12
BLOCK_SERIALS: Final = 1 << BLOCK_BITS
# A block's number must fit a signed 64-bit column whatever a forged record says; the kernel's serials have 32 bits.
_NUMBER_MASK: Final = (1 << 62) - 1
OFFSET_MASK: Final = BLOCK_SERIALS - 1
MARK_MASK: Final = (1 << 32) - 1

# The marks of blocks without news that stay in memory (about 80 bytes each).
KEPT_MARKS: Final = 200_000
# A kernel gives few records a serial. What a forged log gives beyond this to a block is counted, but not marked.
BLOCK_MARKS: Final = 1 << 18
LENT_MARKS: Final = 1 << 15

_VERSION: Final = 1
_HEAD: Final = Struct("<BII")  # version, number of marks, bytes of the compressed gaps


# Odd factors: events of one body and serial that differ in pid alone, or in time alone, never share a mark.
PID_FACTOR: Final = 0x9E3779B1
TIME_FACTOR: Final = 0x85EBCA77


def fold(digest: int) -> int:
    """Return the part of a mark that depends on the record's body (`Entry.digest`) alone."""
    return (digest ^ digest >> 32) & MARK_MASK


def mark_of(folded: int, pid: int, time: int) -> int:
    """Return the 32-bit mark of an event: `fold`, pid, audit time (ms). It stands on disk: never change it.

    Cheap on purpose, for it is made for each record; the digest has mixed the body well already.
    """
    return (folded + pid * PID_FACTOR + time * TIME_FACTOR) & MARK_MASK


def encode(seen: set[int]) -> bytes:
    """Return a block's blob: the gaps between its sorted serials (deflated: runs cost nothing), then 4 bytes a mark.

    An element of `seen` is (offset in the block << 32 | mark). The same set gives the same bytes.
    """
    keys = sorted(seen)
    offsets = [key >> 32 for key in keys]
    deflate = compressobj(6, wbits=-15)
    gaps = pack(f"<{len(keys)}H", *[after - before for before, after in pairwise([0, *offsets])])
    packed = deflate.compress(gaps) + deflate.flush()
    marks = pack(f"<{len(keys)}I", *[key & MARK_MASK for key in keys])
    return _HEAD.pack(_VERSION, len(keys), len(packed)) + packed + marks


def decode(blob: bytes) -> set[int]:
    """Return the set of a block. Raises StoreError when the blob is damaged: a guess would lose or double events."""
    try:
        version, count, size = _HEAD.unpack_from(blob)
        if version != _VERSION or count > BLOCK_MARKS or len(blob) != _HEAD.size + size + 4 * count:
            raise StoreError("the store is damaged: a block of its ledger is malformed; restore it from a copy")
        inflate = decompressobj(wbits=-15)
        gaps = inflate.decompress(blob[_HEAD.size : _HEAD.size + size], 2 * count + 1)
        offsets = list(accumulate(unpack(f"<{count}H", gaps)))
        marks = unpack(f"<{count}I", blob[_HEAD.size + size :])
    except (zlib.error, struct.error):
        raise StoreError("the store is damaged: a block of its ledger can't be read; restore it from a copy") from None
    if offsets and offsets[-1] > OFFSET_MASK:
        raise StoreError("the store is damaged: a block of its ledger has impossible serials; restore it from a copy")
    return {offset << 32 | mark for offset, mark in zip(offsets, marks, strict=True)}


class Ledger:
    """The seen events of one node. Not for serial 0 (no audit id): such records only have a position.

    `load` gives the stored blob of a block (or None). Blocks with news stay in memory until `settle`; of the others as
    many marks as `kept` allows. `unmarked` counts events that were new but not remembered (see BLOCK_MARKS).
    `horizon`: events up to this time (ms) may have been counted and forgotten, so they must not be counted.
    """

    __slots__ = ("_blocks", "_changed", "_entered", "_lent", "_load", "_number", "_seen", "horizon", "kept", "unmarked")

    def __init__(self, load: Callable[[int], bytes | None], horizon: int = 0) -> None:
        self._load = load
        self.horizon = horizon
        self.kept = KEPT_MARKS
        self._blocks: dict[int, set[int]] = {}  # least recently entered first
        self._changed: set[int] = set()
        self._number = -1
        self._seen: set[int] = set()
        self._entered = 0
        self._lent: tuple[int, int] | None = None  # a block's number and its size when it was lent
        self.unmarked = 0

    def add(self, serial: int, mark: int) -> bool:
        """Return True if the event is new, and remember it. Raises StoreError if its block can't be read."""
        number = serial >> BLOCK_BITS & _NUMBER_MASK
        if number != self._number:
            self._enter(number)
        seen = self._seen
        size = len(seen)
        seen.add((serial & OFFSET_MASK) << 32 | mark)
        if len(seen) == size:
            return False
        if size >= BLOCK_MARKS:
            seen.discard((serial & OFFSET_MASK) << 32 | mark)
            self.unmarked += 1
            return True
        self._changed.add(number)
        return True

    def block(self, number: int) -> set[int]:
        """Lend the marks of the serials from `number` << BLOCK_BITS on, to add to them without a call for each.

        An element is (serial & OFFSET_MASK) << 32 | mark. The set may be used until the next call of any method, for at
        most LENT_MARKS new elements. A block that has no room for so many lends an empty set, which is forgotten.
        """
        number &= _NUMBER_MASK
        if number != self._number:
            self._enter(number)
        self._take_back()
        if len(self._seen) > BLOCK_MARKS - LENT_MARKS:
            return set()
        self._lent = (number, len(self._seen))
        return self._seen

    def _take_back(self) -> None:
        if self._lent is not None:
            number, size = self._lent
            if len(self._blocks[number]) != size:
                self._changed.add(number)
            self._lent = None

    def add_all(self, serials: list[int], marks: list[int]) -> list[bool] | None:
        """Do what `add` does for many events at once; None says that all of them were new."""
        if serials and (block := min(serials) >> BLOCK_BITS) == max(serials) >> BLOCK_BITS:
            number = block & _NUMBER_MASK
            if number != self._number:
                self._enter(number)
            keys = {(serial & OFFSET_MASK) << 32 | mark for serial, mark in zip(serials, marks, strict=True)}
            seen = self._seen
            if len(keys) == len(serials) and len(seen) + len(keys) <= BLOCK_MARKS and seen.isdisjoint(keys):
                seen |= keys
                self._changed.add(number)
                return None
        return [self.add(serial, mark) for serial, mark in zip(serials, marks, strict=True)]

    def news(self) -> dict[int, bytes]:
        """Return the blobs of all blocks that changed since the last `settle`, by number."""
        self._take_back()
        return {number: encode(self._blocks[number]) for number in sorted(self._changed)}

    @property
    def settled(self) -> bool:
        """Is there no news?"""
        self._take_back()
        return not self._changed

    def has_news(self) -> bool:
        """Return whether anything was marked since the last `settle`."""
        self._take_back()
        return bool(self._changed)

    def settle(self) -> None:
        """The news are committed: their blocks may leave memory."""
        self._changed.clear()
        self._shed()

    def _enter(self, number: int) -> None:
        self._take_back()
        seen = self._blocks.pop(number, None)
        if seen is None:
            blob = self._load(number)
            seen = decode(blob) if blob is not None else set()
        self._blocks[number] = seen
        self._number, self._seen = number, seen
        self._entered += 1
        if self._entered >= 64:  # to look at each block's size now and then is enough
            self._shed()

    def _shed(self) -> None:
        """Drop unchanged blocks, least recently entered first, until the rest is within `kept`."""
        self._entered = 0
        held = sum(map(len, self._blocks.values()))
        for number in list(self._blocks):
            if held <= self.kept:
                break
            if number != self._number and number not in self._changed:
                held -= len(self._blocks.pop(number))
