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


def records_moved(face: Face, there: Machine) -> None:
    """Move root's records from where an older aalearn kept them, and say so. Only for root."""
    from aalearn.lifecycle.node.machine import BACKUPS, OLD_BACKUPS
    from aalearn.lifecycle.node.moving import moved

    if there.backups == BACKUPS and (note := moved(OLD_BACKUPS, BACKUPS)):
        face.say(f"aalearn: note: {note}")


SYSTEM_FILE = "/etc/aalearn/config.toml"  # as `settings.SYSTEM_FILE`; a test holds them together


def machine_in_haste(face: Face) -> Machine:
    """Return the same for the applier, which races an outage: of the system's configuration only what it needs is read,
    for pydantic alone takes as long as all the rest. Where anything is unusual it is read in full.
    """
    import os
    import tomllib
    from pathlib import Path

    from aalearn.lifecycle.node.machine import Machine

    if face.config is not None or any(name.startswith("AALEARN_") for name in os.environ):
        return machine(face)
    try:
        values = tomllib.loads(Path(SYSTEM_FILE).read_text("utf-8"))
    except FileNotFoundError:
        values = {}
    except (OSError, ValueError):
        return machine(face)
    base, parser = values.get("base", ""), values.get("parser")
    if not isinstance(base, str) or not isinstance(parser, str | None):
        return machine(face)
    return Machine.real(profiles=Path(base), parser=parser) if base else Machine.real(parser=parser)
