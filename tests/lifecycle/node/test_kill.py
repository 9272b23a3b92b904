"""kill -9 at random moments of a change: nothing is ever half, and what is open can be finished or undone."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.lifecycle.node.applier import applied, apply, finish, pending, undo
from tests.lifecycle.node.test_applier import NEW, OLD, change
from tests.lifecycle.simulated import Simulated

pytestmark = [pytest.mark.parser, pytest.mark.slow]

KILLS = 50


def killed(work: Callable[[], object], seconds: float, look: Callable[[], None]) -> bool:
    """Do the work in a process of its own and kill that after so many seconds; `look` is called all the while."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        look()
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def test_whole_at_any_moment(tmp_path: Path) -> None:
    node = Simulated(tmp_path)
    node.load(OLD, "app")
    changes = [change(node, OLD, stage="reverted"), change(node, NEW)]
    whole = {text.encode(): mode for text, mode in ((OLD, "complain"), (NEW, "enforce"))}

    def look() -> None:
        """The file is whole, and the profile is loaded with its child, both in one mode."""
        assert (node.base / "app").read_bytes() in whole
        modes = Simulated(tmp_path).kernel.modes()
        assert set(modes) == {"app", "app//inner"}
        assert len(set(modes.values())) == 1

    begun = time.monotonic()
    apply(node.machine, changes[1])
    lasted = time.monotonic() - begun
    draw = random.Random(os.getpid())
    hit = opened = 0
    for number in range(KILLS):
        wanted = changes[number % 2]
        hit += killed(lambda wanted=wanted: apply(node.machine, wanted), draw.uniform(0, 1.2 * lasted), look)  # type: ignore[misc]
        look()
        for intent in pending(node.machine):
            opened += 1
            if draw.random() < 0.5:
                finish(node.machine, intent)
            else:
                undo(node.machine, intent)
        assert pending(node.machine) == ()
        text = (node.base / "app").read_bytes()
        assert set(node.kernel.modes().values()) == {whole[text]}
        (entry,) = applied(node.machine, b"app")[-1:]
        assert [name for name in os.listdir(node.base) if name.startswith(".")] in ([], [".aalearn-new.app"])
        assert entry.mode in whole.values()
    assert hit > KILLS // 4
    assert opened > 3
    apply(node.machine, changes[1])
    assert [name for name in os.listdir(node.base) if name.startswith(".")] == []
