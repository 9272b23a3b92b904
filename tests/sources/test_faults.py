"""Faults, with the real intake and a store on disk: events in = events in the store, or a loss says how many not."""

import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aalearn.intake import Intake, Options
from aalearn.sources.live import LiveSource
from aalearn.sources.live_journal import Journal
from aalearn.sources.tail import Tail
from aalearn.store import Store
from tests.conftest import require
from tests.sources.rotating import LINE
from tests.sources.test_journal import EVENT, REMOTE
from tests.sources.test_live_journal import Written, one

NODE = "web-1"
NAMES = 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


def learn(store: Store, source: LiveSource, until: "subprocess.Popen[str] | None" = None, quiet: int = 3) -> None:
    """Read until the writer has ended and all is quiet; commit every second. The position is the store's."""
    intake = Intake(store, Options(NODE))
    source.open(store.positions().get(f"{NODE}:{source.name}"))
    last, silent = time.monotonic(), 0
    try:
        while silent < quiet:
            ended = until is None or until.poll() is not None
            chunks = source.read(0.2)
            silent = silent + 1 if ended and not chunks else 0
            for chunk in chunks:
                intake.take(chunk)
            if time.monotonic() - last > 1:
                intake.commit()
                last = time.monotonic()
    finally:
        source.close()
    intake.commit()


def counted(store: Store) -> int:
    return sum(access.count for access in store.accesses(b"p"))


def lost(store: Store) -> int:
    return sum(loss.amount for loss in store.losses())


def writer(
    root: Path, folder: Path, way: str, lines: int, rate: int, between: float, keep: int
) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.sources.rotating", folder, way, lines, rate, between, keep]
    return subprocess.Popen([str(word) for word in command], cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["rename", "copytruncate", "racing"])
def test_rotation_every_50_ms(root: Path, tmp_path: Path, store: Store, way: str) -> None:
    """50,000 lines a second for 4 seconds. Of the racing way the lines that are lost are told, to the last one."""
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o750)
    lines = 200_000
    with writer(root, folder, way, lines, 50_000, 0.05, 200) as process:
        learn(store, Tail(folder / "audit.log", NODE, owner=os.getuid()), process)
        assert process.stdout is not None
        rotations, _ = process.stdout.read().split()
    assert int(rotations) > 20
    assert counted(store) + lost(store) == lines
    assert (lost(store) == 0) == (way != "racing")
    assert len(store.accesses(b"p")) == NAMES
    assert all(access.trusted for access in store.accesses(b"p"))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["rename", "copytruncate"])
def test_files_that_vanish_are_told_to_the_last_record(root: Path, tmp_path: Path, store: Store, way: str) -> None:
    """Two old files are kept while nobody reads."""
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o750)
    log = folder / "audit.log"
    log.write_bytes(b"".join(LINE % (1_700_000_000, 0, serial, 7, 7) for serial in range(1, 101)))
    learn(store, Tail(log, NODE, owner=os.getuid()))
    log.rename(folder / "audit.log.1")
    with writer(root, folder, way, 30_000, 50_000, 0.05, 2) as process:
        process.wait()
    text = b"".join(path.read_bytes() for path in folder.iterdir())
    learn(store, Tail(log, NODE, owner=os.getuid()))
    left = text.count(b"apparmor=")
    assert left < 30_000
    assert counted(store) == left + 100
    assert [loss.kind for loss in store.losses()] == ["rotated-away"]


