"""Sources that never end: what the service reads. Each can be resumed exactly where it was read to."""

from typing import NamedTuple, Protocol

from aalearn.sources.base import Chunk

READ_BYTES = 1 << 20
"""About how much one `read` gives at most (bytes)."""

POLL_S = 0.05
"""How often sources that can't be waited for are looked at (seconds)."""


class Lag(NamedTuple):
    """How far reading is behind the source's end: bytes, and seconds since the last record read was logged.

    None: can't be known. Both are 0 when all has been read.
    """

    bytes: int | None
    seconds: float | None


class LiveSource(Protocol):
    """A source of records that goes on. One thread uses it: `open`, then `read` again and again, then `close`.

    Losses are told in chunks (`Chunk.losses`), which may have no data. Chunks must be taken in order: the last one of a
    `read` is of the source's own node, and only its position covers all of that read (audit.log may hold lines of other
    nodes). A chunk that is taken twice does no harm, since events count once.
    """

    @property
    def name(self) -> str:
        """The key of the saved position, and what people see: `audit.log:/var/log/audit/audit.log`, `journal`, …"""

    @property
    def resumable(self) -> bool:
        """Can what was read be read again, after the position before it?"""

    def open(self, position: str | None) -> None:
        """Begin right after a saved position; None: with the oldest record that there is (`netlink`: now).

        A position that can't be found any more, or that is no position of this source, is told as a loss in the first
        chunk, and reading begins with the oldest. Raises UsageError, naming the mend, for what may not be read.
        """

    def read(self, timeout: float) -> list[Chunk]:
        """Return what is there, at most about READ_BYTES; wait for it at most `timeout` seconds. [] when all is quiet.

        Each chunk's `position` is where to resume after it. Raises BadInput when the source broke for good, after what
        could be mended was tried; then it may be closed and opened again.
        """

    def lag(self) -> Lag:
        """Say how far behind the source's end reading is."""

    def close(self) -> None:
        """Give back files, sockets and processes. May be called twice."""
