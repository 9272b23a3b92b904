"""The way from the threads that read to the one that counts: bounded in bytes, so that a flood waits in its source."""

from collections import deque
from dataclasses import dataclass
from threading import Condition
from time import monotonic
from typing import Final

from aalearn.sources import Chunk

_OWN: Final = 512  # bytes that an item weighs beside its text


@dataclass(frozen=True, slots=True)
class Item:
    """A chunk of the source `source` (its name). `position` is set on the last one of a read: all before is covered.

    `resumable`: if it is dropped before it was counted, the source can give it again.
    """

    source: str
    chunk: Chunk
    position: str | None = None
    resumable: bool = True

    @property
    def size(self) -> int:
        """Its weight in memory, about (bytes)."""
        return len(self.chunk.data) + sum(map(len, self.chunk.truncated)) + _OWN


class ByteQueue:
    """First in, first out, for any number of threads. An item larger than the whole limit passes when it is empty."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.most = 0
        """The largest size so far (bytes)."""
        self.waited = 0.0
        """Seconds that the readers together had to wait for room."""
        self._items: deque[Item] = deque()
        self._change = Condition()
        self._closed = False

    def put(self, item: Item) -> bool:
        """Add an item, waiting for room. Returns False if the queue was closed: the item was not taken."""
        size = item.size
        with self._change:
            begun = monotonic()
            while self.size and self.size + size > self.limit and not self._closed:
                self._change.wait()
            self.waited += monotonic() - begun
            if self._closed:
                return False
            self._items.append(item)
            self.size += size
            self.most = max(self.most, self.size)
            self._change.notify_all()
        return True

    def get(self, timeout: float) -> Item | None:
        """Return the oldest item, None if there was none for `timeout` seconds."""
        with self._change:
            if not self._items:
                self._change.wait(timeout)
            if not self._items:
                return None
            item = self._items.popleft()
            self.size -= item.size
            self._change.notify_all()
            return item

    def close(self) -> list[Item]:
        """Take nothing any more, let all who wait go, and return what was left."""
        with self._change:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self.size = 0
            self._change.notify_all()
        return left
