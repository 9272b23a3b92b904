"""Unix sockets, where the kernel mediates them by address and label: `unix (connect) type=stream peer=(addr=@x
label=y),`.

Addresses in the file system are not here: they come as file events, and policy has no `addr=/path`.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Event
from aalearn.model.pattern import Chars, Literal, Pattern
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
    label,
    label_text,
    listed,
    literal,
    noted,
    register,
    value_text,
)
from aalearn.rules.network import socket_type

_NONE = Pattern.literal(b"none")
_AUTO = Pattern.literal(b"auto")  # bind without an address: the kernel shall choose one
_AUTOBIND = re.compile(rb"@[0-9a-f]{5}")  # the kernel's own choice (source: net/unix/af_unix.c, unix_autobind)


@register
@dataclass(frozen=True, slots=True)
class UnixRule(Rule):
    """`addr` and `peer_addr` begin with `@` or are the literals `none` and `auto`; None is any address or label.

    Only accept, connect, receive and send can have a peer.
    """

    access: frozenset[str]
    type: str
    addr: Pattern | None = None
    peer_addr: Pattern | None = None
    peer: Pattern | None = None

    kind: ClassVar[str] = "unix"
    order: ClassVar[int] = 30
    needs: ClassVar[str] = "network"
    dimensions: ClassVar[dict[str, Dimension]] = {
        "access": WORDS,
        "type": SCALAR,
        "addr": ANY_PATTERN,
        "peer_addr": ANY_PATTERN,
        "peer": ANY_PATTERN,
    }

    def __post_init__(self) -> None:
        if (self.peer or self.peer_addr) and not self.access <= set(words("masks")["peered"]["words"]):
            raise ValueError(f"unix access that can't have a peer: {sorted(self.access)}")

    def text(self) -> str:
        parts = [f"unix {listed(self.access)} type={self.type}"]
        parts += [] if self.addr is None else [f"addr={_address_text(self.addr)}"]
        peer = [] if self.peer_addr is None else [f"addr={_address_text(self.peer_addr)}"]
        peer += [] if self.peer is None else [f"label={label_text(self.peer)}"]
        parts += [f"peer=({' '.join(peer)})"] if peer else []
        return " ".join(parts) + ","

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        kind = socket_type(event)
        access, notes = known(asked(event), words("masks")["network"], "socket access")
        if not access:
            return Outcome((), notes) if notes else noted(Level.DOUBT, "the record has no mask")
        peered = frozenset(words("masks")["peered"]["words"])
        address, peer_address, peer = _address(event, "addr"), _address(event, "peer_addr"), label(event, "peer")
        rules: list[Rule] = []
        if "create" in access:  # asked before there is an address
            rules.append(cls(frozenset({"create"}), kind))
        own = access - peered - {"create"}
        if "bind" in own and address == _NONE:
            rules.append(cls(frozenset({"bind"}), kind, _AUTO))
            own -= {"bind"}
        if own:
            rules.append(cls(own, kind, address))
        if others := access & peered:
            rules.append(cls(others, kind, address, peer_address, peer))
        return Outcome(tuple(rules), notes)


def _address(event: Event, key: str) -> Pattern | None:
    """Return the pattern of an address, or None when the record has no such field.

    Raises NotExpressible for an address in the file system, with NUL in its name, or empty: no address means any.
    """
    value = event.get(key)
    if value is None:
        return None
    if not value:
        raise NotExpressible(f"the record's {key} is empty, and a rule without it would mean any address")
    if value == b"none":
        return _NONE
    if _AUTOBIND.fullmatch(value):
        return Pattern.of(Literal(b"@"), Chars("0-9a-f", 5))
    if not value.startswith(b"@") or len(value) == 1:
        raise NotExpressible(f"policy can't name this address of a unix socket: {shown(value)}")
    return literal(value)


def _address_text(value: Pattern) -> str:
    """Return an address as policy text: the mark of an abstract one stays bare, what follows is spelled as ever."""
    text = value_text(value)
    if not text.startswith('"\\100'):
        return text
    first, *rest = value.tokens
    tail = Pattern.of(Literal(first.value[1:] if isinstance(first, Literal) else b""), *rest)
    text = value_text(tail)
    return f'"@{text[1:]}' if text.startswith('"') else f"@{text}"
