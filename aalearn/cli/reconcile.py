"""`aalearn reconcile`: do kernel, disk and store agree on this machine?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import onnode
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import complain, count, plain, table
from aalearn.model.errors import AalearnError, UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aalearn.lifecycle.node.machine import Machine
    from aalearn.lifecycle.node.records import Intent
    from aalearn.lifecycle.observing import Machinery
    from aalearn.lifecycle.reconcile import Difference, Noted

EXAMPLE = "Examples: aalearn reconcile  |  aalearn reconcile --fix"


def command(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Argument(metavar="[PROFILE]", help="One profile; without it, all of them.", autocompletion=profile_names),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without a person.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: only say what would be done.")] = False,
) -> None:
    """Compare what the kernel runs, what is on disk and what was written down, after a reboot or a crash too.

    Each difference is told with the command that mends it. The exit code is 1 while there are any. Needs root.
    """
    from aalearn.lifecycle import observing

    if dry_run and not fix:
        raise UsageError("--dry-run belongs to --fix: without that nothing is changed anyway")
    face = face_of(context)
    machine = onnode.machine(face)
    name = profile.encode("utf-8", "surrogateescape") if profile is not None else None
    mended: list[str] = []
    machine.kernel.ready()
    machine = _with_records(face, machine, move=fix and not dry_run)
    there = observing.look(machine)
    if fix and not dry_run:
        mended = _ended(machine, [one for one in there.intents if name in (None, one.name)])
        there = observing.look(machine)
    store = _noted(face, name)
    found = _compared(machine, there, store, name)
    if fix and not dry_run:
        mended += _mended(machine, there, found)
        there = observing.look(machine)
        mended += _written_down(face, there, _compared(machine, there, store, name))
        there, store = observing.look(machine), _noted(face, name)
        found = _compared(machine, there, store, name)
    for line in mended:
        face.say(f"aalearn: {line}")
    if fix and dry_run:
        for one in found:
            face.say(
                f"aalearn: {'would be mended' if one.fixable else 'needs a person'}: {shown(one.profile)}: {one.what}"
            )
    unread = [*there.unread, *([store] if isinstance(store, AalearnError) else [])]
    for error in unread:
        complain(str(error), "not compared")
    document = {"schema": 1, "differences": [_document(one) for one in found], "mended": mended, "dry_run": dry_run}
    face.emit({**document, "not_compared": [str(error) for error in unread]}, _text(found))
    if found:
        raise typer.Exit(1)
    if unread:
        face.say("aalearn: all that could be compared agrees; the rest is not known")
        raise typer.Exit(max(error.exit_code for error in unread))
    face.say("aalearn: kernel, disk and store agree")


def _with_records(face: Face, machine: Machine, *, move: bool) -> Machine:
    """Return the machine with root's records, which an older aalearn kept elsewhere: moved only where all is mended."""
    if move:
        onnode.records_moved(face, machine)
        return machine
    there = onnode.before_moving(machine)
    if there != machine:
        old = shown(str(there.backups))
        face.say(f"aalearn: note: an older aalearn left its records in {old}: `aalearn reconcile --fix` moves them")
    return there


def _noted(face: Face, wanted: bytes | None) -> Mapping[bytes, Noted | None] | AalearnError:
    """Return what the store says of each profile by this node's steps, or why it can't be read."""
    from aalearn.lifecycle.observing import noted
    from aalearn.lifecycle.past import here

    try:
        with face.store(readonly=True) as store:
            names = [name for name in store.stages() if wanted is None or name == wanted]
            return {name: noted(here(store.steps(name), face.settings.node)) for name in names}
    except AalearnError as error:
        return error


def _ended(machine: Machine, intents: Sequence[Intent]) -> list[str]:
    """End interrupted changes; one that can't be is told, and stays a difference."""
    from aalearn.lifecycle import mending

    done = []
    for intent in intents:
        try:
            done.append(mending.end(machine, intent))
        except (AalearnError, OSError) as error:
            complain(_told(error), f"the interrupted change of {shown(intent.name)} was not ended")
    return done


