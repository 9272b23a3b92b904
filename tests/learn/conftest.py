"""What the tests of learning share: texts of profiles, and the compiled policy's word on them."""

from pathlib import Path

import pytest

from aalearn.grammar.writer import write
from aalearn.learn.options import Options
from aalearn.learn.synthesis import Synthesis, synthesize
from aalearn.model.event import Access
from aalearn.model.pattern import Pattern
from aalearn.model.profile import State
from aalearn.policy.compiler import Parser
from aalearn.policy.gate import Question, prove
from aalearn.policy.gate import Target as GateTarget
from aalearn.policy.proof import Proof
from aalearn.policy.walks import bits_of
from aalearn.rules.file import FileRule

STANDING = (State.ACTIVE, State.REVIEW)


def learn(accesses: list[Access], name: bytes = b"p", **options: object) -> Synthesis:
    """Return the synthesis with options by name."""
    return synthesize(name, accesses, Options(**options))  # type: ignore[arg-type]


def texts(made: Synthesis, block: str | None = None) -> list[str]:
    """Return the texts of the standing rules, of one block ("" the profile itself) or of all."""
    return [
        rule.rule.text() for rule in made.judged if rule.state in STANDING and (block is None or rule.block == block)
    ]


def withheld(made: Synthesis) -> list[str]:
    """Return the texts of what is not active."""
    return [waiting.rule for waiting in made.withheld]


def patterns(made: Synthesis) -> list[Pattern]:
    """Return the patterns of the standing file rules."""
    return [rule.rule.pattern for rule in made.judged if isinstance(rule.rule, FileRule) and rule.state in STANDING]


def allows(made: Synthesis, path: bytes, letter: str = "r") -> bool:
    """Return whether some standing file rule of the profile allows a letter on a path, to the owner at least."""
    return any(
        letter in rule.rule.perms and rule.rule.pattern.matches(path)
        for rule in made.judged
        if isinstance(rule.rule, FileRule) and rule.state in STANDING
    )


def proof(made: Synthesis, parser: str) -> Proof:
    """Return the proof of a synthesis by the compiled policy."""
    questions = [
        Question(
            block=one.event.profile.decode(),
            event=one.event,
            owner=one.access.owner,
            count=one.access.count,
            withheld=one.withheld,
        )
        for one in made.learned
    ]
    vouched = [
        (one.rule.pattern, bits_of("".join(sorted(one.rule.perms))))
        for one in made.judged
        if isinstance(one.rule, FileRule) and not one.draft.why and not one.rule.exec and one.rule.perms <= set("rmk")
    ]
    target = GateTarget(Parser.find(parser), base=Path("/etc/apparmor.d"))
    return prove(write(made.document), questions, target, vouched=vouched)


@pytest.fixture(scope="session")
def parser(apparmor_parser: str) -> str:
    """The parser's path, for `proof`."""
    return apparmor_parser
