"""The gate: no profile leaves unproved. It is compiled, decoded and asked; seven invariants say whether it may go."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aalearn.model.event import Event
from aalearn.model.pattern import Pattern
from aalearn.model.text import shown
from aalearn.policy.ask.base import Answer, Subject, Verdict, mask, numbers
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.compare import compare, lines, net_start, witness_text
from aalearn.policy.compiler import Compiled, Parser
from aalearn.policy.decoder import decode
from aalearn.policy.features import Features
from aalearn.policy.observed import observed_of, used_capabilities, used_sockets
from aalearn.policy.oracle import Oracle
from aalearn.policy.proof import Counts, Finding, Invariant, Proof
from aalearn.policy.sensitive import watched
from aalearn.policy.walks import Grants, Watch
from aalearn.rules import kind_of

KEPT: Final = 200  # findings that an invariant keeps; beyond that they are counted in the last one
# What an empty profile does not deny, because only a rule limits it.
_LIMITED_BY_RULES: Final = frozenset({"rlimit"})
_CAPABILITIES: Final = tuple(numbers("capabilities").items())
_OBJECT_KEYS: Final = (
    *("name", "capname", "family", "sock_type", "signal", "peer", "target"),
    *("srcname", "member", "peer_label"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """One learned need to be replayed.

    `block` is the whole name of the profile, child or hat that must allow it (`P//child`); `event` is as that block
    meets it, with peers folded. `count` is how many records stand behind it, `sample` one of them. `withheld`: the
    rule stands in the text as a comment only, so the event must be denied. `excused` says why the need has no rule, ""
    where it has.
    """

    block: str
    event: Event
    owner: bool | None
    count: int = 1
    sample: bytes = b""
    withheld: bool = False
    excused: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what the compiled policy, and the empty one, answered."""

    question: Question
    answer: Answer
    empty: Answer
    kind: str


@dataclass(frozen=True, slots=True)
class Target:
    """What policy is compiled for: the parser, the features and the folders of included files.

    `strict` False: rules that the target can't enforce are warnings (a text that others wrote may hold such).
    """

    parser: Parser
    features: Features | None = None
    base: Path | None = None
    includes: tuple[Path, ...] = ()
    strict: bool = True

    def compile(self, text: str) -> Compiled:
        """Return the compiled policy of `text`. Raises PolicyError."""
        return self.parser.compile(
            text, features=self.features, base=self.base, includes=self.includes, strict=self.strict
        )

    def subjects(self, text: str) -> dict[bytes, Subject]:
        """Return the compiled profiles of `text` by name. Raises PolicyError."""
        return subjects(self.compile(text).blob)


def subjects(blob: bytes) -> dict[bytes, Subject]:
    """Return the profiles of compiled policy by name, ready to be asked. Raises PolicyError."""
    profiles = decode(blob)
    return {profile.name: subject_of(profile, policy=profiles) for profile in profiles}


def prove(
    text: str,
    questions: Iterable[Question],
    target: Target,
    *,
    previous: str | None = None,
    baseline: str | None = None,
    vouched: Sequence[tuple[Pattern, int]] = (),
    watch: Sequence[Watch] | None = None,
) -> Proof:
    """Return the proof of a profile text, whether it holds or not.

    `previous` is the text that it replaces, for invariant 7. `baseline` is a text whose grants are not ours to answer
    for (the existing profile that a local addition extends): what it permits is left out of invariants 3 to 5.
    `vouched` are patterns with bits that count as observed; `watch` replaces the sensitive set. Raises PolicyError when
    a text does not compile for the target, or its compiled form can't be read.
    """
    compiled = target.compile(text)
    profiles = subjects(compiled.blob)
    asked = _ask(tuple(questions), profiles, _empty(text, target))
    before = target.subjects(baseline) if baseline is not None else {}
    difference = lines(compare(target.subjects(previous), profiles)) if previous is not None else ()
    extra = _extra(asked, profiles, before, vouched, watched() if watch is None else watch)
    invariants = (_replayed(asked), _not_vacuous(asked), *extra, _mediated(asked), Invariant(7, True))
    return Proof(
        proved=all(invariant.holds for invariant in invariants),
        parser=compiled.parser,
        abi=compiled.abi,
        features=compiled.features,
        features_source=compiled.features_source,
        sha256=compiled.sha256,
        text_sha256=hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
        blocks=tuple(sorted(shown(name) for name in profiles)),
        counts=_counts(asked),
        invariants=invariants,
        unproved=_kept(_finding(one) for one in asked if _open(one)),
        excused=_kept(_finding(one, one.question.excused) for one in asked if one.question.excused),
        difference=difference,
        vouched=tuple(sorted(pattern.text() for pattern, _ in vouched)),
        warnings=compiled.warnings,
        blob=compiled.blob,
    )


def _empty(text: str, target: Target) -> Subject:
    """Return the compiled empty profile for the same target, with the text's own abi line."""
    abi = next((line for line in text.splitlines() if line.strip().startswith("abi ")), "")
    found = target.subjects(f"{abi}\nprofile aalearn_empty {{\n}}\n")
    return found[b"aalearn_empty"]


def _ask(questions: Sequence[Question], profiles: Mapping[bytes, Subject], empty: Subject) -> tuple[Asked, ...]:
    """Put all questions; equal ones of one block are asked once."""
    oracles = {name: Oracle.of(subject) for name, subject in profiles.items()}
    nothing = Oracle.of(empty)
    known: dict[tuple[str, Event, bool | None], tuple[Answer, Answer]] = {}
    asked = []
    for question in questions:
        key = (question.block, question.event, question.owner)
        answers = known.get(key)
        if answers is None:
            oracle = oracles.get(question.block.encode("utf-8", "surrogateescape"))
            own = oracle.ask(question.event, question.owner) if oracle else _no_block(question.block)
            answers = known[key] = own, nothing.ask(question.event, question.owner)
        asked.append(Asked(question, *answers, kind_of(question.event) or ""))
    return tuple(asked)


