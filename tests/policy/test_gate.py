"""The gate: each invariant has a text that breaks it alone, and the proof shows the counter-example."""

import json
import time
from pathlib import Path

import pytest

from aalearn.model.errors import PolicyError
from aalearn.model.event import Event, Verdict
from aalearn.model.pattern import Chars, Literal, Pattern, Star
from aalearn.policy.compiler import Parser
from aalearn.policy.features import Features
from aalearn.policy.gate import KEPT, Question, Target, describe, prove
from aalearn.policy.observed import observed_of, used_bits
from aalearn.policy.oracle import Oracle
from aalearn.policy.proof import TITLES, Proof
from aalearn.policy.walks import bits_of

pytestmark = pytest.mark.parser


def event(operation: str, **fields: str | bytes) -> Event:
    values = {key: value.encode() if isinstance(value, str) else value for key, value in fields.items()}
    return Event(Verdict.ALLOWED, operation, b"x", tuple(sorted(values.items())))


READ = event("open", name="/etc/passwd", denied_mask="r")
MAIL = event("open", name="/home/ann/mail", denied_mask="wc")
RUN = event("exec", name="/bin/sh", denied_mask="x")
CHOWN = event("capable", capname="chown", capability="0")
INET = event("create", family="inet", sock_type="stream", protocol="6", denied_mask="create")
TERM = event("signal", signal="term", denied_mask="send", peer="x")
ALL = (READ, MAIL, RUN, CHOWN, INET, TERM)
RULES = (
    "/etc/passwd r,",
    "owner /home/*/mail rw,",
    "/bin/sh ix,",
    "capability chown,",
    "network inet stream,",
    "signal (send) set=(term) peer=x,",
)


def text(*rules: str, name: str = "x") -> str:
    return f"abi <abi/3.0>,\nprofile {name} {{\n" + "".join(f"  {rule}\n" for rule in rules) + "}\n"


@pytest.fixture
def target(parser: Parser, request: pytest.FixtureRequest) -> Target:
    """The least target, by each of the two parsers."""
    base = request.getfixturevalue("trixie_base") if parser.version >= (4, 0) else Path("/etc/apparmor.d")
    return Target(parser, Features.of_file(base / "abi" / "3.0"), base)


@pytest.fixture
def bookworm(bookworm_parser: Parser) -> Target:
    return Target(bookworm_parser, Features.of_file(Path("/etc/apparmor.d/abi/3.0")))


def ask(*events: Event, owner: bool | None = True, block: str = "x") -> list[Question]:
    return [Question(block, one, owner) for one in events]


def broken(proof: Proof) -> set[int]:
    return {invariant.number for invariant in proof.failures}


def test_a_least_profile_is_proved(target: Target) -> None:
    proof = prove(text(*RULES), ask(*ALL), target)
    assert proof.proved, [str(finding) for one in proof.failures for finding in one.findings]
    assert (proof.counts.accesses, proof.counts.allowed) == (6, 6)
    assert proof.blocks == ("x",)
    assert proof.parser == target.parser.release
    assert proof.abi == "3.0"
    assert len(proof.sha256) == len(proof.features) == 64
    assert tuple(invariant.number for invariant in proof.invariants) == (1, 2, 3, 4, 5, 6, 7)


def test_1_a_missing_rule_is_a_counter_example(target: Target) -> None:
    proof = prove(text(*RULES[1:]), [Question("x", READ, False, 7, b"raw \x1b record"), *ask(*ALL[1:])], target)
    assert broken(proof) == {1}
    (finding,) = proof.failures[0].findings
    assert (finding.what, finding.count, finding.block) == ("open r /etc/passwd", 7, "x")
    assert finding.why == "no rule permits r on /etc/passwd"
    assert finding.sample == "raw \\x1b record"


def test_1_an_owner_rule_does_not_serve_others(bookworm: Target) -> None:
    assert broken(prove(text(RULES[1]), ask(MAIL, owner=False), bookworm)) == {1}


def test_1_an_unknown_block_denies(bookworm: Target) -> None:
    proof = prove(text(RULES[0]), ask(READ, block="x//kid"), bookworm)
    assert broken(proof) == {1}
    assert "has no profile, child or hat x//kid" in proof.failures[0].findings[0].why


def test_1_children_and_hats_are_asked(target: Target) -> None:
    rules = ("/bin/sh Cx -> kid,", "profile kid { /etc/passwd r, }", "^hat { capability chown, }")
    asked = [*ask(RUN), *ask(READ, block="x//kid"), *ask(CHOWN, block="x//hat")]
    assert prove(text(*rules), asked, target).proved
    assert broken(prove(text(*rules), ask(RUN, READ, CHOWN), target)) == {1, 5}


