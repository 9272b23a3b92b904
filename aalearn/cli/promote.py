"""`aalearn promote`: through the gates, into enforce mode, verified on the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning, onnode, promotecase, revisions, suggest, vouching
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import complain as tell
from aalearn.cli.output import plain, table
from aalearn.model.errors import StoreError, UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aalearn.learn.convergence import Gate as Wanted
    from aalearn.lifecycle.gates import Gate
    from aalearn.lifecycle.node.machine import Machine
    from aalearn.lifecycle.node.tasks import Task
    from aalearn.lifecycle.promote import Plan
    from aalearn.lifecycle.proving import Beyond
    from aalearn.lifecycle.stages import Stage
    from aalearn.store import Store
    from aalearn.store.readings import Revision

EXAMPLE = (
    "Examples: sudo aalearn promote nginx --dry-run  |  sudo aalearn promote nginx --restart nginx.service  |  "
    "sudo aalearn promote nginx --force convergence --reason 'it has three code paths, all seen'"
)
_MORE = 20  # grants that are told; json has all


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    revision: Annotated[
        int | None,
        typer.Option("--revision", metavar="NUMBER", min=1, help="The revision. Default: the newest, else a new one."),
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="GATE", help="Go on although this gate does not hold; needs --reason."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: recorded with the step.")] = "",
    restart: Annotated[
        list[str] | None,
        typer.Option("--restart", metavar="UNIT", help="Restart this systemd unit once the profile is enforced."),
    ] = None,
    canary: Annotated[bool, typer.Option("--canary", help="Record this node as a canary.")] = False,
    container: learning.Container = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; show gates and differences.")] = False,
) -> None:
    """Enforce a revision: gates, backup, atomic write, load, verification by what the kernel runs.

    Where a gate does not hold nothing is changed, and the exit code is 1. It is 1 too while tasks are left that the
    profile does not confine: the promotion is then pending their restart.
    """
    face = face_of(context)
    wishes = _Wishes(revision, tuple(force or ()), reason.strip(), tuple(restart or ()), canary, container, dry_run)
    _check(wishes)
    machine = onnode.machine(face)
    if not dry_run:
        machine.kernel.ready()
        onnode.records_moved(face, machine)
    promotion = _prepare(face, machine, profile, wishes)
    left: tuple[Task, ...] = tuple(promotion.astray)
    refused = [gate for gate in promotion.gates if gate.refuses]
    done, recorded = False, True
    if not dry_run and not refused:
        left, recorded = _enforce(face, machine, promotion, wishes)
        done = True
    document = _document(promotion, wishes, left, done=done)
    face.emit(document, _text(promotion, dry_run=dry_run))
    _tell(face, promotion, left, refused, done=done)
    if not recorded:
        raise typer.Exit(3)
    pending = any(gate.name == "tasks" and gate.forced for gate in promotion.gates)
    if refused or (done and left and not pending):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the command line says."""

    revision: int | None
    force: tuple[str, ...]
    reason: str
    restart: tuple[str, ...]
    canary: bool
    container: bool | None
    dry_run: bool


@dataclass(frozen=True, slots=True)
class _Promotion:
    """All that is known before anything is changed."""

    name: bytes
    plan: Plan
    gates: tuple[Gate, ...]
    astray: tuple[Task, ...]
    before: Stage | None
    beyond: Beyond


def _check(wishes: _Wishes) -> None:
    from aalearn.lifecycle.gates import NAMES

    for name in wishes.force:
        if name not in NAMES:
            raise UsageError(f"there is no gate {shown(name)}; the gates are {', '.join(NAMES)}")
    if wishes.force and not wishes.reason:
        raise UsageError("--force needs --reason: it is recorded who went on, when and why")
    for unit in wishes.restart:
        if not unit or unit.startswith("-") or "/" in unit or not unit.isprintable():
            raise UsageError(f"--restart takes the name of a unit, such as nginx.service: {shown(unit)}")


