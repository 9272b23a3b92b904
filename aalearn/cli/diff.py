"""`aalearn diff`: what one profile permits and the other does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning
from aalearn.cli.face import face_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.policy.compare import Change, Grant

EXAMPLE = "Example: aalearn diff /etc/apparmor.d/nginx nginx.new"


def command(
    context: typer.Context,
    old: Annotated[
        Path,
        typer.Argument(
            metavar="A", readable=False, show_default=False, help="The older profile's file, or compiled policy."
        ),
    ],
    new: Annotated[
        Path,
        typer.Argument(
            metavar="B", readable=False, show_default=False, help="The newer profile's file, or compiled policy."
        ),
    ],
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """Show what B permits and A does not, and the reverse, by their compiled automata, with shortest witnesses.

    Lines with + are permitted by B alone, lines with - by A alone. The exit code is 1 when there are any.
    """
    from aalearn.lifecycle.difference import difference

    face = face_of(context)
    judge = learning.judge(face, base, target)
    changes = difference(old, new, judge)
    document = {"schema": 1, "a": str(old), "b": str(new), "changes": [_change(change) for change in changes]}
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
