"""A live source for tests: a file that only grows. It breaks, hangs and loses when told to."""

import threading
import time
from pathlib import Path

from aalearn.model.errors import BadInput, UsageError
from aalearn.sources import Chunk
from aalearn.sources.live import Lag


class Follow:
    """Reads whole lines of a file, `piece` bytes at a time; the position is the offset.

    While `hang` is set a read does not come back, while `broken` has a text opening and reading fail with it.
    """

    def __init__(
        self, path: Path, node: str = "web-1", *, name: str = "", piece: int = 1 << 17, resumable: bool = True
    ) -> None:
        self.name = name or f"follow:{path}"
        self.resumable = resumable
        self.hang = threading.Event()
        self.broken = ""
        self.opened: list[str | None] = []
        self._path = path
        self._node = node
        self._piece = piece
        self._offset = 0

    def open(self, position: str | None) -> None:
        """Begin at an offset."""
        if self.broken:
            raise UsageError(self.broken)
        self.opened.append(position)
        self._offset = int(position or 0)

    def read(self, timeout: float) -> list[Chunk]:
        """See LiveSource."""
        while self.hang.is_set():
            time.sleep(0.05)
        if self.broken:
            raise BadInput(self.broken)
        end = time.monotonic() + timeout
        while True:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(self._piece)
            whole = data[: data.rfind(b"\n") + 1]
            if whole:
                self._offset += len(whole)
                return [Chunk(whole, self.name, True, self._node, str(self._offset))]
            if time.monotonic() >= end:
                return []
            time.sleep(0.01)

    def lag(self) -> Lag:
        """See LiveSource."""
        return Lag(self._path.stat().st_size - self._offset, None)

    def close(self) -> None:
        """Nothing is open."""
