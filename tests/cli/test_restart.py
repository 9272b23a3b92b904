"""`aalearn promote --restart` when the restart is not the end of it: the unit fails, or the profile is taken back."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.lifecycle.limits import promoted_of
from aalearn.lifecycle.node import requests
from aalearn.lifecycle.node.applier import applied
from aalearn.lifecycle.node.entries import promoted_since
from aalearn.lifecycle.node.tasks import Task
from aalearn.lifecycle.past import pasts
from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.nodes import CommandNode

pytestmark = pytest.mark.parser


@pytest.fixture
def node(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandNode:
    """A drafted profile that has learned enough."""
    made = CommandNode(aalearn, tmp_path, monkeypatch)
    assert made.run("--quiet", "draft", "app").code == 0
    made.runs()
    made.ingest()
    return made


def systemctl(node: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, code: int) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin:/usr/sbin")


def taken_back(node: CommandNode) -> None:
    """Let the service take the profile back, as it does when the restarted unit is denied what it needs."""
    done = requests.complain(node.sim.machine, b"app", who="aalearn", reason="tier1", asked=True).applied
    with Store.open(node.db) as store:
        detail = json.dumps({"mode": "complain"})
        store.step(
            b"app", "reverted", revision=done.revision, who="aalearn", reason="tier1", when=done.when, detail=detail
        )


def states(node: CommandNode) -> list[str]:
    with Store.open(node.db, readonly=True) as store:
        return [step.state for step in store.steps(b"app")]


def test_taken_back_while_the_unit_restarts(node: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def restart(_: tuple[str, ...], look: Callable[[], tuple[Task, ...]]) -> tuple[Task, ...]:
        taken_back(node)
        return look()

    monkeypatch.setattr("aalearn.lifecycle.promote.restart", restart)
    done = node.run("--output", "json", "promote", "app", "--restart", "app.service")
    assert done.code == 1, done.err
    assert states(node) == ["learning", "ready", "enforced", "reverted"]
    assert "taken back: app: revision 2 was enforced, and is not any more: reverted by aalearn: tier1" in done.err
    assert "is enforced, from" not in done.err
    document = json.loads(done.out)
    assert not document["enforced"]
    assert document["taken_back"].startswith("reverted by aalearn: tier1")
    assert node.kernel.modes() == {"app": "complain"}


def test_complain_mode_by_another_s_hand_meanwhile(node: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def restart(_: tuple[str, ...], look: Callable[[], tuple[Task, ...]]) -> tuple[Task, ...]:
        node.sim.load((node.base / "app").read_text().replace("profile app {", "profile app flags=(complain) {"))
        return look()

    monkeypatch.setattr("aalearn.lifecycle.promote.restart", restart)
    done = node.run("promote", "app", "--restart", "app.service")
    assert done.code == 1
    assert "is not any more: the kernel has it in complain mode" in done.err
    assert states(node) == ["learning", "ready", "enforced"]


def test_both_records_begin_the_probation_with_the_last_promotion(
    node: CommandNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is promoted again later, to restart a unit: the service may ask as long as it thinks that it may."""

    def restart(_: tuple[str, ...], look: Callable[[], tuple[Task, ...]]) -> tuple[Task, ...]:
        return look()

    monkeypatch.setattr("aalearn.lifecycle.promote.restart", restart)
    assert node.run("promote", "app").code == 0
    first = applied(node.sim.machine, b"app")[-1].when
    time.sleep(0.01)
    assert node.run("promote", "app", "--restart", "app.service").code == 0
    entries = applied(node.sim.machine, b"app")
    with Store.open(node.db, readonly=True) as store:
        steps = store.steps(b"app")
    found = promoted_of(b"app", pasts(steps))
    told = [json.loads(step.detail) for step in steps]
    assert found is not None
    assert found.since == promoted_since(entries) == entries[-1].when > first
    assert [one.get("since") for one in told][-2:] == [found.since, found.since]
    assert {one["node"] for one in told} == {"web-1"}


def test_a_restart_that_fails(node: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile is enforced all the same: that is said, and how to take it back."""
    systemctl(node, tmp_path, monkeypatch, "Job for app.service failed.", 1)
    node.sim.task(7, "app//null-/usr/bin/bash (complain)", "/usr/bin/bash", "app.service")
    done = node.run("--output", "json", "promote", "app", "--restart", "app.service")
    assert done.code == 3
    document = json.loads(done.out)
    assert document["enforced"]
    assert document["taken_back"] is None
    assert document["not_restarted"] == "app.service was not restarted: Job for app.service failed."
    assert [task["pid"] for task in document["pending_restart"]] == [7]
    assert "aalearn: not restarted: app.service was not restarted: Job for app.service failed." in done.err
    assert "app: revision 2 is enforced, from app" in done.err
    assert "it IS enforced, and stays so; to take it back: `sudo aalearn rollback app`" in done.err
    assert node.kernel.modes() == {"app": "enforce"}
    assert states(node)[-1] == "enforced"
    assert applied(node.sim.machine, b"app")[-1].mode == "enforce"


def test_a_restart_that_fails_and_the_profile_is_taken_back(node: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    from aalearn.model.errors import PolicyError

    def restart(*_: object) -> tuple[Task, ...]:
        taken_back(node)
        raise PolicyError("app.service was not restarted: timeout")

    monkeypatch.setattr("aalearn.lifecycle.promote.restart", restart)
    done = node.run("promote", "app", "--restart", "app.service")
    assert done.code == 1
    assert "app.service was not restarted: timeout" in done.err
    assert "taken back: app: revision 2 was enforced, and is not any more" in done.err
    assert "IS enforced" not in done.err
    assert states(node)[-1] == "reverted"
