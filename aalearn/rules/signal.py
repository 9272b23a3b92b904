"""Signals: `signal (send) set=(term) peer=NAME,`."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import (
    ANY_PATTERN,
    ANY_WORDS,
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
class SignalRule(Rule):
    """`access` holds send or receive; `signals` None is any signal, `peer` None any label."""

    access: frozenset[str]
    signals: frozenset[str] | None = None
    peer: Pattern | None = None

    kind: ClassVar[str] = "signal"
    order: ClassVar[int] = 40
    needs: ClassVar[str] = "signal"
    dimensions: ClassVar[dict[str, Dimension]] = {"access": WORDS, "signals": ANY_WORDS, "peer": ANY_PATTERN}

    def text(self) -> str:
        signals = "" if self.signals is None else f" set={listed(self.signals)}"
        peer = "" if self.peer is None else f" peer={label_text(self.peer)}"
        return f"signal {listed(self.access)}{signals}{peer},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        access, notes = known(asked(event), words("masks")["signal"], "signal access")
        name = event.text("signal")
        if not _spelled(name):
            return noted(Level.UNSUPPORTED, f"unknown signal {shown(name)}")
        if not access:
            return Outcome((), notes) if notes else noted(Level.DOUBT, "the record has no mask")
        return Outcome((cls(access, frozenset({name}), label(event, "peer")),), notes)


def _spelled(name: str) -> bool:
    """Return whether policy has the kernel's word `name`: both write real-time signals as `rtmin+8`."""
    table = words("signals")
    prefix, plus, number = name.partition("+")
    if prefix == "rtmin" and plus:
        return number.isascii() and number.isdecimal() and len(number) < 3 and int(number) <= table["realtime"]
    return name in table["names"]
