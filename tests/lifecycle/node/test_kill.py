"""kill -9 at random moments of a change: nothing is ever half, and what is open can be finished or undone."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import applied, apply, finish, pending, undo
from aalearn.lifecycle.node.records import Applied, Records
from aalearn.lifecycle.node.requests import revert
from tests.lifecycle.node.test_applier import NEW, OLD, change
from tests.lifecycle.simulated import Simulated

pytestmark = [pytest.mark.parser, pytest.mark.slow]

KILLS = 50


def killed(
    work: Callable[[], object], seconds: float, look: Callable[[], None], now: Callable[[], bool] = lambda: False
) -> bool:
    """Do the work in a process of its own and kill that after so many seconds, or when it is `now`, unless it is done;
    `look` is called all the while.
    """
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    end = time.monotonic() + seconds
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while time.monotonic() < end and os.waitid(os.P_PID, pid, ended) is None and not now():
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


def test_what_is_written_down_is_what_is_there(tmp_path: Path) -> None:
    """Of a retirement, a way back without a target, and one that removes a local file, whenever they are killed."""
    draw = random.Random(os.getpid())
    opened = 0
    for number in range(KILLS):
        node = Simulated(tmp_path / str(number))
        place = "local/app" if number % 3 == 2 else "app"
        seconds = draw.uniform(0, 0.02) if number % 2 else draw.uniform(0, 0.2)
        entries = begun_and_killed(node, place, retired=number % 3 == 1, seconds=seconds, in_change=bool(number % 2))
        for intent in pending(node.machine):
            opened += 1
            (undo if draw.random() < 0.3 else finish)(node.machine, intent)
        now = applied(node.machine, b"app")
        assert now[: len(entries)] == entries, "nothing is forgotten"
        last = now[-1]
        file = node.base / place
        assert last.text == files.digest(file.read_bytes() if file.exists() else None)
        assert last.mode == node.kernel.modes().get("app", "")
        if last.stage == "reverted":
            assert last.before == entries[-2].before
        with Records.open(node.machine.backups) as records:
            for entry in now:
                records.get(entry.text)
                records.get(entry.policy)
    assert opened >= KILLS // 5


def begun_and_killed(
    node: Simulated, place: str, *, retired: bool, seconds: float, in_change: bool
) -> tuple[Applied, ...]:
    """Promote twice, then kill the way back or the end, so many seconds after its start or (`in_change`) after it has
    written down what it is about to do; return what was written down before that.
    """
    if place == "app":
        node.load(OLD, "app")
        texts = [NEW, NEW.replace("/b r,", "/c r,")]
        wanted = [change(node, text, revision=at) for at, text in enumerate(texts, 1)]
    else:
        own = NEW.replace("/b r,", "include if exists <local/app>")
        node.load(own, "app")
        policy = node.policy(own.replace("include if exists <local/app>", "/x r,"))
        wanted = [replace(change(node), place=place, text=b"  /x r,\n", policy=policy)]
    for one in wanted:
        apply(node.machine, one)
    before = applied(node.machine, b"app")
    last = replace(wanted[0], text=None, policy=None, stage="retired")

    def changing() -> bool:
        begun = in_change and any(name.startswith("intent.") for name in os.listdir(node.machine.backups))
        if begun:
            time.sleep(seconds)
        return begun

    def work() -> object:
        if retired:
            return apply(node.machine, last)
        return revert(node.machine, b"app", who="bob", reason="")

    killed(work, 30 if in_change else seconds, lambda: None, changing)
    return before
