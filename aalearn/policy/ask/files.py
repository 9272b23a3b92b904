"""Questions about files: access, execution with its transition, hard links.

The kernel asks for what the operation needs and logs only what was missing; so the question is put with both: what the
operation always needs, and what the record says (source: kernel lsm.c, file.c, domain.c).
"""

from typing import Final

from aalearn.model.event import Event
from aalearn.model.text import shown
from aalearn.policy.ask.base import (
    ALLOWED,
    Answer,
    Machine,
    Subject,
    Verdict,
    decide,
    denied,
    mask,
    unproved,
)
from aalearn.policy.permissions import X_CHILD, X_INDEX, X_INHERIT, X_NAME, X_TABLE, X_UNCONFINED, X_UNSAFE, May, Perms

# Letters of file masks (source: kernel lib.c aa_file_perm_chrs). "w" also stands for chmod, chown and setattr.
_LETTERS: Final = {
    "r": May.READ,
    "w": May.WRITE,
    "a": May.APPEND,
    "x": May.EXEC,
    "c": May.CREATE,
    "d": May.DELETE,
    "k": May.LOCK,
    "m": May.MMAP,
    "l": May.LINK,
}
# What an operation needs whatever the record's letters are; None: the letters say it all.
_NEEDS: Final[dict[str, int]] = {
    "chmod": May.CHMOD,
    "chown": May.CHOWN,
    "truncate": May.WRITE | May.SETATTR,
    "getattr": May.GETATTR,
    "setattr": May.SETATTR,
    "mknod": May.CREATE,
    "mkdir": May.CREATE,
    "symlink": May.CREATE,
    "unlink": May.DELETE,
    "rmdir": May.DELETE,
    "rename_src": May.READ | May.GETATTR | May.WRITE | May.SETATTR | May.DELETE,
    "rename_dest": May.WRITE | May.SETATTR | May.CREATE,
}
# Operations whose letters are another spelling of what they need, and so add nothing.
_LETTERS_SAY_NOTHING: Final = frozenset({"chmod", "chown", "getattr", "setattr", "truncate"})


def file(subject: Subject, event: Event, owner: bool | None) -> Answer:
    """Answer for operations on one path. `owner` None (the record has no uids) asks for both kinds of subject."""
    if event.operation in ("exec", "exec_label", "profile_transition"):
        return execute(subject, event, owner)
    name = _path(subject, event)
    if isinstance(name, Answer):
        return name
    if subject.file is None:
        return denied("the profile has no file rule at all")
    text = mask(event)
    if "::" in text:
        return _halves(subject.file, name, event.operation, text)
    bits = requested(event.operation, text)
    if bits is None:
        return unproved(f"unknown file permissions {shown(text)!r}")
    return _either(subject.file, name, bits, owner)


def needed(event: Event) -> int:
    """Return the `May` bits that an event on one path asks for, 0 where the record does not tell."""
    text = mask(event)
    if "::" in text:
        own, _, others = text.partition("::")
        return (requested(event.operation, own) or 0) | (requested(event.operation, others) or 0)
    return requested(event.operation, text) or 0


def requested(operation: str, letters: str) -> int | None:
    """Return the `May` bits that an operation with these letters asks for; None for an unknown letter or nothing."""
    bits = _NEEDS.get(operation, 0)
    if operation not in _LETTERS_SAY_NOTHING:
        for letter in letters:
            if letter not in _LETTERS:
                return None
            if letter != "x" or operation == "exec":  # old records name x beside m for what is no execution
                bits |= _LETTERS[letter]
    return bits or None


def _halves(machine: Machine, name: bytes, operation: str, text: str) -> Answer:
    """Answer for old masks: letters before "::" were missing for the owner, those after it for others."""
    own, _, others = text.partition("::")
    answer = ALLOWED
    for letters, owner in ((own, True), (others, False)):
        bits = requested(operation, letters) if letters else 0
        if bits is None:
            return unproved(f"unknown file permissions {shown(text)!r}")
        if bits:
            answer = _either(machine, name, bits, owner)
            if not answer.allowed:
                return answer
    return answer


def _either(machine: Machine, name: bytes, bits: int, owner: bool | None) -> Answer:
    state = machine.dfa.run(machine.start, name)
    sides = (owner,) if owner is not None else (True, False)
    granted = [machine.rights.allow(state, side) & bits == bits for side in sides]
    if all(granted):
        return ALLOWED
    if any(granted):
        return unproved(f"only the owner of {shown(name)} may, and the record does not tell who it is")
    missing = bits & ~machine.rights.allow(state, sides[0])
    letters = "".join(letter for letter, bit in _LETTERS.items() if bit & missing) or "attributes"
    other = owner is not None and machine.rights.allow(state, not owner) & missing
    who = (" for its owner" if owner else " for others than its owner") if other else ""
    return denied(f"no rule permits {letters} on {shown(name)}{who}")


