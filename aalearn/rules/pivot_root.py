"""Changes of the root: `pivot_root oldroot=OLD NEW,`."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.rules.base import PATTERN, Dimension, Outcome, Rule, register
from aalearn.rules.file import failed_lookup, path


@register
@dataclass(frozen=True, slots=True)
class PivotRootRule(Rule):
    """`new` may become the root, the old one then stands at `old`."""

    new: Pattern
    old: Pattern

    kind: ClassVar[str] = "pivot_root"
    order: ClassVar[int] = 73
    needs: ClassVar[str] = "mount"
    dimensions: ClassVar[dict[str, Dimension]] = {"new": PATTERN, "old": PATTERN}

    def text(self) -> str:
        return f"pivot_root oldroot={self.old.text()} {self.new.text()},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        return failed_lookup(event) or Outcome((cls(path(event, "name"), path(event, "srcname")),))
