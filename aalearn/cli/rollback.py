"""`aalearn rollback`: a profile back to what stood before, to a revision, or to complain mode."""

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
    from aalearn.cli.face import Face
    from aalearn.lifecycle.rollback import Plan

EXAMPLE = "Examples: aalearn rollback nginx  |  aalearn rollback nginx --complain --reason 'the shop is down'"
_CHANGES = 20  # lines of a difference that are told; json has all


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    to: Annotated[
        int | None, typer.Option("--to", metavar="NUMBER", min=1, help="To this revision, enforced here before.")
    ] = None,
    complain: Annotated[bool, typer.Option("--complain", help="Keep the text, but in complain mode.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: recorded.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Take a profile back to what stood before it on this machine, verified by its sha256. Needs root.

    Running tasks are under the older text at once; none of them becomes unconfined.
    """
    from aalearn.lifecycle import rollback
    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.stages import Stage

    if to is not None and complain:
        raise UsageError("--to and --complain exclude each other")
    face = face_of(context)
    machine = onnode.machine(face)
    name = profile.encode("utf-8", "surrogateescape")
    wanted = rollback.plan(machine, name, to=to, complain=complain)
    _note_stage(face, name)
    document = {"schema": 1, "profile": plain(name), "dry_run": dry_run, **_document(wanted)}
    for line in _lines(wanted):
        face.say(f"aalearn: {line}")
    if dry_run:
        face.emit({**document, "done": False}, f"{shown(name)} would go back to {_where(wanted)}")
        return
    why = reason.strip() or "a person asked for it"
    done = rollback.carry_out(machine, wanted, who=who(), reason=why)
    detail = {
        "from": wanted.current.revision,
        "mode": done.applied.mode,
        "automatic": False,
        "text_sha256": done.applied.text,
    }
    recorded = steps.record(
        face,
        name,
        Stage.REVERTED,
        revision=done.applied.revision,
        reason=why,
        when=done.applied.when,
        detail=detail,
    )
    face.emit({**document, "done": True, "recorded": recorded}, f"{shown(name)} is back at {_where(wanted)}")
    for note in done.notes:
        face.say(f"aalearn: note: {note}")


def _note_stage(face: Face, name: bytes) -> None:
    """Say where the store does not know of what is taken back. It decides nothing: root's own record of this machine
    does, and a promotion that was killed, or a store that was full, must not keep anybody from going back.
    """
    from aalearn.lifecycle.stages import Stage

    known = (None, Stage.CANARY, Stage.ENFORCED, Stage.REVERTED)
    stage = steps.stage_in_store(face, name)
    if stage not in known:
        face.say(
            f"aalearn: note: the store says that {shown(name)} is {shown(str(stage))}; this machine's record counts"
        )


def _where(wanted: Plan) -> str:
    from aalearn.lifecycle.rollback import described

    return described(wanted.target) if wanted.target else "complain mode, with the same text"


def _lines(wanted: Plan) -> list[str]:
    """Return what a person should know beforehand."""
    from aalearn.lifecycle.rollback import described
    from aalearn.policy.compare import lines as lines_of

    lines = [f"now: {described(wanted.current)}"]
    if wanted.tasks:
        lines.append(f"{count(len(wanted.tasks), 'task')} under it, reached at once: {wanted.tasks[0]}")
    changed = lines_of(wanted.changes or ())
    if changed:
        lines.append("more (+) and less (-) will be permitted:")
        lines += [f"  {line}" for line in changed[:_CHANGES]]
        if len(changed) > _CHANGES:
            lines.append(f"  … and {len(changed) - _CHANGES:,} more; all are in --output json")
    if wanted.mode == "complain":
        lines.append("in complain mode nothing is refused any more, only logged")
    return lines


def _document(wanted: Plan) -> dict[str, Any]:
    from aalearn.policy.compare import lines as lines_of

    current, target = wanted.current, wanted.target
    return {
        "from": {"revision": current.revision or None, "mode": current.mode, "text_sha256": current.text},
        "to": {
            "revision": (target.revision if target else current.revision) or None,
            "mode": wanted.mode,
            "text_sha256": target.text if target else None,
        },
        "tasks": [str(task) for task in wanted.tasks],
        "changed": list(lines_of(wanted.changes or ())),
    }
