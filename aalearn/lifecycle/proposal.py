"""From accesses to a proposal: synthesise, write, prove. Nothing leaves here without its proof."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from aalearn.grammar.writer import write
from aalearn.learn.options import Action, Options
from aalearn.learn.synthesis import Learned, Synthesis, synthesize
from aalearn.lifecycle.abstractions import Measure, with_abstractions
from aalearn.lifecycle.judge import Judge
from aalearn.model.event import Access
from aalearn.model.pattern import Pattern
from aalearn.policy.gate import Question, prove
from aalearn.policy.proof import Proof
from aalearn.policy.walks import bits_of
from aalearn.rules.file import FileRule

_READ = frozenset("rmk")


class Form(StrEnum):
    """What a proposal's text is."""

    WHOLE = "whole"  # a whole profile file
    LOCAL = "local"  # the content of local/NAME, which the existing profile includes
    EDIT = "edit"  # the existing file with the least edit
    NOTHING = "nothing"  # the existing profile lacks nothing: no text


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text with its evidence and its proof. Only where `proof.proved` it may be used.

    `file` is where the text belongs, None for a new profile. `added` are the rules that the existing profile lacks, by
    block, empty for a whole text. `abstractions` are the measures of all abstractions, where they were asked for.
    """

    form: Form
    text: str
    synthesis: Synthesis
    proof: Proof
    file: Path | None = None
    added: tuple[tuple[str, str], ...] = ()
    abstractions: tuple[Measure, ...] = ()


def whole(
    name: bytes,
    accesses: Sequence[Access],
    options: Options,
    judge: Judge,
    *,
    file: Path | None = None,
    previous: str | None = None,
    measured: bool = False,
) -> Proposal:
    """Return a whole profile for what was learned.

    `file` and its text `previous`: where it belongs and what it replaces, for the difference in the proof. `measured`:
    with the abstractions that are justified (see `abstractions`). Raises PolicyError when the parser refuses the text,
    NotExpressible for a name that policy can't spell, UsageError where nothing can be measured.
    """
    synthesis = synthesize(name, accesses, options)
    synthesis, measures = with_abstractions(synthesis, options, judge) if measured else (synthesis, ())
    text = write(synthesis.document)
    asked = questions(synthesis.learned)
    proof = prove(text, asked, judge.gate(), previous=previous, vouched=vouched(synthesis, options))
    return Proposal(Form.WHOLE, text, synthesis, proof, file, abstractions=measures)


def vouched(synthesis: Synthesis, options: Options) -> tuple[tuple[Pattern, int], ...]:
    """Return the patterns that count as observed although they match more: with whom or what accounts for them.

    Either the place of a path alone says what a part of it is (a library's version, a multiarch folder; read only), or
    a person accepted just this rule. What was generalised by counts is never vouched for.
    """
    by_person = {decision.rule for decision in options.decisions if decision.action is not Action.DENY}
    found = set()
    for one in synthesis.judged:
        rule = one.rule
        if isinstance(rule, FileRule) and not rule.pattern.is_literal and not rule.exec:
            by_context = not one.draft.why and rule.perms <= _READ
            if by_context or one.draft.rule.text() in by_person:
                found.add((rule.pattern, bits_of("".join(sorted(rule.perms)))))
    return tuple(sorted(found))


def questions(learned: Sequence[Learned]) -> tuple[Question, ...]:
    """Return what the proof must ask: each learned need, of the block that must allow it."""
    return tuple(
        Question(
            block=one.event.profile.decode("utf-8", "surrogateescape"),
            event=one.event,
            owner=one.access.owner,
            count=one.access.count,
            sample=one.access.sample,
            withheld=one.withheld,
        )
        for one in learned
    )
