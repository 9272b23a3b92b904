"""Would SPO's rendering deny what was learned? It is compiled by the real parser, and each event is asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from aalearn.kubernetes.naming import relabelled
from aalearn.model.text import shown
from aalearn.policy.gate import Question, Target, describe, subjects
from aalearn.policy.oracle import Oracle, Verdict
from aalearn.policy.proof import Finding


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the learned events: numbers of accesses, those denied, and those that nobody can tell.

    `granted` are accesses whose rules are withheld and that the rendering permits all the same.
    """

    allowed: int
    denied: tuple[Finding, ...] = ()
    unproved: tuple[Finding, ...] = ()
    granted: tuple[Finding, ...] = ()


def replayed(text: str, name: str, questions: Sequence[Question], target: Target) -> Replayed:
    """Return what the compiled `text` does with the questions, all of them asked of the one profile `name`.

    Raises PolicyError when the text does not compile: SPO could not load it either.
    """
    profiles = subjects(target.compile(text).blob)
    oracle = Oracle.of(profiles[name.encode()])
    found: dict[Verdict, list[Finding]] = {verdict: [] for verdict in Verdict}
    granted: list[Finding] = []
    for one in questions:
        old = sorted({name.encode(), one.block.split("//")[0].encode("utf-8", "surrogateescape")})
        event = relabelled(one.event, old, name, flat=True)
        answer = oracle.ask(event, one.owner)
        finding = Finding(name, describe(event), answer.why, one.count, shown(one.sample))
        if one.withheld:
            granted += [finding] if answer.allowed else []
        elif not one.excused:
            found[answer.verdict].append(finding)
    return Replayed(
        len(found[Verdict.ALLOWED]),
        _sorted(found[Verdict.DENIED]),
        _sorted(found[Verdict.UNPROVED]),
        _sorted(granted),
    )


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(set(findings), key=lambda one: (one.what, one.why, one.sample, one.count)))