def _no_block(block: str) -> Answer:
    return Answer(Verdict.DENIED, f"the text has no profile, child or hat {shown(block)}")


def _open(one: Asked) -> bool:
    """Return whether the policy alone can't answer, and nobody has excused it."""
    return one.answer.verdict is Verdict.UNPROVED and one.answer.mediated and not one.question.excused


def _replayed(asked: Sequence[Asked]) -> Invariant:
    failed = []
    for one in asked:
        if one.question.excused:
            continue
        if one.question.withheld:
            if one.answer.allowed:
                failed.append(_finding(one, "its rule is withheld, and yet the profile permits it"))
        elif one.answer.verdict is Verdict.DENIED:
            failed.append(_finding(one, one.answer.why))
    return Invariant(1, not failed, _kept(failed))


def _not_vacuous(asked: Sequence[Asked]) -> Invariant:
    failed = [
        _finding(one, "an empty profile permits it too")
        for one in asked
        if one.empty.allowed and one.kind not in _LIMITED_BY_RULES and not one.question.excused
    ]
    return Invariant(2, not failed, _kept(failed))


def _mediated(asked: Sequence[Asked]) -> Invariant:
    failed = {
        (one.question.block, one.kind): _finding(one, one.answer.why)
        for one in asked
        if not one.answer.mediated and not one.question.excused
    }
    return Invariant(6, not failed, _kept(failed[key] for key in sorted(failed)))


def _extra(
    asked: Sequence[Asked],
    profiles: Mapping[bytes, Subject],
    before: Mapping[bytes, Subject],
    vouched: Sequence[tuple[Pattern, int]],
    watch: Sequence[Watch],
) -> tuple[Invariant, Invariant, Invariant]:
    """Return invariants 3, 4 and 5: what the profile permits beyond what was observed."""
    sensitive: list[Finding] = []
    written_and_run: list[Finding] = []
    unseen: list[Finding] = []
    for name in sorted(profiles):
        subject, base, block = profiles[name], before.get(name), shown(name)
        events = [(one.question.event, one.question.owner) for one in asked if _belongs(one, name)]
        if subject.file is not None:
            grants = Grants(subject.file, observed_of(events, vouched), base.file if base else None)
            sensitive += [Finding(block, witness_text(one)) for one in grants.sensitive(watch)]
            written_and_run += [Finding(block, witness_text(one)) for one in grants.write_execute()]
            unseen += [Finding(block, witness_text(one), "never executed") for one in grants.executables()]
        unseen += _unseen(block, subject, base, [event for event, _ in events])
    return (
        Invariant(3, not sensitive, _kept(sensitive)),
        Invariant(4, not written_and_run, _kept(written_and_run)),
        Invariant(5, not unseen, _kept(unseen)),
    )


def _belongs(one: Asked, block: bytes) -> bool:
    return not one.question.withheld and one.question.block.encode("utf-8", "surrogateescape") == block


def _unseen(block: str, subject: Subject, base: Subject | None, events: Sequence[Event]) -> list[Finding]:
    """Return capabilities and sockets that the profile permits and no event needed."""
    more = subject.capabilities & ~(base.capabilities if base else 0) & ~used_capabilities(events)
    found = [Finding(block, f"capability {name}", "never used") for name, bit in _CAPABILITIES if more >> bit & 1]
    start, before = net_start(subject), net_start(base) if base else 0
    if subject.policy is None or not start:
        return found
    used, every = used_sockets(events), sum(numbers("network").values())
    for family, number in numbers("families").items():
        for kind, type_number in numbers("socket_types").items():
            word = number.to_bytes(2) + type_number.to_bytes(2)
            allow = subject.policy.rights.allow(subject.policy.dfa.run(start, word)) & every
            if base is not None and base.policy is not None:
                allow &= ~base.policy.rights.allow(base.policy.dfa.run(before, word))
            if allow and (family, kind) not in used:
                found.append(Finding(block, f"network {family} {kind}", "never used"))
    return found


def _counts(asked: Sequence[Asked]) -> Counts:
    plain = [one for one in asked if not one.question.excused and not one.question.withheld]
    verdicts = [one.answer.verdict for one in plain]
    return Counts(
        accesses=len(asked),
        events=sum(one.question.count for one in asked),
        allowed=verdicts.count(Verdict.ALLOWED),
        denied=verdicts.count(Verdict.DENIED),
        unproved=verdicts.count(Verdict.UNPROVED),
        excused=sum(bool(one.question.excused) for one in asked),
        withheld=sum(one.question.withheld for one in asked),
    )


def _finding(one: Asked, why: str | None = None) -> Finding:
    question = one.question
    what = describe(question.event)
    return Finding(question.block, what, one.answer.why if why is None else why, question.count, shown(question.sample))


def describe(event: Event) -> str:
    """Return an event in a few words, safe to show: the operation, what was asked for, and the object."""
    words = [shown(event.operation), shown(mask(event))]
    for key in _OBJECT_KEYS:
        value = event.get(key)
        if value:
            words.append(shown(value) if key in ("name", "capname") else f"{key}={shown(value)}")
    return " ".join(word for word in words if word)


def _kept(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings sorted and without doubles, cut to KEPT with a last one that counts the rest."""
    unique = sorted(set(findings), key=lambda one: (one.block, one.what, one.why, one.sample))
    if len(unique) <= KEPT:
        return tuple(unique)
    return (*unique[:KEPT], Finding(unique[KEPT].block, f"and {len(unique) - KEPT} more"))
