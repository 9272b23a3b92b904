"""`aalearn ingest` and `aalearn status` as a person types them, with real logs and with what is no log."""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from tests.cli.conftest import SAMPLES, Done, Face, clean_environment, program
from tests.conftest import ROOT, require

REDIS = SAMPLES / "redis" / "audit.log"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def profiles(done: Done) -> dict[str, dict[str, object]]:
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["schema"] == 1
    return {entry["profile"]: entry for entry in document["profiles"]}


@pytest.fixture
def db(tmp_path: Path) -> str:
    return url(tmp_path / "x.db")


def test_a_real_log_is_read_and_summed_up(aalearn: Face, db: str) -> None:
    done = aalearn("--db", db, "--output", "json", "ingest", REDIS)
    assert done.code == 0
    assert done.err == ""
    document = json.loads(done.out)
    assert document["schema"] == 1
    assert document["lines"] == len(REDIS.read_bytes().splitlines())
    parts = ("events", "duplicates", "companions", "other", "malformed", "truncated", "forged", "loss_records")
    assert sum(document[part] for part in parts) == document["lines"]
    assert document["verdicts"]["ALLOWED"] > 300
    assert document["kinds"]["file"] > 250
    assert document["unknown_operations"] == {}
    assert document["incomplete"] is False
    text = aalearn("--db", db, "ingest", REDIS)
    assert "the same record again" in text.out


