"""What the kernel refused an enforced profile: the event, the rule that would allow it, and what that rule risks. Pure.

The rule is what learning would write for this one access (`learn.synthesis`), so what `watch` names is what `suggest`
proposes. Nothing here says that a denial is an error: it may be an attack that was stopped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from sys import getsizeof

from aalearn.learn.options import Action, Decision, Options
from aalearn.learn.risk import assess
from aalearn.learn.synthesis import synthesize
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Access, Event, Verdict
from aalearn.model.nodes import same_node
from aalearn.model.text import shown
from aalearn.policy.gate import describe
from aalearn.rules import rules_of
from aalearn.rules.base import Level

REFUSALS = frozenset({Verdict.DENIED, Verdict.KILLED})
_OVERHEAD = 2_000  # bytes of a judgement beside its texts, about
_UNTOLD = frozenset({Level.DOUBT})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule that would allow what was denied. `block` is the whole name of its profile, child or hat; `tier` and
    `why` are its risk (1 worst, 0 none of note). `refused` says who refused it, "" where nobody did.
    """

    block: str
    rule: str
    tier: int
    why: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What there is to say of one kind of denial; `notes` say why no rule allows it, where none does."""

    what: str
    wanted: tuple[Wanted, ...]
    notes: tuple[str, ...] = ()

    @property
    def tier(self) -> int:
        """The worst risk of a rule that would be needed, 0 for none of note."""
        return min((one.tier for one in self.wanted if one.tier), default=0)

    @property
    def meant(self) -> bool:
        """Whether a person refused a rule that it needs: the denial is what they wanted."""
        return any(one.refused for one in self.wanted)

    @property
    def size(self) -> int:
        """About how many bytes it holds in memory."""
        texts = [self.what, *self.notes, *(text for one in self.wanted for text in (one.block, one.rule, one.why))]
        return _OVERHEAD + sum(map(getsizeof, texts))


@dataclass(frozen=True, slots=True)
class Denial:
    """An access that was denied, so many times since `first` (ms). `label` is the profile, child or hat as logged.

    `at_least`: it began earlier, so that only its last time is certain, and `sample` is of then. `confirmed`: not all
    of it is `trusted`, but once is.
    """

    profile: bytes
    label: bytes
    event: Event = field(repr=False)
    owner: bool | None
    judgement: Judgement
    count: int
    first: int
    last: int
    programs: tuple[bytes, ...]
    nodes: tuple[str, ...]
    sample: bytes
    trusted: bool
    at_least: bool = False
    confirmed: bool = False

    @property
    def key(self) -> tuple[bytes, str]:
        """What it is, whoever did it and however often."""
        return self.label, self.judgement.what

    @property
    def mark(self) -> bytes:
        """The same, short, for what is kept long: a name may have 4 KB."""
        what = self.judgement.what.encode("utf-8", "surrogatepass")
        return blake2b(b"%d %b%b" % (len(self.label), self.label, what), digest_size=12).digest()

    @property
    def size(self) -> int:
        """About how many bytes it holds in memory."""
        return self.judgement.size + size_of(self.event) + len(self.sample) + sum(map(len, self.programs))

    def line(self) -> str:
        """Return the denial as one safe line: what, by whom, how often, and the rule with its risk."""
        judged = self.judgement
        by = f" by {', '.join(map(shown, self.programs[:3]))}" if self.programs else ""
        most = "at least " if self.at_least else ""
        times = f", {most}{self.count:,} times" if self.count > 1 else f", {most}once" if most else ""
        if judged.wanted:
            rules = " and ".join(_rule(one) for one in judged.wanted)
            return f"{shown(self.label)} denied {judged.what}{by}{times}; would be allowed by {rules}"
        why = f": {'; '.join(judged.notes)}" if judged.notes else ""
        return f"{shown(self.label)} denied {judged.what}{by}{times}; no rule would allow it{why}"


def _rule(one: Wanted) -> str:
    risk = f" (tier {one.tier}: {one.why})" if one.tier else ""
    return f"{one.rule}{risk}{f' [{one.refused}]' if one.refused else ''}"


class Memory:
    """Judgements that were made, in about so many bytes: a program that makes up names can't fill the memory.

    One serves many weighers.
    """

    def __init__(self, room: int = 2 << 20) -> None:
        self._room = self._left = room
        self._known: dict[tuple[object, Event, bool | None], Judgement] = {}

    def get(self, weigher: object, event: Event, owner: bool | None) -> Judgement | None:
        """Return what a weigher judged of an event, None where that is not known any more."""
        return self._known.get((weigher, event, owner))

    def keep(self, weigher: object, event: Event, owner: bool | None, judgement: Judgement) -> None:
        """Remember it. Where that is too much all the rest is forgotten: it can be judged again."""
        size = judgement.size + size_of(event)
        if size > self._left:
            self._known.clear()
            self._left = self._room
        if size <= self._left:
            self._left -= size
            self._known[weigher, event, owner] = judgement


class Weigher:
    """Judges the denials of one profile by the decisions that hold; the same access is judged once, while `memory`
    holds it.
    """

    def __init__(
        self, profile: bytes, options: Options, decisions: tuple[Decision, ...] = (), memory: Memory | None = None
    ) -> None:
        self.profile = profile
        self.decisions = decisions
        self._options = replace(options, include_denied=True, decisions=decisions)
        self._denied = {one.rule: one for one in decisions if one.action is Action.DENY}
        self._memory = memory or Memory()
        self._self = object()  # names this weigher in a memory, without being kept alive by it

    def denial(self, access: Access) -> Denial:
        """Return a DENIED access with the judgement on it."""
        return Denial(
            profile=self.profile,
            label=access.event.profile,
            event=access.event,
            owner=access.owner,
            judgement=self.judge(access),
            count=access.count,
            first=access.first,
            last=access.last,
            programs=access.programs,
            nodes=access.nodes,
            sample=access.sample,
            trusted=access.trusted,
            confirmed=access.confirmed and not access.trusted,
        )

    def judge(self, access: Access) -> Judgement:
        """Return the judgement on what was denied, however often and to whom."""
        event = replace(access.event, verdict=Verdict.DENIED)
        known = self._memory.get(self._self, event, access.owner)
        if known is None:
            known = self._judge(replace(access, event=event))
            self._memory.keep(self._self, event, access.owner, known)
        return known

    def _judge(self, access: Access) -> Judgement:
        what = describe(access.event)
        try:
            learned = synthesize(self.profile, (access,), self._options)
        except NotExpressible:  # a name that no profile can have: others wrote it, so no block is known
            return self._plain(access, what)
        wanted = tuple(
            Wanted(
                block=self.profile.decode() + ("//" + one.block.removeprefix("^") if one.block else ""),
                rule=one.rule.text(),
                tier=one.risk.tier,
                why=one.risk.why,
                refused=self._refused(one.draft.rule.text()),
            )
            for one in learned.judged
            if one.draft.items  # else the profile has it anyway, as every container's
        )
        notes = () if wanted else tuple(note.text for note in learned.notes if note.level not in _UNTOLD)
        return Judgement(what, wanted, notes)

    def _plain(self, access: Access, what: str) -> Judgement:
        outcome = rules_of(access.event, access.owner, self._options.target)
        wanted = []
        for rule in outcome.rules:
            risk = assess(rule)
            text = rule.text()
            wanted.append(Wanted(shown(access.event.profile), text, risk.tier, risk.why, self._refused(text)))
        return Judgement(what, tuple(wanted), tuple(note.text for note in outcome.notes))

    def _refused(self, rule: str) -> str:
        decision = self._denied.get(rule)
        if decision is None:
            return ""
        return f"refused by {shown(decision.who)}" if decision.who else "refused by a person"


def denials(weigher: Weigher, accesses: Iterable[Access], since: int = 0) -> tuple[Denial, ...]:
    """Return what was denied at or after `since` (ms), by time. What began before counts once: it was that often at
    least, and how often in all the store does not tell.
    """
    found = []
    for one in accesses:
        if one.event.verdict in REFUSALS and one.last >= since:
            denial = weigher.denial(one)
            found.append(denial if one.first >= since else replace(denial, first=since, count=1, at_least=True))
    return tuple(sorted(found, key=by_time))


def size_of(event: Event) -> int:
    """Return about how many bytes an event holds in memory."""
    return sum(getsizeof(value) for _, value in event.fields)


def of_node(access: Access, node: str) -> Access | None:
    """Return what of an access was seen on this node, None for nothing; `node` "" takes all.

    Where others did it too, once is what is certain.
    """
    if not node:
        return access
    own = [one for one in access.nodes if same_node(one, node)]
    if not own:
        return None
    return access if len(own) == len(access.nodes) else replace(access, first=access.last, count=1, nodes=tuple(own))


def by_time(one: Denial) -> tuple[int, int, bytes, str, bytes]:
    """Return a key that sorts denials by time, and those of one moment by what they are."""
    return one.first, one.last, one.label, one.judgement.what, one.sample


def summed(found: Sequence[Denial]) -> int:
    """Return how many events there were."""
    return sum(one.count for one in found)
