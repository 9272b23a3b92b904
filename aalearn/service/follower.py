"""What may follow the service: it is told of each commit and asked once a second."""

from typing import Protocol

from aalearn.store import Store
from aalearn.store.batch import Batch


class Follower(Protocol):
    """Called by the service's loop, in its thread, so be quick: while a follower works nothing is counted.

    An AalearnError that one raises is told and counted; the service goes on, and the next call comes as usual.
    """

    def committed(self, batch: Batch, store: Store) -> None:
        """Look at what was just committed. The batch is only lent: take what you need of it now."""

    def tick(self, now_ms: int, store: Store) -> None:
        """Do what has to be done in time; `now_ms` is the clock (ms since the epoch). Comes about once a second."""
