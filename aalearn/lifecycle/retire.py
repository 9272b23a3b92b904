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
from aalearn.lifecycle.node.entries import files_at, found_of, links_at
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
    that would be left unconfined; `package` is the package that the file comes from, "" for none. `edited` is the
    sha256 of a text that somebody wrote over what was applied, "" for none: its backup stays.
    """

    profile: bytes
    end: End
    place: str
    names: tuple[bytes, ...]
    tasks: tuple[Task, ...]
    revision: int
    package: str = ""
    change: Change | None = None
    edited: str = ""


def plan(machine: Machine, profile: bytes) -> Plan:
    """Return what retiring would do. Nothing is changed. Raises UsageError where that can't be told."""
    machine.kernel.ready()
    known = applied(machine, profile)
    names = tuple(one.name for one in machine.loaded(profile))
    retired = bool(known) and known[-1].stage == Stage.RETIRED
    if retired and not _came_back(machine, known[-1], names):
        raise UsageError(f"{shown(profile)} is retired on this machine already")
    entries = () if retired else known  # what came back is none of what was applied
    place = entries[-1].place if entries else _place(machine, profile)
    content = files.read(machine.profiles, place) if place else None
    if content is None and not names and not entries:
        return Plan(profile, End.NOTHING, "", (), (), 0)
    end, package, change = _way(machine, profile, entries, place, content)
    there = content if change.place == place else change.text
    change = replace(
        change,
        revision=entries[-1].revision if entries else 0,
        expected=((change.place, files.digest(there)), *change.expected),
        last=known[-1].number if known else 0,
    )
    edited = files.digest(content) if entries and content is not None else ""
    return Plan(
        profile=profile,
        end=end,
        place=change.place,
        names=names,
        tasks=under(tasks(machine.proc), profile) if names and change.policy is None else (),
        revision=change.revision,
        package=package,
        change=change,
        edited=edited if entries and edited != entries[-1].text else "",
    )


def _came_back(machine: Machine, last: Applied, names: tuple[bytes, ...]) -> bool:
    """Return whether others brought the profile again after it was taken away. What was found here is theirs anyway."""
    gone = not last.text and not last.policy
    return gone and (bool(names) or files.read(machine.profiles, last.place) is not None)


def _way(
    machine: Machine, profile: bytes, entries: tuple[Applied, ...], place: str, content: bytes | None
) -> tuple[End, str, Change]:
    """Return how the profile ends, the package that its file is of, and what has to change. `place` "": no file."""
    found = found_of(entries)
    if found is not None and (found.text or found.policy):
        return End.RESTORED, "", _restored(machine, profile, entries)
    package = files.package_of(machine.profiles / place) if content is not None and not entries else ""
    if package:
        link = (f"{files.DISABLE}/{place}", f"../{place}")
        return End.DISABLED, package, _change(profile, place, content, None, (link,))
    links = tuple((link.place, "") for link in (entries[-1].links if entries else ()))
    if place:
        return End.REMOVED, "", _change(profile, place, None, None, links)
    name = files.file_name(profile)  # it is loaded alone: a file of that name defines another, and stays
    return End.REMOVED, "", _change(profile, name, files.read(machine.profiles, name), None, links)


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
    """Return what brings back what was found here: loaded in the mode that it had, or not loaded if it was not."""
    found, now = entries[0], files_at(entries, entries[-1])
    with Records.open(machine.backups) as records:
        text, policy = records.get(found.text), records.get(found.policy)
        more = changed_files(machine, records, entries, found)
    links = links_at(entries, found)
    if policy is not None and (text is not None or found.place.startswith(f"{files.LOCAL}/")):
        judge = machine.judge()
        written = whole(judge, profile, found.place, text or b"", next((content for _, content in more), None))
        policy = written.as_applied(judge, profile, dict(links), found.mode)
    change = _change(profile, found.place, text, policy, links)
    return replace(change, more=more, expected=tuple((place, now[place]) for place, _ in more))


def _change(
    profile: bytes, place: str, text: bytes | None, policy: bytes | None, links: tuple[tuple[str, str], ...]
) -> Change:
    return Change(profile, place, text, policy, Stage.RETIRED, "", links)
