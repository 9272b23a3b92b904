"""A store that nodes share: what another node did to its own machine is no stage of this one."""

import json
import time
from pathlib import Path

import pytest

from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.nodes import CommandNode
from tests.cli.promoted import DRAFT, ONE, promote

pytestmark = pytest.mark.parser


@pytest.fixture
def node(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandNode:
    return CommandNode(aalearn, tmp_path, monkeypatch)


def elsewhere(node: CommandNode, state: str, revision: int = 1, on: str = "web-2") -> None:
    """Let another node write down a step."""
    detail = json.dumps({"node": on, "mode": "enforce"})
    with Store.open(node.db) as store:
        when = time.time_ns() // 1_000_000
        store.step(b"app", state, revision=revision, who="bert", reason="", when=when, detail=detail)


def test_what_is_enforced_elsewhere_may_be_drafted_here(node: CommandNode) -> None:
    elsewhere(node, "enforced")
    done = node.run("draft", "app")
    assert done.code == 0, done.err
    assert node.kernel.modes() == {"app": "complain"}
    with Store.open(node.db) as store:
        assert [json.loads(step.detail)["node"] for step in store.steps(b"app")] == ["web-2", "web-1"]


def test_what_was_retired_elsewhere_may_be_promoted_here(node: CommandNode) -> None:
    node.runs(30)
    node.ingest()
    elsewhere(node, "retired", 0)
    done = node.run("promote", "app", "--force", "convergence", "--reason", "seen on web-2 as well")
    assert done.code == 0, done.err
    assert node.kernel.modes() == {"app": "enforce"}
    elsewhere(node, "retired", 0)
    found = json.loads(node.run("--output", "json", "watch", "--once").out)
    assert [(one["profile"], one["state"]) for one in found["profiles"]] == [("app", "enforced")]
    back = node.run("rollback", "app", "--complain")
    assert back.code == 0, back.err
    with Store.open(node.db) as store:
        last = store.steps(b"app")[-1]
    assert (last.state, json.loads(last.detail)["node"]) == ("reverted", "web-1")


def test_what_happened_elsewhere_is_no_difference_here(node: CommandNode) -> None:
    promote(node.sim, node.db, DRAFT, "learning", 0)
    promote(node.sim, node.db, ONE, "enforced", 1)
    elsewhere(node, "reverted")
    done = node.run("reconcile")
    assert (done.code, "agree" in done.err) == (0, True), done.err


def test_the_enforced_revision_is_this_nodes(node: CommandNode) -> None:
    with Store.open(node.db) as store:
        for path in ("/a", "/b"):
            text = f"abi <abi/3.0>,\nprofile app {{\n  {path} r,\n}}\n"
            store.save_revision(b"app", text, "{}", author="x", reason="", when=1)
    elsewhere(node, "enforced", 1, "web-1.example.org")
    elsewhere(node, "enforced", 2)
    done = node.run("diff", "app@1", "app@enforced")
    assert (done.code, done.out.strip()) == (0, ""), done.out + done.err
