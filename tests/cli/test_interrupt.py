"""Ctrl-C at any moment of the start is one line and 130, never a traceback."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import clean_environment
from tests.conftest import ROOT


@pytest.mark.parametrize("seen", ["aalearn.model", "typer", "aalearn.cli.face", "pydantic_settings", "sqlalchemy"])
def test_while_modules_load(seen: str, tmp_path: Path, interruptible: None) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "aalearn", "--db", f"sqlite:///{tmp_path}/x.db", "ingest", "-"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(),
    ) as process:
        assert process.stderr is not None
        said = b""
        for line in process.stderr:
            said += line
            if line.startswith(b"import time:") and line.rpartition(b"|")[2].strip().startswith(seen.encode()):
                break
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=60)[1]
    told = [line for line in said.decode().splitlines() if not line.startswith("import time:")]
    assert process.returncode == 130, told
    assert len(told) == 1
    assert told[0].startswith("aalearn: note: interrupted")


def test_in_the_background_of_a_script_it_is_ignored() -> None:
    """A shell without job control starts `… &` with SIGINT ignored, and means it."""
    code = "import os, signal, aalearn.__main__ as entry, sys\nsys.argv = ['aalearn', 'version']\n"
    code += "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "sys.settrace(None)\nos.kill(os.getpid(), signal.SIGINT)\nentry.main()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("aalearn ")