def _compared(
    machine: Machine, there: Machinery, store: Mapping[bytes, Noted | None] | AalearnError, wanted: bytes | None
) -> list[Difference]:
    """Return all differences, by profile; those of the store only where it could be read."""
    from aalearn.lifecycle import observing
    from aalearn.lifecycle.reconcile import Difference, Kind, compare

    intents = {one.name: one for one in there.intents if wanted in (None, one.name)}
    steps = {} if isinstance(store, AalearnError) else store
    names = set(there.applied) | set(steps) | set(intents)
    if wanted is not None:
        if wanted not in names and not there.unread:
            raise UsageError(f"there is no profile {shown(wanted)}: nothing of it was applied here or written down")
        names &= {wanted}
    found: list[Difference] = []
    for name in sorted(names):
        if name in intents:
            found.append(_interrupted(machine, intents[name]))
            continue
        entries = there.applied.get(name, ())
        expected = observing.expected(entries) if entries else None
        try:
            seen = observing.observe(machine, there, name)
        except AalearnError as error:
            found.append(Difference(name, Kind.UNCOMPILABLE, str(error), "put it right by hand"))
            continue
        found += compare(name, expected, steps.get(name), seen, shown(str(machine.profiles)))
    if isinstance(store, AalearnError):
        found = [one for one in found if one.kind is not Kind.NOT_WRITTEN_DOWN]
    return found


def _interrupted(machine: Machine, intent: Intent) -> Difference:
    """Return an interrupted change as a difference, which a person mends where a file was edited since."""
    from aalearn.lifecycle import mending
    from aalearn.lifecycle.reconcile import FIX, Difference, Kind

    what, mend = f"a change to {shown(intent.stage)} was interrupted", FIX
    try:
        edited = mending.edited(machine, intent)
        what += f", and {edited} edited since" if edited else f" ({mending.ends(machine, intent)} is right)"
        if edited:
            mend = f"move {edited} elsewhere, then `{FIX}`, then write the edit in again"
    except AalearnError as error:
        file, backups = shown(str(machine.profiles / intent.place)), shown(str(machine.backups))
        what += f", and can't be ended: {error}"
        mend = f"put {file} right by hand and load it, then remove the file intent.* of it in {backups}"
    return Difference(intent.name, Kind.INTERRUPTED, what, mend)


def _mended(machine: Machine, there: Machinery, found: Sequence[Difference]) -> list[str]:
    """Mend file, links and kernel, where that can be done; what fails is told, and stays a difference."""
    from aalearn.lifecycle import mending

    by_profile: dict[bytes, list[Difference]] = {}
    for one in found:
        by_profile.setdefault(one.profile, []).append(one)
    mended: list[str] = []
    for name, differences in by_profile.items():
        if any(one.fixable for one in differences):
            try:
                mended.append(mending.mend(machine, name, there.applied.get(name, ()), differences))
            except (AalearnError, OSError) as error:
                complain(_told(error), f"{shown(name)} was not mended")
    return [line for line in mended if line]


def _written_down(face: Face, there: Machinery, found: Sequence[Difference]) -> list[str]:
    """Write the steps that the store does not know; the machine was mended before, whether there is a store or not."""
    from aalearn.lifecycle import mending
    from aalearn.lifecycle.reconcile import Kind

    late = [one.profile for one in found if one.kind is Kind.NOT_WRITTEN_DOWN]
    if not late:
        return []
    try:
        with face.store(readonly=False) as store:
            return [mending.write_down(store, name, there.applied[name], face.settings.node) for name in late]
    except AalearnError as error:
        complain(str(error), "not written down")
        return []


def _told(error: BaseException) -> str:
    """Return an error in words that are safe to show."""
    if isinstance(error, OSError):
        return f"{shown(str(error.filename))}: {error.strerror}" if error.filename else shown(str(error))
    return str(error)


def _text(found: Sequence[Difference]) -> str:
    if not found:
        return ""
    rows = [(shown(one.profile), str(one.kind), one.what) for one in found]
    mends = [f"  {shown(one.profile)}: {one.mend}" for one in found]
    lines = [table(("PROFILE", "DIFFERENCE", "WHAT"), rows), "", f"To mend {count(len(found), 'difference')}:"]
    return "\n".join([*lines, *dict.fromkeys(mends)])


def _document(one: Difference) -> dict[str, Any]:
    return {
        "profile": plain(one.profile),
        "kind": str(one.kind),
        "what": one.what,
        "mend": one.mend,
        "fixable": one.fixable,
    }
