"""A program that makes up names: they fill neither the journal nor the memory, and the service is not held up."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from aalearn.lifecycle.limits import Limits
from aalearn.store import Store
from tests.conftest import ROOT
from tests.lifecycle.flooded import long_name
from tests.lifecycle.scene import Scene
from tests.lifecycle.watching import T0, batch, reading

MOST_KIB = 140_000  # 80,000 were measured, and 276,000 before judgements were bounded in bytes
NEVER = Limits(denials=10**9, seconds=10, probation=100)


def test_a_flood_of_names_does_not_fill_the_journal(caplog: pytest.LogCaptureFixture) -> None:
    with Store.open("sqlite://") as store:
        scene = Scene(store, limits=NEVER)
        scene.promote(1)
        scene.tick()
        for _ in range(3):
            scene.denied(*(reading(f"/tmp/{scene.now}-{at}") for at in range(2500)))
            scene.tick(0.01)
        told = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert len(told) == 3 * 21 - 20
        assert scene.watch.figures.denied == {(b"nginx", 0): 7500}
        caplog.clear()
        scene.start()
        scene.tick()
        scene.denied(reading(long_name(1)))
        assert max(len(one.getMessage()) for one in caplog.records) <= 2_100


def test_a_flood_of_long_names_does_not_fill_the_memory(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with Store.open(url) as store:
        store.step(b"nginx", "enforced", revision=1, who="x", reason="", when=T0)
        for begin in range(0, 6_000, 500):
            rows = [(reading(long_name(at)), T0 + 1000 + at, 1) for at in range(begin, begin + 500)]
            store.commit(batch(*rows, sample=b" pid=77 name=" + b"a" * 4000))
    command = [sys.executable, "-m", "tests.lifecycle.flooded", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    denied, peak = map(int, done.stdout.split())
    assert denied == 6_000 + 3_000
    assert peak < MOST_KIB


def test_what_was_flooded_before_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """Each judgement takes some tenths of a millisecond, and nothing is counted meanwhile."""
    with Store.open("sqlite://") as store:
        scene = Scene(store, limits=NEVER)
        scene.promote(1)
        for begin in range(0, 3_000, 1_000):
            store.commit(batch(*((reading(f"/tmp/{at}"), scene.now, 1) for at in range(begin, begin + 1_000))))
        scene.start()
        scene.tick()
        (watched,) = scene.watch._watched.values()
        assert len(watched.told) == 2_000
        assert scene.watch.figures.denied == {(b"nginx", 0): 3_000}
        assert "3000 denials (3000 kinds) since revision 1" in caplog.text
