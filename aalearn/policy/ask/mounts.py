"""Questions about mounts.

Layout (source: kernel mount.c, apparmor_parser mount.cc): mount = class, mount point NUL, device NUL, type NUL, then
one byte (bit number + 1) for each flag that is set, in rising order[, NUL, data]; umount = class, mount point;
pivot_root = class, new root NUL, old root. A missing device or type is empty.
"""

from typing import Final

from aalearn.model.event import Event
from aalearn.model.text import shown
from aalearn.policy.ask.base import CLASSES, Answer, Subject, decide, numbers, unmediated, unproved
from aalearn.policy.automaton import TRAP

_BITS: Final = numbers("mount")
_FLAGS: Final = numbers("mount_flags")
_RECURSIVE: Final = {f"r{word}": word for word in ("bind", "unbindable", "private", "slave", "shared")}


def flags(text: str) -> int | None:
    """Return the bits of a record's `flags`, such as "rw, nosuid, rbind"; None when a word is unknown."""
    bits = 0
    for word in text.replace(",", " ").split():
        if word == "rw":
            continue
        plain = _RECURSIVE.get(word, word)
        if plain not in _FLAGS:
            return None
        bits |= 1 << _FLAGS[plain] | (1 << _FLAGS["rec"] if plain != word else 0)
    return bits


def mount(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "mount": new mounts, binds, moves, remounts and changes of propagation."""
    start = subject.start(CLASSES["mount"])
    if subject.policy is None or start == TRAP:
        return unmediated("mounts")
    point = event.get("name")
    if not point:
        return unproved("the record does not name the mount point")
    bits = flags(event.text("flags"))
    if bits is None:
        return unproved(f"unknown mount flags {shown(event.text('flags'))}")
    word = b"\0".join((point, event.get("srcname") or b"", event.get("fstype") or b"")) + b"\0"
    word += bytes(bit + 1 for bit in range(32) if bits >> bit & 1)
    allow = subject.policy.rights.allow(subject.policy.dfa.run(start, word))
    if allow & _BITS["mount"] == 0 and allow & _BITS["data"]:
        return unproved("a rule permits this mount for certain data only, and records do not tell the data")
    return decide(allow, _BITS["mount"], f"no rule permits this mount on {shown(point)}")


def umount(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "umount"."""
    start = subject.start(CLASSES["mount"])
    if subject.policy is None or start == TRAP:
        return unmediated("mounts")
    point = event.get("name")
    if not point:
        return unproved("the record does not name the mount point")
    allow = subject.policy.rights.allow(subject.policy.dfa.run(start, point))
    return decide(allow, _BITS["umount"], f"no rule permits umount of {shown(point)}")


def pivot_root(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "pivotroot": `name` is the new root, `srcname` where the old one is put."""
    start = subject.start(CLASSES["mount"])
    if subject.policy is None or start == TRAP:
        return unmediated("mounts")
    new, old = event.get("name"), event.get("srcname")
    if not new or not old:
        return unproved("the record does not name both roots")
    allow = subject.policy.rights.allow(subject.policy.dfa.run(start, new + b"\0" + old))
    return decide(allow, _BITS["pivot_root"], f"no rule permits pivot_root to {shown(new)}")