def _prepare(face: Face, machine: Machine, profile: str, wishes: _Wishes) -> _Promotion:
    """Return the plan and its gates. Raises UsageError for an illegal step, and where there is nothing to promote."""
    from aalearn.lifecycle.gates import forced, gates
    from aalearn.lifecycle.promote import out_of_reach, plan
    from aalearn.lifecycle.stages import Stage, check, stage_of

    judge = machine.judge()
    with face.store(readonly=wishes.dry_run) as store:
        name = learning.writable_profile(store, profile)
        step = store.stages().get(name)
        before = stage_of(step.state if step else None)
        if before is not Stage.DRAFT:  # a draft that has events was loaded after all
            check(before, Stage.READY, name)
        chosen, made_now = _revision(face, store, name, wishes)
        made = plan(machine, judge, name, chosen)
        astray = out_of_reach(machine, name, made.policy, loaded=False)
        case = promotecase.case_of(
            face,
            store,
            made,
            judge,
            container=wishes.container,
            wanted=wanted(face),
            astray=astray,
            restart=bool(wishes.restart),
            made_now=made_now,
        )
    return _Promotion(name, made, forced(gates(case), wishes.force), astray, before, case.beyond)


def _revision(face: Face, store: Store, name: bytes, wishes: _Wishes) -> tuple[Revision, bool]:
    """Return the revision to promote; where none was saved, a new one (True), kept unless it is a dry run."""
    from time import time

    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.keeping import keep, newest
    from aalearn.store.readings import Revision

    kept = store.revisions(name)
    if wishes.revision is not None:
        return revisions.numbered(kept, wishes.revision, name), False
    last = newest(kept)
    if last is not None:
        return last, False
    judge = learning.judge(face, None, None)
    choice = learning.Choice(container=wishes.container)
    accesses = store.accesses(name)
    options = learning.options(face, store, name, choice, judge.target, accesses)
    proposal = suggest.proposal_of(face, name, accesses, options, judge, choice, None, anew=options.container)
    if not proposal.proof.proved:
        for line in suggest.failure_lines(proposal.proof):
            tell(line, "not proved")
        raise typer.Exit(1)
    now = int(time() * 1000)
    if wishes.dry_run:
        from json import dumps

        detail = dumps({"form": str(proposal.form), "file": proposal.file.name if proposal.file else ""})
        face.say("aalearn: note: no revision was saved yet: this one would be")
        return Revision(1, now, who(), wishes.reason, proposal.text, dumps(proposal.proof.to_json()), detail), True
    made = keep(store, name, proposal, accesses, author=who(), reason=wishes.reason, when=now)
    vouching.kept(face, name, made)
    face.say(f"aalearn: saved as revision {made.number} of {shown(name)}")
    return made, True


def wanted(face: Face) -> Wanted:
    """Return what it takes to be ready, as the section `[promotion]` says."""
    from aalearn.learn.convergence import Gate as Wanted

    limits = face.settings.promotion
    return Wanted(limits.coverage, limits.new_rules_a_run, limits.runs, limits.quiet_days, limits.nodes)


def _enforce(face: Face, machine: Machine, promotion: _Promotion, wishes: _Wishes) -> tuple[tuple[Task, ...], bool]:
    """Do it, record the steps, restart units; return the tasks that are still out of reach, and whether the store has
    all of it.
    """
    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.node.applier import applied
    from aalearn.lifecycle.node.entries import found_of
    from aalearn.lifecycle.promote import carry_out, out_of_reach
    from aalearn.lifecycle.promote import restart as restart_units
    from aalearn.lifecycle.stages import Stage

    made, stage = promotion.plan, Stage.CANARY if wishes.canary else Stage.ENFORCED
    done = carry_out(machine, made, stage, who=who(), reason=wishes.reason)
    for note in done.notes:
        face.say(f"aalearn: note: {note}")

    def look() -> tuple[Task, ...]:
        return out_of_reach(machine, made.name, made.policy)

    found = found_of(applied(machine, made.name))
    load = {"since": done.applied.when if done.applied else 0, "found": found.mode if found else ""}
    left = look()
    recorded = _record(face, promotion, wishes, stage, left, load)
    if wishes.restart:
        left = restart_units(wishes.restart, look)
        recorded = _record(face, promotion, wishes, stage, left, load, again=recorded)
    return left, recorded


