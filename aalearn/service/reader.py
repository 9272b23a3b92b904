"""One thread for each source: it reads, waits where the queue is full, and opens again what broke."""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Final

from aalearn.model.errors import AalearnError
from aalearn.model.text import shown
from aalearn.service.queue import ByteQueue, Item
from aalearn.sources.live import Lag, LiveSource

READ_S: Final = 0.25
"""How long a read waits when all is quiet (seconds)."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
_LAG_S: Final = 1.0

Say = Callable[[str], None]


class Reader:
    """Reads one source in a thread of its own until `stop`.

    `position` is where it was read to, as far as the queue has it. `up` is True while the source is open, `opened` once
    it was; `failures` is how often it could not be opened or broke since it last gave something (`restarts`: of all
    times); `ended` is set when nothing more will come (`once`, or after `stop`).
    """

    def __init__(self, source: LiveSource, position: str | None, queue: ByteQueue, say: Say, *, once: bool) -> None:
        self.name = source.name
        self.position = position
        self.up = self.opened = False
        self.failures = self.restarts = 0
        self.trouble = ""
        self.bytes = 0
        self.lag = Lag(None, None)
        self.beat = monotonic()
        self.waiting = False  # for the queue or between two tries: no sign of a hang
        self.tried = Event()  # set once the first opening went well or not
        self.ended = Event()
        self._source = source
        self._resumable = bool(getattr(source, "resumable", True))
        self._queue = queue
        self._say = say
        self._once = once
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"source {self.name}"[:64], daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more; what was read already is still put into the queue. Returns at once."""
        self._stop.set()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False if it is still there."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def died(self) -> bool:
        """Has the thread ended though nobody wanted it? Only a defect of a source does that."""
        return self._thread.ident is not None and not self._thread.is_alive() and not self.ended.is_set()

    def hangs(self, seconds: float) -> bool:
        """Has a read not come back for so long?"""
        return not (self.waiting or self.ended.is_set()) and monotonic() - self.beat > seconds

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._source.open(self.position)
                self._opened()
                if self._read():
                    break
            except (AalearnError, OSError) as error:
                self._failed(error, pause)
                if self._once:
                    break
            finally:
                self.up = False
                self._source.close()
            if self.failures == 1:
                pause = FIRST_PAUSE_S
            self.waiting = True
            self._stop.wait(pause)
            self.waiting = False
            pause = min(pause * 2, LONGEST_PAUSE_S)
        self.tried.set()
        self.ended.set()

    def _opened(self) -> None:
        self.up = self.opened = True
        self.beat = monotonic()
        if self.failures:
            self._say(f"{shown(self.name)} is read again")
        self.trouble = ""
        self.tried.set()

    def _failed(self, error: AalearnError | OSError, pause: float) -> None:
        self.failures += 1
        self.restarts += 1
        text = str(error) if isinstance(error, AalearnError) else f"{shown(self.name)}: {error.strerror or error}"
        if text != self.trouble:
            again = "" if self._once else f"; next try in {pause:.0f} s"
            self._say(f"{text}{again}")
        self.trouble = text
        self.tried.set()

    def _read(self) -> bool:
        """Read until we are told to stop, or with `once` until all is quiet; then True."""
        looked = 0.0
        while not self._stop.is_set():
            chunks = self._source.read(READ_S)
            self.beat = monotonic()
            if chunks:
                self.failures = 0
            for number, chunk in enumerate(chunks, 1):
                last = number == len(chunks)
                if not self._put(Item(self.name, chunk, chunk.position if last else None, self._resumable)):
                    return True
                if last:
                    self.position = chunk.position
            if self.beat - looked > _LAG_S:
                looked = self.beat
                self.lag = self._source.lag()
            if self._once and not chunks:
                return True
        return True

    def _put(self, item: Item) -> bool:
        self.waiting = True
        taken = self._queue.put(item)
        self.waiting = False
        self.beat = monotonic()
        self.bytes += len(item.chunk.data)
        return taken
