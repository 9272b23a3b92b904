"""The stages of a profile's life, and which step may follow which. Pure.

    draft ─▶ learning ─▶ ready ─▶ canary ─▶ enforced ─▶ reverted
                 ▲          └──────────────────▲            │
                 └──────────────────────────────────────────┘

A profile that aalearn never drafted (others wrote it, its logs were ingested) has no stage: it may be learned, and then
goes the same road. `retired` is the end: removed from the node, its history kept.
"""

from enum import StrEnum
from typing import Final

from aalearn.model.errors import UsageError
from aalearn.model.text import shown


class Stage(StrEnum):
    """Where a profile stands. The words are those of the store's steps."""

    DRAFT = "draft"  # a learning profile was written, and not loaded
    LEARNING = "learning"  # it is loaded in complain mode: the kernel logs what it would deny
    READY = "ready"  # a revision passed the gates (or a person forced them)
    CANARY = "canary"  # enforced on a few nodes, watched more closely
    ENFORCED = "enforced"
    REVERTED = "reverted"  # taken back: a revision before, or complain mode
    RETIRED = "retired"


_STEPS: Final[dict[Stage | None, tuple[Stage, ...]]] = {
    None: (Stage.DRAFT, Stage.LEARNING, Stage.READY, Stage.RETIRED),
    Stage.DRAFT: (Stage.DRAFT, Stage.LEARNING, Stage.RETIRED),
    Stage.LEARNING: (Stage.DRAFT, Stage.LEARNING, Stage.READY, Stage.RETIRED),
    Stage.READY: (Stage.DRAFT, Stage.LEARNING, Stage.READY, Stage.CANARY, Stage.ENFORCED, Stage.RETIRED),
    Stage.CANARY: (Stage.READY, Stage.CANARY, Stage.ENFORCED, Stage.REVERTED, Stage.RETIRED),
    Stage.ENFORCED: (Stage.READY, Stage.ENFORCED, Stage.REVERTED, Stage.RETIRED),
    Stage.REVERTED: (Stage.DRAFT, Stage.LEARNING, Stage.READY, Stage.REVERTED, Stage.RETIRED),
    Stage.RETIRED: (Stage.DRAFT, Stage.LEARNING),
}
_WHY: Final = {
    Stage.DRAFT: "its enforced text would be lost: take it back first with `aalearn rollback {name}`",
    Stage.LEARNING: "it is enforced: take it back to complain mode first with `aalearn rollback {name}`",
    Stage.READY: "nothing can have been learned yet: load it with `aalearn draft {name}` and run its program",
    Stage.CANARY: "the gates come first: `aalearn promote {name} --canary`",
    Stage.ENFORCED: "the gates come first: `aalearn promote {name}`",
    Stage.REVERTED: "nothing of it is enforced, so there is nothing to take back",
    Stage.RETIRED: "it is gone already",
}


def following(stage: Stage | None) -> tuple[Stage, ...]:
    """Return the stages that may follow, in the order of life. None: no stage yet."""
    return _STEPS[stage]


def refusal(before: Stage | None, after: Stage, name: str = "NAME") -> str:
    """Return why the step is illegal and what to do instead, "" for a legal one. `name` is safe to show."""
    if after in _STEPS[before]:
        return ""
    if before is Stage.RETIRED:
        why = f"begin anew with `aalearn draft {name}`"
        if after is Stage.RETIRED:
            why = _WHY[after]
    else:
        why = _WHY[after].format(name=name)
    return f"{name} can't go from {before or 'no stage'} to {after}: {why}"


def check(before: Stage | None, after: Stage, name: bytes | str) -> None:
    """Do nothing for a legal step. Raises UsageError with the reason and the mend for an illegal one."""
    refused = refusal(before, after, shown(name))
    if refused:
        raise UsageError(refused)


def stage_of(word: str | None) -> Stage | None:
    """Return the stage of a step's word, None for None. Raises UsageError for a word of a newer aalearn."""
    if word is None:
        return None
    try:
        return Stage(word)
    except ValueError:
        raise UsageError(f"the store holds a stage that this aalearn does not know: {shown(word)}") from None
