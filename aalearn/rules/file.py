"""Files: `[owner] PATH perms,`, with the exec transition where there is one."""

from dataclasses import dataclass, replace
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.model.text import plain_name, shown
from aalearn.rules.base import (
    ANY_SCALAR,
    CONDITION,
    PATTERN,
    SCALAR,
    WORDS,
    Dimension,
    Level,
    Note,
    Outcome,
    Rule,
    literal,
    mask,
    noted,
    register,
)

# Asked with the getattr permission, which every profile with a file rule grants for every path.
_STAT = frozenset({"getattr", "getsockname", "getpeername"})
_EXEC = frozenset({"exec", "exec_label", "profile_transition"})
_LOOKUP = b"Failed name lookup"


@register
@dataclass(frozen=True, slots=True)
class FileRule(Rule):
    """`perms` are letters of `rwakm`; `w` takes in `a`. `exec` is "" or a mode such as "ix"; only a named one has a
    target.

    Raises ValueError for a rule that grants nothing or that the compiler would refuse.
    """

    pattern: Pattern
    perms: frozenset[str] = frozenset()
    owner: bool = False
    exec: str = ""
    exec_target: str | None = None

    kind: ClassVar[str] = "file"
    order: ClassVar[int] = 100
    needs: ClassVar[str] = "file"
    dimensions: ClassVar[dict[str, Dimension]] = {
        "pattern": PATTERN,
        "owner": CONDITION,
        "perms": WORDS,
        "exec": SCALAR,
        "exec_target": ANY_SCALAR,
    }

    def __post_init__(self) -> None:
        if not self.perms <= set(words("masks")["file_order"]["letters"]) or not (self.perms or self.exec):
            raise ValueError(f"not file permissions: {sorted(self.perms)}")
        modes = words("masks")["exec"]
        if self.exec and self.exec not in modes["modes"]:
            raise ValueError(f"not an exec mode: {self.exec!r}")
        if self.exec_target is not None and self.exec not in modes["named"]:
            raise ValueError(f"the exec mode {self.exec!r} takes no target")
        if {"w", "a"} <= self.perms:
            object.__setattr__(self, "perms", self.perms - {"a"})

    def text(self) -> str:
        letters = "".join(letter for letter in words("masks")["file_order"]["letters"] if letter in self.perms)
        target = "" if self.exec_target is None else f" -> {plain_name(self.exec_target.encode())}"
        return f"{'owner ' if self.owner else ''}{self.pattern.text()} {letters}{self.exec}{target},"

    def covers(self, other: Rule) -> bool:
        return (
            isinstance(other, FileRule)
            and (other.owner or not self.owner)
            and other.perms <= self.perms | ({"a"} if "w" in self.perms else set())
            and (not other.exec or (other.exec, other.exec_target) == (self.exec, self.exec_target))
            and self.pattern.covers(other.pattern)
        )

    def merge(self, other: Rule) -> Rule | None:
        if self.covers(other):
            return self
        if other.covers(self):
            return other
        if not isinstance(other, FileRule) or (self.pattern, self.owner) != (other.pattern, other.owner):
            return None
        transitions = {(rule.exec, rule.exec_target) for rule in (self, other) if rule.exec}
        if len(transitions) > 1:
            return None
        mode, target = transitions.pop() if transitions else ("", None)
        return replace(self, perms=self.perms | other.perms, exec=mode, exec_target=target)

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        lookup = failed_lookup(event)
        if lookup is not None:
            return lookup
        pattern = path(event, "name")
        letters, owned = _letters(mask(event), owner)
        execs = event.operation in _EXEC
        if event.operation in _STAT and not letters - {"r"}:
            return noted(Level.UNNEEDED, f"{event.operation} needs no rule: every profile with a file rule grants it")
        perms, notes = _perms(letters, execs)
        if event.operation == "file_inherit":
            notes += (Note(Level.DOUBT, "an inherited descriptor, perhaps leaked by the parent"),)
        if execs and event.text("info") not in ("", "ix fallback"):
            notes += (Note(Level.DOUBT, f"this exec was logged with: {shown(event.text('info'))}"),)
        mode = "ix" if execs and "x" in letters else ""
        if not perms and not mode:
            return Outcome((), notes or (Note(Level.DOUBT, "the record has no mask"),))
        return Outcome((cls(pattern, perms, owned, mode),), notes)


def _letters(text: str, owner: bool | None) -> tuple[frozenset[str], bool]:
    """Return the letters of a mask and whether they are asked for as the owner; `rw::` and `::r` are old forms."""
    mine, colons, others = text.partition("::")
    if colons:
        return frozenset(mine + others), bool(mine) and not others
    return frozenset(text), owner is True


def _perms(letters: frozenset[str], execs: bool) -> tuple[frozenset[str], tuple[Note, ...]]:
    table: dict[str, str] = words("masks")["file"]
    notes: list[Note] = []
    if "x" in letters and not execs:
        notes.append(Note(Level.UNNEEDED, "x in an operation that is no exec is not a grant"))
    if "l" in letters:
        notes.append(Note(Level.INEXPRESSIBLE, "a link without its target: the letter l would allow too much"))
    strange = sorted(letters - set(table) - {"x", "l"})
    if strange:
        notes.append(Note(Level.UNSUPPORTED, f"unknown mask letters {shown(''.join(strange))}"))
    return frozenset(table[letter] for letter in letters if letter in table), tuple(notes)


def failed_lookup(event: Event) -> Outcome | None:
    """Return the outcome of a record whose path the kernel could not name, or None for every other record."""
    info = event.get("info") or b""
    if not info.startswith(_LOOKUP):
        return None
    name = shown(event.get("name") or b"")
    if info.endswith(b"disconnected path"):
        return noted(
            Level.WEAKENING,
            f"the path {name!r} is disconnected and would be denied in enforce mode; only the flag attach_disconnected "
            "would allow it, and that weakens the profile",
        )
    if info.endswith(b"deleted entry"):
        return noted(
            Level.WEAKENING,
            f"the file {name!r} was deleted, and is denied even in complain mode; only the flag mediate_deleted would "
            "allow it, and that weakens the profile",
        )
    return noted(Level.INEXPRESSIBLE, f"the kernel could not name the file {name!r}: {shown(info)}")


def path(event: Event, key: str) -> Pattern:
    """Return the literal pattern of a path field. Raises NotExpressible for what is no absolute path or has `//` in
    it.
    """
    value = event.get(key)
    if value is None:
        raise NotExpressible(f"the record has no {key}=")
    if not value.startswith(b"/"):
        raise NotExpressible(f"a path without a leading slash has no spelling in policy: {shown(value)}")
    if b"//" in value:
        raise NotExpressible(f"the compiler would join the slashes of {shown(value)}")
    return literal(value)
