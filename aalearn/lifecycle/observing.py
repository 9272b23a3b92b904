"""Looking at this machine for `reconcile`: what is on disk, in the kernel and in root's own record, by profile."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from aalearn.lifecycle.difference import differences
from aalearn.lifecycle.judge import Loaded as Decoded
from aalearn.lifecycle.judge import top
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.machine import Machine, is_of
from aalearn.lifecycle.node.records import Applied, Intent, Records
from aalearn.lifecycle.node.tasks import Task, astray, tasks
from aalearn.lifecycle.node.texts import whole
from aalearn.lifecycle.reconcile import Expected, Noted, Observed, Running
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import AalearnError, PolicyError
from aalearn.model.text import shown
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.decoder import decode
from aalearn.policy.loaded import Loaded
from aalearn.policy.oracle import Oracle
from aalearn.store.readings import Step

_ON_NODE = (Stage.LEARNING, Stage.CANARY, Stage.ENFORCED, Stage.REVERTED, Stage.RETIRED)


@dataclass(frozen=True, slots=True)
class Machinery:
    """What is looked at once for all profiles: what is loaded, the tasks, and root's record."""

    loaded: tuple[Loaded, ...]
    tasks: tuple[Task, ...]
    applied: dict[bytes, tuple[Applied, ...]]
    intents: tuple[Intent, ...]


def look(machine: Machine) -> Machinery:
    """Look at the machine. Raises UsageError when not root, PolicyError when the kernel or the record can't be read."""
    machine.kernel.ready()
    entries: dict[bytes, tuple[Applied, ...]] = {}
    intents: tuple[Intent, ...] = ()
    if machine.backups.exists():
        with Records.open(machine.backups) as records:
            entries = {name: records.applied(name) for name in records.profiles()}
            intents = records.pending()
    loaded = tuple(one for one in machine.kernel.loaded() if not one.namespace)
    return Machinery(loaded, tasks(machine.proc), entries, intents)


def expected(entry: Applied) -> Expected:
    """Return what should be there by the last entry of the record."""
    links = tuple((link.place, link.new) for link in entry.links)
    return Expected(entry.place, entry.text, entry.policy, entry.mode, entry.stage, entry.revision, entry.when, links)


def noted(steps: Sequence[Step]) -> Noted | None:
    """Return the last step that changes a machine, None for none."""
    last = next((step for step in reversed(steps) if step.state in _ON_NODE), None)
    return Noted(last.state, last.revision, last.when) if last else None


def observe(machine: Machine, there: Machinery, profile: bytes) -> Observed:
    """Look at one profile."""
    entries = there.applied.get(profile, ())
    running = [one for one in there.loaded if is_of(one.name, profile)]
    if not entries:
        return Observed("", running=tuple(Running(one.name, one.mode, None) for one in running))
    last = entries[-1]
    content = files.read(machine.profiles, last.place)
    policy, trouble = _policy(machine, profile, last, content)
    names = tuple(one.name for one in decode(policy)) if policy else ()
    tops = {profile, *top(names)}  # its file may define others too
    running = [one for one in there.loaded if any(is_of(one.name, name) for name in tops)]
    lost = _lost(there, profile, policy) if policy and last.mode == "enforce" else ()
    return Observed(
        file=hashlib.sha256(content).hexdigest() if content is not None else "",
        links=tuple((link.place, files.link_target(machine.profiles, link.place)) for link in last.links),
        running=tuple(Running(one.name, one.mode, _same(one, policy)) for one in running),
        names=names,
        astray=tuple(map(str, lost)),
        units=tuple(sorted({task.unit for task in lost if task.unit.endswith(".service")})),
        trouble=trouble,
    )


def _policy(machine: Machine, profile: bytes, last: Applied, content: bytes | None) -> tuple[bytes | None, str]:
    """Return the policy that should run, and why there is none.

    Of a profile of our own it is what was applied. Where only an addition is ours, the rest of the profile is the
    package's and may have changed since: it is what disk gives now.
    """
    if not last.policy:
        return None, ""
    with Records.open(machine.backups) as records:
        kept = records.get(last.policy)
    if not last.place.startswith(f"{files.LOCAL}/"):
        return kept, ""
    try:
        return compiled(machine, profile, last, content or b""), ""
    except AalearnError as error:
        return kept, shown(str(error))


def compiled(machine: Machine, profile: bytes, last: Applied, content: bytes) -> bytes:
    """Return what a text at the entry's place compiles to now, in the entry's mode. Raises PolicyError, UsageError."""
    judge = machine.judge()
    text = whole(judge, profile, last.place, content)
    return text.in_mode(profile, complain=last.mode == "complain").policy(judge)


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


def _lost(there: Machinery, profile: bytes, policy: bytes) -> tuple[Task, ...]:
    """Return the tasks that the profile does not confine until they are restarted."""
    own = next((one for one in decode(policy) if one.name == profile), None)
    oracle = Oracle.of(subject_of(own)) if own is not None else None
    return astray(there.tasks, profile, oracle.attaches if oracle else lambda _: False)
