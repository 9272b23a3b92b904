"""Back: to the revision that was enforced before, to any other that was applied here, or to complain mode.

The texts come from root's own backups of this machine, found by their sha256; a revision that was never applied here
goes through the gates of `promote` instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aalearn.lifecycle.difference import differences
from aalearn.lifecycle.judge import Loaded
from aalearn.lifecycle.node import requests
from aalearn.lifecycle.node.applier import applied
from aalearn.lifecycle.node.entries import stood_before
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.records import Applied, Records
from aalearn.lifecycle.node.tasks import Task, tasks, under
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import PolicyError, UsageError
from aalearn.model.text import shown
from aalearn.policy.compare import Change


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollback does: from which applied entry, to which one (None: complain mode of the same text), which tasks
    it reaches at once, and how the permissions differ (None where that can't be said).
    """

    profile: bytes
    current: Applied
    target: Applied | None
    tasks: tuple[Task, ...]
    changes: tuple[Change, ...] | None

    @property
    def mode(self) -> str:
        """The mode that the profile will be in, in the kernel's words."""
        return self.target.mode if self.target else "complain"


def plan(machine: Machine, profile: bytes, *, to: int | None = None, complain: bool = False) -> Plan:
    """Return what a rollback would do. Nothing is changed.

    `to` is a revision; without it, it is what was applied before the current text. Raises UsageError when there is
    nothing to go back to.
    """
    machine.kernel.ready()
    entries = applied(machine, profile)
    if not entries:
        raise UsageError(f"nothing was applied to {shown(profile)} on this machine by aalearn: there is no way back")
    current = entries[-1]
    if current.stage == Stage.RETIRED:
        raise UsageError(f"{shown(profile)} was retired: begin anew with `aalearn draft {shown(profile)}`")
    target = None if complain else _target(profile, entries, to)
    if target is not None and target.text == current.text and target.mode == current.mode:
        raise UsageError(f"{shown(profile)} is at {_called(target)} already")
    if complain and current.mode == "complain":
        raise UsageError(f"{shown(profile)} is in complain mode already")
    changes = _changes(machine, current, target) if target else None
    return Plan(profile, current, target, under(tasks(machine.proc), profile), changes)


def carry_out(machine: Machine, wanted: Plan, *, who: str, reason: str) -> requests.Reverted:
    """Do it, wholly or not at all. Raises UsageError where the file was edited since, PolicyError where the kernel
    refuses; then all is as before.
    """
    if wanted.target is None:
        return requests.complain(machine, wanted.profile, who=who, reason=reason, asked=False)
    return requests.revert(machine, wanted.profile, number=wanted.target.number, who=who, reason=reason, asked=False)


def _target(profile: bytes, entries: Sequence[Applied], to: int | None) -> Applied:
    name = shown(profile)
    if to is None:
        return _before(profile, entries)
    of_revision = [one for one in entries if one.revision == to and one.text]
    if not of_revision:
        known = sorted({one.revision for one in entries if one.revision})
        there = f"applied were {', '.join(map(str, known))}" if known else "none was"
        raise UsageError(f"revision {to} of {name} was never applied on this machine ({there}): aalearn promote {name}")
    enforced = [one for one in of_revision if one.mode == "enforce"]
    if not enforced:
        raise UsageError(f"revision {to} of {name} was never enforced on this machine: aalearn promote {name}")
    return enforced[-1]


def _before(profile: bytes, entries: Sequence[Applied]) -> Applied:
    found = stood_before(entries)
    if found is not None and (found.text or found.policy):
        return found
    hint = "use --complain or --to NUMBER"
    raise UsageError(f"nothing stood before the current text of {shown(profile)} on this machine: {hint}")


def _changes(machine: Machine, current: Applied, target: Applied) -> tuple[Change, ...] | None:
    """Return how the policy of two entries differs, None where a backup is gone."""
    try:
        with Records.open(machine.backups) as records:
            old, new = records.get(current.policy), records.get(target.policy)
        if old is None or new is None:
            return None
        return differences(Loaded.of(old), Loaded.of(new))
    except PolicyError:
        return None


def _called(entry: Applied) -> str:
    return f"revision {entry.revision}" if entry.revision else f"the text that was {entry.reason or entry.stage}"


def described(entry: Applied) -> str:
    """Return an applied entry in words: its revision, mode, digest and place."""
    return f"{_called(entry)} ({entry.mode or 'not loaded'}, sha256 {entry.text[:16] or '-'}, {entry.place})"
