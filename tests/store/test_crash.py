"""Killed at any moment, or out of disk while committing: nothing lost, nothing doubled."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aalearn.model.errors import StoreError
from aalearn.store import Store
from aalearn.store.batch import Batch
from tests.conftest import ROOT, require
from tests.store.nursery import LINES
from tests.store.sightings import commit, many, take


def _told(url: str) -> list[object]:
    with Store.open(url, readonly=True) as store:
        return _readings(store)


def _readings(store: Store) -> list[object]:
    names = [summary.name for summary in store.profiles()]
    return [store.profiles(), [store.accesses(name) for name in names], [store.runs(name) for name in names]]


def _killed(nursery: "subprocess.Popen[str]", commits: int, wait: float | None) -> int:
    """Fork a writer; kill it `wait` seconds after that many commits (below 0: as it opens the store; None: never).

    Return its exit code.
    """
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(f"{commits}\n")
    nursery.stdin.flush()
    child = int(nursery.stdout.readline())
    assert nursery.stdout.readline() == "now\n"
    if wait is not None:
        time.sleep(wait)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return int(nursery.stdout.readline())


def test_kill_9_at_any_moment(url: str) -> None:
    """26 kills on each engine at random moments: of opening and migrating, of counting, of committing."""
    draw = random.Random(9)
    reached = set()
    command = [sys.executable, "-m", "tests.store.nursery", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as nursery:
        for number in range(26):
            commits, wait = (-1, 0.1) if number < 6 else (draw.randrange(9), 0.02)
            assert _killed(nursery, commits, draw.random() * wait) == -signal.SIGKILL
            with Store.open(url) as store:  # whole after each kill
                done = int(store.positions().get("a.log", "0"))
                assert sum(summary.events for summary in store.profiles()) == done
                assert sum(access.count for name in (b"web", b"db") for access in store.accesses(name)) == done
                reached.add(done)
        assert _killed(nursery, -1, None) == 0
        assert nursery.stdin is not None
        nursery.stdin.close()
    assert len(reached) > 10
    with Store.open("sqlite://") as whole:
        commit(whole, many(LINES))
        assert _told(url) == _readings(whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], capture_output=True, check=False
        ).returncode
    )
    require("the right to mount a small disk", mounted)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_disk_full_while_committing(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'x.db'}"
    seen = many(20_000, names=20_000)
    with Store.open(url) as store:
        batch = Batch()
        for one in seen[:200]:
            take(store, batch, one)
        store.commit(batch)
        before = _told(url)
        positions = store.positions()
        batch = Batch()
        for one in seen[200:]:
            assert take(store, batch, one)
        batch.positions["a.log"] = "all"
        with pytest.raises(StoreError) as caught:
            store.commit(batch)
        assert "full" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3
        assert _told(url) == before
        assert store.positions() == positions
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        store.commit(batch)  # the same batch, once there is room: nothing lost, nothing doubled
        assert sum(summary.events for summary in store.profiles()) == len(seen)
        assert not any(take(store, Batch(), one) for one in seen)


def test_disk_full_while_making_the_store(small_disk: Path) -> None:
    (small_disk / "fill").write_bytes(bytes(1_040_000))
    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{small_disk / 'x.db'}")
    assert "\n" not in str(caught.value)
    (small_disk / "fill").unlink()
    with Store.open(f"sqlite:///{small_disk / 'x.db'}") as store:
        assert store.profiles() == ()
