"""A profile on disk against what was learned: what it would deny, what it grants that is risky, what it over-grants."""

from collections.abc import Sequence
from dataclasses import dataclass

from aalearn.learn.options import Options
from aalearn.learn.risk import NONE, capability_risk
from aalearn.lifecycle.judge import Loaded, top
from aalearn.lifecycle.replay import Fate, Replay, Reply
from aalearn.model.event import Access
from aalearn.model.text import shown
from aalearn.policy.ask.base import Subject, numbers
from aalearn.policy.census import Census, census_of_paths
from aalearn.policy.observed import observed_of, used_capabilities
from aalearn.policy.sensitive import watched
from aalearn.policy.walks import Grants, Observed, Witness, bits_of, letters

_WORST_TIERS = (1, 2)
_CAPABILITIES = tuple(sorted(numbers("capabilities").items()))


@dataclass(frozen=True, slots=True, order=True)
class Danger:
    """A grant that is risky whoever needs it: a capability, or permissions on a set of sensitive paths.

    `example` is a shortest path that shows it, "" for a capability. `used`: learned events needed just this.
    """

    block: str
    what: str
    letters: str
    example: str
    why: str
    used: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """One top profile of a file against the learned events of that name; no `replies`: nothing was learned.

    `censuses` are the over-grants of its blocks on the population, empty without one.
    """

    profile: bytes
    complain: bool
    replies: tuple[Reply, ...]
    dangers: tuple[Danger, ...]
    censuses: tuple[tuple[str, Census], ...] = ()

    @property
    def refused(self) -> bool:
        """Whether something that was needed would be denied."""
        return any(reply.fate in (Fate.DENIED, Fate.AFTER) for reply in self.replies)

    def of(self, fate: Fate) -> tuple[Reply, ...]:
        """Return the replies with this fate."""
        return tuple(reply for reply in self.replies if reply.fate is fate)


def check(loaded: Loaded, name: bytes, learned_as: bytes, accesses: Sequence[Access], options: Options) -> Checked:
    """Return what the profile `name` of a policy would do with what was learned as `learned_as`."""
    subjects = loaded.subjects()
    replies = Replay(name, subjects).replies(learned_as, accesses, options)
    dangers: list[Danger] = []
    censuses: list[tuple[str, Census]] = []
    for label, subject in sorted(subjects.items()):
        if label == name or label.startswith(name + b"//"):
            own = [reply for reply in replies if reply.block == shown(label)]
            dangers += _dangers(subject, own)
            if options.population is not None and subject.file is not None:
                accessed = dict(_observed(own).paths)
                paths = sorted(options.population.paths())
                censuses.append((shown(label), census_of_paths(subject.file, paths, accessed)))
    complain = any(profile.mode.name == "COMPLAIN" for profile in loaded.profiles if profile.name == name)
    return Checked(name, complain, replies, tuple(sorted(dangers)), tuple(censuses))


def tops(loaded: Loaded) -> tuple[bytes, ...]:
    """Return the names of the policy's top profiles, sorted."""
    return tuple(sorted(top(loaded.names)))


def _observed(replies: Sequence[Reply]) -> Observed:
    return observed_of([(reply.event, reply.access.owner) for reply in replies])


def _dangers(subject: Subject, replies: Sequence[Reply]) -> list[Danger]:
    """Return the risky grants of one block: sensitive files, write and execute, capabilities of tier 1 and 2."""
    block = shown(subject.name)
    found: list[Danger] = []
    if subject.file is not None:
        plain, unused = Grants(subject.file), Grants(subject.file, _observed(replies))
        found += _summed(block, plain.sensitive(watched()), unused.sensitive(watched()))
        found += _summed(block, plain.write_execute(1), unused.write_execute(1))
    used = used_capabilities([reply.event for reply in replies])
    for name, bit in _CAPABILITIES:
        risk = capability_risk(name) if subject.capabilities >> bit & 1 else NONE
        if risk.tier in _WORST_TIERS:
            why = f"tier {risk.tier}: {risk.why}"
            found.append(Danger(block, f"capability {name}", "", "", why, bool(used >> bit & 1)))
    return found


def _summed(block: str, plain: Sequence[Witness], unused: Sequence[Witness]) -> list[Danger]:
    """Return one danger a set of paths, or two: with what nobody needed, and with what was needed and nothing else."""
    never = {(witness.what, witness.letters) for witness in unused}
    needed = [witness for witness in plain if (witness.what, witness.letters) not in never]
    dangers = []
    for witnesses, used in ((unused, False), (needed, True)):
        for what in sorted({witness.what for witness in witnesses}):
            of_set = [witness for witness in witnesses if witness.what == what]
            bits = "".join(witness.letters for witness in of_set)
            example = min((witness.path for witness in of_set), key=lambda path: (len(path), path))
            name = what or "what may be written and then executed"
            dangers.append(Danger(block, name, letters(bits_of(bits)), shown(example), "", used))
    return dangers
