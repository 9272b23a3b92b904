"""User namespaces: `userns create,` (abi 4.0 on)."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.event import Event
from aalearn.model.target import Target
from aalearn.rules.base import WORDS, Dimension, Outcome, Rule, asked, known, register


@register
@dataclass(frozen=True, slots=True)
class UsernsRule(Rule):
    """`access` is create: policy knows nothing else so far."""

    access: frozenset[str]

    kind: ClassVar[str] = "userns"
    order: ClassVar[int] = 15
    needs: ClassVar[str] = "userns"
    dimensions: ClassVar[dict[str, Dimension]] = {"access": WORDS}

    def text(self) -> str:
        return f"userns {', '.join(sorted(self.access))},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        missing = asked(event) or [event.operation]  # some kernels log no mask here
        access, notes = known(missing, words("masks")["userns"], "user namespace access")
        return Outcome((cls(access),) if access else (), notes)
