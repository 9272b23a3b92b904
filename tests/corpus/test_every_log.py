"""Every real log of three kernels: all of it is read or counted as what it is, and each profile it gives is proved."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.intake.engine import ingest
from aalearn.intake.summary import Options as IntakeOptions
from aalearn.intake.summary import Summary
from aalearn.learn.options import Mode, Options
from aalearn.lifecycle.grounds import blocks
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.proposal import Proposal, whole
from aalearn.model.errors import NotExpressible
from aalearn.rules import rules_of
from aalearn.rules.base import Rule
from aalearn.rules.file import FileRule
from aalearn.store import Store
from tests.conftest import ROOT

LOGS = ROOT / "tests/data/logs"
NAMES = ("audit.log.xz", "journal.export.xz", "dmesg.txt.xz")
CASES = sorted({path.parent.relative_to(LOGS).as_posix() for name in NAMES for path in LOGS.glob(f"*/*/{name}")})
FEATURES = {"6.12": "kernel-6.12.abi", "6.1": "kernel-6.1.abi", "7.2": "kernel-7.2.abi"}
# The kernel ring alone, rate limited: nothing of this workload was left.
EMPTY = {"kernel-6.12-printk-only/caps"}

pytestmark = [pytest.mark.parser, pytest.mark.slow]


def features_of(case: str) -> Path:
    folder = case.split("/")[0]
    kernel = next(kernel for kernel in FEATURES if f"-{kernel}" in f"{folder}-" and f"-{kernel}-" in f"{folder}-")
    return ROOT / "tests/data/features" / FEATURES[kernel]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def learned(case: str, tmp_path: Path) -> Iterator[tuple[Store, Summary]]:
    with Store.open(f"sqlite:///{tmp_path}/x.db") as store:
        files = [LOGS / case / name for name in NAMES if (LOGS / case / name).exists()]
        yield store, ingest(files, store, IntakeOptions(node="vm"))


def test_all_is_read_and_all_profiles_are_proved(
    case: str, learned: tuple[Store, Summary], apparmor_parser: str
) -> None:
    store, summary = learned
    assert summary.events > 0 or case in EMPTY
    assert summary.malformed == 0
    assert not summary.unknown
    told = (
        *(summary.events, summary.duplicates, summary.companions, summary.other),
        *(summary.truncated, summary.forged, summary.losses),
    )
    assert sum(told) == summary.lines

    judge = Judge.find(apparmor_parser, features_of(case))
    for profile in store.profiles():
        if profile.name == b"unconfined":
            continue
        accesses = store.accesses(profile.name)
        options = Options(target=judge.target, mode=Mode.ALL, container=case.startswith("containers"))
        try:
            proposal = whole(profile.name, accesses, options, judge)
        except NotExpressible:
            assert case.split("/")[1] in ("names", "names_prof"), profile.name
            continue
        proof = proposal.proof
        assert proof.proved, (profile.name, proof.failures, proposal.text)
        assert proof.counts.denied == 0

        assert not list(_uncovered(proposal, judge)), profile.name


def _uncovered(proposal: Proposal, judge: Judge) -> Iterator[tuple[str, str]]:
    """Yield what a learned event asks for and no rule of its block covers, by text alone."""
    rules: dict[str, list[Rule]] = defaultdict(list)
    for name, line in blocks(proposal.synthesis.document.profile):
        if isinstance(line.rule, Rule):
            rules[name].append(line.rule)
    for one in proposal.synthesis.learned:
        block = one.event.profile.decode("utf-8", "surrogateescape")
        if not one.withheld:
            for rule in rules_of(one.event, one.access.owner, judge.target).rules:
                for need in _needs(rule, one.access.owner):
                    if not any(known.covers(need) for known in rules[block]):
                        yield block, need.text()


def _needs(rule: Rule, owner: bool | None) -> Iterator[Rule]:
    """Yield a rule's needs one by one: a file's letters may stand in several rules."""
    if not isinstance(rule, FileRule):
        yield rule
        return
    for letter in sorted(rule.perms):
        yield replace(rule, perms=frozenset({letter}), owner=owner is True, exec="", exec_target=None)
