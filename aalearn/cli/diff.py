"""`aalearn diff`: what one profile permits and the other does not."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning, revisions
from aalearn.cli.face import face_of
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.policy.compare import Change, Grant

EXAMPLE = "Examples: aalearn diff /etc/apparmor.d/nginx nginx.new  |  aalearn diff nginx@2 nginx@last"


def command(
    context: typer.Context,
    old: Annotated[
        str,
        typer.Argument(
            metavar="A",
            show_default=False,
            help="The older profile: a file, compiled policy, or a revision (PROFILE@NUMBER, @last, @enforced).",
        ),
    ],
    new: Annotated[str, typer.Argument(metavar="B", show_default=False, help="The newer one, likewise.")],
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """Show what B permits and A does not, and the reverse, by their compiled automata, with shortest witnesses.

    Lines with + are permitted by B alone, lines with - by A alone. The exit code is 1 when there are any.
    """
    from aalearn.lifecycle.difference import differences

    face = face_of(context)
    judge = learning.judge(face, base, target)
    with ExitStack() as stack:
        named = any(map(revisions.is_selector, (old, new)))
        store = stack.enter_context(face.store(readonly=True)) if named else None
        changes = differences(*(revisions.load(store, one, judge, face.settings.node) for one in (old, new)))
    document = {"schema": 1, "a": shown(old), "b": shown(new), "changes": [_change(change) for change in changes]}
    face.emit(document, _text(changes))
    if changes:
        raise typer.Exit(1)
    face.say("aalearn: both permit the same")


def _text(changes: Sequence[Change]) -> str:
    lines = []
    for change in changes:
        lines.append(f"profile {change.block}: {change.state}")
        lines += [f"  + {grant}" for grant in change.gained]
        lines += [f"  - {grant}" for grant in change.lost]
    return "\n".join(lines)


def _change(change: Change) -> dict[str, Any]:
    return {
        "profile": change.block,
        "state": change.state,
        "gained": [_grant(grant) for grant in change.gained],
        "lost": [_grant(grant) for grant in change.lost],
    }


def _grant(grant: Grant) -> dict[str, str]:
    return {"kind": grant.kind, "permissions": grant.permissions, "object": grant.object}
