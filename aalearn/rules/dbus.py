"""D-Bus: `dbus (send) bus=system path=/x interface=y member=z peer=(name=n label=l),` and `dbus (bind) … name=n,`."""

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
    literal,
    noted,
    register,
    value_text,
)

_MESSAGE = ("path", "interface", "member")


@register
@dataclass(frozen=True, slots=True)
class DbusRule(Rule):
    """`access` is eavesdrop, bind, or some of send and receive. None stands for any.

    `name` is the name to own (bind) or to talk to (send). bind takes neither path, interface, member nor peer;
    eavesdrop only a bus. Raises ValueError for another mix, which the compiler would refuse.
    """

    access: frozenset[str]
    bus: Pattern | None = None
    path: Pattern | None = None
    interface: Pattern | None = None
    member: Pattern | None = None
    name: Pattern | None = None
    peer: Pattern | None = None

    kind: ClassVar[str] = "dbus"
    order: ClassVar[int] = 60
    needs: ClassVar[str] = "dbus"
    dimensions: ClassVar[dict[str, Dimension]] = {
        "access": WORDS,
        "bus": ANY_PATTERN,
        "path": ANY_PATTERN,
        "interface": ANY_PATTERN,
        "member": ANY_PATTERN,
        "name": ANY_PATTERN,
        "peer": ANY_PATTERN,
    }

    def __post_init__(self) -> None:
        message = any((self.path, self.interface, self.member, self.peer))
        talks = self.access <= {"send", "receive"}
        if not talks and (len(self.access) > 1 or message or (self.name is not None and "bind" not in self.access)):
            raise ValueError(f"dbus {listed(self.access)} with conditions that it can't have")

    def merge(self, other: Rule) -> Rule | None:
        if isinstance(other, DbusRule) and {"bind", "eavesdrop"} & (self.access | other.access):
            return self if self.covers(other) else other if other.covers(self) else None
        return Rule.merge(self, other)

    def text(self) -> str:
        parts = [f"dbus {listed(self.access)}"]
        for key in ("bus", *_MESSAGE):
            value: Pattern | None = getattr(self, key)
            parts += [] if value is None else [f"{key}={value_text(value)}"]
        name = [] if self.name is None else [f"name={value_text(self.name)}"]
        if "bind" in self.access:
            return " ".join([*parts, *name]) + ","
        peer = [*name, *([] if self.peer is None else [f"label={label_text(self.peer)}"])]
        return " ".join([*parts, *([f"peer=({' '.join(peer)})"] if peer else [])]) + ","

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        access, notes = known(asked(event), words("masks")["dbus"], "dbus access")
        if not access:
            return Outcome((), notes) if notes else noted(Level.DOUBT, "the record has no mask")
        bus, name = _word(event, "bus"), _name(event)
        rules: list[Rule] = [cls(frozenset({one}), bus, name=name) for one in access & {"bind"}]
        rules += [cls(frozenset({one}), bus) for one in access & {"eavesdrop"}]
        if talk := access & {"send", "receive"}:
            path, interface, member = _path(event), _word(event, "interface"), _member(event)
            rules.append(cls(talk, bus, path, interface, member, name, label(event, "peer_label")))
        return Outcome(tuple(rules), notes)


def _word(event: Event, key: str) -> Pattern | None:
    value = event.get(key)
    return literal(value) if value else None


def _member(event: Event) -> Pattern | None:
    return _word(event, "member") or _word(event, "method")


def _name(event: Event) -> Pattern | None:
    """Return the peer's name, unless it is a connection's number (`:1.42`), which passes."""
    value = event.get("name")
    return None if not value or value.startswith(b":") else literal(value)


def _path(event: Event) -> Pattern | None:
    value = event.get("path")
    if value and (b"//" in value or not value.startswith(b"/")):
        raise NotExpressible(f"not a dbus path that policy can name: {shown(value)}")
    return literal(value) if value else None
