"""`aalearn history`: a profile's revisions, each with its proof and what it changed, and the steps of its life."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import revisions as named
from aalearn.cli.completion import profile_names
from aalearn.cli.face import face_of
from aalearn.cli.output import day_and_time, moment, plain, table
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aalearn.store.readings import Revision, Step

EXAMPLE = (
    "Examples: aalearn history nginx  |  aalearn history nginx --show 2 > nginx.aa  |  aalearn diff nginx@1 nginx@2"
)
_CHANGES = 3  # lines of what a revision changed that are told; --changes and json have all


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    show: Annotated[
        int | None, typer.Option("--show", metavar="NUMBER", help="Print the text of this revision.", min=1)
    ] = None,
    changes: Annotated[bool, typer.Option("--changes", help="Tell all that each revision changed.")] = False,
) -> None:
    """Print the revisions that were kept (when, by whom, why, what was proved, what changed) and the steps taken.

    In what changed, + is permitted more and - less than by the text that the revision replaced.
    """
    face = face_of(context)
    with face.store(readonly=True) as store:
        name = named.known_anywhere(store, profile)
        revisions = store.revisions(name)
        steps = store.steps(name)
    if show is not None:
        revision = named.numbered(revisions, show, name)
        face.emit(
            {"schema": 1, "profile": plain(name), **_document(revision, steps), "text": revision.text}, revision.text
        )
        return
    document = {
        "schema": 1,
        "profile": plain(name),
        "state": steps[-1].state if steps else None,
        "revisions": [_document(one, steps) for one in revisions],
        "steps": [_step(step) for step in steps],
    }
    face.emit(document, _text(revisions, steps, None if changes else _CHANGES))
    if not revisions:
        face.say(f"aalearn: no revision of {shown(name)} was saved: aalearn suggest {shown(name)} --save")


def _text(revisions: Sequence[Revision], steps: Sequence[Step], most: int | None) -> str:
    """Return what people read: the revisions, what each changed, the steps."""
    from aalearn.lifecycle.past import changed

    parts = []
    if revisions:
        head = ("REVISION", "WHEN (UTC)", "BY", "STATE", "POLICY SHA256", "EVENTS", "REASON")
        parts.append(table(head, [_row(revision, steps) for revision in revisions], (0, 5)))
    told = []
    for revision in revisions:
        lines = changed(revision)
        told += [f"  {revision.number}  {line}" for line in lines[:most]]
        if most is not None and len(lines) > most:
            told.append(f"  {revision.number}  … and {len(lines) - most:,} more (--changes)")
    if told:
        parts.append("\n".join(["What each changed, more (+) and less (-) than the text before:", *told]))
    if steps:
        steps_head = ("STEP", "WHEN (UTC)", "BY", "STATE", "REVISION", "REASON")
        rows = [
            (str(one.number), day_and_time(one.when), one.who, one.state, str(one.revision or "-"), one.reason)
            for one in steps
        ]
        parts.append(table(steps_head, rows, (0, 4)))
    return "\n\n".join(parts)


def _state(revision: Revision, steps: Sequence[Step]) -> str:
    """Return the last state that a revision reached, "" for none."""
    return next((step.state for step in reversed(steps) if step.revision == revision.number), "")


def _proof(revision: Revision) -> Mapping[str, Any]:
    from aalearn.lifecycle.past import detail_of

    return detail_of(revision.proof)


def _document(revision: Revision, steps: Sequence[Step]) -> dict[str, Any]:
    from aalearn.lifecycle.past import changed, detail_of

    return {
        "revision": revision.number,
        "when": moment(revision.when),
        "author": revision.author,
        "reason": revision.reason,
        "state": _state(revision, steps) or None,
        "text_sha256": revision.sha256,
        "changed": list(changed(revision)),
        "detail": detail_of(revision.detail),
        "proof": json.loads(revision.proof),
    }


def _step(step: Step) -> dict[str, Any]:
    from aalearn.lifecycle.past import detail_of

    return {
        "step": step.number,
        "when": moment(step.when),
        "state": step.state,
        "revision": step.revision or None,
        "by": step.who,
        "reason": step.reason,
        "detail": detail_of(step.detail),
    }


def _row(revision: Revision, steps: Sequence[Step]) -> tuple[str, ...]:
    proof = _proof(revision)
    events = f"{proof.get('counts', {}).get('events', 0):,}"
    digest = str(proof.get("sha256", ""))[:16] or "-"
    when, state = day_and_time(revision.when), _state(revision, steps) or "-"
    return str(revision.number), when, revision.author, state, digest, events, revision.reason
