"""Tracing: `ptrace (read) peer=NAME,`."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.rules.base import (
    ANY_PATTERN,
    WORDS,
    Dimension,
    Level,
    Outcome,
    Rule,
    asked,
    known,
    label,
    label_text,
    listed,
    noted,
    register,
)


@register
@dataclass(frozen=True, slots=True)
class PtraceRule(Rule):
    """`access` holds read, trace, readby or tracedby; `peer` None is any label."""

    access: frozenset[str]
    peer: Pattern | None = None

    kind: ClassVar[str] = "ptrace"
    order: ClassVar[int] = 50
    needs: ClassVar[str] = "ptrace"
    dimensions: ClassVar[dict[str, Dimension]] = {"access": WORDS, "peer": ANY_PATTERN}

    def text(self) -> str:
        return f"ptrace {listed(self.access)}{'' if self.peer is None else f' peer={label_text(self.peer)}'},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        access, notes = known(asked(event), words("masks")["ptrace"], "ptrace access")
        if not access:
            return Outcome((), notes) if notes else noted(Level.DOUBT, "a ptrace record without a mask gives no rule")
        return Outcome((cls(access, label(event, "peer")),), notes)
