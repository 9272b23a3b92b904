"""`aalearn promote`: through the gates, into enforce mode, verified on the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning, onnode, promotecase, promotestep, revisions, suggest, vouching
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import complain as tell
from aalearn.cli.output import plain, table
from aalearn.cli.promotecase import Promotion, Wishes
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.cli.promotestep import Outcome
    from aalearn.learn.convergence import Gate as Wanted
    from aalearn.lifecycle.gates import Gate
    from aalearn.lifecycle.judge import Judge
    from aalearn.lifecycle.node.machine import Machine
    from aalearn.lifecycle.node.records import Applied
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
    wishes = Wishes(revision, tuple(force or ()), reason.strip(), tuple(restart or ()), canary, container, dry_run)
    _check(wishes)
    machine = onnode.machine(face)
    if not dry_run:
        machine.kernel.ready()
        onnode.records_moved(face, machine)
    promotion = _prepare(face, machine, profile, wishes)
    refused = [gate for gate in promotion.gates if gate.refuses]
    outcome = None
    if not dry_run and not refused:
        outcome = promotestep.enforce(face, machine, promotion, wishes)
    face.emit(_document(promotion, wishes, outcome), _text(promotion, dry_run=dry_run))
    _tell(face, promotion, outcome, refused)
    pending = any(gate.name == "tasks" and gate.forced for gate in promotion.gates)
    if refused or (outcome and (outcome.gone or (outcome.left and outcome.whole and not pending))):
        raise typer.Exit(1)
    if outcome and not outcome.whole:
        raise typer.Exit(3)


def _check(wishes: Wishes) -> None:
    from aalearn.lifecycle.gates import NAMES

    for name in wishes.force:
        if name not in NAMES:
            raise UsageError(f"there is no gate {shown(name)}; the gates are {', '.join(NAMES)}")
    if wishes.force and not wishes.reason:
        raise UsageError("--force needs --reason: it is recorded who went on, when and why")
    for unit in wishes.restart:
        if not unit or unit.startswith("-") or "/" in unit or not unit.isprintable():
            raise UsageError(f"--restart takes the name of a unit, such as nginx.service: {shown(unit)}")


def _prepare(face: Face, machine: Machine, profile: str, wishes: Wishes) -> Promotion:
    """Return the plan and its gates. Raises UsageError for an illegal step, and where there is nothing to promote."""
    from aalearn.lifecycle.gates import forced, gates
    from aalearn.lifecycle.keeping import drafts
    from aalearn.lifecycle.past import last_here
    from aalearn.lifecycle.promote import out_of_reach, plan
    from aalearn.lifecycle.stages import Stage, check, stage_of

    judge = machine.judge()
    with face.store(readonly=wishes.dry_run) as store:
        name = learning.writable_profile(store, profile)
        step = last_here(store, name, face.settings.node)
        before = stage_of(step.state if step else None)
        if before is not Stage.DRAFT:  # a draft that has events was loaded after all
            check(before, Stage.READY, name)
        entries = onnode.entries_of(face, machine, name, dry_run=wishes.dry_run)
        chosen, made_now = _revision(face, store, name, wishes, _writes_for(face, machine, name))
        if wishes.revision is None:
            _not_taken_back(name, chosen, entries or ())
        made = plan(machine, judge, name, chosen, entries, drafts(store.revisions(name)))
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
    return Promotion(name, made, forced(gates(case), wishes.force), astray, before, case.beyond)


def _not_taken_back(name: bytes, chosen: Revision, entries: Sequence[Applied]) -> None:
    """Refuse a revision that nobody named and that was taken back on this machine: it may well do the same again."""
    from aalearn.lifecycle.safeguards import taken_back

    if chosen.sha256 in taken_back(entries):
        why = f"revision {chosen.number} is the newest, and was taken back on this machine"
        again = f"`aalearn promote {shown(name)} --revision {chosen.number}`"
        raise UsageError(f"{why}: `aalearn suggest {shown(name)} --save` makes a new one; or the same again by {again}")


def _writes_for(face: Face, machine: Machine, name: bytes) -> Judge:
    """Return what a revision of promote's own is written and proved for.

    Where our own text on disk has this kernel's abi the profile was learned under that, so its text may ask for all
    that it has. Of what was learned otherwise nobody knows that: then it is the least target, as for suggest.
    """
    from aalearn.lifecycle.finding import find

    judge = machine.judge()
    found, _ = find(name, machine.profiles, judge) if face.settings.target is None else (None, ())
    same = found is not None and found.ours and f"abi <abi/{judge.target.abi}>" in found.text
    return judge if same else learning.judge(face, None, None)


def _revision(face: Face, store: Store, name: bytes, wishes: Wishes, judge: Judge) -> tuple[Revision, bool]:
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


def _text(promotion: Promotion, *, dry_run: bool) -> str:
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


def _tell(face: Face, promotion: Promotion, outcome: Outcome | None, refused: Sequence[Gate]) -> None:
    name, made = shown(promotion.name), promotion.plan
    for note in made.notes:
        face.say(f"aalearn: note: {note}")
    if refused:
        names = ", ".join(gate.name for gate in refused)
        tell(f"{name} was not promoted: {names}; nothing was changed", "refused")
        return
    if outcome is None:
        face.say(f"aalearn: {name}: revision {made.revision.number} would be enforced; nothing was changed")
        return
    if outcome.trouble:
        tell(outcome.trouble, "not restarted")
    if outcome.gone:
        tell(f"{name}: revision {made.revision.number} was enforced, and is not any more: {outcome.gone}", "taken back")
        return
    face.say(f"aalearn: {name}: revision {made.revision.number} is enforced, from {shown(made.whole.place)}")
    if outcome.trouble:
        face.say(f"aalearn: it IS enforced, and stays so; to take it back: `sudo aalearn rollback {name}`")
    if outcome.left:
        face.say(f"aalearn: pending restart: {len(outcome.left):,} tasks are not confined until they are restarted:")
        for task in outcome.left[:10]:
            face.say(f"  {task}")


def _document(promotion: Promotion, wishes: Wishes, outcome: Outcome | None) -> dict[str, Any]:
    made = promotion.plan
    return {
        "schema": 1,
        "profile": plain(promotion.name),
        "revision": made.revision.number,
        "dry_run": wishes.dry_run,
        "enforced": outcome is not None and not outcome.gone,
        "taken_back": (outcome.gone or None) if outcome else None,
        "not_restarted": (outcome.trouble or None) if outcome else None,
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
            for task in (outcome.left if outcome else promotion.astray)
        ],
    }