def test_1_withheld_rules_must_not_be_granted(bookworm: Target) -> None:
    withheld = [Question("x", READ, True, withheld=True)]
    assert prove(text("/x r,"), [*withheld, *ask(event("open", name="/x", denied_mask="r"))], bookworm).proved
    proof = prove(text("/etc/passwd r,"), withheld, bookworm)
    assert 1 in broken(proof)
    assert proof.counts.withheld == 1


def test_2_what_an_empty_profile_permits_proves_nothing(bookworm: Target) -> None:
    limit = event("setrlimit", rlimit="nofile", value="5")
    assert prove(text("/x r,"), ask(limit), bookworm).proved  # only a rule limits limits
    hat = event("change_hat", name="h")
    assert prove(text("^h { }"), ask(hat), bookworm).proved


def test_2_every_question_of_the_proof_is_denied_by_the_empty_profile(target: Target) -> None:
    proof = prove(text(*RULES), ask(*ALL), target)
    assert proof.invariants[1].holds
    empty = prove(text(), ask(*ALL), target)
    assert broken(empty) == {1}
    assert empty.counts.denied == len(ALL)


def test_3_sensitive_paths_must_have_been_observed(target: Target) -> None:
    proof = prove(text("/etc/sh* r,"), ask(event("open", name="/etc/shells", denied_mask="r")), target)
    assert broken(proof) == {3}
    assert any("/etc/shadow" in finding.what for finding in proof.failures[0].findings)
    shadow = event("open", name="/etc/shadow", denied_mask="r")
    assert prove(text("/etc/shadow r,"), ask(shadow), target).proved
    assert broken(prove(text("/etc/shadow rw,"), ask(shadow), target)) == {3}


def test_3_one_process_stands_for_all(bookworm: Target) -> None:
    maps = event("open", name="/proc/411/maps", denied_mask="r")
    assert prove(text("/proc/{[1-9],[1-9][0-9],[1-9][0-9][0-9]}/maps r,"), ask(maps), bookworm).proved
    assert broken(prove(text("/proc/*/maps r,"), ask(maps), bookworm)) == {3}


def test_3_vouched_patterns_count_as_observed(bookworm: Target) -> None:
    pattern = Pattern.of(Literal(b"/srv/"), Star(), Literal(b".pem"))
    asked = ask(event("open", name="/srv/a.pem", denied_mask="r"))
    assert broken(prove(text("/srv/*.pem r,"), asked, bookworm)) == {3}
    proof = prove(text("/srv/*.pem r,"), asked, bookworm, vouched=((pattern, bits_of("r")),))
    assert proof.proved
    assert proof.vouched == ("/srv/*.pem",)


def test_4_no_path_is_writable_and_executable_by_chance(target: Target) -> None:
    write = event("open", name="/srv/a", denied_mask="w")
    run = event("exec", name="/srv/b", denied_mask="x")
    proof = prove(text("/srv/a w,", "/srv/b ix,", "/srv/[ab] m,"), ask(write, run), target)
    assert broken(proof) == {4}
    assert {finding.what for finding in proof.failures[0].findings} == {"wm on /srv/a"}
    both = event("exec", name="/srv/a", denied_mask="x")
    assert prove(text("/srv/a wix,"), ask(write, both), target).proved


def test_5_capabilities_families_and_executions_must_have_been_observed(target: Target) -> None:
    rules = ("/bin/{sh,ls} ix,", "capability chown,", "capability kill,", "network inet,")
    proof = prove(text(*rules), ask(RUN, CHOWN, INET), target)
    assert broken(proof) == {5}
    what = {finding.what for finding in proof.failures[0].findings}
    assert {"capability kill", "network inet dgram", "network inet raw"} <= what
    assert "capability chown" not in what
    assert "network inet stream" not in what
    assert any(finding.startswith("x on /bin/") for finding in what)


def test_6_an_unmediated_class_is_no_permission(bookworm: Target) -> None:
    proof = prove(
        text("/x r,"), ask(event("userns_create", requested="userns_create", denied="userns_create")), bookworm
    )
    assert broken(proof) == {6}
    assert "does not mediate" in proof.failures[0].findings[0].why


def test_7_the_difference_is_shown_with_witnesses(target: Target) -> None:
    proof = prove(text(*RULES), ask(*ALL), target, previous=text("/etc/passwd r,", "/etc/hosts r,"))
    assert proof.proved
    assert "+ x: capability chown" in proof.difference
    assert "+ x: file rw /home/a/mail by its owner" in proof.difference
    assert "- x: file r /etc/hosts" in proof.difference
    assert not any("/etc/passwd" in line for line in proof.difference)
    assert prove(text(*RULES), ask(*ALL), target, previous=text(*RULES)).difference == ()


