"""All readers together: begun from the saved positions, watched, ended."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final

from aalearn.model.text import shown
from aalearn.service.queue import ByteQueue
from aalearn.service.reader import Reader, Say
from aalearn.sources.live import LiveSource

GIVE_UP: Final = 5
"""When each source has failed so many times in a row, the service ends (systemd begins it anew)."""


class Crew:
    """The readers of one configuration. `positions` are the saved ones, by source."""

    def __init__(
        self,
        sources: Sequence[LiveSource],
        positions: Mapping[str, str],
        queue: ByteQueue,
        say: Say,
        *,
        once: bool = False,
    ) -> None:
        self._queue = queue
        self._say = say
        self._once = once
        self._sources = {source.name: source for source in sources}
        self._told: set[str] = set()
        self.readers = tuple(self._reader(source, positions.get(source.name)) for source in self._sources.values())

    def _reader(self, source: LiveSource, position: str | None) -> Reader:
        return Reader(source, position, self._queue, self._say, once=self._once)

    def start(self, patience: float) -> bool:
        """Begin with all; wait until each has tried, at most `patience` seconds. True if at least one was opened."""
        for reader in self.readers:
            reader.start()
        end = monotonic() + patience
        for reader in self.readers:
            reader.tried.wait(max(0.0, end - monotonic()))
        return any(reader.opened for reader in self.readers)

    def stop(self) -> None:
        """Let all end; what they have read already still comes."""
        for reader in self.readers:
            reader.stop()

    def join(self, timeout: float) -> None:
        """Wait for the threads, at most `timeout` seconds for all."""
        end = monotonic() + timeout
        for reader in self.readers:
            reader.join(max(0.0, end - monotonic()))

    @property
    def ended(self) -> bool:
        """Have all ended?"""
        return all(reader.ended.is_set() or reader.died for reader in self.readers)

    def positions(self) -> dict[str, str]:
        """Return where each was read to, as far as the queue had it."""
        return {reader.name: reader.position for reader in self.readers if reader.position is not None}

    def revive(self) -> None:
        """Begin anew with a source whose thread ended by a defect (Python has told of it on stderr)."""
        readers = []
        for reader in self.readers:
            if reader.died:
                self._say(f"reading {shown(reader.name)} ended by a defect of aalearn: it begins again")
                again = self._reader(self._sources[reader.name], reader.position)
                again.failures, again.restarts, again.bytes = reader.failures + 1, reader.restarts + 1, reader.bytes
                again.trouble = "a defect of aalearn"
                again.start()
                readers.append(again)
            else:
                readers.append(reader)
        self.readers = tuple(readers)

    def lost(self) -> bool:
        """Has every source failed too often?"""
        return all(not reader.up and reader.failures >= GIVE_UP for reader in self.readers)

    def moving(self, patience: float) -> bool:
        """Does every source still come back from reading? One that does not for `patience` seconds is told once."""
        hanging = [reader.name for reader in self.readers if reader.hangs(patience)]
        for name in set(hanging) - self._told:
            self._say(f"{shown(name)}: a read has not come back for {patience:.0f} s")
        self._told = set(hanging)
        return not hanging
