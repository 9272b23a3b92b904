"""The systemd unit of one promotion, looked at again and again while a failure of it would matter."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

from aalearn.lifecycle.units import UnitState, failure

_SOON_MS: Final = 2_000  # between looks after a denial…
_QUIET_MS: Final = 10_000  # …and while nothing is denied


@dataclass(slots=True)
class UnitWatch:
    """`name` is "" while the unit is not known. `before`: its state when no denial was recent; `restless`: it was
    restarted then too, so that a restart says nothing.
    """

    name: str = ""
    before: UnitState | None = None
    restless: bool = False
    _asked: int | None = None  # ms
    _asking: "Future[UnitState | None] | None" = None

    def ask(self, now: int, worker: Executor, state: Callable[[str], UnitState | None], *, soon: bool) -> None:
        """Ask for the unit's state in the worker's thread, where it is time to; `now` in ms, `soon`: a denial was
        recent.
        """
        if not self.name or self._asking is not None:
            return
        pause = _SOON_MS if soon or self.before is None else _QUIET_MS
        if self._asked is None or not 0 <= now - self._asked < pause:  # the clock may be set back
            self._asked = now
            self._asking = worker.submit(state, self.name)

    def answer(self) -> UnitState | None:
        """Return the state that was asked for, None where there is no answer (yet)."""
        if self._asking is None or not self._asking.done():
            return None
        found, self._asking = self._asking.result(), None
        return found

    def failed(self, found: UnitState, denied: int | None) -> str:
        """Return how the unit failed after the last denial (µs of CLOCK_MONOTONIC, None: none was recent), "" where it
        did not.
        """
        before = self.before
        how = failure(before, found, denied, restless=self.restless) if denied is not None else ""
        if before is None or denied is None or found.restarts < before.restarts:  # the last: somebody restarted it
            self.restless |= denied is None and before is not None and found.restarts > before.restarts
            self.before = found
        return how
