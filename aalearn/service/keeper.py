"""Keeps the store small while the service runs: a follower that asks the store for it, a little at a time."""

from collections.abc import Callable, Iterator
from time import monotonic

from aalearn.lifecycle.figures import Figure
from aalearn.service.figures import amount
from aalearn.service.reader import Say
from aalearn.store import Store
from aalearn.store.batch import Batch
from aalearn.store.retention import AGES, Ages

SLICE_S = 0.2
"""How long the store may be busy with it at a time (seconds): meanwhile nothing is counted."""


class Keeper:
    """Sees to it every `seconds` that the store stays under `limit_bytes`, see `store.retention`."""

    def __init__(
        self,
        say: Say,
        limit_bytes: int,
        seconds: float,
        ages: Ages = AGES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.seconds = seconds
        self.ages = ages
        self._say = say
        self._clock = clock
        self._next = clock() + min(seconds, 30.0)
        self._over = 0
        self._told = False

    def committed(self, batch: Batch, store: Store) -> None:
        """Nothing to do: what has to be done comes with the time."""

    def tick(self, now_ms: int, store: Store) -> None:
        """Do a piece when it is time. Raises StoreError."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + self.seconds  # also where it fails now
        made = store.retain(self.limit_bytes, now_ms, ages=self.ages, seconds=SLICE_S)
        if not made.done:
            self._next = self._clock()
        self._over = made.over
        if made.over and not self._told:
            self._say(
                f"the store is {amount(made.over)} over its limit of {amount(self.limit_bytes)}, and all that may be"
                " forgotten is gone: give it more (retention.store_mib), or retire profiles that are not needed"
            )
        self._told = bool(made.over)

    def rows(self) -> Iterator[Figure]:
        """Yield the metrics."""
        yield Figure(
            "aalearn_store_limit_bytes", "gauge", "What the store should stay under.", (((), self.limit_bytes),)
        )
        yield Figure(
            "aalearn_store_over_bytes", "gauge", "How far it is over, with all gone that may go.", (((), self._over),)
        )
