"""Mounts: `mount fstype=tmpfs options=(nosuid, rw) SRC -> DST,`. Data of the file system is never logged.

The `info` of a record ("failed mntpnt match") tells where the profile's automaton stopped, not that the mount failed.
"""

import re
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
    SAME_WORDS,
    Dimension,
    Note,
    Outcome,
    Rule,
    known,
    listed,
    literal,
    register,
    value_text,
)
from aalearn.rules.file import failed_lookup, path

_PLAIN = re.compile(r"[A-Za-z0-9/._:*?\[\]@-]+")


@register
@dataclass(frozen=True, slots=True)
class MountRule(Rule):
    """`options` are exactly those of the mount, so never empty; `fstype`, `source` and `target` None are any.

    Bind and move mounts have no type, changes of propagation neither type nor source. Raises ValueError for another
    mix, which the compiler would refuse.
    """

    options: frozenset[str]
    fstype: Pattern | None = None
    source: Pattern | None = None
    target: Pattern | None = None

    kind: ClassVar[str] = "mount"
    order: ClassVar[int] = 70
    needs: ClassVar[str] = "mount"
    dimensions: ClassVar[dict[str, Dimension]] = {
        "options": SAME_WORDS,
        "fstype": ANY_PATTERN,
        "source": ANY_PATTERN,
        "target": ANY_PATTERN,
    }

    def __post_init__(self) -> None:
        moving, propagation = acts(self.options)
        if not consistent(self.options) or (self.fstype and (moving or propagation)) or (self.source and propagation):
            raise ValueError(f"mount options that do not go together: {sorted(self.options)}")

    def text(self) -> str:
        parts = ["mount"]
        parts += [] if self.fstype is None else [f"fstype={value_text(self.fstype)}"]
        parts += [f"options={listed(self.options)}"]
        parts += [] if self.source is None else [_source_text(self.source)]
        parts += [] if self.target is None else [f"-> {self.target.text()}"]
        return " ".join(parts) + ","

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        lookup = failed_lookup(event)
        if lookup is not None:
            return lookup
        options, notes = flags(event)
        if notes:
            return Outcome((), notes)
        moving, propagation = acts(options)
        fstype = None if moving or propagation else event.get("fstype")
        source = None if propagation else event.get("srcname")
        rule = cls(
            options, literal(fstype) if fstype else None, literal(source) if source else None, path(event, "name")
        )
        return Outcome((rule,))


def _source_text(value: Pattern) -> str:
    """Return a source as policy text; any string may stand there, and an unquoted `a=b` or `+` would be a condition."""
    text = value_text(value)
    return text if text.startswith('"') or _PLAIN.fullmatch(text) else f'"{text}"'


def acts(options: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return those of the options that bind or move, and those that change the propagation."""
    table = words("mount")["acts"]
    return options & set(table["moving"]), options & set(table["propagation"])


def consistent(options: frozenset[str]) -> bool:
    """Return whether a mount can have these options: one act at most, and not both ro and rw."""
    moving, propagation = acts(options)
    return len(moving) + len(propagation) < 2 and not {"ro", "rw"} <= options


def flags(event: Event) -> tuple[frozenset[str], tuple[Note, ...]]:
    """Return the options that policy names for the record's flags; a record without flags is a plain `rw` mount.

    Raises NotExpressible for flags that no mount can have: the kernel logs what a program asked for, before it looks.
    """
    names = [flag.strip() for flag in event.text("flags").split(",")]
    options, notes = known([name for name in names if name] or ["rw"], words("mount")["options"], "mount flag")
    if not consistent(options):
        raise NotExpressible(f"mount flags that do not go together: {shown(event.text('flags'))}")
    return options, notes
