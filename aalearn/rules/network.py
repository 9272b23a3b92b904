"""Sockets by family and type: `network inet stream,`; with addresses and ports where the target mediates them."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Event
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import (
    ANY_SCALAR,
    ANY_WORDS,
    SCALAR,
    Dimension,
    Level,
    Note,
    Outcome,
    Rule,
    asked,
    known,
    listed,
    noted,
    register,
)

_LISTENING = frozenset({"bind", "listen"})


@register
@dataclass(frozen=True, slots=True)
class NetworkRule(Rule):
    """`family` and `type` are words of `grammars/families.toml`; None stands for any type, access, address or port.

    Addresses are in the form of `ipaddress`; ports are 1 to 65535. All but family and type need a target with
    fine_inet.
    """

    family: str
    type: str | None = None
    access: frozenset[str] | None = None
    ip: str | None = None
    port: int | None = None
    peer_ip: str | None = None
    peer_port: int | None = None

    kind: ClassVar[str] = "network"
    order: ClassVar[int] = 20
    needs: ClassVar[str] = "network"
    dimensions: ClassVar[dict[str, Dimension]] = {
        "family": SCALAR,
        "type": ANY_SCALAR,
        "access": ANY_WORDS,
        "ip": ANY_SCALAR,
        "port": ANY_SCALAR,
        "peer_ip": ANY_SCALAR,
        "peer_port": ANY_SCALAR,
    }

    def text(self) -> str:
        parts = ["network"]
        parts += [] if self.access is None else [listed(self.access)]
        parts += [self.family]
        parts += [] if self.type is None else [self.type]
        parts += _conditions(self.ip, self.port)
        peer = _conditions(self.peer_ip, self.peer_port)
        parts += [f"peer=({' '.join(peer)})"] if peer else []
        return " ".join(parts) + ","

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        table = words("families")
        family = event.text("family")
        if family not in table["families"]:
            return noted(Level.UNSUPPORTED, f"unknown socket family {shown(family)}")
        kind = socket_type(event)
        if not target.fine_inet or family not in table["fine"]:
            return Outcome((cls(family, kind),))
        access, notes = known(asked(event), words("masks")["network"], "socket access")
        if not access:
            return Outcome((cls(family, kind),), (*notes, Note(Level.DOUBT, "the record has no mask: any access")))
        return Outcome(_fine(event, family, kind, access), notes)


def socket_type(event: Event) -> str:
    """Return the word of the socket type. Raises NotExpressible for a type that policy can't name."""
    name = event.text("sock_type")
    if name not in words("families")["types"]:
        raise NotExpressible(
            f"policy has no word for the socket type {shown(name)}; the whole family would be too much"
        )
    return name


def _conditions(ip: str | None, port: int | None) -> list[str]:
    return ([] if ip is None else [f"ip={ip}"]) + ([] if port is None else [f"port={port}"])


def _fine(event: Event, family: str, kind: str, access: frozenset[str]) -> tuple[Rule, ...]:
    """Return rules with addresses and ports, but not the passing ones: ports the kernel chose, a server's clients."""
    peered = frozenset(words("masks")["peered"]["words"])
    local, foreign = _port(event, "lport"), _port(event, "fport")
    port = local if access & _LISTENING or not _ephemeral(local) else None
    serves = port is not None and _ephemeral(foreign)
    ip = _ip(event, "laddr") if port is not None else None
    peer_port = None if _ephemeral(foreign) else foreign
    peer_ip = None if serves else _ip(event, "faddr")
    if peer_ip is None and peer_port is None:
        return (NetworkRule(family, kind, access, ip, port),)
    own, others = access - peered, access & peered
    rules: list[Rule] = [NetworkRule(family, kind, own, ip, port)] if own else []
    if others:
        rules.append(NetworkRule(family, kind, others, ip, port, peer_ip, peer_port))
    return tuple(rules)


def _port(event: Event, key: str) -> int | None:
    text = event.text(key)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    return number if 0 < number < 65536 else None


def _ephemeral(port: int | None) -> bool:
    low, high = words("families")["ephemeral"]
    return port is not None and low <= port <= high


def _ip(event: Event, key: str) -> str | None:
    """Return an address in its one normal form, or None for a wildcard, none, or what is no address."""
    try:
        address = ip_address(event.text(key))
    except ValueError:
        return None
    if address.is_unspecified or getattr(address, "scope_id", None):
        return None
    return str(address)