def _path(subject: Subject, event: Event) -> bytes | Answer:
    """Return the path as the kernel would match it in enforce mode, or the answer where the look-up itself decides."""
    name = event.get("name")
    info = event.text("info")
    if not name:
        return unproved("the record does not name the file")
    if info.startswith("Failed name lookup - deleted"):
        return unproved("the file was deleted: whether it may be used depends on flags=(mediate_deleted)")
    if name.startswith(b"/"):
        return name
    if not subject.attach_disconnected:
        return denied(f"the path {shown(name)} is disconnected, and the profile has no flags=(attach_disconnected)")
    return b"/" + name


def execute(subject: Subject, event: Event, owner: bool | None) -> Answer:
    """Answer for operation "exec", with the transition that the rule gives."""
    name = _path(subject, event)
    if isinstance(name, Answer):
        return name
    if subject.file is None:
        return denied("the profile has no file rule at all")
    state = subject.file.dfa.run(subject.file.start, name)
    sides = (owner,) if owner is not None else (True, False)
    found = {_transition(subject, name, subject.file.rights.of(state, side)) for side in sides}
    if len(found) > 1:
        return unproved(f"the owner of {shown(name)} executes it in another way than others")
    verdict, why, way = found.pop()
    if verdict is Verdict.ALLOWED and event.text("info") == "profile transition not found" and "ix" not in way:
        return unproved(f"the kernel found no profile for {way}: whether it is loaded, the policy can't tell")
    if verdict is Verdict.ALLOWED and way != "ix" and event.text("info") == "no new privs":
        return denied(f"with no_new_privs {shown(name)} can only be executed with ix, and the rule says {way}")
    return Answer(verdict, why, transition=way)


def _transition(subject: Subject, name: bytes, perms: Perms) -> tuple[Verdict, str, str]:
    """Return verdict, reason and transition of an execution with these permissions."""
    if not perms.allow & May.EXEC:
        return Verdict.DENIED, f"no rule permits to execute {shown(name)}", ""
    way = transition(subject, perms)
    if not way:
        return Verdict.DENIED, f"the rule for {shown(name)} names no transition", ""
    return Verdict.ALLOWED, "", way


def transition(subject: Subject, perms: Perms) -> str:
    """Return how an execution with these permissions changes the profile ("ix", "Cix -> child", "" for none)."""
    index = perms.xindex
    child = bool(index & X_CHILD)
    fallback = "i" if index & X_INHERIT else "u" if index & X_UNCONFINED else ""
    target = ""
    if index & X_TABLE and index & X_INDEX < len(subject.transitions):
        named = subject.transitions[index & X_INDEX]
        child = child or named.startswith(subject.name + b"//")
        target = shown(named.removeprefix(subject.name + b"//"))
    elif not index & X_NAME:
        return {"i": "ix", "u": "ux"}.get(fallback, "")
    mode = ("C" if child else "P") + fallback + "x"
    return f"{mode} -> {target}" if target else mode


def link(subject: Subject, event: Event, owner: bool | None) -> Answer:
    """Answer for operation "link": the pair of names, then, where the rule wants it, that the link grants no more.

    The owner is the one of the file that is linked to.
    """
    name, target = _path(subject, event), event.get("target")
    if isinstance(name, Answer):
        return name
    if not target:
        return unproved("the record does not name the target of the link")
    if subject.file is None:
        return denied("the profile has no file rule at all")
    sides = (owner,) if owner is not None else (True, False)
    answers = [_link(subject.file, name, target, side) for side in sides]
    if answers[0].verdict != answers[-1].verdict:
        return unproved(f"only the owner of {shown(target)} may, and the record does not tell who it is")
    return answers[0]


def _link(machine: Machine, name: bytes, target: bytes, owner: bool) -> Answer:
    rights, dfa = machine.rights, machine.dfa
    state = dfa.run(machine.start, name)
    granted = rights.of(state, owner)
    if not granted.allow & May.LINK:
        return denied(f"no rule permits the hard link {shown(name)}")
    pair = rights.allow(dfa.run(dfa.step(state, 0), target), owner)
    if not pair & May.LINK:
        return denied(f"no rule permits the hard link {shown(name)} to {shown(target)}")
    if not pair & May.LOCK:
        return ALLOWED
    wanted = rights.of(dfa.run(machine.start, target), owner)
    extra = granted.allow & ~May.LINK & ~wanted.allow
    if extra:
        return denied(f"the hard link {shown(name)} would grant more than {shown(target)} does")
    if granted.allow & May.EXEC and not _same_transition(granted.xindex, wanted.xindex):
        return denied(f"the hard link {shown(name)} would be executed in another way than {shown(target)}")
    return decide(pair, May.LINK, "")


def _same_transition(link_index: int, target_index: int) -> bool:
    """Return whether a link's transition is the target's; it may scrub the environment where the target does not."""
    if link_index & ~X_UNSAFE != target_index & ~X_UNSAFE:
        return False
    return not link_index & X_UNSAFE or bool(target_index & X_UNSAFE)
