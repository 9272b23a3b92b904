"""Unmounts: `umount DST,`."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.rules.base import PATTERN, Dimension, Outcome, Rule, register
from aalearn.rules.file import failed_lookup, path


@register
@dataclass(frozen=True, slots=True)
class UmountRule(Rule):
    """What is mounted at `target` may be unmounted."""

    target: Pattern

    kind: ClassVar[str] = "umount"
    order: ClassVar[int] = 72
    needs: ClassVar[str] = "mount"
    dimensions: ClassVar[dict[str, Dimension]] = {"target": PATTERN}

    def text(self) -> str:
        return f"umount {self.target.text()},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        return failed_lookup(event) or Outcome((cls(path(event, "name")),))
