"""One request of the applier's socket, without the frame of all commands: this races an outage.

To load every command takes as long as all the rest of a way back.
"""

import logging
import os
import sys
from pathlib import Path

from aalearn.cli import onnode
from aalearn.cli.face import Face
from aalearn.cli.output import talk
from aalearn.lifecycle.node.server import serve

SERVICE = "aalearn"  # User= of aalearn.service


def serve_request(face: Face) -> int:
    """Serve the request on standard input, a connected socket; return the exit code."""
    return serve(
        lambda: onnode.machine_in_haste(face),
        0,
        1,
        lambda line: talk(f"aalearn apply: {line}"),
        service=_service(),
        probation=lambda: onnode.probation_in_haste(face),
        complain_wanted=lambda: onnode.complain_wanted_in_haste(face),
    )


def main() -> None:
    """`aalearn apply --socket`, as systemd starts it."""
    logging.getLogger("aalearn").setLevel(logging.ERROR)  # a cache that can't be used is no news here
    config = os.environ.get("AALEARN_CONFIG")
    sys.exit(serve_request(Face(config=Path(config) if config else None)))


def _service() -> tuple[int, ...]:
    """Return the uid of the service's user, nothing where there is none."""
    from pwd import getpwnam

    try:
        return (getpwnam(SERVICE).pw_uid,)
    except KeyError:
        return ()
