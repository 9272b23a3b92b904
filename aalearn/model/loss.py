"""A loss: records known to be missing. The one place that says whether it falls into a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """Records known to be missing on a node. `time` (ms since the epoch) 0: unknown.

    Old losses are summed up by node, kind and day: then `times` of them happened from `time` to `until`. For a single
    one `until` is 0. `amount` is the number of records, 0 where nobody knows.
    """

    time: int
    node: str
    kind: str
    amount: int = 0
    source: str = ""
    until: int = 0
    times: int = 1

    def since(self, first: int) -> bool:
        """Return whether some of it may have happened at or after a time (ms). What is later than now has happened all
        the same: then the clock was set back.
        """
        return not self.time or max(self.time, self.until) >= first
