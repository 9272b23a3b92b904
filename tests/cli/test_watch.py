"""`aalearn watch` as a person types it: once, as lines beside a writer, and on a terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aalearn.store import Store
from tests.cli.conftest import Face, clean_environment
from tests.cli.schemas import WATCH, WATCH_LINE, fits
from tests.conftest import ROOT
from tests.lifecycle.watching import SOCKET, batch, reading

HOSTILE = "/etc/new\x1b[2J\x07\n\u202e"


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def db(tmp_path: Path) -> str:
    """A store in which nginx was promoted a minute ago."""
    url = f"sqlite:///{tmp_path}/x.db"
    with Store.open(url) as store:
        store.step(b"nginx", "enforced", revision=2, who="anna", reason="", when=now() - 60_000)
        store.step(b"redis", "learning", revision=0, who="anna", reason="", when=now() - 60_000)
    return url


def deny(db: str, *rows: tuple[Any, int]) -> None:
    with Store.open(db) as store:
        made = batch(*((event, now(), times) for event, times in rows))
        made.positions["a:log"] = str(now())
        store.commit(made)


def test_once_tells_what_was_denied_and_what_would_allow_it(aalearn: Face, db: str) -> None:
    quiet = aalearn("--db", db, "watch", "--once")
    assert quiet.code == 0
    assert quiet.out.splitlines()[1].split()[:2] == ["nginx", "2"]
    deny(db, (reading(HOSTILE), 3), (SOCKET, 1), (reading("/x", b"redis"), 9))
    done = aalearn("--db", db, "watch", "nginx", "--once")
    assert done.code == 1, done.err
    assert "\x1b" not in done.out
    assert "redis" not in done.out
    assert "nginx denied open r /etc/new\\x1b[2J\\x07\\x0a\\u{202e} by nginx, 3 times" in done.out
    assert "would be allowed by /run/docker.sock rw, (tier 1:" in done.out
    assert (
        "if it should: aalearn review nginx --include-denied --approve '/run/docker.sock rw,' --reason WHY" in done.out
    )
    value = json.loads(aalearn("--db", db, "--output", "json", "watch", "--once").out)
    fits(value, WATCH)
    (profile,) = value["profiles"]
    assert (profile["revision"], profile["events"], profile["worst_tier"]) == (2, 4, 1)
    assert 3500 < profile["probation_seconds"] < 3541


def test_what_is_certain_only_in_part_is_said_so(aalearn: Face, db: str) -> None:
    """It began before the promotion: how often it was since then, nobody knows."""
    with Store.open(db) as store:
        for at in (now() - 90_000, now()):
            made = batch((reading("/srv/new"), at, 100))
            made.positions["a:log"] = str(at)
            store.commit(made)
    done = aalearn("--db", db, "watch", "--once")
    assert done.code == 1
    assert "denied open r /srv/new by nginx, at least once; would" in done.out
    assert "at least 1" in done.out.splitlines()[1]
    (profile,) = json.loads(aalearn("--db", db, "--output", "json", "watch", "--once").out)["profiles"]
    assert (profile["events"], profile["at_least"], profile["denials"][0]["at_least"]) == (1, True, True)


def test_nothing_enforced_is_said(aalearn: Face, tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path}/x.db"
    Store.open(db).close()
    done = aalearn("--db", db, "watch", "--once")
    assert (done.code, done.out) == (0, "")
    assert "no profile is enforced" in done.err
    assert aalearn("--db", db, "watch", "nothere", "--once").code == 2
    assert aalearn("--db", f"sqlite:///{tmp_path}/none.db", "watch").code == 2
    assert aalearn("--db", db, "watch", "--interval", "0").code == 2


@pytest.fixture
def piped(db: str, interruptible: None) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "aalearn", "--db", db, "--output", "json", "watch", "--interval", "0.2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(), cwd=ROOT
    ) as process:
        yield process
        process.kill()


def line(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 30)[0], "no line came"
    value: dict[str, Any] = json.loads(process.stdout.readline())
    return value


def test_lines_for_programs_while_another_writes(db: str, piped: "subprocess.Popen[bytes]") -> None:
    deny(db, (reading(HOSTILE), 2))
    first = line(piped)
    fits(first, WATCH_LINE)
    assert (first["event"], first["times"], first["tier"]) == ("denied", 2, 0)
    assert [one["rule"] for one in first["rules"]]
    deny(db, (SOCKET, 1))
    assert line(piped)["what"] == "connect wr /run/docker.sock"
    deny(db, (SOCKET, 1))
    assert line(piped)["times"] == 2
    with Store.open(db) as store:
        store.step(
            b"nginx", "reverted", revision=2, who="aalearn", reason="3\x1b", when=now(), detail='{"mode": "complain"}'
        )
    step = line(piped)
    assert (step["event"], step["state"], step["by"]) == ("step", "reverted", "aalearn")
    piped.send_signal(signal.SIGINT)
    assert piped.wait(20) == 0


def test_a_screen_on_a_terminal_lets_nothing_through(db: str, interruptible: None) -> None:
    deny(db, (reading(HOSTILE), 3), (SOCKET, 1))
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "aalearn", "--db", db, "watch", "--interval", "0.2"]
    environment = clean_environment(TERM="xterm", COLUMNS="200", LINES="40")
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, cwd=ROOT, close_fds=True
    ) as process:
        os.close(terminal)
        said = b""
        end = time.monotonic() + 60
        while time.monotonic() < end and b"docker.sock rw," not in said:
            if select.select([main], [], [], 1)[0]:
                said += os.read(main, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    os.close(main)
    assert b"docker.sock rw," in said
    assert b"\\x1b[2J\\x07" in said
    assert b"\x1b[2J" not in said
    assert b"\x07" not in said
    assert "\u202e".encode() not in said
    assert not re.search(rb"Traceback", said)
