"""The program as a person runs it: by a new process, or (faster) by `run` in this one with captured output."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aalearn.cli.main import run as run_main
from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.lifecycle.simulated import Simulated

SAMPLES = ROOT / "sample-logs"


@dataclass(frozen=True)
class Done:
    """What one call left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Face = Callable[..., Done]


def clean_environment(**more: str) -> dict[str, str]:
    """Return this environment without any AALEARN_ variable, with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AALEARN_")}
    return {**kept, "NO_COLOR": "1", **more}


def program(
    *arguments: str | Path, stdin: bytes = b"", environment: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> Done:
    """Run `python -m aalearn` as its own process."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "aalearn", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        env=environment or clean_environment(),
        cwd=ROOT,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def aalearn(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Face:
    """Return a function that runs one command line in this process."""
    for name in list(os.environ):
        if name.startswith("AALEARN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("aalearn.cli.vouching.is_root", lambda: False)  # nothing is written to this machine's records

    def call(*arguments: str | Path) -> Done:
        capfd.readouterr()
        code = run_main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: the name of a sample log → the database that holds it (made once a session)."""
    folder = tmp_path_factory.mktemp("learned")

    def store(name: str) -> Path:
        path = folder / f"{name}.db"
        if not path.exists():
            (log,) = (SAMPLES / name).glob("audit.log*")
            done = program("--db", f"sqlite:///{path}", "--quiet", "ingest", log)
            assert done.code == 0, done.err
        return path

    return store


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apparmor_parser: str) -> "Simulated":
    """A machine in a folder, which the commands take for the one that they run on."""
    from aalearn.cli import onnode
    from tests.lifecycle.simulated import Simulated

    made = Simulated(tmp_path / "node")
    monkeypatch.setattr(onnode, "machine", lambda _: made.machine)
    return made


@pytest.fixture
def db(node: "Simulated", tmp_path: Path) -> str:
    """The store of a node on which app was drafted, and then its revisions 1 and 2 were enforced."""
    from tests.cli import promoted

    url = f"sqlite:///{tmp_path}/x.db"
    promoted.promote(node, url, promoted.DRAFT, "learning", 0)
    promoted.promote(node, url, promoted.ONE, "enforced", 1)
    promoted.promote(node, url, promoted.TWO, "enforced", 2)
    return url


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let children hear SIGINT also where these tests were started in the background, with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
