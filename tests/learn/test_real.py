"""Real logs: the profiles compile, are proved, and explain each transition and each risk."""

import gzip
import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.learn.options import Mode
from aalearn.learn.synthesis import key
from aalearn.model.target import Target
from aalearn.rules import rules_of
from aalearn.rules.base import Rule
from aalearn.rules.file import FileRule
from tests.conftest import ROOT
from tests.learn.accesses import Tally
from tests.learn.conftest import learn, proof, texts, withheld

LOGS = ROOT / "tests" / "data" / "logs"
CASES = [
    *(
        ("kernel-6.12", case, name)
        for case, name in (("bash_exec", "bash_exec"), ("nginx", "nginx"), ("redis", "redis"))
    ),
    *(("kernel-6.12", case, name) for case, name in (("mount", "wl_mount"), ("sigpt", "wl_sender"), ("hat", "wl_hat"))),
    *(("kernel-6.12", case, name) for case, name in (("dbus", "wl_dbus"), ("unix", "wl_unix"), ("caps", "wl_caps"))),
    *(("kernel-7.2", case, name) for case, name in (("cron", "cron"), ("unix_peer", "wl_us"), ("net", "wl_net"))),
    ("containers-7.2", "runc_complain_ix", "wl_ct_ix"),
]


def log(kernel: str, case: str) -> Tally:
    tally = Tally()
    found = sorted(path for path in (LOGS / kernel / case).iterdir() if path.name.startswith("audit.log"))
    for path in found:
        tally.read(read(path).split(b"\n"), 1)
    return tally


def read(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    return gzip.decompress(data) if path.suffix == ".gz" else data


@pytest.mark.parser
@pytest.mark.parametrize(("kernel", "case", "name"), CASES)
def test_real_profiles_are_proved(kernel: str, case: str, name: str, parser: str) -> None:
    made = learn(log(kernel, case).accesses(), name.encode(), container=kernel.startswith("containers"))
    shown = proof(made, parser)
    failed = [(invariant.number, invariant.findings[:3]) for invariant in shown.invariants if not invariant.holds]
    assert shown.proved, failed
    for rule in made.judged:
        label = f"{name}//{rule.block.removeprefix('^')}" if rule.block else name
        assert made.evidence[key(label, rule.rule.text())] or rule.draft.given
        if getattr(rule.rule, "exec", ""):
            assert any(remark.startswith(("ix: ", "Cx: ", "Px: ")) for remark in rule.remarks)
        if rule.risk.tier in (1, 2):
            assert rule.reasons


@pytest.mark.parametrize(("kernel", "case", "name"), CASES)
def test_replaying_by_text_finds_every_event(kernel: str, case: str, name: str) -> None:
    made = learn(log(kernel, case).accesses(), name.encode(), mode=Mode.ALL)
    by_block: dict[bytes, list[Rule]] = {}
    for rule in made.judged:
        label = f"{name}//{rule.block.removeprefix('^')}" if rule.block else name
        by_block.setdefault(label.encode(), []).append(rule.rule)
    for one in made.learned:
        for need in rules_of(one.event, one.access.owner, Target()).rules:
            held = by_block[one.event.profile]
            assert all(any(rule.covers(part) for rule in held) for part in parts(need, held)), need.text()


def parts(need: Rule, held: list[Rule]) -> list[Rule]:
    """Return what a need asks for, a permission each; a transition is that of the rule for the same program."""
    if not isinstance(need, FileRule):
        return [need]
    if need.exec:
        ways = [rule for rule in held if isinstance(rule, FileRule) and rule.exec and rule.pattern.covers(need.pattern)]
        return [replace(need, exec=ways[0].exec, exec_target=ways[0].exec_target)] if ways else [need]
    return [replace(need, perms=frozenset(letter)) for letter in need.perms]


def test_the_shell_script_that_a_person_would_sign() -> None:
    made = learn(log("kernel-6.12", "bash_exec").accesses(), b"bash_exec")
    assert {child.name for child in made.document.profile.children} == {"grep", "ps", "su"}
    assert "/usr/bin/su Cx -> su," in texts(made, "")
    assert "capability setuid," in texts(made, "su")
    assert {"capability dac_read_search,", "capability sys_ptrace,", "/etc/shadow r,"} <= set(withheld(made))
    assert any("network, mount, signal and unix use is unknown" in note.text for note in made.notes)


def test_tracing_a_child_gives_both_sides() -> None:
    made = learn(log("kernel-6.12", "sigpt").accesses(), b"wl_sender")
    assert "ptrace (read, trace, tracedby) peer=wl_sender," in texts(made, "")
    assert "ptrace (readby) peer=wl_sender," in texts(made, "")