def _record(
    face: Face,
    promotion: _Promotion,
    wishes: _Wishes,
    stage: Stage,
    left: Sequence[Task],
    load: Mapping[str, Any],
    *,
    again: bool = False,
) -> bool:
    """Write the steps: learning where it was never said, ready, and what it is now; return whether that was possible.

    `load` says since when (ms) what is denied counts, and in which mode the profile was found before aalearn.
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
                told = detail if step is stage else {"gates": gates}
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


def _unit(promotion: _Promotion, wishes: _Wishes) -> str:
    """Return the systemd unit that the profile is for, as far as it is known."""
    units = sorted({task.unit for task in promotion.astray if task.unit.endswith(".service")})
    return wishes.restart[0] if wishes.restart else units[0] if len(units) == 1 else ""


def _text(promotion: _Promotion, *, dry_run: bool) -> str:
    rows = [(gate.name, _holds(gate), gate.why, "" if gate.holds else gate.mend) for gate in promotion.gates]
    parts = [table(("GATE", "HOLDS", "WHY", "MEND"), rows)]
    more = promotion.beyond.more
    if more:
        rest = [f"  … and {len(more) - _MORE:,} more; all are in --output json"] if len(more) > _MORE else []
        head = "It permits more than a profile made now from evidence and decisions would:"
        parts.append("\n".join([head, *(f"  {one}" for one in more[:_MORE]), *rest]))
    if dry_run:
        difference = promotion.plan.difference()
        parts.append(difference or "no file would change")
    return "\n\n".join(parts)


def _holds(gate: Gate) -> str:
    return "yes" if gate.holds else "forced" if gate.forced else "pending" if gate.pending else "no"


def _tell(face: Face, promotion: _Promotion, left: Sequence[Task], refused: Sequence[Gate], *, done: bool) -> None:
    name, made = shown(promotion.name), promotion.plan
    for note in made.notes:
        face.say(f"aalearn: note: {note}")
    if refused:
        names = ", ".join(gate.name for gate in refused)
        tell(f"{name} was not promoted: {names}; nothing was changed", "refused")
        return
    if not done:
        face.say(f"aalearn: {name}: revision {made.revision.number} would be enforced; nothing was changed")
        return
    face.say(f"aalearn: {name}: revision {made.revision.number} is enforced, from {shown(made.whole.place)}")
    if left:
        face.say(f"aalearn: pending restart: {len(left):,} tasks are not confined until they are restarted:")
        for task in left[:10]:
            face.say(f"  {task}")


def _document(promotion: _Promotion, wishes: _Wishes, left: Sequence[Task], *, done: bool) -> dict[str, Any]:
    made = promotion.plan
    return {
        "schema": 1,
        "profile": plain(promotion.name),
        "revision": made.revision.number,
        "dry_run": wishes.dry_run,
        "enforced": done,
        "canary": wishes.canary,
        "file": made.whole.place,
        "text_sha256": made.revision.sha256,
        "gates": [
            {
                "gate": gate.name,
                "holds": gate.holds,
                "forced": gate.forced,
                "pending": gate.pending,
                "why": gate.why,
                "mend": gate.mend,
            }
            for gate in promotion.gates
        ],
        "beyond": list(promotion.beyond.more),
        "difference": made.difference(),
        "notes": list(made.notes),
        "pending_restart": [
            {"pid": task.pid, "thread": task.tid, "exe": plain(task.exe), "label": plain(task.label), "unit": task.unit}
            for task in left
        ],
    }
