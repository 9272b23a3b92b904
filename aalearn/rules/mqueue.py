"""Message queues: `mqueue (create, read) type=posix /NAME,` and `type=sysv KEY` (abi 4.0 on)."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import (
    ANY_PATTERN,
    SCALAR,
    WORDS,
    Dimension,
    Level,
    Outcome,
    Rule,
    asked,
    known,
    listed,
    literal,
    noted,
    register,
    required,
)


@register
@dataclass(frozen=True, slots=True)
class MqueueRule(Rule):
    """`type` is posix (names begin with `/`) or sysv (names are numbers); `name` None is any."""

    access: frozenset[str]
    type: str
    name: Pattern | None = None

    kind: ClassVar[str] = "mqueue"
    order: ClassVar[int] = 91
    needs: ClassVar[str] = "mqueue"
    dimensions: ClassVar[dict[str, Dimension]] = {"access": WORDS, "type": SCALAR, "name": ANY_PATTERN}

    def text(self) -> str:
        return f"mqueue {listed(self.access)} type={self.type}{'' if self.name is None else f' {self.name.text()}'},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        access, notes = known(asked(event), words("masks")["mqueue"], "message queue access")
        if not access:
            return Outcome((), notes) if notes else noted(Level.DOUBT, "the record has no mask")
        name = required(event, "name")
        sysv = "sysv" in event.operation or event.text("class") == "sysv_mqueue"
        if not (name.isdigit() if sysv else name.startswith(b"/")):
            raise NotExpressible(f"not a message queue that policy can name: {shown(name)}")
        return Outcome((cls(access, "sysv" if sysv else "posix", literal(name)),), notes)
