"""The ledger: which events of a node were counted already. Pure: it loads blocks through a function and knows no SQL.

An event is (serial, mark): the audit serial, and 32 bits made from time, pid and the digest of the record's body. Serials
come in runs, so events are kept in blocks of 4,096 serials, on disk about 4 bytes an event.
"""

from collections.abc import Callable
from typing import Final

BLOCK_BITS: Final = 12
BLOCK_SERIALS: Final = 1 << BLOCK_BITS
_OFFSET_MASK: Final = BLOCK_SERIALS - 1
_LOW64: Final = (1 << 64) - 1


def mark_of(digest: int, pid: int, time: int) -> int:
    """Return the 32-bit mark of an event: `Entry.digest`, pid and audit time (ms). It stands on disk: never change it."""
    mixed = (digest ^ (time * 0x9E3779B97F4A7C15) ^ (pid * 0xC2B2AE3D27D4EB4F)) & _LOW64
    mixed = ((mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93) & _LOW64
    return mixed >> 32


class Ledger:
    """The seen events of one node. Not for serial 0 (no audit id): such records only have a position."""

    def __init__(self, load: Callable[[int], bytes | None]) -> None:
        self._load = load

    def add(self, serial: int, mark: int) -> bool:
        """Return True if the event is new, and remember it."""
        raise NotImplementedError
