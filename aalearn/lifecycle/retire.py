"""The end of a profile on this machine, without surprises for what runs under it.

What aalearn made goes, and what was here before aalearn comes back: an administrator's own profile, or a package's. A
profile that comes from a package and that aalearn never touched is disabled by the documented link (apparmor_parser(8),
aa-disable(8)); its file is the package's. Backups of all that was applied stay.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from aalearn.grammar.profiles import read_profiles
from aalearn.lifecycle.finding import find
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import Change, Done, applied, apply
from aalearn.lifecycle.node.entries import links_at
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.records import Applied, Records
from aalearn.lifecycle.node.requests import changed_files
from aalearn.lifecycle.node.tasks import Task, tasks, under
from aalearn.lifecycle.node.texts import whole
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import UsageError
from aalearn.model.text import shown


class End(StrEnum):
    """What becomes of the profile."""

    REMOVED = "removed"  # its file goes, and it is unloaded
    RESTORED = "restored"  # what was here before aalearn comes back
    DISABLED = "disabled"  # a package's: the file stays, a link keeps it from being loaded, and it is unloaded
    NOTHING = "nothing"  # nothing of it is on this machine


@dataclass(frozen=True, slots=True)
class Plan:
    """What retiring does. `names` are the loaded profiles that go or change (children and hats too); `tasks` those
    that would be left unconfined; `package` is the package that the file comes from, "" for none.
    """

    profile: bytes
    end: End
    place: str
    names: tuple[bytes, ...]
    tasks: tuple[Task, ...]
    revision: int
    package: str = ""
    change: Change | None = None


def plan(machine: Machine, profile: bytes) -> Plan:
    """Return what retiring would do. Nothing is changed. Raises UsageError where that can't be told."""
    machine.kernel.ready()
    entries = applied(machine, profile)
    if entries and entries[-1].stage == Stage.RETIRED:
        raise UsageError(f"{shown(profile)} is retired on this machine already")
    names = tuple(one.name for one in machine.loaded(profile))
    place = entries[-1].place if entries else _place(machine, profile)
    revision = entries[-1].revision if entries else 0
    content = files.read(machine.profiles, place) if place else None
    if content is None and not names and not entries:
        return Plan(profile, End.NOTHING, "", (), (), 0)
    found = entries[0] if entries and not entries[0].stage and (entries[0].text or entries[0].policy) else None
    package = files.package_of(machine.profiles / place) if content is not None and not entries else ""
    if found is not None:
        return Plan(profile, End.RESTORED, place, names, (), revision, change=_restored(machine, profile, entries))
    reached = under(tasks(machine.proc), profile) if names else ()
    if package:
        link = (f"{files.DISABLE}/{place}", f"../{place}")
        change = _change(profile, place, content, None, revision, (link,))
        return Plan(profile, End.DISABLED, place, names, reached, revision, package, change)
    links = tuple((link.place, "") for link in (entries[-1].links if entries else ()))
    place = place or files.file_name(profile)
    change = _change(profile, place, None, None, revision, links)
    return Plan(profile, End.REMOVED, place, names, reached, revision, change=change)


def carry_out(machine: Machine, wanted: Plan, *, who: str, reason: str, force: bool) -> Done | None:
    """Do it, wholly or not at all; None where nothing of it is on this machine.

    Raises UsageError where tasks would be left unconfined and it is not forced, PolicyError as `apply`.
    """
    if wanted.change is None:
        return None
    if wanted.tasks and not force:
        raise UsageError(refusal(wanted))
    return apply(machine, replace(wanted.change, who=who, reason=reason))


def refusal(wanted: Plan) -> str:
    """Return why a profile with tasks is not taken away, and what to do."""
    units = sorted({task.unit for task in wanted.tasks if task.unit.endswith(".service")})
    stop = f"systemctl stop {' '.join(units)}" if units else f"end pid {wanted.tasks[0].pid}"
    more = f" and {len(wanted.tasks) - 1} more" if len(wanted.tasks) > 1 else ""
    return f"{wanted.tasks[0]}{more}: without the profile it would go on unconfined; {stop} first, or --force"


def _place(machine: Machine, profile: bytes) -> str:
    """Return the place of the profile's own file, "" where no file defines it.

    Raises UsageError where that file defines others too: they would go with it.
    """
    found, _ = find(profile, machine.profiles, machine.judge())
    if found is None:
        return ""
    others = [block.path for block in read_profiles(found.text).profiles if block.path != found.block.path]
    if others:
        file, named = shown(str(found.file)), ", ".join(map(shown, others[:3]))
        raise UsageError(f"{file} defines {named} too: take {shown(profile)} out of it by hand")
    return files.place_of(machine.profiles, found.file)


def _restored(machine: Machine, profile: bytes, entries: tuple[Applied, ...]) -> Change:
    found = entries[0]
    with Records.open(machine.backups) as records:
        text, policy = records.get(found.text), records.get(found.policy)
        more = changed_files(machine, records, entries, found)
    if text is not None or found.place.startswith(f"{files.LOCAL}/"):
        judge = machine.judge()
        written = whole(judge, profile, found.place, text or b"", next((content for _, content in more), None))
        policy = written.policy(judge)
    change = _change(profile, found.place, text, policy, found.revision, links_at(entries, found))
    return replace(change, more=more)


def _change(
    profile: bytes,
    place: str,
    text: bytes | None,
    policy: bytes | None,
    revision: int,
    links: tuple[tuple[str, str], ...],
) -> Change:
    return Change(profile, place, text, policy, Stage.RETIRED, "", links, revision)
