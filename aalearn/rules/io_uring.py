"""io_uring: `io_uring sqpoll,` and `io_uring override_creds label=NAME,` (abi 4.0 on)."""

from dataclasses import dataclass
from typing import ClassVar

from aalearn.model.data import words
from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.rules.base import (
    ANY_PATTERN,
    SCALAR,
    Dimension,
    Level,
    Outcome,
    Rule,
    asked,
    known,
    label,
    label_text,
    noted,
    register,
)


@register
@dataclass(frozen=True, slots=True)
class IoUringRule(Rule):
    """`access` is sqpoll or override_creds; only the latter has a label (None: any)."""

    access: str
    label: Pattern | None = None

    kind: ClassVar[str] = "io_uring"
    order: ClassVar[int] = 90
    needs: ClassVar[str] = "io_uring"
    dimensions: ClassVar[dict[str, Dimension]] = {"access": SCALAR, "label": ANY_PATTERN}

    def text(self) -> str:
        return f"io_uring {self.access}{'' if self.label is None else f' label={label_text(self.label)}'},"

    @classmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        access, notes = known(asked(event), words("masks")["io_uring"], "io_uring access")
        if not access and not notes:
            return noted(Level.DOUBT, "the record has no mask")
        creds = label(event, "target") or label(event, "label")
        return Outcome(tuple(cls(one, creds if one == "override_creds" else None) for one in sorted(access)), notes)
