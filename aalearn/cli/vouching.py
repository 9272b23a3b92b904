"""Whom a command believes: the store, or where that may be forged, what root itself wrote down on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aalearn.cli import onnode
from aalearn.cli.face import sqlite_path
from aalearn.cli.output import count
from aalearn.model.errors import AalearnError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aalearn.cli.face import Face
    from aalearn.store import Store
    from aalearn.store.readings import Decision, Revision


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a profile's decisions and revisions.

    `own`: the store is root's own, and believed. `told`: root asks, so what root wrote down is known. `decisions` are
    those that count, `others` those of the store that do not.
    """

    own: bool
    told: bool
    decisions: tuple[Decision, ...]
    others: tuple[Decision, ...] = ()
    digests: frozenset[str] = frozenset()

    def made(self, name: bytes, revision: Revision) -> bool:
        """Return whether root made a revision, as far as is known."""
        from aalearn.lifecycle.node.vouched import digest

        return (self.own and not revision.imported) or digest(name, revision) in self.digests


def is_root() -> bool:
    """Return whether this command acts for root."""
    return os.geteuid() == 0


def roots_store(face: Face) -> bool:
    """Return whether only root could have written the store."""
    url = face.settings.db
    if not url.startswith("sqlite"):
        return False
    path = sqlite_path(url)
    if path is None:
        return True
    from aalearn.lifecycle.node.vouched import roots_own

    return roots_own(path, frozenset({0, os.geteuid()} if is_root() else {0}))


def standing(face: Face, store: Store, name: bytes) -> Standing:
    """Return whom to believe. Raises PolicyError or UsageError where root's own memory can't be read."""
    stored = store.decisions(name)
    own = roots_store(face)
    if own or not is_root():
        imported = tuple(one for one in stored if one.imported)
        return Standing(own, own and is_root(), tuple(one for one in stored if not one.imported), imported)
    from aalearn.lifecycle.node.vouched import read

    vouched = read(onnode.machine(face).backups, name)
    others = tuple(one for one in stored if one not in vouched.decisions)
    return Standing(False, True, vouched.decisions, others, frozenset(one.sha256 for one in vouched.revisions))


def settled(face: Face, store: Store, name: bytes, revision: Revision) -> bool:
    """Return whether nothing is gained by keeping a revision's text once more in the name of who asks."""
    found = standing(face, store, name)
    return not found.told or found.made(name, revision)


def _backups(face: Face) -> Path:
    """Return the folder that root writes to, where its records are then."""
    machine = onnode.machine(face)
    onnode.records_moved(face, machine)
    return machine.backups


def tell_others(face: Face, name: bytes, found: Standing) -> None:
    """Say which decisions of the store do not count, and what to do."""
    if found.others:
        rules = "; ".join(dict.fromkeys(f"{one.decision} {shown(one.rule)}" for one in found.others[:3]))
        more = f" and {len(found.others) - 3:,} more" if len(found.others) > 3 else ""
        face.say(
            f"aalearn: note: {count(len(found.others), 'decision')} in the store not by root on this machine, so not "
            f"counted: {rules}{more}; decide again: sudo aalearn review {shown(name)}"
        )


def decided(face: Face, name: bytes, decisions: Sequence[Decision]) -> None:
    """Write down what root decided, or say what another user's decisions are worth."""
    _written(face, name, "decided", decisions=decisions)


def kept(face: Face, name: bytes, revision: Revision) -> None:
    """Write down that root kept a revision, or say what another user's is worth."""
    _written(face, name, "saved", revision=revision)


def _written(
    face: Face, name: bytes, what: str, *, decisions: Sequence[Decision] = (), revision: Revision | None = None
) -> None:
    if not is_root():
        if _promoted_from(face):
            face.say(f"aalearn: note: {what}, but not by root: `sudo aalearn promote` counts it once sudo repeats it")
        return
    from aalearn.lifecycle.node.vouched import Kept, add, digest

    own = roots_store(face)
    try:
        backups = _backups(face)
        if own and not backups.exists():
            return  # nothing was ever applied here, and this store needs no other witness
        revisions = [Kept(digest(name, revision), revision.number, revision.author, revision.when)] if revision else []
        add(backups, name, decisions, revisions)
    except (AalearnError, OSError) as error:
        if not own:
            face.say(f"aalearn: note: {what} in the store, but promote will not count it: {error}")


def _promoted_from(face: Face) -> bool:
    """Return whether root promotes from this store, as far as others can tell: policy was applied on this machine."""
    try:
        return onnode.machine(face).backups.exists()
    except PermissionError:  # it is there, and closed to us
        return True
    except AalearnError:  # no parser, so no policy either
        return False
