"""The machine that a command changes, made from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aalearn.cli.face import Face
    from aalearn.lifecycle.node.machine import Machine


def machine(face: Face) -> Machine:
    """Return this machine, with the policy folder and the parser of the settings."""
    from aalearn.lifecycle.node.machine import Machine

    return Machine.real(profiles=face.settings.base, parser=face.settings.parser)
