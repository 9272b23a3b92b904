"""Mending what `reconcile` found: interrupted changes are ended, what was applied is applied again, steps written down.

A file that a person edited is never overwritten, and no task is restarted.
"""

import json
from collections.abc import Sequence
from typing import Any

from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import Change, apply, finish, undo
from aalearn.lifecycle.node.entries import found_of, promoted_since
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.records import Applied, Intent, Records
from aalearn.lifecycle.observing import compiled
from aalearn.lifecycle.reconcile import Difference, Kind
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import PolicyError
from aalearn.model.text import shown
from aalearn.store import Store

_APPLIED_AGAIN = frozenset(
    {
        Kind.FILE_MISSING, Kind.FILE_LEFT, Kind.LINK, Kind.NOT_LOADED,
        Kind.STILL_LOADED, Kind.OTHER_POLICY, Kind.MODE,
    }
)  # fmt: skip
_BACKWARDS = frozenset({Stage.REVERTED, Stage.RETIRED})


def ends(machine: Machine, intent: Intent) -> str:
    """Return how an interrupted change should end, "finish" or "undo".

    A way back is always gone to its end. A change forward is, where the kernel runs it already; else it is taken back.
    """
    if intent.stage in _BACKWARDS:
        return "finish"
    return "finish" if _runs(machine, intent) else "undo"


def _runs(machine: Machine, intent: Intent) -> bool:
    running = machine.loaded(intent.name)
    if not intent.new_policy:
        return not running
    with Records.open(machine.backups) as records:
        policy = records.get(intent.new_policy)
    return policy is not None and bool(running) and all(one.is_made_of(policy) for one in running)


def end(machine: Machine, intent: Intent) -> str:
    """End an interrupted change; return what was done, in words. Raises PolicyError, UsageError, OSError."""
    way = ends(machine, intent)
    if way == "finish":
        finish(machine, intent)
        return f"the interrupted change of {shown(intent.name)} to {shown(intent.stage)} was finished"
    undo(machine, intent)
    return f"the interrupted change of {shown(intent.name)} to {shown(intent.stage)} was taken back"


def again(machine: Machine, profile: bytes, last: Applied) -> None:
    """Apply again what was applied last: file, links and kernel. Raises PolicyError, UsageError."""
    with Records.open(machine.backups) as records:
        text, policy = records.get(last.text), records.get(last.policy)
    if policy is not None and (text is not None or last.place.startswith(f"{files.LOCAL}/")):
        policy = compiled(machine, profile, last, text or b"")  # by the features of the kernel that runs now
    change = Change(
        profile=profile,
        place=last.place,
        text=text,
        policy=policy,
        stage=last.stage,
        who=last.who,
        links=tuple((link.place, link.new) for link in last.links),
        revision=last.revision,
        reason=last.reason,
        before=last.before,
        origin=last.origin,
    )
    apply(machine, change)


def mend(
    machine: Machine, store: Store, profile: bytes, entries: Sequence[Applied], found: Sequence[Difference]
) -> tuple[str, ...]:
    """Mend the differences of one profile; return what was done, in words.

    Raises PolicyError, UsageError, StoreError at the first that fails; what was mended before that stays.
    """
    if not entries:
        return ()
    kinds = {one.kind for one in found}
    last, name = entries[-1], shown(profile)
    done = []
    if kinds & _APPLIED_AGAIN and Kind.FILE_EDITED not in kinds:
        again(machine, profile, last)
        done.append(f"{name}: what was applied last ({last.stage or 'found here'}) is in force again")
    elif kinds & _APPLIED_AGAIN:
        raise PolicyError(f"{name}: its file was edited by somebody else, so nothing is loaded over it")
    if Kind.NOT_WRITTEN_DOWN in kinds:
        before = next((one.revision for one in reversed(entries[:-1]) if one.revision), 0)
        detail: dict[str, Any] = {
            "mode": last.mode,
            "from": before,
            "text_sha256": last.text,
            "written_by": "reconcile",
        }
        if last.stage in (Stage.CANARY, Stage.ENFORCED) and (since := promoted_since(entries)) is not None:
            before_us = found_of(entries)
            detail |= {"since": since, "found": before_us.mode if before_us else ""}
        store.step(
            profile,
            last.stage,
            revision=last.revision,
            who=last.who,
            reason=last.reason,
            when=last.when,
            detail=json.dumps(detail, sort_keys=True),
        )
        done.append(f"{name}: {last.stage} is written down")
    return tuple(done)
