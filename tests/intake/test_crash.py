"""Killed at any moment and begun again, ingestion counts exactly what an undisturbed one counts."""

import lzma
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aalearn.intake import Options, ingest
from aalearn.store import Store
from tests.intake.conftest import fresh, state, without_runs

KILLS = 24


def empty(path: Path) -> None:
    """Make this a new store."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    Store.open(f"sqlite:///{path}").close()


@pytest.mark.slow
def test_kill_9(root: Path, tmp_path: Path) -> None:
    content = lzma.decompress((root / "tests/data/logs/kernel-6.12/bash_exec/audit.log.xz").read_bytes())
    log = tmp_path / "audit.log"
    log.write_bytes(b"".join(content.splitlines(keepends=True)[:1500]))
    expected = without_runs(fresh(tmp_path, "undisturbed", (log,)))
    path = tmp_path / "killed.db"
    draw = random.Random(os.getpid())
    command = [sys.executable, "-m", "tests.intake.nursery"]
    killed = partly = 0
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        asks, answers = nursery.stdin, nursery.stdout
        assert asks is not None
        assert answers is not None

        def answer(seconds: float) -> str:
            print(path, log, seconds, file=asks, flush=True)
            return answers.readline().strip()

        empty(path)
        answer(-1)
        empty(path)
        begun = time.monotonic()
        assert answer(-1) == "0"
        whole = time.monotonic() - begun
        for number in range(KILLS):
            empty(path)
            for _ in range(1 + number % 2):  # some are killed a second time
                killed += answer(draw.uniform(0.0, 0.8 * whole)) == "-9"
            with Store.open(f"sqlite:///{path}") as store:
                partly += 0 < store.counters().get("events", 0) < expected["counters"]["events"]
                ingest([log], store, Options("web-1"))
                assert without_runs(state(store)) == expected
        asks.close()
    assert killed >= KILLS // 2
    assert partly >= 3
