"""Mounts: `mount fstype=tmpfs options=(nosuid, rw) SRC -> DST,`. Data of the file system is never logged.

The `info` of a record ("failed mntpnt match") tells where the profile's automaton stopped, not that the mount failed.
"""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
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
)
from aalearn.rules.file import failed_lookup, path


@register
@dataclass(frozen=True, slots=True)
class MountRule(Rule):
    """`options` are exactly those of the mount, so never empty; `fstype`, `source` and `target` None are any."""

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

    def text(self) -> str:
        parts = ["mount"]
        parts += [] if self.fstype is None else [f"fstype={self.fstype.text()}"]
        parts += [f"options={listed(self.options)}"]
        parts += [] if self.source is None else [self.source.text()]
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
        fstype, source = event.get("fstype"), event.get("srcname")
        rule = cls(
            options,
            literal(fstype) if fstype else None,
            literal(source) if source else None,
            path(event, "name"),
        )
        return Outcome((rule,))


def flags(event: Event) -> tuple[frozenset[str], tuple[Note, ...]]:
    """Return the options that policy names for the record's flags; a record without flags is a plain `rw` mount."""
    names = [flag.strip() for flag in event.text("flags").split(",")]
    return known([name for name in names if name] or ["rw"], words("mount")["options"], "mount flag")
