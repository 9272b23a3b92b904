"""What it takes to be ready: the one place that has the numbers, for the mind and for the configuration's defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gate:
    """What it takes to be ready. `coverage` is a share, `new_rules_a_run` what may still be expected of one more run,
    `quiet_days` the time without a new rule; nodes count only in a fleet.
    """

    coverage: float = 0.995
    new_rules_a_run: float = 0.05
    runs: int = 20
    quiet_days: float = 1.0
    nodes: int = 1
