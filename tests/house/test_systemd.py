"""The units: what systemd says of them, how much they expose, and how they get to their places and away again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, require

UNITS = ("aalearn.service", "aalearn-apply.socket", "aalearn-apply@.service")
SERVICES = {"aalearn.service": 10, "aalearn-apply@.service": 12}  # how much they may expose, in tenths of 10
PLACES = {
    "aalearn.sysusers": "usr/local/lib/sysusers.d/aalearn.conf",
    "aalearn.tmpfiles": "usr/local/lib/tmpfiles.d/aalearn.conf",
    "aalearn.service": "usr/local/lib/systemd/system/aalearn.service",
    "aalearn-apply.socket": "usr/local/lib/systemd/system/aalearn-apply.socket",
    "aalearn-apply@.service": "usr/local/lib/systemd/system/aalearn-apply@.service",
    "aalearn.apparmor": "etc/apparmor.d/aalearn",
}
SETUP = ROOT / "systemd/setup.sh"


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    require("systemd-analyze", found)
    assert found is not None
    return found


def setup(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "DESTDIR": str(folder)}
    return subprocess.run(["sh", SETUP, *options], env=environment, capture_output=True, text=True, check=False)


def installed(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_systemd_finds_nothing_to_say(analyze: str, tmp_path: Path) -> None:
    """verify, in a root of its own that holds this machine's units, ours, and the two programs that they start."""
    stock = next(path for path in (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system")) if path.is_dir())
    shutil.copytree(stock, tmp_path / "usr/lib/systemd/system", symlinks=True)
    assert setup(tmp_path).returncode == 0
    for name in ("usr/local/bin/aalearn", "usr/bin/kill"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    names = [unit.replace("@.", "@1.") for unit in UNITS]
    done = subprocess.run(
        [analyze, "verify", "--man=no", f"--root={tmp_path}", *names], capture_output=True, text=True, check=False
    )
    assert [line for line in (done.stdout + done.stderr).splitlines() if "aalearn" in line] == []


@pytest.mark.parametrize("unit", SERVICES)
def test_little_is_exposed(analyze: str, unit: str) -> None:
    threshold = f"--threshold={SERVICES[unit]}"
    command = [analyze, "security", "--offline=yes", "--no-pager", threshold, f"{ROOT}/systemd/{unit}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_unit_is_confined_and_has_no_capability() -> None:
    lines = (ROOT / "systemd/aalearn.service").read_text().splitlines()
    assert "CapabilityBoundingSet=" in lines
    assert "AppArmorProfile=-aalearn" in lines
    assert "User=aalearn" in lines
    assert applier_s_capabilities() == ["mac_admin", "chown"]


def applier_s_capabilities() -> list[str]:
    lines = (ROOT / "systemd/aalearn-apply@.service").read_text().splitlines()
    (found,) = [line.removeprefix("CapabilityBoundingSet=") for line in lines if line.startswith("CapabilityBound")]
    return [name.removeprefix("CAP_").lower() for name in found.split()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can begin as the applier does")
@pytest.mark.parametrize(("uid", "gid", "mode"), [(0, 4, 0o640), (65534, 4, 0o644)])
def test_the_applier_can_write_a_file_anew_that_is_another_s(uid: int, gid: int, mode: int, tmp_path: Path) -> None:
    file = tmp_path / "app"
    file.write_text("old\n")
    os.chown(file, uid, gid)
    file.chmod(mode)
    script = "import sys, pathlib; from aalearn.lifecycle.node import files; "
    script += "files.write(pathlib.Path(sys.argv[1]), 'app', b'new')"
    bounds = ",".join(["-all", *(f"+{name}" for name in applier_s_capabilities())])
    command = ["setpriv", "--bounding-set", bounds, sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    about = file.stat()
    assert (file.read_text(), about.st_uid, about.st_gid, about.st_mode & 0o777) == ("new", uid, gid, mode)


def test_the_profile_compiles(apparmor_parser: str) -> None:
    command = [apparmor_parser, "-QKS", f"{ROOT}/systemd/aalearn.apparmor"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_setup_puts_each_file_in_its_place_and_takes_it_away(tmp_path: Path) -> None:
    assert setup(tmp_path).returncode == 0
    assert installed(tmp_path) == {place: (ROOT / "systemd" / name).read_text() for name, place in PLACES.items()}
    assert all((tmp_path / place).stat().st_mode & 0o777 == 0o644 for place in PLACES.values())
    assert setup(tmp_path, "--remove").returncode == 0
    assert installed(tmp_path) == {}


def test_setup_again_changes_nothing_and_keeps_what_a_person_changed(tmp_path: Path) -> None:
    def written() -> list[tuple[int, int]]:  # not when it was read: setup compares
        return [(about.st_ino, about.st_ctime_ns) for about in ((tmp_path / place).stat() for place in PLACES.values())]

    setup(tmp_path)
    before = written()
    setup(tmp_path)
    assert written() == before
    own = tmp_path / "etc/apparmor.d/aalearn"
    own.write_text("mine\n")
    setup(tmp_path)
    assert own.read_text() == (ROOT / "systemd/aalearn.apparmor").read_text()
    assert own.with_name("aalearn~").read_text() == "mine\n"


def test_a_dry_run_changes_nothing_and_says_it(tmp_path: Path) -> None:
    done = setup(tmp_path, "--dry-run")
    assert done.returncode == 0
    assert f"{tmp_path}/etc/apparmor.d/aalearn" in done.stdout
    assert installed(tmp_path) == {}
    setup(tmp_path)
    there = installed(tmp_path)
    assert "rm -f" in setup(tmp_path, "--remove", "--dry-run").stdout
    assert installed(tmp_path) == there


def test_setup_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    done = setup(tmp_path, "--frobnicate")
    assert done.returncode == 2
    assert "there is no option --frobnicate" in done.stderr
    assert installed(tmp_path) == {}


def test_only_root_can_install() -> None:
    other = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*other, "sh", "-s"]
    done = subprocess.run(command, input=SETUP.read_text(), capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 3
    assert "only root can do this" in done.stderr
