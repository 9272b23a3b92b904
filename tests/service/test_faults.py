"""Killed at any moment, with a full disk: the events in the log are the events in the store, at the end."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from aalearn.model.errors import StoreError
from aalearn.store import Store
from tests.conftest import ROOT, require
from tests.service.conftest import Bench

KILLS = 200
PATIENCE_S = 60.0


class Nursery:
    """A process with everything imported, which forks one `aalearn` at a time and kills it in time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.service.nursery"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, what: str, store: Path, log: Path, seconds: float, lines: int = 0) -> int:
        """Let it work for so long (below 0: to its end) while `lines` lines are written to the log; its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, store, log, seconds, lines, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    """A nursery."""
    made = Nursery()
    yield made
    made.close()
    if made.process.stdout is not None:
        made.process.stdout.close()


def state(path: Path) -> tuple[int, int, int]:
    """Events by the counter, by the accesses' counts, and accesses. Nothing where the store was not made yet."""
    if not path.exists() or not path.stat().st_size:
        return 0, 0, 0
    try:
        return known(path)
    except StoreError as error:
        assert "is empty" in str(error)  # killed before the schema was made
        return 0, 0, 0


def known(path: Path) -> tuple[int, int, int]:
    """The same of a store that is there."""
    with Store.open(f"sqlite:///{path}", readonly=True) as store:
        accesses = [access for profile in store.profiles() for access in store.accesses(profile.name)]
        return store.counters().get("events", 0), sum(access.count for access in accesses), len(accesses)


@pytest.mark.slow
def test_kill_9_while_following(nursery: Nursery, tmp_path: Path) -> None:
    """The service is killed again and again, mostly while its log is being written and rotated; then it ends in peace.

    All that was ever written is in the store, once.
    """
    log, store = tmp_path / "audit.log", tmp_path / "store.db"
    log.touch()
    draw = random.Random(os.getpid())
    begun = monotonic()
    assert nursery.run("run", store, log, -1.0, 200) == 0
    usual = min(0.4, max(0.1, (monotonic() - begun - 0.6) / 4))  # on a busy machine all takes longer
    begun = monotonic()
    killed = kills = moved = before = 0
    written = 200
    while kills < KILLS * 3 // 4 and monotonic() - begun < PATIENCE_S:
        lines = draw.choice((0, 300, 1500))
        killed += nursery.run("run", store, log, draw.expovariate(1 / usual), lines) == -9
        kills += 1
        written += lines
        if kills % 10 == 0:
            now = state(store)[0]
            moved += now > before
            before = now
        if kills % 25 == 0:
            log.rename(log.with_name(f"audit.log.{1000 - kills}"))  # an older one has a higher number
            log.touch()
    assert nursery.run("run", store, log, -1.0, 500) == 0
    written += 500
    events, counted, accesses = state(store)
    assert (events, counted) == (written, written)
    assert accesses == 97
    assert killed >= kills * 2 // 3
    assert kills >= 50
    assert moved >= 3


@pytest.mark.slow
def test_kill_9_while_ingesting(nursery: Nursery, tmp_path: Path) -> None:
    """The same log is ingested again and again, and killed each time; at last it may finish."""
    log = tmp_path / "audit.log"
    lines = 6_000
    nursery.run("write", tmp_path / "none", log, -1.0, lines)
    draw = random.Random(os.getpid())
    Store.open(f"sqlite:///{tmp_path / 'whole.db'}").close()  # to make a store takes longer than all the rest
    begun = monotonic()
    assert nursery.run("ingest", tmp_path / "whole.db", log, -1.0) == 0
    whole = monotonic() - begun
    killed = partly = rounds = 0
    begun = monotonic()
    while killed < KILLS // 4 and monotonic() - begun < PATIENCE_S:
        store = tmp_path / f"store-{rounds}.db"
        rounds += 1
        Store.open(f"sqlite:///{store}").close()
        for _ in range(KILLS // 40):  # what is there already goes quickly: later ones end elsewhere
            killed += nursery.run("ingest", store, log, draw.uniform(0.0, 0.8 * whole)) == -9
            partly += 0 < state(store)[0] < lines
        assert nursery.run("ingest", store, log, -1.0) == 0
        assert state(store)[:2] == (lines, lines)
    assert killed >= 8
    assert partly >= 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    require("the right to mount", os.geteuid() == 0 and shutil.which("mount"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "aalearn-test", str(folder)], check=False, capture_output=True
    )
    require("the right to mount", mounted.returncode == 0)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(bench: Bench, small_disk: Path) -> None:
    """It keeps what it has, says so, tries again, and stores all of it as soon as there is room."""
    bench.folder = small_disk
    ballast = small_disk / "ballast"
    Store.open(bench.db).close()

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 65536)
            except OSError:
                return

    def more() -> None:
        for first in range(101, 40_101, 1000):
            bench.write(first, 1000)

    full = bench.says("its disk is full")
    failing = (lambda: any("STATUS=NOT STORING" in text for text in bench.systemd.look()), ballast.unlink)
    again = bench.says("the store can be written again")
    bench.write(1)
    code = bench.serve(
        None, (bench.stored(100), fill), (lambda: True, more), (full, lambda: None), failing, (again, lambda: None),
        (bench.stored(40_100), lambda: None), patience=60,
    )  # fmt: skip
    assert code == 0
    assert bench.events() == 40_100
    assert bench.figures is not None
    assert bench.figures.commit_failures > 0
    assert bench.figures.queue.most <= bench.options().queue_bytes


def test_a_full_disk_to_the_end(bench: Bench, small_disk: Path) -> None:
    """Ended while nothing can be stored, it says so with its exit code; what is missing is read again afterwards."""
    bench.folder = small_disk
    ballast = small_disk / "ballast"
    Store.open(bench.db).close()

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 65536)
            except OSError:
                pass
        for first in range(101, 20_101, 1000):
            bench.write(first, 1000)

    bench.write(1)
    begun: list[float] = []
    code = bench.serve(
        None, (bench.stored(100), fill), (bench.says("its disk is full"), lambda: begun.append(monotonic()))
    )
    assert monotonic() - begun[0] < 5.5
    assert code == 3
    assert bench.said[-1] == "not all could be stored; what is missing will be read again"
    ballast.unlink()
    assert bench.serve(None, (bench.stored(20_100), lambda: None)) == 0
    assert bench.events() == 20_100
