"""Questions about sockets.

Coarse layout, what all kernels know (source: kernel net.c): class, family u16 big-endian, socket type u16; since 6.17
the protocol u16 follows where the permissions are not there yet and the state says that a longer match may have them.
Fine layout of unix sockets (source: kernel af_unix.c, apparmor_parser af_unix.cc): class, family, type, protocol,
local address NUL, local label NUL, then per question nothing, or a command byte: 1 peer address NUL peer label, 2
backlog u16, 4 option u16. An address is \\x01 where there is none, NUL and name when abstract, empty when the kernel
shall choose.
"""

from typing import Final

from aalearn.model.event import Event
from aalearn.model.text import shown
from aalearn.policy.ask.base import (
    CLASSES,
    Answer,
    Machine,
    Subject,
    Verdict,
    decide,
    denied,
    mask,
    numbers,
    request,
    unmediated,
    unproved,
)
from aalearn.policy.ask.labels import match
from aalearn.policy.automaton import TRAP
from aalearn.policy.permissions import May

_FAMILIES: Final = numbers("families")
_TYPES: Final = numbers("socket_types")
_BITS: Final = numbers("network")
_UNIX: Final = _FAMILIES["unix"]
_TO_PEER: Final = b"\x01"
_LISTEN: Final = b"\x02\x00\x01"  # any backlog: no rule can tell one from another
_OPTION: Final = b"\x04\x00\x01"  # any option, likewise
_PEER_BITS: Final = _BITS["send"] | _BITS["receive"] | _BITS["connect"]
_OPTION_BITS: Final = _BITS["setopt"] | _BITS["getopt"]


def network(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for all records with `family=`, unix sockets among them."""
    start = subject.start(CLASSES["network_v9"]) or subject.start(CLASSES["network"])
    if subject.policy is None or start == TRAP:
        return unmediated("the network")
    family, kind = _number(event.text("family"), _FAMILIES), _number(event.text("sock_type"), _TYPES)
    bits = request(mask(event), _BITS)
    if family is None or kind is None:
        return unproved(f"unknown socket {shown(event.text('family'))} {shown(event.text('sock_type'))}")
    if bits is None:
        return unproved("the record does not say what was asked for")
    coarse = _coarse(subject.policy, start, (family, kind), event, bits)
    if family != _UNIX or not _mediates_unix(subject, subject.policy):
        return coarse
    return _agree(subject, coarse, _fine_unix(subject.policy, start, kind, event, bits))


def _number(word: str, table: dict[str, int]) -> int | None:
    """Return the number of a word; kernels write what they do not know as "unknown(N)"."""
    if word.startswith("unknown(") and word.endswith(")") and word[8:-1].isdecimal() and int(word[8:-1]) < 1 << 16:
        return int(word[8:-1])
    return table.get(word)


def _coarse(machine: Machine, start: int, socket: tuple[int, int], event: Event, bits: int) -> Answer:
    """Return the answer by family and type, as the kernel gives it where it mediates no addresses."""
    family, kind = socket
    what = f"no rule permits {mask(event)} on {shown(event.text('family'))} {shown(event.text('sock_type'))} sockets"
    state = machine.dfa.run(start, family.to_bytes(2) + kind.to_bytes(2))
    allow = machine.rights.allow(state)
    if allow & bits == bits or not allow & May.CONTINUE:
        return decide(allow, bits, what)
    return unproved("this policy mediates addresses and ports of inet sockets, which are not walked")


def _mediates_unix(subject: Subject, machine: Machine) -> bool:
    """Return whether the policy was compiled for kernels that mediate unix sockets by address and label.

    The compiler then marks the old network class, with or without unix rules (parser_regex.c, mediates_extended_net).
    """
    return bool(machine.rights.allow(subject.start(CLASSES["net_compat"])) & May.READ)


def _agree(subject: Subject, coarse: Answer, fine: Answer | None) -> Answer:
    """Return the answer of the reading that the node's kernel has, or what both say where that is unknown."""
    if fine is None or subject.fine_unix is False:
        return coarse
    if subject.fine_unix or coarse.verdict == fine.verdict:
        return fine
    if Verdict.UNPROVED in (coarse.verdict, fine.verdict):
        return coarse if coarse.verdict is Verdict.UNPROVED else fine
    refusing = "with" if fine.verdict is Verdict.DENIED else "without"
    why = (fine if fine.verdict is Verdict.DENIED else coarse).why
    return unproved(f"a kernel {refusing} fine mediation of unix sockets would deny it: {why}")


def _fine_unix(machine: Machine, start: int, kind: int, event: Event, bits: int) -> Answer | None:
    """Return the answer by address and label, None where the record does not tell them (older kernels)."""
    protocol = event.text("protocol") or "0"
    state = machine.dfa.run(start, _UNIX.to_bytes(2) + kind.to_bytes(2))
    state = machine.dfa.run(state, (int(protocol) if protocol.isdecimal() else 0).to_bytes(4)[2:])
    rights, what = machine.rights, f"no rule permits {mask(event)} on such a unix socket"
    if bits == _BITS["create"]:
        return decide(rights.allow(state), bits, what)
    local = event.get("addr")
    if local is None:
        return None
    state = machine.dfa.run(state, _address(local, binding=bits == _BITS["bind"]) + b"\0\0")
    if bits & _PEER_BITS:
        return _peer(machine, state, event, bits, what)
    if bits == _BITS["listen"]:
        return decide(rights.allow(machine.dfa.run(state, _LISTEN)), bits, what)
    if bits & _OPTION_BITS:
        return decide(rights.allow(machine.dfa.run(state, _OPTION)), bits, what)
    return decide(rights.allow(state), bits, what)


def _peer(machine: Machine, state: int, event: Event, bits: int, what: str) -> Answer | None:
    peer = event.get("peer_addr")
    if peer is None or event.get("peer") is None:
        return None
    state = machine.dfa.run(state, _TO_PEER + _address(peer, binding=False) + b"\0")
    if state == TRAP:
        return denied(what)
    return match(machine, state, event.get("peer") or b"", bits, f"{mask(event)} on such a unix socket with")


def _address(text: bytes, *, binding: bool) -> bytes:
    """Return an address as the kernel spells it for the automaton; records write `none`, `@NAME` or a path."""
    if text == b"none":
        return b"" if binding else b"\x01"
    return b"\0" + text[1:] if text.startswith(b"@") else text