def test_twice_is_once(aalearn: Face, db: str) -> None:
    aalearn("--db", db, "ingest", REDIS)
    once = aalearn("--db", db, "--output", "json", "status")
    again = json.loads(aalearn("--db", db, "--output", "json", "ingest", REDIS).out)
    assert again["events"] == 0
    assert profiles(once) == profiles(aalearn("--db", db, "--output", "json", "status"))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_compressed_logs_give_the_same(
    aalearn: Face, tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = tmp_path / f"audit.log.1{suffix}"
    packed.write_bytes(pack(REDIS.read_bytes()))
    aalearn("--db", url(tmp_path / "plain.db"), "--quiet", "ingest", REDIS)
    aalearn("--db", url(tmp_path / "packed.db"), "--quiet", "ingest", packed)
    plain, other = (
        profiles(aalearn("--db", url(tmp_path / name), "--output", "json", "status"))
        for name in ("plain.db", "packed.db")
    )
    assert plain == other


def test_a_folder_of_rotated_logs_and_standard_input(aalearn: Face, tmp_path: Path) -> None:
    lines = REDIS.read_bytes().splitlines(keepends=True)
    folder = tmp_path / "audit"
    folder.mkdir()
    (folder / "audit.log").write_bytes(b"".join(lines[800:]))
    (folder / "audit.log.1").write_bytes(b"".join(lines[400:800]))
    (folder / "audit.log.2.gz").write_bytes(gzip.compress(b"".join(lines[:400])))
    done = aalearn("--db", url(tmp_path / "folder.db"), "--output", "json", "ingest", folder)
    assert json.loads(done.out)["lines"] == len(lines)
    piped = program("--db", url(tmp_path / "pipe.db"), "ingest", "-", stdin=REDIS.read_bytes())
    assert piped.code == 0, piped.err
    first, second = (
        profiles(aalearn("--db", url(tmp_path / name), "--output", "json", "status"))
        for name in ("folder.db", "pipe.db")
    )
    assert first == second


def test_trust_and_node_are_a_persons_word(aalearn: Face, tmp_path: Path) -> None:
    aalearn("--db", url(tmp_path / "a.db"), "-q", "ingest", "--trusted", "--node", "web-1", REDIS)
    aalearn("--db", url(tmp_path / "b.db"), "-q", "ingest", REDIS)
    mine = profiles(aalearn("--db", url(tmp_path / "a.db"), "--output", "json", "status"))["redis"]
    other = profiles(aalearn("--db", url(tmp_path / "b.db"), "--output", "json", "status"))["redis"]
    assert (mine["trusted"], other["trusted"]) == (True, False)
    assert "redis" in aalearn("--db", url(tmp_path / "a.db"), "status").out


def test_status_of_one_profile(aalearn: Face, learned: Callable[[str], Path]) -> None:
    db = url(learned("redis"))
    document = json.loads(aalearn("--db", db, "--output", "json", "status", "redis").out)
    assert document["schema"] == 1
    assert document["profile"] == "redis"
    assert document["events"] == document["verdicts"]["ALLOWED"]
    assert document["programs"] == ["redis-server"]
    assert document["losses_in_time"] == []
    assert document["readiness"]["ready"] is False
    assert "1 run" in document["readiness"]["sentence"]
    text = aalearn("--db", db, "status", "redis").out
    assert "redis-server" in text
    assert "2026-11-23" in text
    assert document["readiness"]["sentence"] in text


def test_ready_is_what_the_configuration_says_and_what_was_denied_is_settled(
    aalearn: Face, learned: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copy(learned("redis"), tmp_path / "redis.db")  # decisions are written into it
    db = url(tmp_path / "redis.db")
    config = tmp_path / "config.toml"
    config.write_text("[promotion]\nruns = 1\ncoverage = 0\nnew_rules_a_run = 1000\nquiet_days = 0\n")

    def readiness() -> dict[str, Any]:
        done = aalearn("--db", db, "--config", str(config), "--output", "json", "status", "redis")
        found: dict[str, Any] = json.loads(done.out)["readiness"]
        return found

    waiting = json.loads(aalearn("--db", db, "--output", "json", "review", "redis").out)["waiting"]
    assert waiting
    assert readiness()["reasons"] == [
        f"{len(waiting)} {'rule waits' if len(waiting) == 1 else 'rules wait'} for review"
    ]
    for one in waiting:
        aalearn("--db", db, "review", "redis", "--deny", one["rule"])
    assert readiness()["ready"]


def test_an_unknown_profile_is_told_with_the_nearest(aalearn: Face, learned: Callable[[str], Path]) -> None:
    for command in ("status", "explain", "suggest", "review"):
        done = aalearn("--db", url(learned("redis")), command, "rediss")
        assert done.code == 2, (command, done)
        assert done.out == ""
        assert done.err.count("\n") == 1
        assert "did you mean redis?" in done.err


def test_an_unknown_profile_without_any_near(aalearn: Face, learned: Callable[[str], Path]) -> None:
    done = aalearn("--db", url(learned("redis")), "status", "\x1b]0;x\x07\n")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err
    assert "known are" in done.err


def test_no_store_yet(aalearn: Face, db: str, tmp_path: Path) -> None:
    for command in (["status"], ["suggest", "x"], ["explain", "x"]):
        done = aalearn("--db", db, *command)
        assert done.code == 2
        assert "aalearn ingest" in done.err
    assert not (tmp_path / "x.db").exists()


WRONG: dict[str, bytes] = {
    "rubbish": os.urandom(4096),
    "nul": b"\0" * 4096,
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "prose": b"Dear diary,\nnothing happened today.\n" * 40,
    "escape": b"\x1b[2J\x1b]0;owned\x07\n" * 40,
    "cut.gz": gzip.compress(REDIS.read_bytes())[:2000],
    "not.gz": b"\x1f\x8b" + b"rubbish" * 100,
    "cut.xz": lzma.compress(REDIS.read_bytes())[:2000],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_log_is_refused_in_one_line(aalearn: Face, tmp_path: Path, name: str) -> None:
    db = tmp_path / "x.db"
    aalearn("--db", url(db), "-q", "ingest", REDIS)
    before = aalearn("--db", url(db), "--output", "json", "status").out
    file = tmp_path / name
    file.write_bytes(WRONG[name])
    done = aalearn("--db", url(db), "ingest", file)
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err
    assert name in done.err
    assert aalearn("--db", url(db), "--output", "json", "status").out == before


def test_a_missing_file(aalearn: Face, db: str, tmp_path: Path) -> None:
    done = aalearn("--db", db, "ingest", REDIS, tmp_path / "gone\n\x1b[1m.log")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err
    assert "gone" in done.err


@pytest.mark.skipif(os.geteuid() != 0 and shutil.which("setpriv") is None, reason="only root can become nobody")
def test_what_may_not_be_read_or_written(tmp_path: Path) -> None:
    """Root may read all, so this is another user's call."""
    prefix = NOBODY if os.geteuid() == 0 else ()
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    closed = tmp_path / "closed"
    closed.mkdir()
    shutil.copy(REDIS, closed / "audit.log")
    closed.chmod(0o700 if prefix else 0)
    for parent in (tmp_path, *tmp_path.parents):  # pytest's own folders are closed to others
        if parent == Path(gettempdir()):
            break
        parent.chmod(parent.stat().st_mode | 0o055)
    quiet = clean_environment(PYTHONDONTWRITEBYTECODE="1", HOME=str(open_folder))
    usable = subprocess.run(
        [*prefix, sys.executable, "-c", "import aalearn.cli.main"], cwd=ROOT, env=quiet, check=False
    )
    require("a checkout and a Python that another user can read", usable.returncode == 0)
    read = program("--db", url(open_folder / "x.db"), "ingest", closed, environment=quiet, prefix=prefix)
    assert read.code == 2, read
    assert read.err.count("\n") == 1
    assert "ermission" in read.err
    write = program("--db", url(closed / "x.db"), "ingest", "-", environment=quiet, prefix=prefix)
    assert write.code in (2, 3), write
    assert write.err.count("\n") == 1


def test_a_store_that_is_none_or_damaged(aalearn: Face, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.db"
    rubbish.write_bytes(b"this is not a database, really not" * 200)
    damaged = tmp_path / "damaged.db"
    aalearn("--db", url(damaged), "-q", "ingest", REDIS)
    data = bytearray(damaged.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    damaged.write_bytes(data)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table somebody_elses (x)")
    connection.close()
    for file in (rubbish, damaged, foreign):
        content = file.read_bytes()
        for command in (["status"], ["ingest", str(REDIS)], ["suggest", "redis"]):
            done = aalearn("--db", url(file), *command)
            assert done.code in (2, 3), (file, command, done)
            assert done.out == ""
            assert done.err.count("\n") == 1
            assert file.name in done.err
        if file is not damaged:
            assert file.read_bytes() == content


@pytest.mark.parametrize("wrong", ["x.db", "mysql://x/y", "sqlite:///", "", "postgresql+psycopg://\x1b[1m@/x"])
def test_a_store_that_can_not_be_named_so(aalearn: Face, wrong: str) -> None:
    done = aalearn("--db", wrong, "status")
    assert done.code in (2, 3)
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


def test_ctrl_c_ends_with_one_line_and_a_good_store(tmp_path: Path) -> None:
    db = tmp_path / "x.db"
    command = [sys.executable, "-m", "aalearn", "--db", url(db), "ingest", "-"]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        cwd=ROOT,
        # A shell that started the tests in the background has them ignore it, and so their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stdin is not None
    child.stdin.write(REDIS.read_bytes())
    child.stdin.flush()
    deadline = time.monotonic() + 60
    while not db.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, b"")
    assert err == b"aalearn: note: interrupted; what was committed is kept\n"
    assert program("--db", url(db), "ingest", REDIS).code == 0


def test_progress_is_for_terminals_only(tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "aalearn", "--db", url(tmp_path / "x.db"), "ingest", str(REDIS)]
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=terminal, env=clean_environment(TERM="xterm"), cwd=ROOT
    )
    os.close(terminal)
    drawn = b""
    with contextlib.suppress(OSError):  # the terminal's end: EIO
        while part := os.read(main, 4096):
            drawn += part
    os.close(main)
    assert child.wait() == 0
    assert b"reading" in drawn or b"audit.log" in drawn
    assert program("--db", url(tmp_path / "y.db"), "ingest", REDIS).err == ""
