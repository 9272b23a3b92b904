"""Resource limits: reported, not learned: they are logged only where a `set rlimit` rule stands already."""

from typing import ClassVar

from aalearn.model.event import Event
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import Dimension, Level, Outcome, Rule, noted, register


@register
class RlimitReport(Rule):
    """A kind without rules."""

    __slots__ = ()

    kind: ClassVar[str] = "rlimit"
    order: ClassVar[int] = 82
    needs: ClassVar[str] = "rlimit"
    reported: ClassVar[bool] = True
    dimensions: ClassVar[dict[str, Dimension]] = {}

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        name, value = shown(event.get("rlimit") or b"?"), shown(event.get("value") or b"?")
        return noted(
            Level.UNNEEDED, f"the limit {name} was set to {value} against a set rlimit rule; it is not learned"
        )
