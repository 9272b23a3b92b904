"""What the watch counts, for the service's metrics. Labels are few: the profiles that aalearn itself enforced."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aalearn.model.text import shown


class Figure(NamedTuple):
    """One metric with its values: `kind` is "counter" or "gauge"; each value has (label, value) pairs, safe to show."""

    name: str
    kind: str
    help: str
    values: tuple[tuple[tuple[tuple[str, str], ...], float], ...]


@dataclass(slots=True)
class Figures:
    """Counted since the service began. Profiles are names as logged."""

    denied: Counter[tuple[bytes, int]] = field(default_factory=Counter)  # events, by profile and risk tier
    meant: Counter[bytes] = field(default_factory=Counter)  # events that a person's refusal explains
    tripped: Counter[tuple[bytes, str]] = field(default_factory=Counter)  # limits that passed, by cause
    reverted: Counter[tuple[bytes, str]] = field(default_factory=Counter)  # done, by where to
    failed: Counter[bytes] = field(default_factory=Counter)  # tries to take back that failed
    watched: dict[bytes, int] = field(default_factory=dict)  # the enforced revision
    pending: set[bytes] = field(default_factory=set)  # to be taken back, and not done yet

    def rows(self) -> Iterator[Figure]:
        """Yield all metrics, each with sorted values."""
        yield _counter("aalearn_denied_events", "Events denied to enforced profiles.", self.denied, "tier")
        yield Figure(
            "aalearn_denied_meant_events",
            "counter",
            "Denied events of which a person refused the rule.",
            tuple(((("profile", shown(name)),), float(value)) for name, value in sorted(self.meant.items())),
        )
        yield _counter("aalearn_limits_passed", "Limits that denials passed after a promotion.", self.tripped, "cause")
        yield _counter("aalearn_reverts", "Profiles that were taken back by themselves.", self.reverted, "to")
        yield Figure(
            "aalearn_revert_failures",
            "counter",
            "Tries to take a profile back that failed.",
            tuple(((("profile", shown(name)),), float(value)) for name, value in sorted(self.failed.items())),
        )
        yield Figure(
            "aalearn_enforced_revision",
            "gauge",
            "The revision that is enforced.",
            tuple(((("profile", shown(name)),), float(value)) for name, value in sorted(self.watched.items())),
        )
        yield Figure(
            "aalearn_revert_pending",
            "gauge",
            "1 while a profile should be taken back and is not yet.",
            tuple(((("profile", shown(name)),), float(name in self.pending)) for name in sorted(self.watched)),
        )


def _counter(name: str, text: str, held: "Counter[tuple[bytes, int]] | Counter[tuple[bytes, str]]", key: str) -> Figure:
    rows = sorted((profile, str(word), value) for (profile, word), value in list(held.items()))
    values = tuple(((("profile", shown(profile)), (key, word)), float(value)) for profile, word, value in rows)
    return Figure(name, "counter", text, values)
