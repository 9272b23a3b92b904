"""`aalearn apply --socket`: one request of the unprivileged service. systemd starts it, no person does."""

from __future__ import annotations

from typing import Annotated

import typer

from aalearn.cli.face import face_of
from aalearn.model.errors import UsageError

EXAMPLE = "Example: it is started by aalearn-apply@.service for each connection to aalearn-apply.socket"


def command(
    context: typer.Context,
    from_socket: Annotated[
        bool, typer.Option("--socket", help="Serve the one request on standard input, a connected socket.")
    ] = False,
) -> None:
    """Serve one request: take a profile back to a text that was applied here before, or put it into complain mode.

    Only root and the user aalearn may ask, and only once within the probation of a promotion. A request can't bring a
    text with it. Who asked for what, and what was done, goes to standard error.
    """
    if not from_socket:
        raise UsageError("aalearn apply is started by systemd with --socket; for yourself use promote and rollback")
    from aalearn.cli.served import serve_request

    code = serve_request(face_of(context))
    if code:
        raise typer.Exit(code)
