"""The one function that changes a profile on this machine: its file, its links and what the kernel runs. All or none.

Order: backups and the intent (on disk), file, links, kernel, verification, the list of what was applied, intent gone.
Whatever fails in between brings file, links and kernel back as they were. After a crash the intent is still there:
`finish` does the rest of it, `undo` takes it back; both may be repeated. The kernel takes a profile with all its
children in one transaction, so there is no moment without a profile and none with a half of one.
"""

import contextlib
import logging
import time
from dataclasses import dataclass, replace
from typing import Final

from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.entries import PROMOTED, promoted_since
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.records import Applied, File, Intent, Link, Records
from aalearn.lifecycle.node.tasks import tasks, under
from aalearn.lifecycle.node.texts import on_disk
from aalearn.lifecycle.node.verified import enforced, modes, tops, verify
from aalearn.model.errors import AalearnError, PolicyError, UsageError
from aalearn.model.text import shown

_LOG: Final = logging.getLogger(__name__)


class LeftOpen(PolicyError):
    """A change stopped half way, or could not be written down: the machine is not as before, and the intent is open."""


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be done to one profile.

    `text` goes to `place` below the policy folder (see `files`), None: the file is removed. `policy` is the compiled
    policy to load, None: the profile is unloaded (its tasks become unconfined: see to them before). `links` are places
    with where they shall lead, "" for no link. `stage`, `revision` (0: none), `who` and `reason` are those of the step
    that the store gets, `origin` the sha256 of the revision's text there. `before` is the number of the entry that a
    later revert leads to (None: the last one). `asked`: the service asked for it. `more` are further files of it,
    (place, text) pairs.

    What it was planned on is compared once nobody else can change it, and nothing is done where it differs: `expected`
    are (place, sha256) pairs of what stood there ("": no file), of any places, those that stay as they are too; a place
    that is not named is not compared. `last` is the number of the last entry (0: there was none; None: not compared).

    `anew`: a person promotes it now, so its probation begins now, also where the same text is promoted already. What
    only applies a promotion again leaves it False: its probation goes on.
    """

    profile: bytes
    place: str
    text: bytes | None
    policy: bytes | None
    stage: str
    who: str
    links: tuple[tuple[str, str], ...] = ()
    revision: int = 0
    reason: str = ""
    before: int | None = None
    origin: str = ""
    asked: bool = False
    more: tuple[tuple[str, bytes | None], ...] = ()
    expected: tuple[tuple[str, str], ...] = ()
    last: int | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What a change did: the entry that was recorded (None for a removal) and what is worth telling a person."""

    applied: Applied | None
    notes: tuple[str, ...] = ()


def apply(machine: Machine, change: Change) -> Done:
    """Do a change, wholly or not at all.

    Raises UsageError when it can't be begun (not root, a link in the way, an interrupted change before it, not what it
    was planned on), PolicyError when the kernel refuses or runs something else than it was given: file, links and
    kernel are then as before. Only after `LeftOpen` they are not.
    """
    machine.kernel.ready()
    with Records.open(machine.backups) as records:
        try:
            intent = _begun(machine, records, change)
        except OSError as error:
            why = f"the change of {shown(change.profile)} can't be begun: {_told(error)}"
            raise PolicyError(f"{why}; file and kernel are as before") from error
        return _carried_out(machine, records, intent)


def pending(machine: Machine) -> tuple[Intent, ...]:
    """Return the changes that were begun and neither done nor undone, by profile: a crash came in between."""
    if not machine.backups.exists():
        return ()
    with Records.open(machine.backups) as records:
        return records.pending()


def finish(machine: Machine, intent: Intent) -> Done:
    """Do the rest of an interrupted change. Raises as `apply`; then all is as before the change.

    UsageError also where a file is neither the old text nor the new one, as in `undo`: somebody edited it since.
    """
    machine.kernel.ready()
    with Records.open(machine.backups) as records:
        if intent not in records.pending():
            raise UsageError(f"the change of {shown(intent.name)} is not open any more")
        _unedited(machine, intent)
        return _carried_out(machine, records, intent)


def undo(machine: Machine, intent: Intent) -> None:
    """Take back an interrupted change. Raises UsageError where somebody edited a file of it since, PolicyError or
    OSError when it fails; the intent then stays.
    """
    machine.kernel.ready()
    with Records.open(machine.backups) as records:
        if intent in records.pending():
            _unedited(machine, intent)
            records.strike(intent)  # killed after it was written down
            _undone(machine, records, intent)


def open_change(machine: Machine, profile: bytes) -> Intent | None:
    """Return the change of a profile that was begun and neither done nor undone, None where there is none."""
    if not machine.backups.exists():
        return None
    with Records.open(machine.backups) as records:
        return records.intent(profile)


