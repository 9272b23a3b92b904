"""SIGTERM and SIGINT end the service, SIGHUP lets it read its configuration again: each sets a flag for the loop."""

import signal
from types import FrameType, TracebackType
from typing import Self

_STOP = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """A context: inside it these signals are ours, afterwards what they were. In the main thread only."""

    def __init__(self) -> None:
        self.stop = 0
        """How many times we were asked to end."""
        self.reload = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in _STOP:
            self._before[number] = signal.signal(number, self._stop)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._reload)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() returned it takes again

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Python calls it so
        self.stop += 1

    def _reload(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.reload = True
