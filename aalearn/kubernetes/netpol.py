"""A hint for NetworkPolicies: which directions of traffic a Pod was never seen to need.

AppArmor logs what a program does with sockets, and addresses and ports only once there is a connection. So the hint is
no more than a default-deny for a direction that no learned event used; what it can't know, it counts as used. Replies
of an allowed direction pass, so a client needs no ingress and a server no egress.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from aalearn.model.event import Access, Event
from aalearn.model.label import NULL
from aalearn.model.text import shown
from aalearn.rules import kind_of

_FAMILIES: Final = frozenset({"inet", "inet6", "packet", "smc"})
_SERVES: Final = frozenset({"bind", "listen", "accept"})
_CALLS: Final = frozenset({"connect"})
_SENDS: Final = frozenset({"sendmsg", "sendto"})
_MOST: Final = 40  # lines of evidence


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was seen: evidence lines for each direction (empty: not needed), and where network use is unknown.

    `unknown` says why nothing may be concluded, "" where it may.
    """

    ingress: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    unknown: str = ""
    events: int = 0

    @property
    def closed(self) -> tuple[str, ...]:
        """The policy types that may be denied by default."""
        if self.unknown:
            return ()
        return tuple(name for name, seen in (("Ingress", self.ingress), ("Egress", self.egress)) if not seen)


def traffic(accesses: Iterable[Access]) -> Traffic:
    """Return what the accesses of the profiles of one Pod show."""
    ingress: dict[str, int] = {}
    egress: dict[str, int] = {}
    events, unknown = 0, ""
    for access in accesses:
        event = access.event
        if NULL + b"/" in event.profile:
            unknown = (
                "programs were learned through //null-, whose network use the kernel does not log: "
                "learn with a profile that holds `audit /** ix,` (as aalearn draft makes it)"
            )
        if kind_of(event) != "network" or event.text("family") not in _FAMILIES:
            continue
        events += access.count
        for direction in _directions(event):
            seen = ingress if direction == "Ingress" else egress
            line = _line(event)
            seen[line] = seen.get(line, 0) + access.count
    return Traffic(_lines(ingress), _lines(egress), unknown, events)


def _directions(event: Event) -> tuple[str, ...]:
    """Return the directions of traffic that an event shows to be needed."""
    operation, kind = event.operation, event.text("sock_type")
    if kind not in ("stream", "dgram", "seqpacket") or event.text("family") == "packet":
        return ("Ingress", "Egress")  # raw packets: anything
    if _loopback(event, "faddr") or (operation in _SERVES and _loopback(event, "laddr")):
        return ()
    if operation in _SERVES:
        return ("Ingress",)
    if operation in _CALLS or (operation in _SENDS and kind == "dgram"):
        return ("Egress",)
    return ()


def _loopback(event: Event, key: str) -> bool:
    try:
        address = ip_address(event.text(key))
    except ValueError:
        return False
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (inner or address).is_loopback


def _line(event: Event) -> str:
    words = [event.operation, event.text("family"), event.text("sock_type")]
    words += [f"{key}={event.text(key)}" for key in ("laddr", "lport", "faddr", "fport") if event.get(key)]
    return shown(" ".join(words))


def _lines(seen: dict[str, int]) -> tuple[str, ...]:
    lines = [f"{line} ({count} events)" if count != 1 else f"{line} (1 event)" for line, count in sorted(seen.items())]
    return (*lines[:_MOST], f"and {len(lines) - _MOST} more") if len(lines) > _MOST else tuple(lines)


def policy(
    name: str, namespace: str, selector: Sequence[tuple[str, str]], learned: Sequence[bytes], seen: Traffic
) -> dict[str, Any]:
    """Return the NetworkPolicy that denies the closed directions. Raises ValueError where there is none."""
    if not seen.closed:
        raise ValueError("no direction is closed")
    whence = ", ".join(shown(one) for one in learned)
    none = " or ".join(seen.closed).lower()
    used = {"ingress": seen.ingress, "egress": seen.egress}
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {"app.kubernetes.io/managed-by": "aalearn"}
    metadata["annotations"] = {
        "aalearn/suggestion": f"only a suggestion, from what was learned for {whence}: read it before you apply it",
        "aalearn/network-events": f"{seen.events} events of network sockets, none of them {none}",
        **{f"aalearn/{direction}": "\n".join(lines) for direction, lines in used.items() if lines},
    }
    spec = {"podSelector": {"matchLabels": dict(selector)}, "policyTypes": list(seen.closed)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
