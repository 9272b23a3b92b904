"""`aalearn history`: the revisions of a profile that were saved, each with its proof."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli.completion import profile_names
from aalearn.cli.face import face_of, known_profile
from aalearn.cli.output import count, day_and_time, moment, plain, table
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.store.readings import Revision

EXAMPLE = "Examples: aalearn history nginx  |  aalearn history nginx --show 2 > nginx.aa"


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    show: Annotated[
        int | None, typer.Option("--show", metavar="NUMBER", help="Print the text of this revision.", min=1)
    ] = None,
) -> None:
    """Print the revisions that `suggest --save` kept: when, by whom, why, and what was proved."""
    face = face_of(context)
    with face.store(readonly=True) as store:
        name = known_profile(store, profile)
        revisions = store.revisions(name)
    if show is not None:
        revision = _numbered(revisions, show, name)
        document = {"schema": 1, "profile": plain(name), **_document(revision), "text": revision.text}
        face.emit(document, revision.text)
        return
    rows = [_row(revision) for revision in revisions]
    text = table(("REVISION", "WHEN (UTC)", "BY", "POLICY SHA256", "EVENTS", "REASON"), rows, (0, 4)) if rows else ""
    face.emit({"schema": 1, "profile": plain(name), "revisions": [_document(one) for one in revisions]}, text)
    if not revisions:
        face.say(f"aalearn: no revision of {shown(name)} was saved: aalearn suggest {shown(name)} --save")


def _numbered(revisions: Sequence[Revision], number: int, name: bytes) -> Revision:
    for revision in revisions:
        if revision.number == number:
            return revision
    raise UsageError(f"{shown(name)} has no revision {number}: there are {count(len(revisions), 'revision')}")


def _document(revision: Revision) -> dict[str, Any]:
    return {
        "revision": revision.number,
        "when": moment(revision.when),
        "author": revision.author,
        "reason": revision.reason,
        "proof": json.loads(revision.proof),
    }


def _row(revision: Revision) -> tuple[str, ...]:
    proof = json.loads(revision.proof)
    events = f"{proof['counts']['events']:,}"
    when = day_and_time(revision.when)
    return str(revision.number), when, revision.author, proof["sha256"][:16], events, revision.reason
