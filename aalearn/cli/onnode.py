"""The machine that a command changes, made from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aalearn.cli.face import Face
    from aalearn.lifecycle.node.machine import Machine
    from aalearn.lifecycle.node.records import Applied


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


def before_moving(there: Machine) -> Machine:
    """Return the machine with its records where they are now: to look at them, nothing is moved.

    What an older aalearn left is only taken for root's where `moved` would.
    """
    from dataclasses import replace
    from os.path import lexists

    from aalearn.lifecycle.node.folder import Folder
    from aalearn.lifecycle.node.machine import BACKUPS, OLD_BACKUPS
    from aalearn.model.errors import UsageError

    if there.backups != BACKUPS or lexists(BACKUPS) or not lexists(OLD_BACKUPS):
        return there
    try:
        with Folder.open(OLD_BACKUPS, private=True):
            return replace(there, backups=OLD_BACKUPS)
    except UsageError:  # the service may have planted it
        return there


def entries_of(face: Face, there: Machine, name: bytes, *, dry_run: bool) -> tuple[Applied, ...] | None:
    """Return root's record of a profile; in a dry run None, with a note, where only root could read it.

    Raises as `applied`.
    """
    from aalearn.lifecycle.node.applier import applied
    from aalearn.model.errors import AalearnError

    if not dry_run:
        return applied(there, name)
    try:
        return applied(before_moving(there), name)
    except (AalearnError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        face.say(f"aalearn: note: what was applied here before was not looked at: {why}")
        return None


SYSTEM_FILE = "/etc/aalearn/config.toml"  # as `settings.SYSTEM_FILE`; a test holds them together
PROBATION = 3_600.0  # as the default of `promotion.probation_seconds`


def machine_in_haste(face: Face) -> Machine:
    """Return the same for the applier, which races an outage: of the system's configuration only what it needs is read,
    for pydantic alone takes as long as all the rest. Where anything is unusual it is read in full.
    """
    from pathlib import Path

    from aalearn.lifecycle.node.machine import Machine

    values = _system_values(face)
    if values is None:
        return machine(face)
    base, parser = values.get("base", ""), values.get("parser")
    if not isinstance(base, str) or not isinstance(parser, str | None):
        return machine(face)
    return Machine.real(profiles=Path(base), parser=parser) if base else Machine.real(parser=parser)


def probation_in_haste(face: Face) -> float:
    """Return the probation of a promotion in seconds, likewise."""
    values = _system_values(face)
    section = values.get("promotion", {}) if values is not None else None
    seconds = section.get("probation_seconds", PROBATION) if isinstance(section, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        return face.settings.promotion.probation_seconds
    return float(seconds)


def complain_wanted_in_haste(face: Face) -> bool:
    """Return whether a way back leads to complain mode, whatever was enforced before, likewise."""
    values = _system_values(face)
    section = values.get("promotion", {}) if values is not None else None
    back_to = section.get("revert_to", "previous") if isinstance(section, dict) else None
    if back_to not in ("previous", "complain"):
        return face.settings.promotion.revert_to == "complain"
    return bool(back_to == "complain")


def _system_values(face: Face) -> dict[str, Any] | None:
    """Return what the system's configuration holds, None where more than that counts or it can't be read."""
    import os
    import tomllib
    from pathlib import Path

    if face.config is not None or any(name.startswith("AALEARN_") for name in os.environ):
        return None
    try:
        return tomllib.loads(Path(SYSTEM_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return None
