"""Remounts: `remount options=(bind, ro) DST,`."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.rules.base import PATTERN, SAME_WORDS, Dimension, Outcome, Rule, listed, register
from aalearn.rules.file import failed_lookup, path
from aalearn.rules.mount import flags


@register
@dataclass(frozen=True, slots=True)
class RemountRule(Rule):
    """`options` are exactly those of the remount, without the word remount itself.

    Raises ValueError for both ro and rw, or none at all.
    """

    options: frozenset[str]
    target: Pattern

    kind: ClassVar[str] = "remount"
    order: ClassVar[int] = 71
    needs: ClassVar[str] = "mount"
    dimensions: ClassVar[dict[str, Dimension]] = {"options": SAME_WORDS, "target": PATTERN}

    def __post_init__(self) -> None:
        if {"ro", "rw"} <= self.options or not self.options:
            raise ValueError(f"mount options that do not go together: {sorted(self.options)}")

    def text(self) -> str:
        return f"remount options={listed(self.options)} {self.target.text()},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        lookup = failed_lookup(event)
        if lookup is not None:
            return lookup
        words = [flag.strip().encode() for flag in event.text("flags").split(",")]
        options, notes = flags(event.with_(flags=b",".join(word for word in words if word != b"remount")))
        return Outcome((), notes) if notes else Outcome((cls(options, path(event, "name")),))
