"""Small real logs, and the lines that a plan yields."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.sources import Chunk, Origin, plan

Reader = Callable[..., "Read"]


class Read:
    """All that was read from some paths."""

    def __init__(self, chunks: list[Chunk], skipped: tuple[str, ...]) -> None:
        self.chunks = chunks
        self.skipped = skipped
        self.lines = [line for chunk in chunks for line in chunk.data.split(b"\n") if line]
        self.truncated = [head for chunk in chunks for head in chunk.truncated]
        self.counts = Counter[str]()
        for chunk in chunks:
            self.counts.update(chunk.counts)


@pytest.fixture
def read() -> Reader:
    """Read paths through a plan."""

    def reader(*paths: Path, trusted: bool = False) -> Read:
        made = plan(paths, Origin("web-1", trusted))
        try:
            return Read([chunk for source in made.sources for chunk in source.chunks()], made.skipped)
        finally:
            made.close()

    return reader


def record(serial: int, name: str = "/etc/hosts", time: int = 1_700_000_000_000) -> bytes:
    """An audit.log line."""
    seconds, ms = divmod(time, 1000)
    return (
        f'type=AVC msg=audit({seconds}.{ms:03}:{serial}): apparmor="ALLOWED" operation="open" class="file" profile="p" '
        f'name="{name}" pid=7 comm="x" requested_mask="r" denied_mask="r" fsuid=0 ouid=0'
    ).encode()


def log(*serials: int, time: int = 1_700_000_000_000) -> bytes:
    """An audit.log with these serials, a millisecond each."""
    return b"".join(record(serial, time=time + serial) + b"\n" for serial in serials)