def applied(machine: Machine, profile: bytes) -> tuple[Applied, ...]:
    """Return what was applied to a profile on this machine, oldest first. Only root may ask."""
    if not machine.backups.exists():
        return ()
    with Records.open(machine.backups) as records:
        return records.applied(profile)


def _begun(machine: Machine, records: Records, change: Change) -> Intent:
    """Look at what is there, keep it, and write down what is about to be done."""
    name = change.profile.decode("utf-8", "surrogateescape")
    if records.intent(change.profile) is not None:
        raise UsageError(f"a change of {shown(name)} was interrupted: run `aalearn reconcile` first")
    files.sweep(machine.profiles)
    _as_planned(machine, records, change)
    old_text = files.read(machine.profiles, change.place)
    names = tops(change.policy) | {change.profile}
    _no_strangers(machine, records, change, names)
    old_policy = _running(machine, change, old_text, names)
    there = [(place, files.read(machine.profiles, place), text) for place, text in change.more]
    more = tuple(File(place, records.keep(old), records.keep(new)) for place, old, new in there)
    when = int(time.time() * 1000)
    intent = Intent(
        profile=name,
        place=change.place,
        old_text=records.keep(old_text),
        new_text=records.keep(change.text),
        old_policy=records.keep(old_policy),
        new_policy=records.keep(change.policy),
        links=tuple(Link(place, files.link_target(machine.profiles, place), target) for place, target in change.links),
        stage=change.stage,
        revision=change.revision,
        who=change.who,
        reason=change.reason,
        when=when,
        origin=change.origin,
        asked=change.asked,
        more=more,
        before=change.before,
        probation=when if change.anew else 0,
    )
    records.begin(intent)
    return intent


def _as_planned(machine: Machine, records: Records, change: Change) -> None:
    """Refuse a change that was planned on something else than what is there now."""
    for place, wanted in change.expected:
        if files.digest(files.read(machine.profiles, place)) != wanted:
            file = shown(str(machine.profiles / place))
            raise UsageError(f"{file} was changed by somebody else meanwhile, so nothing was done: look at it")
    if change.last is None:
        return
    entries = records.applied(change.profile)
    if (entries[-1].number if entries else 0) != change.last:
        why = f"{shown(change.profile)} was changed by another aalearn meanwhile, so nothing was done"
        raise UsageError(f"{why}: look at it with `aalearn reconcile`, then run it again")


def _no_strangers(machine: Machine, records: Records, change: Change, names: set[bytes]) -> None:
    """Refuse a text that defines profiles beside the one that it is for, unless its file did so before."""
    if names == {change.profile}:
        return
    judge = machine.judge()
    known = {change.profile}
    for entry in records.applied(change.profile)[-1:]:
        known |= tops(records.get(entry.policy))
    with contextlib.suppress(PolicyError, UsageError):  # a file that is missing or gives no policy defines nothing
        if change.place.startswith(f"{files.LOCAL}/"):
            known |= set(on_disk(judge, change.profile).loaded.names)
        else:
            known |= set(judge.compile(machine.profiles / change.place, strict=False).names)
    others = sorted(names - known)
    if others:
        told = ", ".join(map(shown, others[:3]))
        why = f"the text for {shown(change.place)} defines {told} too, which its file did not before"
        raise UsageError(f"{why}: a change of {shown(change.profile)} must not replace another profile")


def _running(machine: Machine, change: Change, old_text: bytes | None, names: set[bytes]) -> bytes | None:
    """Return the policy to bring back where the change fails: what the kernel runs, or else what the file gives."""
    try:
        return machine.running(*sorted(names))
    except PolicyError as error:
        if old_text is None or change.place.startswith(f"{files.LOCAL}/"):
            raise PolicyError(f"{shown(change.profile)} could not be brought back if this fails: {error}") from error
        compiled = machine.judge().compile(machine.profiles / change.place, strict=False).compiled
        return compiled.blob if compiled else None


def _found(records: Records, intent: Intent) -> Applied:
    """Return what was here before the first change, loaded or not, as an entry to go back to."""
    return Applied(
        number=0,
        before=0,
        place=intent.place,
        text=intent.old_text,
        policy=intent.old_policy,
        mode=modes(records.get(intent.old_policy)).get(intent.name, ""),
        stage="",
        revision=0,
        who="",
        reason="found here",
        when=intent.when,
        links=tuple(Link(link.place, link.old, link.old) for link in intent.links),
        more=tuple(File(file.place, file.old, file.old) for file in intent.more),
    )


