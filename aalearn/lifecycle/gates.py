"""The gates before a profile is enforced. Each is a sentence: whether it holds, why not, and how to mend it. Pure.

`proof`        the text, proved anew, permits what it shall and nothing dangerous beyond that
`author`       root made it, and the decisions that it rests on; or it is no more than root would make now
`convergence`  learning is finished: coverage, runs, quiet time, nodes (learn.convergence)
`loss`         no record was lost while it was learned
`review`       no rule of tier 1 or 2 waits for a person, and none is withheld that nobody has looked at
`trust`        sources that only the kernel writes told of all of the evidence
`replay`       all that was learned up to now, after the revision too, would be allowed
`features`     the target enforces every class that the program used
`tasks`        no task is left that the profile would not confine (until it is restarted)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aalearn.learn.convergence import begun, converge, inside, waiting
from aalearn.learn.evidence import admitted, order
from aalearn.learn.gate import Gate as Wanted
from aalearn.learn.options import Options
from aalearn.learn.synthesis import Synthesis
from aalearn.lifecycle.judge import Loaded
from aalearn.lifecycle.node.tasks import Task
from aalearn.lifecycle.past import detail_of
from aalearn.lifecycle.proving import Beyond, unenforced
from aalearn.lifecycle.replay import Fate, Reply
from aalearn.model.event import Access
from aalearn.model.loss import Loss
from aalearn.model.text import shown
from aalearn.policy.gate import describe
from aalearn.policy.oracle import Oracle
from aalearn.policy.proof import Proof
from aalearn.rules import KINDS, kind_of
from aalearn.store.readings import Revision

NAMES: Final = ("proof", "author", "convergence", "loss", "review", "trust", "replay", "features", "tasks")
_FEATURES: Final = "/sys/kernel/security/apparmor/features"
_NEWER: Final = ("io_uring", "mqueue", "userns")  # rules that review and suggest know for a target of today only
_TOLD: Final = 3  # examples in a sentence
_REFUSED: Final = frozenset({Fate.DENIED, Fate.AFTER})
_HELD_BACK: Final = "what waits for a person is denied"  # all that is left of invariant 1: `replay` has the rest


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate. `pending`: it does not hold and need not yet, a restart mends it. `forced`: a person overrode it."""

    name: str
    holds: bool
    why: str
    mend: str = ""
    pending: bool = False
    forced: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it keeps the profile from being enforced."""
        return not (self.holds or self.pending or self.forced)


@dataclass(frozen=True, slots=True)
class Author:
    """Who answers for a revision and for the decisions that count.

    `own`: the store is root's own, so only root wrote it. `told`: root asks, so what root wrote down is known. `made`:
    root made this revision on this machine. `decisions` counts those of root; `others` are rules that only decisions
    that do not count speak of.
    """

    own: bool
    told: bool
    made: bool
    decisions: int
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """What the gates look at: the revision, its policy compiled for the target, and the evidence as it is now.

    `proof` was made now, of the text as it would be enforced, `beyond` is what that permits more than a fresh one,
    `replies` its answers to all that was learned. `author` says who answers for it; the decisions in `options` are
    those that count.

    `synthesis` is made now from all accesses, `compiled` from the revision's text in enforce mode; `refusal` is why the
    target could not enforce a rule of the text ("" where it can). `losses` are those of the profile's nodes, `astray`
    the tasks that it would not confine, `restart` says that they are going to be restarted. `mediates` holds the kinds
    of rules that both the target's kernel and the text's abi enforce (the parser does not always tell). `now` in ms.
    """

    name: bytes
    revision: Revision
    compiled: Loaded
    proof: Proof
    beyond: Beyond
    replies: Sequence[Reply]
    author: Author
    refusal: str
    mediates: frozenset[str]
    synthesis: Synthesis
    accesses: Sequence[Access]
    options: Options
    losses: Sequence[Loss]
    wanted: Wanted
    astray: Sequence[Task]
    restart: bool
    now: int


def gates(case: Case) -> tuple[Gate, ...]:
    """Return all gates in their order."""
    replies = case.replies
    return (
        _proof(case),
        _author(case),
        _convergence(case),
        _loss(case),
        _review(case),
        _trust(case),
        _replay(case, replies),
        _features(case, replies),
        _tasks(case),
    )


def forced(found: Iterable[Gate], names: Iterable[str]) -> tuple[Gate, ...]:
    """Return the gates with those overridden that a person named and that do not hold."""
    wanted = frozenset(names)
    return tuple(replace(gate, forced=gate.name in wanted and not gate.holds) for gate in found)


def _proof(case: Case) -> Gate:
    proof = detail_of(case.revision.proof)
    mend = f"aalearn suggest {shown(case.name)} --save"
    if not proof.get("proved"):
        return Gate("proof", False, f"revision {case.revision.number} was not proved", mend)
    form = detail_of(case.revision.detail).get("form", "whole")
    if form in ("whole", "edit") and proof.get("text_sha256") != case.revision.sha256:
        return Gate("proof", False, f"the proof of revision {case.revision.number} is of another text", mend)
    loose = (*unenforced(case.compiled, case.name), *case.beyond.loose)
    if loose:
        return Gate("proof", False, f"it would not confine what it shall: {_examples(loose)}", mend)
    # What the target does not mediate, an empty profile permits too: that is told by `features`.
    unmediated = frozenset((2, 6)) if not case.proof.invariants[5].holds else frozenset()
    failures = [one for one in case.proof.failures if one.number not in unmediated]
    if failures:
        told = _examples(str(finding) for one in failures for finding in one.findings)
        titles = "; ".join(_HELD_BACK if one.number == 1 else one.title for one in failures)
        return Gate("proof", False, f"proved anew, this does not hold: {titles}: {told}", mend)
    counts = case.proof.counts
    why = f"proved anew: {_several(counts.allowed, 'access')} allowed"
    if counts.unproved:
        why += f", {counts.unproved:,} can't be told by the policy alone"
    if case.beyond.more:
        why += f"; {_several(len(case.beyond.more), 'grant')} more than a fresh profile has (see below)"
    return Gate("proof", True, why)


def _author(case: Case) -> Gate:
    """Judge who answers for the text: its proof says what it permits, and this who wanted that."""
    author, name, number = case.author, shown(case.name), case.revision.number
    save, others = f"sudo aalearn suggest {name} --save", ""
    if author.others:
        one = _several(len(author.others), "other decision")
        others = (
            f"; {one} in the store not counted ({_examples(map(shown, author.others))}: sudo aalearn review {name})"
        )
    if author.own and author.made:
        return Gate("author", True, f"only root can write in the store{others}")
    if not (author.told or author.own):
        why = "what root made and decided on this machine is told to root alone, so the store's word is taken here"
        return Gate("author", False, why, f"sudo aalearn promote {name} --dry-run")
    decisions = f"{_several(author.decisions, 'decision')} that {'counts' if author.decisions == 1 else 'count'}"
    if author.made:
        return Gate("author", True, f"root on this machine made revision {number} and the {decisions}{others}")
    if case.beyond.within:
        why = f"revision {number} permits nothing that root would not write now, by the {decisions} (all root's)"
        return Gate("author", True, why + others)
    found = case.beyond.unknown or _examples(case.beyond.more)
    why = f"nothing shows that root on this machine made revision {number}; beyond the evidence it has "
    return Gate("author", False, f"{why}{found}{others}", save)


def _convergence(case: Case) -> Gate:
    """Judge convergence without what waits or was lost: those have gates of their own."""
    plain = replace(case.synthesis, review=(), withheld=())
    found = converge(plain, case.accesses, (), case.now, case.wanted)
    mend = "let it run longer under the learning profile, through start, stop, reload and rotation"
    return Gate("convergence", found.ready, found.sentence, "" if found.ready else mend)


def _loss(case: Case) -> Gate:
    lost = inside(case.losses, begun(case.accesses))
    if not lost:
        return Gate("loss", True, "no record is known to be lost")
    kinds = ", ".join(sorted({shown(loss.kind) for loss in lost}))
    records = sum(loss.amount for loss in lost)
    times = _several(sum(loss.times for loss in lost), "loss")
    why = f"{times} ({kinds}), {_several(records, 'record') if records else 'nobody knows of how many records'}"
    return Gate("loss", False, why, "mend the source (`aalearn doctor`) and learn a window anew")


def _review(case: Case) -> Gate:
    found = waiting(case.synthesis, {reply.access.id for reply in case.replies if reply.fate in _REFUSED})
    if not found:
        return Gate("review", True, "no rule of tier 1 or 2 waits, and none is withheld")
    risky = sum(one.tier in (1, 2) for one in found)
    parts = [f"{_several(risky, 'rule')} of tier 1 or 2"] if risky else []
    if len(found) > risky:
        parts.append(f"{_several(len(found) - risky, 'other rule' if risky else 'rule')} withheld")
    why = f"{' and '.join(parts)} not reviewed: {_examples(shown(one.rule) for one in found)}"
    target = f" --target {_FEATURES}" if any(one.rule.startswith(_NEWER) for one in found) else ""
    return Gate("review", False, why, f"aalearn review {shown(case.name)}{target}, then suggest --save{target}")


def _trust(case: Case) -> Gate:
    items = admitted(case.name, order(case.accesses), case.options)
    doubted = [item.access for item in items if not item.access.believed]
    if not doubted:
        word = "" if case.author.own else ", by the word of a store that is not root's"
        return Gate("trust", True, f"the kernel told of all of the evidence{word}")
    why = f"{len(doubted):,} of {_several(len(items), 'access')} come only from a source that programs can write to"
    mend = "learn by `aalearn run`, or ingest with --trusted what only root could write (the same records again count)"
    return Gate("trust", False, why, mend)


def _replay(case: Case, replies: Sequence[Reply]) -> Gate:
    """Judge what the text denies: what a person refused may be, and what waits for one is named by `review`."""
    withheld = {one.access.id for one in case.synthesis.learned if one.withheld}
    denied = [reply for reply in replies if reply.fate in _REFUSED]
    refused = [one for one in denied if one.access.id not in withheld and one.access.id not in case.synthesis.unheard]
    if not refused:
        why = f"{_several(len(replies), 'access')} replayed, what came after the revision too"
        aside = len(denied) - sum(one.access.id in case.synthesis.unheard for one in denied)
        why += f"; {aside:,} {'stays' if aside == 1 else 'stay'} denied (see review)" if aside else ""
        unheard = len(case.synthesis.unheard)
        return Gate("replay", True, why + (f"; {_several(unheard, 'name')} of floods unheard" if unheard else ""))
    last = int(detail_of(case.revision.detail).get("window", {}).get("last", case.revision.when) or 0)
    after = sum(reply.access.last > last for reply in refused)
    told = _examples(f"{reply.block}: {describe(reply.event)}" for reply in refused)
    why = f"{_several(len(refused), 'learned access')} would be denied ({after:,} came after the revision): {told}"
    return Gate("replay", False, why, f"aalearn suggest {shown(case.name)} --save")


def _features(case: Case, replies: Sequence[Reply]) -> Gate:
    again = f"`aalearn suggest {shown(case.name)} --save --target {_FEATURES}` if this kernel can"
    mend = f"{again}; else promote it where one can, or leave those rules to another means"
    if case.refusal:
        return Gate("features", False, case.refusal, mend)
    oracles = {shown(name): Oracle.of(subject) for name, subject in case.compiled.subjects().items()}
    missing: dict[str, str] = {}
    asked: set[tuple[str, str]] = set()
    for reply in replies:
        kind = kind_of(reply.event) or ""
        if reply.block in oracles and (reply.block, kind) not in asked:
            asked.add((reply.block, kind))
            answer = oracles[reply.block].ask(reply.event, reply.access.owner)
            if not answer.mediated:
                missing[kind] = answer.why
            elif kind in KINDS and KINDS[kind].needs not in case.mediates:
                missing[kind] = f"its kernel, or the text's abi, does not have {KINDS[kind].needs}"
    source = case.compiled.compiled.features_source if case.compiled.compiled else "the target"
    if missing:
        why = f"{source} does not mediate {', '.join(sorted(missing))}: {_examples(missing.values())}"
        return Gate("features", False, why, mend)
    kinds = sorted({kind for _, kind in asked})
    return Gate("features", True, f"{source} mediates {', '.join(kinds) or 'all that was used'}")


def _tasks(case: Case) -> Gate:
    if not case.astray:
        return Gate("tasks", True, "no task is out of its reach")
    why = f"{_several(len(case.astray), 'task')} not confined until restarted: {_examples(map(str, case.astray))}"
    units = sorted({task.unit for task in case.astray if task.unit.endswith(".service")})
    mend = "they are restarted after it is enforced" if case.restart else _restart(units)
    return Gate("tasks", False, why, mend, pending=True)


def _restart(units: Sequence[str]) -> str:
    return f"restart them afterwards, or --restart {units[0] if units else 'UNIT'}"


def _several(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _examples(texts: Iterable[str]) -> str:
    found = list(dict.fromkeys(texts))
    more = f" and {len(found) - _TOLD:,} more" if len(found) > _TOLD else ""
    return "; ".join(found[:_TOLD]) + more
