"""Hard links: `[owner] link NAME -> TARGET,`; never the letter `l`, whose subset test is set for the owner alone."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import CONDITION, PATTERN, Dimension, Level, Note, Outcome, Rule, register
from aalearn.rules.file import failed_lookup, path


@register
@dataclass(frozen=True, slots=True)
class LinkRule(Rule):
    """The new `name` may become a link to `target`."""

    name: Pattern
    target: Pattern
    owner: bool = False

    kind: ClassVar[str] = "link"
    order: ClassVar[int] = 110
    needs: ClassVar[str] = "file"
    dimensions: ClassVar[dict[str, Dimension]] = {"name": PATTERN, "target": PATTERN, "owner": CONDITION}

    def text(self) -> str:
        return f"{'owner ' if self.owner else ''}link {self.name.text()} -> {self.target.text()},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        lookup = failed_lookup(event)
        if lookup is not None:
            return lookup
        rule = cls(path(event, "name"), path(event, "target"), owner is True)
        info = event.text("info")
        return Outcome((rule,), (Note(Level.DOUBT, f"this link was logged with: {shown(info)}"),) if info else ())
