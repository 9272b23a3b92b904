"""Looking at this machine for `reconcile`: what is on disk, in the kernel and in root's own record, by profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aalearn.lifecycle.assigned import assigned
from aalearn.lifecycle.difference import differences
from aalearn.lifecycle.finding import find
from aalearn.lifecycle.judge import Loaded as Decoded
from aalearn.lifecycle.judge import top
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.entries import files_at
from aalearn.lifecycle.node.machine import Machine, is_of
from aalearn.lifecycle.node.records import Applied, Intent, Records
from aalearn.lifecycle.node.tasks import Task, astray, tasks, under
from aalearn.lifecycle.node.texts import spelled, whole
from aalearn.lifecycle.past import detail_of
from aalearn.lifecycle.reconcile import Expected, Noted, Observed, Running
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import AalearnError, PolicyError, UsageError
from aalearn.model.text import shown
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.decoder import decode
from aalearn.policy.loaded import Loaded
from aalearn.policy.oracle import Oracle
from aalearn.store.readings import Step

_ON_NODE = (Stage.LEARNING, Stage.CANARY, Stage.ENFORCED, Stage.REVERTED, Stage.RETIRED)


@dataclass(frozen=True, slots=True)
class Machinery:
    """What is looked at once for all profiles: what is loaded, the tasks, and root's record; `unread` says what of that
    record can't be read, `started` which units shall start under which profile.
    """

    loaded: tuple[Loaded, ...]
    tasks: tuple[Task, ...]
    applied: dict[bytes, tuple[Applied, ...]]
    intents: tuple[Intent, ...]
    unread: tuple[PolicyError, ...]
    started: Mapping[str, bytes]


def look(machine: Machine) -> Machinery:
    """Look at the machine. Raises UsageError when not root, PolicyError when the kernel can't be read."""
    machine.kernel.ready()
    entries: dict[bytes, tuple[Applied, ...]] = {}
    intents: tuple[Intent, ...] = ()
    unread: tuple[PolicyError, ...] = ()
    if machine.backups.exists():
        with Records.open(machine.backups) as records:
            entries, intents, unread = records.readable()
    loaded = tuple(one for one in machine.kernel.loaded() if not one.namespace)
    found = tasks(machine.proc, scripts=True)
    return Machinery(loaded, found, entries, intents, unread, assigned(found))


def expected(entries: Sequence[Applied]) -> Expected:
    """Return what should be there by the record, which is not empty."""
    entry, links = entries[-1], tuple(sorted(links_now(entries).items()))
    return Expected(entry.place, entry.text, entry.policy, entry.mode, entry.stage, entry.revision, entry.when, links)


def links_now(entries: Sequence[Applied]) -> dict[str, str]:
    """Return where each link should lead ("": none) that any of the changes set, by place."""
    return {link.place: link.new for entry in entries for link in entry.links}


def noted(steps: Sequence[Step]) -> Noted | None:
    """Return the last of a machine's steps that changes one, None for none."""
    last = next((step for step in reversed(steps) if step.state in _ON_NODE), None)
    if last is None:
        return None
    mode = detail_of(last.detail).get("mode")
    return Noted(
        last.state, last.revision, last.when, steps[-1].state == Stage.READY, mode if isinstance(mode, str) else ""
    )


def observe(machine: Machine, there: Machinery, profile: bytes) -> Observed:
    """Look at one profile. Raises PolicyError or UsageError where that can't be done."""
    entries = there.applied.get(profile, ())
    running = [one for one in there.loaded if is_of(one.name, profile)]
    if not entries:
        return Observed("", running=tuple(Running(one.name, one.mode, None) for one in running))
    last = entries[-1]
    content = files.read(machine.profiles, last.place)
    links = tuple((place, files.link_target(machine.profiles, place)) for place in sorted(links_now(entries)))
    seen = Observed(files.digest(content), links, lacking=tuple(missing(machine, entries)))
    if not last.policy:
        return _of_what_is_gone(machine, there, profile, seen)
    policy, boot, trouble = _policy(machine, profile, entries, content)
    names = tuple(one.name for one in decode(policy)) if policy else ()
    tops = {profile, *top(names)}  # its file may define others too
    running = [one for one in there.loaded if any(is_of(one.name, name) for name in tops)]
    lost = _lost(there, profile, policy) if policy and last.mode == "enforce" else ()
    return replace(
        seen,
        running=tuple(Running(one.name, one.mode, _same(one, policy)) for one in running),
        names=names,
        astray=tuple(map(str, lost)),
        units=_units(lost),
        trouble=trouble,
        boot=boot,
    )