def _carried_out(machine: Machine, records: Records, intent: Intent) -> Done:
    try:
        notes = _done(machine, records, intent)
    except (AalearnError, OSError, KeyboardInterrupt) as error:
        try:
            _undone(machine, records, intent)
        except (AalearnError, OSError) as second:
            hint = "run `aalearn reconcile`"
            raise LeftOpen(f"{_told(error)}; and it could not be taken back: {_told(second)}: {hint}") from error
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PolicyError(f"{_told(error)}; file and kernel are as before") from error
    try:
        entry = _recorded(records, intent)
        records.end(intent)
    except (AalearnError, OSError) as error:
        done = f"the change of {shown(intent.name)} to {shown(intent.stage)} is in force, in file and kernel"
        mend = "`aalearn reconcile --fix` does"
        raise LeftOpen(f"{done}, and could not be written down ({_told(error)}): {mend}") from error
    return Done(entry, notes)


def _recorded(records: Records, intent: Intent) -> Applied:
    """Return the entry of a change that was done, which is written down now unless it was before a crash."""
    entries = records.applied(intent.name)
    if entries and entries[-1].is_of(intent):
        return entries[-1]
    found = [_found(records, intent)] if not entries and (intent.old_text or intent.old_policy) else []
    last = entries[-1].number if entries else len(found)
    made = Applied(
        number=0,
        before=last if intent.before is None else intent.before,
        place=intent.place,
        text=intent.new_text,
        policy=intent.new_policy,
        mode=modes(records.get(intent.new_policy)).get(intent.name, ""),
        stage=intent.stage,
        revision=intent.revision,
        who=intent.who,
        reason=intent.reason,
        when=intent.when,
        links=intent.links,
        origin=intent.origin,
        asked=intent.asked,
        more=intent.more,
        replaced=intent.old_text,
    )
    since = intent.probation or promoted_since((*entries, made)) or 0
    return records.record(intent.name, *found, replace(made, probation=since))


def _done(machine: Machine, records: Records, intent: Intent) -> tuple[str, ...]:
    """Write, link, load and verify; return notes."""
    text, policy = records.get(intent.new_text), records.get(intent.new_policy)
    if policy is None and machine.loaded(intent.name):
        machine.kernel.unload(intent.name)
    files.write(machine.profiles, intent.place, text)
    for file in intent.more:
        files.write(machine.profiles, file.place, records.get(file.new))
    for link in intent.links:
        files.link(machine.profiles, link.place, link.new)
    if policy is None:
        return ()
    notes = _loaded(machine, policy)
    if intent.stage in PROMOTED:
        enforced(machine.loaded(intent.name), policy)
    return notes


def _loaded(machine: Machine, policy: bytes) -> tuple[str, ...]:
    """Load policy and verify that the kernel runs all of it; return notes."""
    machine.kernel.load(policy)
    notes = _without_leftovers(machine, policy)
    verify(machine.loaded(*tops(policy)), policy)
    return notes


def _unedited(machine: Machine, intent: Intent) -> None:
    """Refuse to go on with an interrupted change over what somebody wrote since. A file that is gone loses nothing."""
    for file in (File(intent.place, intent.old_text, intent.new_text), *intent.more):
        if files.digest(files.read(machine.profiles, file.place)) not in ("", file.old, file.new):
            where = shown(str(machine.profiles / file.place))
            why = f"{where} was edited after the change of {shown(intent.name)} was interrupted"
            raise UsageError(f"{why}: move it elsewhere, then `aalearn reconcile --fix`, then write the edit in again")


def _undone(machine: Machine, records: Records, intent: Intent) -> None:
    """Bring back files, links and kernel, verify, and forget the intent. Raises UsageError where a file was edited."""
    _unedited(machine, intent)
    policy = records.get(intent.old_policy)
    files.write(machine.profiles, intent.place, records.get(intent.old_text))
    for file in intent.more:
        files.write(machine.profiles, file.place, records.get(file.old))
    for link in intent.links:
        files.link(machine.profiles, link.place, link.old)
    if policy is not None:
        _loaded(machine, policy)
    for name in sorted((tops(records.get(intent.new_policy)) | {intent.name}) - tops(policy)):
        if machine.loaded(name):
            machine.kernel.unload(name)
    records.end(intent)


def _without_leftovers(machine: Machine, policy: bytes) -> tuple[str, ...]:
    """Remove children that the new policy does not have and the kernel kept; return a note for those still in use."""
    names = set(modes(policy))
    extra = [one.name for one in machine.loaded(*tops(policy)) if one.name not in names]
    notes = []
    running = tasks(machine.proc) if extra else ()
    for name in sorted(extra, key=lambda one: -one.count(b"//")):
        users = under(running, name)
        if users:
            notes.append(f"{shown(name)} is not in the new text and stays loaded, because {users[0]}: restart it")
            continue
        with contextlib.suppress(PolicyError):  # it went with its parent
            machine.kernel.unload(name)
    return tuple(notes)


def _told(error: BaseException) -> str:
    if isinstance(error, AalearnError):
        return str(error)
    if isinstance(error, OSError):
        name = f"{shown(str(error.filename))}: " if error.filename else ""
        return f"{name}{error.strerror or shown(str(error))}"
    return "interrupted"
