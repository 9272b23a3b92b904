"""The oracle answers as the text says: hand-written profiles of every class, on both parsers."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.data import words
from aalearn.model.event import Event, Verdict
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import decode
from aalearn.policy.features import Features
from aalearn.policy.oracle import QUESTIONS, Oracle
from aalearn.rules import KINDS
from tests.policy.tables import Case, Line, cases, line

CASES = cases()
KEYS = (
    *(
        "name",
        "denied_mask",
        "requested_mask",
        "denied",
        "requested",
        "mask",
        "class",
        "info",
        "target",
        "peer",
        "label",
    ),
    *("family", "sock_type", "protocol", "addr", "peer_addr", "signal", "flags", "srcname", "fstype", "capname"),
    *("capability", "rlimit", "value", "bus", "path", "interface", "member", "peer_label", "tcontext"),
)
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
    for asked in case.lines:
        answer = oracle.ask(asked.event, asked.owner)
        expected = asked.expected[release], asked.transition or answer.transition
        if (str(answer.verdict), answer.transition) != expected:
            wrong.append((asked, f"{answer.verdict} {answer.transition}", answer.why))
        if answer.verdict != "allowed" and not answer.why:
            wrong.append((asked, "no reason", ""))
    return wrong


@pytest.mark.parser
@pytest.mark.parametrize("case", [case for case in CASES if "3.0" in case.parsers], ids=lambda case: case.name)
def test_answers_as_the_text_says_on_3_0(bookworm_parser: Parser, case: Case) -> None:
    if bookworm_parser.version >= (4, 0):
        pytest.fail("the installed parser is expected to be 3.x; adapt the fixture")
    wrong = ask(bookworm_parser, "3.0", Path("/etc/apparmor.d"), case)
    assert not wrong, "\n".join(f"{asked.text}\n    → {answer}: {why}" for asked, answer, why in wrong)


@pytest.mark.real
@pytest.mark.parametrize("case", [case for case in CASES if "4.1" in case.parsers], ids=lambda case: case.name)
def test_answers_as_the_text_says_on_4_1(trixie_parser: Parser, trixie_base: Path, case: Case) -> None:
    wrong = ask(trixie_parser, "4.1", trixie_base, case)
    assert not wrong, "\n".join(f"{asked.text}\n    → {answer}: {why}" for asked, answer, why in wrong)


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


def test_numbers_and_words_agree() -> None:
    """The words that rules know have their numbers here, and in the same order where the order is the number."""
    assert [*words("encodings")["capabilities"]] == words("capabilities")["names"]
    assert set(words("families")["families"]) <= set(words("encodings")["families"])
    assert {*words("families")["types"], *words("families")["wordless_types"]} == set(
        words("encodings")["socket_types"]
    )
    assert set(words("signals")["names"]) <= set(words("encodings")["signals"])


NEW_LANGUAGE = """
@{exec_path} = /usr/bin/new /opt/new/bin/new
profile new @{exec_path} {
  @{exec_path} mr,
  mqueue (read) type=posix /q,
  userns create,
  priority=5 /p/x r,
  deny /p/** r,
  prompt /asked r,
  /known r,
}
"""


@pytest.mark.real
def test_what_other_tools_stumble_over_is_asked_without_harm(trixie_parser: Parser, trixie_base: Path) -> None:
    """mqueue, prompt, priority=, variables in an attachment: aa-logprof fails on each of them."""
    compiled = trixie_parser.compile(NEW_LANGUAGE, features=features(trixie_base / "abi" / "4.0", ""), base=trixie_base)
    oracle = Oracle(decode(compiled.blob)[0])
    assert oracle.attaches(b"/usr/bin/new") and oracle.attaches(b"/opt/new/bin/new")
    assert not oracle.attaches(b"/usr/bin/old")
    expected = {
        "owner open name=/usr/bin/new denied_mask=rm": "allowed",
        "owner open name=/known denied_mask=r": "allowed",
        "owner open name=/asked denied_mask=r": "denied",  # until a person says yes
        "owner open name=/p/x denied_mask=r": "allowed",
        "owner open name=/p/y denied_mask=r": "denied",
        "any userns_create requested=userns_create denied=userns_create": "allowed",
        "any posix_mqueue class=posix_mqueue name=/q denied=read": "allowed",
        "any posix_mqueue class=posix_mqueue name=/q denied=write": "denied",
    }
    for question, verdict in expected.items():
        asked = line(f"{verdict} {question}")
        assert oracle.ask(asked.event, asked.owner).verdict == verdict, question


@pytest.mark.parser
@pytest.mark.usefixtures("apparmor_parser")
@given(
    st.sampled_from([*QUESTIONS, "open", "exec", "connect", "bind", "dbus_bind", "pivotroot", "uring_sqpoll"]),
    st.dictionaries(st.sampled_from(KEYS), st.binary(max_size=12), max_size=8),
    st.sampled_from([True, False, None]),
)
def test_no_event_makes_it_raise(operation: str, fields: dict[str, bytes], owner: bool | None) -> None:
    event = Event(Verdict.ALLOWED, operation, b"x", tuple(sorted(fields.items())))
    answer = everything().ask(event, owner)
    assert answer.allowed or answer.why


@cache
def everything() -> Oracle:
    """A profile with a rule of each class."""
    kinds = "file, network, unix, signal, ptrace, dbus, mount, umount, pivot_root, capability, change_profile,"
    text = f"profile x {{ {kinds} }}"
    return Oracle(decode(Parser.find().compile(text).blob)[0])
