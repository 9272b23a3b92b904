"""Changes to a hat: reported, for no rule grants them; the hat becomes a block of its own in the profile."""

from typing import ClassVar

from aalearn.model.event import Event
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import Dimension, Level, Outcome, Rule, noted, register


@register
class ChangeHatReport(Rule):
    """A kind without rules."""

    __slots__ = ()

    kind: ClassVar[str] = "change_hat"
    order: ClassVar[int] = 81
    needs: ClassVar[str] = "change_profile"
    reported: ClassVar[bool] = True
    dimensions: ClassVar[dict[str, Dimension]] = {}

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        hat = event.get("name") or event.get("target") or b""
        return noted(Level.UNNEEDED, f"the hat {shown(hat)} becomes a block of its own; no rule grants it")
