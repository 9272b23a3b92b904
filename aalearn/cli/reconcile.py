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
    from aalearn.lifecycle import mending, observing

    if dry_run and not fix:
        raise UsageError("--dry-run belongs to --fix: without that nothing is changed anyway")
    face = face_of(context)
    machine = onnode.machine(face)
    wanted = profile.encode("utf-8", "surrogateescape") if profile is not None else None
    mended: list[str] = []
    machine.kernel.ready()
    onnode.records_moved(face, machine)
    there = observing.look(machine)
    intents = [one for one in there.intents if wanted is None or one.name == wanted]
    if fix and not dry_run and intents:
        mended += [mending.end(machine, intent) for intent in intents]
        there = observing.look(machine)
        intents = []
    store = _noted(face, wanted)
    found = _compared(machine, there, store, intents, wanted)
    if fix and not dry_run:
        mended += _mended(face, machine, there, found)
        found = _compared(machine, observing.look(machine), _noted(face, wanted), [], wanted)
    for line in mended:
        face.say(f"aalearn: {line}")
    if fix and dry_run:
        for one in found:
            face.say(
                f"aalearn: {'would be mended' if one.fixable else 'needs a person'}: {shown(one.profile)}: {one.what}"
            )
    document = {"schema": 1, "differences": [_document(one) for one in found], "mended": mended, "dry_run": dry_run}
    face.emit(document, _text(found))
    if found:
        raise typer.Exit(1)
    face.say("aalearn: kernel, disk and store agree")


def _noted(face: Face, wanted: bytes | None) -> Mapping[bytes, Noted | None] | None:
    """Return what the store says of each profile that has steps, None where it can't be read (told)."""
    from aalearn.lifecycle.observing import noted

    try:
        with face.store(readonly=True) as store:
            names = [name for name in store.stages() if wanted is None or name == wanted]
            return {name: noted(store.steps(name)) for name in names}
    except AalearnError as error:
        face.say(f"aalearn: note: the store can't be compared: {error}")
        return None


def _compared(
    machine: Machine,
    there: Machinery,
    store: Mapping[bytes, Noted | None] | None,
    intents: Sequence[Intent],
    wanted: bytes | None,
) -> list[Difference]:
    """Return all differences, by profile."""
    from aalearn.lifecycle import mending, observing
    from aalearn.lifecycle.reconcile import Difference, Kind, compare

    names = set(there.applied) | set(store or {})
    if wanted is not None:
        if wanted not in names and not intents:
            raise UsageError(f"there is no profile {shown(wanted)}: nothing of it was applied here or written down")
        names &= {wanted}
    open_ones = {intent.name for intent in intents}
    found = []
    for intent in intents:
        what = f"a change to {shown(intent.stage)} was interrupted ({mending.ends(machine, intent)} is right)"
        found.append(Difference(intent.name, Kind.INTERRUPTED, what, "aalearn reconcile --fix"))
    for name in sorted(names - open_ones):
        entries = there.applied.get(name, ())
        expected = observing.expected(entries[-1]) if entries else None
        try:
            seen = observing.observe(machine, there, name)
        except AalearnError as error:
            found.append(Difference(name, Kind.UNCOMPILABLE, str(error), "put it right by hand"))
            continue
        differences = compare(name, expected, (store or {}).get(name), seen, shown(str(machine.profiles)))
        if store is None:
            differences = tuple(one for one in differences if one.kind is not Kind.NOT_WRITTEN_DOWN)
        found += differences
    return found


def _mended(face: Face, machine: Machine, there: Machinery, found: Sequence[Difference]) -> list[str]:
    """Mend what can be; what fails is told, and stays a difference."""
    from aalearn.lifecycle import mending

    fixable: dict[bytes, list[Difference]] = {}
    for one in found:
        if one.fixable:
            fixable.setdefault(one.profile, []).append(one)
    if not fixable:
        return []
    everything: dict[bytes, list[Difference]] = {}
    for one in found:
        everything.setdefault(one.profile, []).append(one)
    mended: list[str] = []
    with face.store(readonly=False) as store:
        for name in fixable:
            try:
                mended += mending.mend(machine, store, name, there.applied.get(name, ()), everything[name])
            except AalearnError as error:
                complain(str(error), "not mended")
    return mended


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
