"""The deed of `aalearn promote`: enforce, write it down, restart units, and look whether it still stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aalearn.cli.output import complain as tell
from aalearn.model.errors import AalearnError, PolicyError, StoreError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aalearn.cli.face import Face
    from aalearn.cli.promotecase import Promotion, Wishes
    from aalearn.lifecycle.node.applier import Done
    from aalearn.lifecycle.node.machine import Machine
    from aalearn.lifecycle.node.records import Applied
    from aalearn.lifecycle.node.tasks import Task
    from aalearn.lifecycle.stages import Stage


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a promotion came to: the tasks that it does not reach yet, and whether the store has all of it.

    `trouble`: why a unit was not restarted; `gone`: why the revision is not in force any more; "" for neither.
    """

    left: tuple[Task, ...]
    recorded: bool
    trouble: str = ""
    gone: str = ""

    @property
    def whole(self) -> bool:
        """Whether all of what was asked for was done and written down."""
        return self.recorded and not self.trouble


def enforce(face: Face, machine: Machine, promotion: Promotion, wishes: Wishes) -> Outcome:
    """Do it, record the steps, restart units. Raises as `promote.carry_out`; then the machine is as before."""
    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.node.applier import applied
    from aalearn.lifecycle.node.entries import found_of, promoted_since
    from aalearn.lifecycle.promote import carry_out, out_of_reach
    from aalearn.lifecycle.promote import restart as restart_units
    from aalearn.lifecycle.stages import Stage

    made, stage = promotion.plan, Stage.CANARY if wishes.canary else Stage.ENFORCED
    done = carry_out(machine, made, stage, who=who(), reason=wishes.reason)
    for note in done.notes:
        face.say(f"aalearn: note: {note}")

    def look() -> tuple[Task, ...]:
        return out_of_reach(machine, made.name, made.policy)

    entries: tuple[Applied, ...] = ()
    try:
        entries = applied(machine, made.name)
    except AalearnError as error:  # what is so is so
        face.say(f"aalearn: note: what was applied could not be read again: {error}")
    found = found_of(entries)
    load = {
        "node": face.settings.node,
        "since": promoted_since(entries) or (done.applied.when if done.applied else 0),
        "found": found.mode if found else "",
    }
    left, trouble = look(), ""
    recorded = _record(face, promotion, wishes, stage, left, load)
    if not wishes.restart:
        return Outcome(left, recorded)
    try:
        left = restart_units(wishes.restart, look)
    except PolicyError as error:
        left, trouble = look(), str(error)
    gone = _gone(machine, promotion, done)
    if not gone:  # else the service wrote down what is so now: this would be newer, and untrue
        recorded = _record(face, promotion, wishes, stage, left, load, again=recorded)
    return Outcome(left, recorded, trouble, gone)


def _gone(machine: Machine, promotion: Promotion, done: Done) -> str:
    """Return why the revision is not in force any more, "" where it is, by root's own record and the kernel."""
    from aalearn.lifecycle.node.applier import applied

    try:
        last = applied(machine, promotion.name)[-1:]
        if done.applied is not None and not (last and _same(last[0], done.applied)):
            by = f"{shown(last[0].stage)} by {shown(last[0].who)}: {shown(last[0].reason)}" if last else "retired"
            return f"{by}; `aalearn history {shown(promotion.name)}` tells more"
        modes = {one.mode for one in machine.loaded(promotion.name) if one.name == promotion.name}
    except AalearnError as error:
        return f"what is in force could not be looked at: {error}"
    return "" if modes == {"enforce"} else f"the kernel has it in {shown(', '.join(modes) or 'no')} mode"


def _same(last: Applied, ours: Applied) -> bool:
    """Return whether the last entry is ours, or puts the same in force again (`reconcile --fix` does)."""
    return (last.place, last.text, last.policy, last.mode) == (ours.place, ours.text, ours.policy, ours.mode)


def _record(
    face: Face,
    promotion: Promotion,
    wishes: Wishes,
    stage: Stage,
    left: Sequence[Task],
    load: Mapping[str, Any],
    *,
    again: bool = False,
) -> bool:
    """Write the steps: learning where it was never said, ready, and what it is now; return whether that was possible.

    `load` says on which node it is in force, since when (ms) what is denied counts, and in which mode the profile was
    found before aalearn.
    """
    from json import dumps
    from time import time

    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.stages import Stage

    made = promotion.plan
    gates = {gate.name: "forced" if gate.forced else "holds" if gate.holds else "pending" for gate in promotion.gates}
    detail = {
        "mode": "enforce",
        **load,
        "file": made.whole.place,
        "places": [part.place for part in made.parts],
        "gates": gates,
        "unit": _unit(promotion, wishes),
        "pending_restart": [str(task) for task in left[:20]],
    }
    steps = [] if again else [Stage.READY]
    if not again and promotion.before is Stage.DRAFT:
        steps.insert(0, Stage.LEARNING)
    try:
        with face.store(readonly=False) as store:
            for step in (*steps, stage):
                told = detail if step is stage else {"gates": gates, "node": face.settings.node}
                store.step(
                    promotion.name,
                    step,
                    revision=made.revision.number,
                    who=who(),
                    reason=wishes.reason,
                    when=int(time() * 1000),
                    detail=dumps(told, sort_keys=True),
                )
    except StoreError as error:
        name = shown(promotion.name)
        tell(f"{name} IS enforced, but the store could not be told: {error}", "not written down")
        face.say(f"aalearn: once the store takes it: `sudo aalearn reconcile --fix {name}` writes it down")
        return False
    return True


def _unit(promotion: Promotion, wishes: Wishes) -> str:
    """Return the systemd unit that the profile is for, as far as it is known."""
    units = sorted({task.unit for task in promotion.astray if task.unit.endswith(".service")})
    return wishes.restart[0] if wishes.restart else units[0] if len(units) == 1 else ""
