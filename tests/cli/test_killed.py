"""kill -9 at 50 random moments of rollback: file, kernel, record and store agree after `reconcile --fix`."""

import json
import os
import random
import signal
import time
from collections.abc import Sequence

import pytest

from aalearn.cli.main import run
from aalearn.lifecycle.node.applier import applied, pending
from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.promoted import ONE, TWO, last_step, promote, text_of
from tests.lifecycle.simulated import Simulated

pytestmark = [pytest.mark.parser, pytest.mark.slow]

KILLS = 50
WHOLE = {ONE: "enforce", TWO: "enforce"} | {
    text.replace("/usr/bin/app {", "/usr/bin/app flags=(complain) {"): "complain" for text in (ONE, TWO)
}


def forked(db: str, arguments: Sequence[str]) -> int:
    """Type a command in a process of its own; return its pid."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            code = run(["--db", db, *arguments])
        finally:
            os._exit(code)
    return pid


def killed(node: Simulated, pid: int, seconds: float, *, in_change: bool) -> bool:
    """Kill a process after so many seconds, or as soon as it has a change open; all the while the profile is whole and
    loaded.
    """
    end = time.monotonic() + (60 if in_change else seconds)
    while time.monotonic() < end and not (in_change and (begun(node) or ended(pid))):
        whole(node)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def begun(node: Simulated) -> bool:
    """Whether an intent lies there (asked without the applier's lock)."""
    return any(one.name.startswith("intent.") for one in node.machine.backups.iterdir())


def ended(pid: int) -> bool:
    """Whether a child has ended, without taking its exit code."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def whole(node: Simulated) -> None:
    assert text_of(node) in WHOLE
    assert set(node.kernel.modes()) == {"app"}, "at no moment unconfined"


def agreed(aalearn: Face, node: Simulated, db: str) -> None:
    """File, kernel, record and store say the same."""
    entry = applied(node.machine, b"app")[-1]
    text, mode = text_of(node), node.kernel.modes()["app"]
    assert (WHOLE[text], mode) == (mode, entry.mode)
    with Store.open(db, readonly=True) as store:
        step = store.steps(b"app")[-1]
    assert (step.state, step.revision) == (entry.stage, entry.revision)
    document = json.loads(aalearn("--db", db, "--output", "json", "reconcile").out)
    assert document["differences"] == []


def test_killed_at_random_moments_all_agree(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "rollback", "app", "--to", "1").code == 0  # in this process: all is loaded from now on
    agreed(aalearn, node, db)
    start = time.monotonic()
    os.waitpid(forked(db, ["rollback", "app", "--to", "2"]), 0)
    lasted = time.monotonic() - start
    agreed(aalearn, node, db)
    draw = random.Random(20)
    hit = opened = 0
    for number in range(KILLS):
        entry = applied(node.machine, b"app")[-1]
        other = "1" if entry.revision == 2 else "2"
        way = ["--complain"] if entry.mode == "enforce" and draw.random() < 0.5 else ["--to", other]
        pid = forked(db, ["rollback", "app", *way])
        hit += killed(node, pid, draw.uniform(0.1, 1.0) * lasted, in_change=number % 3 == 0)
        whole(node)
        opened += len(pending(node.machine))
        fixed = aalearn("--db", db, "reconcile", "--fix")
        assert fixed.code == 0, fixed.err + fixed.out
        agreed(aalearn, node, db)
    assert hit > KILLS // 4
    assert opened >= 3


def test_a_retirement_killed_at_random_moments(aalearn: Face, node: Simulated, db: str) -> None:
    """It is wholly there or wholly gone, and the store says which."""
    draw = random.Random(21)
    lasted, opened, gone = 0.0, 0, 0
    for number in range(KILLS // 2):
        start = time.monotonic()
        pid = forked(db, ["retire", "app", "--reason", "gone"])
        if number:
            seconds = draw.uniform(0.1, 1.0) * lasted
            while time.monotonic() < start + (60 if number % 2 else seconds):
                if number % 2 and (begun(node) or ended(pid)):
                    break
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        lasted = lasted or time.monotonic() - start
        opened += len(pending(node.machine))
        fixed = aalearn("--db", db, "reconcile", "--fix")
        assert fixed.code == 0, fixed.err + fixed.out
        entry = applied(node.machine, b"app")[-1]
        assert json.loads(aalearn("--db", db, "--output", "json", "reconcile").out)["differences"] == []
        assert last_step(db)[:2] == (entry.stage, entry.revision)
        there = (node.base / "app").exists()
        assert (entry.stage, node.kernel.modes()) == (("enforced", {"app": "enforce"}) if there else ("retired", {}))
        if not there:
            gone += 1
            assert (last_step(db)[2], applied(node.machine, b"app")[-2].stage) == ("gone", "enforced")
            promote(node, db, TWO, "enforced", 2)
    assert gone >= 2
    assert opened >= 2
