"""Capabilities: `capability chown setuid,`."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.event import Event
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import WORDS, Dimension, Level, Outcome, Rule, noted, register


@register
@dataclass(frozen=True, slots=True)
class CapabilityRule(Rule):
    """`names` are words of `grammars/capabilities.toml`, at least one."""

    names: frozenset[str]

    kind: ClassVar[str] = "capability"
    order: ClassVar[int] = 10
    needs: ClassVar[str] = "capability"
    dimensions: ClassVar[dict[str, Dimension]] = {"names": WORDS}

    def text(self) -> str:
        return f"capability {' '.join(sorted(self.names))},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        name, table = event.text("capname"), words("capabilities")["names"]
        number = event.text("capability")
        if not name and number.isdecimal() and int(number[:4]) < len(table):
            name = table[int(number[:4])]
        if name not in table:
            return noted(Level.UNSUPPORTED, f"unknown capability {shown(name or number)}")
        if event.text("info").startswith("optional"):
            return noted(Level.PROBE, f"capability {name} was only probed: nothing failed, so it is not granted")
        if target.abi in words("capabilities")["unknown"].get(name, ()):
            return noted(
                Level.UNSUPPORTED,
                f"capability {name} would become another under abi {target.abi}: learn for a newer one",
            )
        return Outcome((cls(frozenset({name})),))
