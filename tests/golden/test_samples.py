"""Each case of sample-logs/ gives its expected profiles, byte for byte, and apparmor_parser compiles them.

AALEARN_UPDATE=1 writes the expected files anew; look at the diff as carefully as at code: it is what people will load.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CASES = sorted(path.name for path in (ROOT / "sample-logs").iterdir() if path.is_dir() and (path / "expected").is_dir())
UPDATE = os.environ.get("AALEARN_UPDATE") == "1"


def aalearn(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aalearn", "--db", f"sqlite:///{store}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = ROOT / "sample-logs" / request.param
    store = tmp_path_factory.mktemp("golden") / "x.db"
    (log,) = folder.glob("audit.log*")
    done = aalearn(store, "ingest", str(log))
    assert done.returncode == 0, done.stderr
    return folder, store


@pytest.mark.parser
def test_the_log_gives_the_expected_profiles(case: tuple[Path, Path], apparmor_parser: str) -> None:
    folder, store = case
    for expected in sorted((folder / "expected").glob("*.aa")):
        done = aalearn(store, "suggest", expected.stem)
        assert done.returncode == 0, done.stderr
        if UPDATE:
            expected.write_text(done.stdout)
        assert done.stdout == expected.read_text()
        # Not through our own compiler: what a person would type.
        command = [apparmor_parser, "--config-file", "/dev/null", "-Q", "-K", "-S", "-M", "/etc/apparmor.d/abi/3.0"]
        compiled = subprocess.run([*command, "--base", "/etc/apparmor.d", expected], capture_output=True, check=False)
        assert compiled.returncode == 0, compiled.stderr


def test_every_case_says_how_it_was_recorded() -> None:
    for folder in (ROOT / "sample-logs").iterdir():
        assert (folder / "README.md").read_text().strip(), folder
        assert list((folder / "expected").glob("*.aa")), folder
        assert len(list(folder.glob("audit.log*"))) == 1, folder


@pytest.mark.slow
@pytest.mark.parser
def test_the_demo_prints_a_profile(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.fail("bash is missing")
    done = subprocess.run([ROOT / "dev", "demo"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "profile redis" in done.stdout