@pytest.mark.slow
def test_down_across_two_rotations_again_and_again(root: Path, tmp_path: Path) -> None:
    """The reader is opened anew all the time, each time after the position that the store has."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o750)
    with writer(root, folder, "rename", 60_000, 20_000, 0.1, 200) as process:
        while process.poll() is None:
            source = Tail(folder / "audit.log", NODE, owner=os.getuid())
            with Store.open(url) as store:
                intake = Intake(store, Options(NODE))
                source.open(store.positions().get(f"{NODE}:{source.name}"))
                for number, chunk in enumerate(source.read(0.1)):
                    intake.take(chunk)
                    if number == 1:
                        intake.commit()  # what comes after it is forgotten, as by a crash
            source.close()
            time.sleep(0.25)
        with Store.open(url) as store:
            learn(store, Tail(folder / "audit.log", NODE, owner=os.getuid()))
            assert (counted(store), lost(store)) == (60_000, 0)


@pytest.mark.real
def test_a_journal_rotated_vacuumed_and_its_clock_set_back(tmp_path: Path, store: Store) -> None:
    require("journalctl", shutil.which("journalctl"))
    require("systemd-journal-remote", Path(REMOTE).exists())
    written = Written(tmp_path / "journal")
    day = 86_400_000_000

    def entries(first: int, last: int, back: int = 0) -> list[bytes]:
        message = "AVC " + EVENT + " fsuid=0 ouid=0"
        start = 1_700_000_000_000_000 - back
        return [one(number, start + number * 1000, MESSAGE=message) for number in range(first, last)]

    def follow() -> Journal:
        return Journal(NODE, written.folder, owner=os.getuid(), library=False)

    written.add("a", *entries(1, 500))
    learn(store, follow(), quiet=4)
    assert counted(store) == 499
    written.add("a", *entries(500, 700))
    written.add("b", *entries(700, 900))
    written.add("c", *entries(900, 1000, day))  # and the clock jumps back a day
    learn(store, follow(), quiet=4)
    assert (counted(store), lost(store)) == (999, 0)
    (written.folder / "a.journal").unlink()
    learn(store, follow(), quiet=4)
    assert (counted(store), lost(store)) == (999, 0)
    assert {access.trusted for access in store.accesses(b"p")} == {True}


def test_forged_lines_in_audit_log(tmp_path: Path, store: Store) -> None:
    """USER records of whoever may write them, and a bus daemon's: none is trusted, all are counted."""
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o750)
    body = (LINE % (1, 0, 1, 1, 1)).partition(b"): ")[2].strip()
    stamp = b"msg=audit(1700000000.123:%d): pid=9 uid=0 auid=0 ses=1 msg='%b'\n"
    dbus = b'apparmor="DENIED" operation="dbus_signal" bus="system" path="/" interface="a.b" member="C" mask="send" '
    dbus += b'name="x.y" pid=12 label="d"'
    (folder / "audit.log").write_bytes(
        b"type=USER "
        + stamp % (1, body)
        + b"type=USER_AVC "
        + stamp % (2, body)
        + b"type=USER_AVC "
        + stamp % (3, dbus)
        + b"type=USER_LOGIN "
        + stamp % (4, b"type=AVC msg=audit(1700000000.123:9): " + body)
    )
    source = Tail(folder / "audit.log", NODE, owner=os.getuid())
    intake = Intake(store, Options(NODE))
    source.open(None)
    for chunk in source.read(0):
        assert chunk.trusted
        intake.take(chunk)
    source.close()
    intake.commit()
    totals = intake.totals
    assert totals["lines"] == 4 == totals["events"] + totals["forged"] + totals["other"] + totals["malformed"]
    assert [access.trusted for profile in store.profiles() for access in store.accesses(profile.name)] == [False]
    assert [profile.name for profile in store.profiles()] == [b"d"]


@pytest.mark.slow
def test_a_million_lines(tmp_path: Path, store: Store) -> None:
    """Fast enough to catch up with any writer; the bound is a tenth of what was measured, for busy machines."""
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o750)
    lines = 1_000_000
    with (folder / "audit.log").open("wb") as out:
        for first in range(1, lines + 1, 1000):
            out.write(
                b"".join(
                    LINE % (1_700_000_000 + serial // 5000, serial % 1000, serial, serial % 1000, 100 + serial % 50)
                    for serial in range(first, first + 1000)
                )
            )
    gc.collect()
    begun = time.process_time()
    learn(store, Tail(folder / "audit.log", NODE, owner=os.getuid()), quiet=1)
    seconds = time.process_time() - begun
    print(f"{lines / seconds:,.0f} lines/s")
    assert counted(store) == lines
    assert lines / seconds > 30_000
