"""The oracle answers as the text says: hand-written profiles of every class, on both parsers."""

from pathlib import Path

import pytest

from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import decode
from aalearn.policy.features import Features
from aalearn.policy.oracle import QUESTIONS, Oracle
from aalearn.rules import KINDS
from tests.policy.tables import Case, Line, cases

CASES = cases()
EXTRA = {
    "": "",
    "io_uring": "io_uring {mask {sqpoll override_creds\n}\n}\n",
    "inet": "",
}


def features(abi: Path, extra: str) -> Features:
    """Return the features of an abi, with what a case wants beside them."""
    text = abi.read_text()
    if extra == "inet":
        text = text.replace("network_v8 {", "network_v8 {af_inet {yes\n}\n")
    return Features.parse(text + EXTRA[extra], f"{abi.name} with {extra}")


def ask(parser: Parser, release: str, base: Path, case: Case) -> list[tuple[Line, str, str]]:
    """Return the lines that are answered in another way than expected, with the answer and its reason."""
    abi = base / "abi" / ("3.0" if release == "3.0" else "4.0")
    profiles = decode(parser.compile(case.text, features=features(abi, case.features), base=base).blob)
    oracle = Oracle(profiles[0], policy=profiles, fine_unix=case.fine_unix)
    wrong = []
    for line in case.lines:
        answer = oracle.ask(line.event, line.owner)
        expected = line.expected[release], line.transition or answer.transition
        if (str(answer.verdict), answer.transition) != expected:
            wrong.append((line, f"{answer.verdict} {answer.transition}", answer.why))
        if answer.verdict != "allowed" and not answer.why:
            wrong.append((line, "no reason", ""))
    return wrong


@pytest.mark.parser
@pytest.mark.parametrize("case", [case for case in CASES if "3.0" in case.parsers], ids=lambda case: case.name)
def test_answers_as_the_text_says_on_3_0(bookworm_parser: Parser, case: Case) -> None:
    if bookworm_parser.version >= (4, 0):
        pytest.fail("the installed parser is expected to be 3.x; adapt the fixture")
    wrong = ask(bookworm_parser, "3.0", Path("/etc/apparmor.d"), case)
    assert not wrong, "\n".join(f"{line.text}\n    → {answer}: {why}" for line, answer, why in wrong)


@pytest.mark.real
@pytest.mark.parametrize("case", [case for case in CASES if "4.1" in case.parsers], ids=lambda case: case.name)
def test_answers_as_the_text_says_on_4_1(trixie_parser: Parser, trixie_base: Path, case: Case) -> None:
    wrong = ask(trixie_parser, "4.1", trixie_base, case)
    assert not wrong, "\n".join(f"{line.text}\n    → {answer}: {why}" for line, answer, why in wrong)


def test_the_table_is_long_enough() -> None:
    assert sum(len(case.lines) for case in CASES) >= 300


def test_every_rule_kind_has_a_question() -> None:
    assert set(KINDS) == set(QUESTIONS)


@pytest.mark.parser
def test_attachment(bookworm_parser: Parser) -> None:
    text = "profile a /usr/bin/{one,two} { }\nprofile /usr/bin/three { }\nprofile four { }\n"
    found = {profile.name: Oracle(profile) for profile in decode(bookworm_parser.compile(text).blob)}
    assert found[b"a"].attaches(b"/usr/bin/one")
    assert not found[b"a"].attaches(b"/usr/bin/three")
    assert found[b"/usr/bin/three"].attaches(b"/usr/bin/three")
    assert not found[b"four"].attaches(b"/four")