def test_the_baseline_is_not_ours_to_answer_for(bookworm: Target) -> None:
    old = ("/etc/** r,", "/opt/** rwm,", "capability,", "network,", "/usr/bin/* Px,")
    asked = ask(event("open", name="/srv/x", denied_mask="r"))
    assert broken(prove(text(*old, "/srv/x r,"), asked, bookworm)) == {3, 4, 5}
    assert prove(text(*old, "/srv/x r,"), asked, bookworm, baseline=text(*old)).proved
    proof = prove(text(*old, "/srv/x r,", "/root/x rw,"), asked, bookworm, baseline=text(*old))
    assert broken(proof) == {3}


def test_what_is_unproved_or_excused_is_listed(bookworm: Target) -> None:
    asked = [
        *ask(event("ptrace", peer="y")),
        Question("x", event("open", name="lost", denied_mask="r"), True, 3, excused="it has no spelling in policy"),
    ]
    proof = prove(text("/x r,"), asked, bookworm)
    assert proof.proved
    assert [str(finding) for finding in proof.unproved] == [
        "x: ptrace peer=y (the record does not say what was asked for)"
    ]
    assert [str(finding) for finding in proof.excused] == ["x: open r lost (it has no spelling in policy)"]
    assert (proof.counts.unproved, proof.counts.excused) == (1, 1)


def test_attributes_need_no_rule_of_their_own(target: Target) -> None:
    stat = event("getattr", name="/any/where", denied_mask="r")
    assert prove(text("/x r,"), ask(stat), target).proved
    assert broken(prove(text("capability chown,"), ask(stat, CHOWN), target)) == {1}


def test_a_text_that_does_not_compile_is_an_error(bookworm: Target) -> None:
    with pytest.raises(PolicyError, match="line 3"):
        prove(text("/x zz,"), (), bookworm)


def test_the_same_input_gives_the_same_proof(bookworm: Target) -> None:
    asked = ask(*ALL)
    first = prove(text(*RULES), asked, bookworm).to_json()
    second = prove(text(*RULES), asked[::-1], bookworm).to_json()
    assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert first["schema"] == 1
    assert [one["title"] for one in first["invariants"]] == [TITLES[number] for number in range(1, 8)]


def test_findings_are_bounded_and_counted(bookworm: Target) -> None:
    asked = ask(*(event("open", name=f"/no/{number:04d}", denied_mask="r") for number in range(KEPT + 50)))
    findings = prove(text("/x r,"), asked, bookworm).invariants[0].findings
    assert len(findings) == KEPT + 1
    assert findings[-1].what == "and 50 more"


def test_observed_bits_are_those_that_a_rule_grants() -> None:
    assert used_bits(event("mknod", name="/x", denied_mask="c")) == bits_of("w")
    assert used_bits(RUN) == bits_of("xm")
    assert used_bits(event("open", name="/x", denied_mask="rw::")) == bits_of("rw")
    moment = event("open", name="/run/secrets/..2024_01_02_03_04_05.678/token", denied_mask="r")
    seen = observed_of([(moment, True)])
    assert any(one.matches(b"/run/secrets/..2025_11_12_13_14_15.9/token") for one, _ in seen.patterns)
    assert not any(one.matches(b"/run/secrets/..2025_11_12_13_14_15.9/other") for one, _ in seen.patterns)
    threads = observed_of([(event("open", name="/proc/1/task/2/maps", denied_mask="r"), None)])
    assert any(one.matches(b"/proc/12345/task/9/maps") for one, _ in threads.patterns)
    vouched = Pattern.of(Literal(b"/a"), Chars("0-9"))
    assert (vouched, 1) in observed_of([], ((vouched, 1),)).patterns


def test_events_are_described_safely() -> None:
    assert describe(event("open", name=b"/x\x1b[2J", denied_mask="r")) == "open r /x\\x1b[2J"


def test_a_hundred_thousand_events_are_checked_in_time(bookworm: Target) -> None:
    subject = bookworm.subjects(text(*RULES, "/srv/** rw,"))[b"x"]
    oracle = Oracle.of(subject)
    events = [event("open", name=f"/srv/{number}", denied_mask="wc") for number in range(100_000)]
    start = time.process_time()
    assert all(oracle.ask(one, True).allowed for one in events)
    assert time.process_time() - start < 5
