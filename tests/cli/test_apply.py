"""`aalearn apply --socket` as systemd starts it, in a process of its own with a connected socket."""

import json
import socket
import subprocess
import sys

import pytest

from tests.cli.conftest import Face, clean_environment
from tests.conftest import ROOT


def ask(line: bytes, *options: str) -> tuple[int, dict[str, object], str]:
    """Return the exit code, the answer and what was told for the journal."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(line)
        ours.shutdown(socket.SHUT_WR)
        done = subprocess.run(
            [sys.executable, "-m", "aalearn", *options, "apply", "--socket"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
            env=clean_environment(),
            timeout=60,
        )
        theirs.close()
        answer: dict[str, object] = json.loads(ours.recv(65_536))
    return done.returncode, answer, done.stderr.decode()


@pytest.mark.parametrize(
    "line", [b"", b"{}\n", b"\xff\x00\n", b'{"schema": 1, "do": "load", "profile": "x", "text": "profile x { }"}\n']
)
def test_what_is_no_request_is_refused_in_one_line(line: bytes) -> None:
    code, answer, told = ask(line)
    assert (code, answer["ok"]) == (2, False)
    assert told.startswith("aalearn apply: uid ")
    assert told.count("\n") == 1


def test_the_short_way_answers_as_the_frame_does() -> None:
    line = b'{"schema": 1, "do": "revert", "profile": "../x"}\n'
    assert ask(line)[:2] == ask(line, "--quiet")[:2]


def test_only_what_it_needs_is_loaded() -> None:
    """It races an outage."""
    script = (
        "import sys, aalearn.cli.served\n"
        "print([name for name in ('typer', 'pydantic', 'sqlalchemy', 'jinja2', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_person_is_told_what_to_use_instead(aalearn: Face) -> None:
    done = aalearn("apply")
    assert done.code == 2
    assert "promote and rollback" in done.err
