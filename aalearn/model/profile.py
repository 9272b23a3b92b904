"""A profile as a value: what `learn` makes, `grammar.writer` spells and `policy` proves."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol


class Statement(Protocol):
    """What a profile needs to know of a rule; `aalearn.rules.base.Rule` is the real thing."""

    def text(self) -> str:
        """Return the rule's exact policy text on one line, with its final comma."""


class State(StrEnum):
    """How a rule stands in the text."""

    ACTIVE = "active"
    REVIEW = "review"  # active, in the marked block at the end, until a person has decided
    WITHHELD = "withheld"  # written as a comment: tier 1 until approved


@dataclass(frozen=True, slots=True)
class Line:
    """One rule of a profile with the comments that explain it (plain text, no `#`, made safe by the writer)."""

    rule: Statement
    comments: tuple[str, ...] = ()
    state: State = State.ACTIVE


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile, child profile or hat. `lines` are sorted as they shall be written.

    `name` is plain ([A-Za-z0-9._/-]+); `attachment` is policy text already spelled, or None; `flags` are in the order
    to be written ("complain", "attach_disconnected", …). `children` are written inside as `profile NAME { }`, `hats`
    as `^NAME { }`.
    """

    name: str
    lines: tuple[Line, ...] = ()
    attachment: str | None = None
    flags: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    children: tuple["Profile", ...] = ()
    hats: tuple["Profile", ...] = ()

    def walk(self) -> Iterator["Profile"]:
        """Yield this profile, then its children and hats, depth first."""
        yield self
        for inner in (*self.children, *self.hats):
            yield from inner.walk()

    def in_mode(self, complain: bool) -> "Profile":
        """Return a copy with the complain flag set or removed here and in every child (each needs its own)."""
        rest = tuple(flag for flag in self.flags if flag != "complain")
        return replace(
            self,
            flags=("complain", *rest) if complain else rest,
            children=tuple(child.in_mode(complain) for child in self.children),
            hats=tuple(hat.in_mode(complain) for hat in self.hats),
        )


@dataclass(frozen=True, slots=True)
class Document:
    """A whole file: abi, preamble variables and one top profile.

    `abi` is "3.0" or "4.0" (written as `abi <abi/3.0>,`); `variables` are (name without @{}, values already spelled)
    pairs that the text itself must define; `includes` are preamble includes such as "tunables/global".
    """

    profile: Profile
    abi: str = "3.0"
    includes: tuple[str, ...] = ()
    variables: tuple[tuple[str, tuple[str, ...]], ...] = ()
    comments: tuple[str, ...] = field(default=())