def _of_what_is_gone(machine: Machine, there: Machinery, profile: bytes, seen: Observed) -> Observed:
    """Look at what is left of a profile that should not be loaded."""
    entries = there.applied[profile]
    running = [one for one in there.loaded if is_of(one.name, profile)]
    users = under(there.tasks, profile) if running else ()
    switched_off = entries[-1].text  # by a link: its file is another's anyway, and stays
    if not running and not switched_off and not _defines(machine, profile, entries):
        seen = replace(seen, file="")  # of another profile by now
    return replace(
        seen,
        running=tuple(Running(one.name, one.mode, None) for one in running),
        users=tuple(map(str, users)),
        units=_units(users),
        others="" if switched_off else another_s(machine, profile, entries, running),
    )


def _defines(machine: Machine, profile: bytes, entries: Sequence[Applied]) -> bool:
    """Return whether the file at the last entry's place is one of ours, or else defines the profile."""
    content = files.read(machine.profiles, entries[-1].place)
    if content is None or files.digest(content) in {one.text for one in entries}:
        return content is not None
    try:
        spelled(content.decode("utf-8", "surrogateescape"), profile)
    except UsageError:  # BadInput too: what can't be understood is none of ours
        return False
    return True


def another_s(machine: Machine, profile: bytes, entries: Sequence[Applied], running: Sequence[Loaded]) -> str:
    """Return why a file or a loaded profile is not what aalearn applied, though of that place or name; "" where it is.

    Raises PolicyError where a backup is missing, UsageError where the file can't be read.
    """
    place = entries[-1].place
    content, file = files.read(machine.profiles, place), shown(str(machine.profiles / place))
    if content is not None:
        if files.digest(content) not in {one.text for one in entries if one.stage}:
            return f"{file} was not written by aalearn"
        if package := files.package_of(machine.profiles / place):
            return f"{file} comes from the package {package}"
    elif running and (found := find(profile, machine.profiles, machine.judge())[0]) is not None:
        return f"{shown(str(found.file))} defines it"
    with Records.open(machine.backups) as records:
        policies = [records.get(one.policy) for one in reversed(entries) if one.stage and one.policy]
    for one in running:
        unsaid = one.blob is None and content is not None  # the kernel keeps no raw data; its file is ours
        if not unsaid and not any(_same(one, policy) for policy in policies):
            return f"the kernel runs a policy for {shown(one.name)} that was not applied here"
    return ""


def missing(machine: Machine, entries: Sequence[Applied]) -> dict[str, str]:
    """Return the further files that are gone, by place, with the sha256 of what should stand there."""
    wanted = files_at(entries, entries[-1])
    return {place: text for place, text in wanted.items() if text and files.read(machine.profiles, place) is None}


def _policy(
    machine: Machine, profile: bytes, entries: Sequence[Applied], content: bytes | None
) -> tuple[bytes | None, str, str]:
    """Return the policy that should run, the file that has a complain flag again, and why there is none.

    Of a profile of our own it is what was applied. Where only an addition is ours, the rest of the profile is the
    package's and may have changed since: it is what disk gives now.
    """
    last = entries[-1]
    with Records.open(machine.backups) as records:
        kept = records.get(last.policy)
    if not last.place.startswith(f"{files.LOCAL}/"):
        return kept, "", ""
    if missing(machine, entries):
        return kept, "", ""
    try:
        judge = machine.judge()
        written = whole(judge, profile, last.place, content or b"")
        flags = {one.complain for one in decode(written.policy(judge)) if is_of(one.name, profile)}
        boot = ""
        if last.mode == "enforce" and True in flags:
            boot = written.place
        return compiled(machine, profile, entries, content or b""), boot, ""
    except AalearnError as error:
        return kept, "", shown(str(error))


def compiled(machine: Machine, profile: bytes, entries: Sequence[Applied], content: bytes) -> bytes:
    """Return what a text at the last entry's place compiles to now, in its mode. Raises PolicyError, UsageError."""
    judge, last = machine.judge(), entries[-1]
    written = whole(judge, profile, last.place, content)
    return written.as_applied(judge, profile, links_now(entries), last.mode)


def _same(one: Loaded, policy: bytes | None) -> bool | None:
    """Return whether a loaded profile permits what it should: the same bytes, or else the same by its automata."""
    if policy is None:
        return None
    if one.is_made_of(policy):
        return True
    if one.blob is None:
        return None
    try:
        running = [profile for profile in decode(one.blob) if profile.name == one.name]
        wanted = [profile for profile in decode(policy) if profile.name == one.name]
        if not running or not wanted:
            return None
        return not differences(Decoded(tuple(running)), Decoded(tuple(wanted)))
    except PolicyError:
        return None


def _units(found: Sequence[Task]) -> tuple[str, ...]:
    return tuple(sorted({task.unit for task in found if task.unit.endswith(".service")}))


def _lost(there: Machinery, profile: bytes, policy: bytes) -> tuple[Task, ...]:
    """Return the tasks that the profile does not confine until they are restarted."""
    own = next((one for one in decode(policy) if one.name == profile), None)
    oracle = Oracle.of(subject_of(own)) if own is not None else None
    units = [unit for unit, name in there.started.items() if name == profile]
    return astray(there.tasks, profile, oracle.attaches if oracle else lambda _: False, units=units)
