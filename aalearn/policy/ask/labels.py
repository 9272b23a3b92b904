"""Questions whose object is a label: signal, ptrace, io_uring; and the kernel's way to match a label.

Layout (source: kernel lib.c, ipc.c, task.c, lsm.c, label.c; apparmor_parser signal.cc, ptrace.cc, io_uring.cc):
signal = class, signal number, label; ptrace = class "label", class "ptrace", label; io_uring = class[, label].
"""

from typing import Final

from aalearn.model.event import Event
from aalearn.model.text import shown
from aalearn.policy.ask.base import (
    CLASSES,
    Answer,
    Machine,
    Subject,
    decide,
    denied,
    mask,
    numbers,
    request,
    unmediated,
    unproved,
)
from aalearn.policy.automaton import TRAP

_SIGNALS: Final = numbers("signals")
_SIGNAL: Final = numbers("signal")
_PTRACE: Final = numbers("ptrace")
_IO_URING: Final = numbers("io_uring")
_LAST_REALTIME: Final = 32


def match(machine: Machine, state: int, label: bytes, bits: int, what: str) -> Answer:
    """Return whether `bits` are permitted on `label` from `state` on: the whole label, or else each of its members."""
    if not label:
        return unproved("the record does not name the other side's label")
    members = label.split(b"//&")
    if any(member.startswith(b":") for member in members):
        return unproved("labels of other namespaces are not walked")
    whole = machine.rights.allow(machine.dfa.run(state, label))
    if whole & bits == bits or len(members) == 1:
        return decide(whole, bits, f"no rule permits {what} {shown(label)}")
    for member in members:
        if machine.rights.allow(machine.dfa.run(state, member)) & bits != bits:
            return denied(f"no rule permits {what} {shown(label)}, for want of its member {shown(member)}")
    return decide(bits, bits, "")


def signal(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "signal"."""
    start = subject.start(CLASSES["signal"])
    if subject.policy is None or start == TRAP:
        return unmediated("signals")
    bits = request(mask(event), _SIGNAL)
    if bits is None:
        return unproved("the record does not say whether the signal was sent or received")
    name = event.text("signal")
    number = _signal_number(name)
    if number is None:
        return unproved(f"unknown signal {shown(name)!r}")
    state = subject.policy.dfa.step(start, number)
    return match(subject.policy, state, event.get("peer") or b"", bits, f"to {mask(event)} signal {shown(name)} with")


def _signal_number(name: str) -> int | None:
    if name.startswith("rtmin+") and name[6:].isdecimal() and int(name[6:]) <= _LAST_REALTIME:
        return _SIGNALS["rtmin"] + int(name[6:])
    return _SIGNALS.get(name) if name != "rtmin" else None


def ptrace(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "ptrace"."""
    if subject.policy is None or subject.start(CLASSES["ptrace"]) == TRAP:
        return unmediated("ptrace")
    bits = request(mask(event), _PTRACE)
    if bits is None:
        return unproved("the record does not say what was asked for")
    state = subject.policy.dfa.step(subject.start(CLASSES["label"]), CLASSES["ptrace"])
    return match(subject.policy, state, event.get("peer") or b"", bits, f"ptrace {mask(event)} of")


def io_uring(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operations "uring_sqpoll" and "uring_override"."""
    start = subject.start(CLASSES["io_uring"])
    if subject.policy is None or start == TRAP:
        return unmediated("io_uring")
    bits = request(mask(event), _IO_URING)
    if bits is None:
        return unproved("the record does not say what was asked for")
    if bits == _IO_URING["sqpoll"]:
        return decide(subject.policy.rights.allow(start), bits, "no rule permits io_uring sqpoll")
    label = event.get("tcontext") or event.get("target") or b""
    return match(subject.policy, start, label, bits, "io_uring override_creds of")


def userns(subject: Subject, _event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "userns_create"."""
    start = subject.start(CLASSES["namespace"])
    if subject.policy is None or start == TRAP:
        return unmediated("the creation of user namespaces")
    bits = numbers("namespace")["userns_create"]
    return decide(subject.policy.rights.allow(start), bits, "no rule permits to create user namespaces")
