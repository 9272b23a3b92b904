"""`aalearn draft`: a learning profile, written and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import onnode
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aalearn.lifecycle.draft import Draft
    from aalearn.lifecycle.node.applier import Change
    from aalearn.lifecycle.node.machine import Machine
    from aalearn.lifecycle.node.records import Applied
    from aalearn.store.readings import Revision

EXAMPLE = "Examples: sudo aalearn draft nginx --exe /usr/sbin/nginx  |  sudo aalearn draft shop --container"
_TOLD = 10  # tasks that are told; json has all


def command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the profile.", show_default=False)],
    exe: Annotated[str, typer.Option("--exe", metavar="PATH", help="The program that it is for.")] = "",
    container: Annotated[bool, typer.Option("--container", help="It is for a container or Pod.")] = False,
    source: Annotated[
        str, typer.Option("--from", metavar="PROFILE", help="Begin with what this profile permits already.")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: recorded with the step.")] = "",
    no_load: Annotated[bool, typer.Option("--no-load", help="Write the file only.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; print what would be written.")] = False,
) -> None:
    """Write and load a profile to learn with: complain mode, nothing is denied, all of use is logged.

    What stands in the way is refused: a file or a profile of another's, a second profile for the same program. How to
    start the workload under it is told.
    """
    from aalearn.lifecycle.draft import plan

    face = face_of(context)
    if sum(map(bool, (exe, container, source))) > 1:
        raise UsageError("--exe, --container and --from exclude each other")
    machine = onnode.machine(face)
    if not (dry_run or no_load):
        machine.kernel.ready()
    draft = plan(machine, name, exe=exe, container=container, source=source)
    if dry_run:
        _checked(face, draft)
    else:
        _carry_out(face, draft, reason, load=not no_load)
    _tell(face, draft, container=container, state="" if dry_run else "draft" if no_load else "learning")


def _checked(face: Face, draft: Draft) -> None:
    """Refuse in a dry run what would be refused; what the store says only where there is one."""
    from aalearn.lifecycle.keeping import drafts
    from aalearn.lifecycle.past import last_here
    from aalearn.lifecycle.stages import Stage, check, stage_of

    machine = onnode.machine(face)
    entries = onnode.entries_of(face, machine, draft.name, dry_run=True)
    state, written = None, frozenset[str]()
    try:
        with face.store(readonly=True) as store:
            step = last_here(store, draft.name, face.settings.node)
            state, written = step.state if step else None, drafts(store.revisions(draft.name))
    except UsageError:  # there is no store yet
        pass
    check(stage_of(state), Stage.DRAFT, draft.name)
    _unedited(machine, draft, entries or (), written)


def _unedited(machine: Machine, draft: Draft, entries: Sequence[Applied], written: Collection[str]) -> None:
    from aalearn.lifecycle.safeguards import unedited

    unedited(str(machine.profiles / draft.place), draft.place, draft.before, draft.name, entries, written)


def _carry_out(face: Face, draft: Draft, reason: str, *, load: bool) -> None:
    """Keep the revision, write and load the profile, and record the step. Raises UsageError or PolicyError."""
    import json
    from time import time

    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.draft import write_only
    from aalearn.lifecycle.keeping import drafts, keep_draft
    from aalearn.lifecycle.node.applier import applied, apply
    from aalearn.lifecycle.past import last_here
    from aalearn.lifecycle.stages import Stage, check, stage_of

    machine = onnode.machine(face)
    now = int(time() * 1000)
    stage = Stage.LEARNING if load else Stage.DRAFT
    with face.store(readonly=False) as store:
        step = last_here(store, draft.name, face.settings.node)
        check(stage_of(step.state if step else None), stage, draft.name)
        entries = applied(machine, draft.name)
        _unedited(machine, draft, entries, drafts(store.revisions(draft.name)))
        kept = keep_draft(store, draft.name, draft.text, author=who(), reason=reason.strip(), when=now)
        if load:
            change = _change(draft, kept, entries, reason.strip())
            for note in apply(machine, change).notes:
                face.say(f"aalearn: note: {note}")
        else:
            write_only(machine, draft)
        told = {"mode": "complain", "file": draft.place, "exe": draft.exe, "node": face.settings.node}
        detail = json.dumps(told, sort_keys=True)
        store.step(draft.name, stage, revision=kept.number, who=who(), reason=reason.strip(), when=now, detail=detail)


def _change(draft: Draft, kept: Revision, entries: Sequence[Applied], reason: str) -> Change:
    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.node import files
    from aalearn.lifecycle.node.applier import Change
    from aalearn.lifecycle.stages import Stage

    return Change(
        profile=draft.name,
        place=draft.place,
        text=draft.text.encode("utf-8", "surrogateescape"),
        policy=draft.policy,
        stage=Stage.LEARNING,
        who=who(),
        links=draft.links,
        revision=kept.number,
        reason=reason,
        origin=kept.sha256,
        expected=((draft.place, files.digest(draft.before)),),
        last=entries[-1].number if entries else 0,
    )


def _tell(face: Face, draft: Draft, *, container: bool, state: str) -> None:
    from aalearn.lifecycle.draft import ways_to_start

    name = shown(draft.name)
    units = sorted({task.unit for task in draft.running if task.unit.endswith(".service")})
    ways = ways_to_start(name, shown(draft.exe), units, container=container)
    document: dict[str, Any] = {
        "schema": 1,
        "profile": plain(draft.name),
        "state": state or None,
        "file": draft.place,
        "exe": draft.exe or None,
        "text": draft.text,
        "notes": list(draft.notes),
        "running_unconfined": [
            {"pid": task.pid, "exe": plain(task.exe), "unit": task.unit or None} for task in draft.running
        ],
        "start": [{"with": what, "how": how} for what, how in ways],
    }
    face.emit(document, draft.text)
    for note in draft.notes:
        face.say(f"aalearn: note: {note}")
    if draft.running:
        pids = sorted({task.pid for task in draft.running})
        told = ", ".join(str(pid) for pid in pids[:_TOLD]) + (" …" if len(pids) > _TOLD else "")
        face.say(
            f"aalearn: warning: {draft.exe} runs already, unconfined (pid {told}): restart it, or nothing is learned"
        )
    done = {"": "nothing was changed; this would be written to", "draft": "written to", "learning": "loaded from"}[
        state
    ]
    face.say(f"aalearn: {name}: {done} {shown(draft.place)} in the policy folder")
    if state == "draft":
        face.say(f"aalearn: load it: apparmor_parser -r {shown(str(face.settings.base / draft.place))}")
    face.say("aalearn: start the workload under it:")
    for what, how in ways:
        face.say(f"  {what:<11} {how}")
