"""Changes of the profile: `change_profile -> NAME,`; a stacked one is `-> &NAME`."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import PATTERN, SCALAR, Dimension, Level, Note, Outcome, Rule, label, label_text, register


@register
@dataclass(frozen=True, slots=True)
class ChangeProfileRule(Rule):
    """The subject may change to `target`, or, with `stack`, put it on top of its own profile."""

    target: Pattern
    stack: bool = False

    kind: ClassVar[str] = "change_profile"
    order: ClassVar[int] = 80
    needs: ClassVar[str] = "change_profile"
    dimensions: ClassVar[dict[str, Dimension]] = {"target": PATTERN, "stack": SCALAR}

    def text(self) -> str:
        text = label_text(self.target)
        if self.stack:
            text = f'"&{text[1:]}' if text.startswith('"') else f"&{text}"
        return f"change_profile -> {text},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        wanted = label(event, "name") or label(event, "target")
        if wanted is None:
            return Outcome((), (Note(Level.DOUBT, "the record names no profile to change to"),))
        info = event.text("info")
        notes = (Note(Level.DOUBT, f"this change was logged with: {shown(info)}"),) if info else ()
        return Outcome((cls(wanted, event.operation.startswith("stack")),), notes)
