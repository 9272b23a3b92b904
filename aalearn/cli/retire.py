"""`aalearn retire`: the end of a profile on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import onnode, steps
from aalearn.cli.completion import profile_names
from aalearn.cli.face import face_of
from aalearn.cli.output import count, plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from aalearn.lifecycle.node.machine import Machine
    from aalearn.lifecycle.retire import Plan

EXAMPLE = "Examples: aalearn retire nginx --dry-run  |  aalearn retire nginx --reason 'replaced by caddy'"
_SHOWN = 10  # tasks that are named; json has all


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    force: Annotated[bool, typer.Option("--force", help="Although its tasks go on unconfined.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: recorded.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Remove a profile from this machine, children and hats too; what was here before aalearn comes back. Needs root.

    Refused while tasks run under it: without it they would go on unconfined. Backups and history stay.
    """
    from aalearn.lifecycle import retire
    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.stages import Stage, check, stage_of

    face = face_of(context)
    machine = onnode.machine(face)
    name = profile.encode("utf-8", "surrogateescape")
    wanted = retire.plan(machine, name)
    word = steps.stage_in_store(face, name)
    if wanted.change is None:  # else what is on this machine decides, whatever the store has heard of
        if word is None:
            raise UsageError(f"there is no profile {shown(name)}: neither on this machine nor in the store")
        check(stage_of(word), Stage.RETIRED, name)
    for line in _lines(machine, wanted):
        face.say(f"aalearn: {line}")
    document = {"schema": 1, "profile": plain(name), "dry_run": dry_run, **_document(wanted)}
    if dry_run:
        refused = retire.refusal(wanted) if wanted.tasks and not force else ""
        face.emit({**document, "done": False, "refused": refused}, f"{shown(name)} would be {wanted.end}")
        if refused:
            face.say(f"aalearn: but it is refused: {refused}")
            raise typer.Exit(1)
        return
    why = reason.strip() or "a person asked for it"
    done = retire.carry_out(machine, wanted, who=who(), reason=why, force=force)
    when = done.applied.when if done is not None and done.applied is not None else steps.now()
    detail = {"end": str(wanted.end), "forced": force, "tasks": [str(task) for task in wanted.tasks[:_SHOWN]]}
    recorded = steps.record(face, name, Stage.RETIRED, revision=wanted.revision, reason=why, when=when, detail=detail)
    face.emit({**document, "done": True, "refused": "", "recorded": recorded}, f"{shown(name)} is {_ended(wanted)}")
    for task in wanted.tasks[:_SHOWN]:
        face.say(f"aalearn: warning: pid {task.pid} ({shown(task.exe or task.comm)}) goes on unconfined")


def _ended(wanted: Plan) -> str:
    from aalearn.lifecycle.retire import End

    return "retired; nothing of it was on this machine" if wanted.end is End.NOTHING else f"retired: {wanted.end}"


def _mode(wanted: Plan) -> str:
    loaded = wanted.change is not None and wanted.change.policy is not None
    return "in the mode that it had" if loaded else "not loaded, as it was"


def _lines(machine: Machine, wanted: Plan) -> list[str]:
    """Return what a person should know beforehand."""
    from aalearn.lifecycle.retire import End

    file = shown(str(machine.profiles / wanted.place))
    lines = {
        End.REMOVED: [f"{file} is removed (a backup stays in {shown(str(machine.backups))})"],
        End.RESTORED: [f"{file}: what was here before aalearn comes back, {_mode(wanted)}"],
        End.DISABLED: [
            f"{file} comes from the package {wanted.package}: it stays, and a link in disable/ switches it off"
        ],
        End.NOTHING: [],
    }[wanted.end]
    if wanted.edited:
        lines.append(
            f"{file} was edited since: that text is kept as {shown(str(machine.backups))}/blob.{wanted.edited}"
        )
    if wanted.names and wanted.change is not None and wanted.change.policy is None:
        names = ", ".join(shown(name) for name in wanted.names[:_SHOWN])
        lines.append(f"unloaded from the kernel: {names}")
    if wanted.tasks:
        lines.append(f"{count(len(wanted.tasks), 'task')} would go on unconfined:")
        lines += [f"  {task}" for task in wanted.tasks[:_SHOWN]]
    return lines


def _document(wanted: Plan) -> dict[str, Any]:
    return {
        "end": str(wanted.end),
        "file": wanted.place or None,
        "package": wanted.package or None,
        "profiles": [plain(name) for name in wanted.names],
        "tasks": [str(task) for task in wanted.tasks],
    }
