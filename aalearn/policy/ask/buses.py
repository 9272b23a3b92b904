"""Questions that user-space mediators ask, and message queues.

D-Bus layout (source: apparmor_parser dbus.cc, dbus-daemon bus/apparmor.c, kernel apparmorfs.c query interface):
eavesdrop = class, bus; bind = class, bus NUL, name; send and receive = class, bus NUL, peer's name NUL, peer's label
NUL, path NUL, interface NUL, member. Queue layout (apparmor_parser mqueue.cc): class, name[, NUL, label]; System V
queues are named by their key, four bytes big-endian.
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
    mask,
    numbers,
    request,
    unmediated,
    unproved,
)
from aalearn.policy.ask.labels import match
from aalearn.policy.automaton import TRAP

_DBUS: Final = numbers("dbus")
_QUEUE: Final = numbers("mqueue")
_QUEUE_LETTERS: Final = {"r": "read", "w": "write"}
_QUEUE_CLASSES: Final = {"posix_mqueue": "posix_mqueue", "sysv_mqueue": "sysv_mqueue"}


def _reaches(machine: Machine, state: int, bits: int) -> bool:
    """Return whether some word from `state` on leads to where `bits` are permitted."""
    todo, seen = [state], {state, TRAP}
    while todo:
        state = todo.pop()
        if state != TRAP and machine.rights.allow(state) & bits == bits:
            return True
        new = set(machine.dfa.row(state)) - seen
        seen |= new
        todo += new
    return False


def dbus(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for the records of D-Bus daemons."""
    start = subject.start(CLASSES["dbus"])
    if subject.policy is None or start == TRAP:
        return unmediated("D-Bus")
    bits = request(mask(event), _DBUS)
    if bits is None:
        return unproved("the record does not say what was asked for")
    if bits == _DBUS["eavesdrop"]:
        keys: tuple[str, ...] = ("bus",)
    elif bits == _DBUS["bind"]:
        keys = ("bus", "name")
    else:
        keys = ("bus", "name", "peer_label", "path", "interface", "member")
    values = [event.get(key) or b"" for key in keys]
    if len(values) > 2 and not values[5]:
        values[5] = event.get("method") or b""
    allow = subject.policy.rights.allow(subject.policy.dfa.run(start, b"\0".join(values)))
    what = " ".join(f"{key}={shown(value)}" for key, value in zip(keys, values, strict=True) if value)
    return decide(allow, bits, f"no rule permits dbus {mask(event)} {what}")


def mqueue(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for message queues of both kinds."""
    kind = _QUEUE_CLASSES.get(event.text("class")) or _QUEUE_CLASSES.get(event.operation)
    name = event.get("name")
    if kind is None or not name:
        return unproved("the record does not name the queue")
    start = subject.start(CLASSES[kind])
    if subject.policy is None or start == TRAP:
        return unmediated("message queues")
    if kind == "sysv_mqueue":
        if not name.isdigit() or int(name) >= 1 << 32:
            return unproved(f"unknown key {shown(name)} of a message queue")
        name = int(name).to_bytes(4)
    text = " ".join(_QUEUE_LETTERS.get(word, word) for word in mask(event).replace(",", " ").split())
    if not request(text, _QUEUE):
        text = " ".join(_QUEUE_LETTERS.get(letter, letter) for letter in mask(event))
    bits = request(text, _QUEUE)
    if bits is None:
        return unproved(f"unknown permissions {shown(mask(event))!r}")
    state = subject.policy.dfa.run(start, name)
    answer = decide(subject.policy.rights.allow(state), bits, f"no rule permits {text} on the queue {shown(name)}")
    labelled = subject.policy.dfa.step(state, 0)
    if answer.allowed or not _reaches(subject.policy, labelled, bits):
        return answer
    label = event.get("label") or event.get("peer")
    if label is None:
        return unproved("rules for this queue depend on its label, which the record does not tell")
    return match(subject.policy, labelled, label, bits, f"{text} on the queue {shown(name)} with")
