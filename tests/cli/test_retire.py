"""`aalearn retire` as root types it, on a machine in a folder: real policy, a simulated kernel."""

import json
from pathlib import Path

import pytest

from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import applied
from aalearn.lifecycle.node.records import Records
from tests.cli.conftest import Face
from tests.cli.promoted import ONE, TWO, last_step, promote, text_of
from tests.cli.schemas import RETIRE, fits
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser


def test_file_and_policy_go_and_backups_stay(aalearn: Face, node: Simulated, db: str) -> None:
    tried = aalearn("--db", db, "--output", "json", "retire", "app", "--dry-run")
    assert tried.code == 0, tried.err
    fits(json.loads(tried.out), RETIRE)
    assert text_of(node) == TWO
    done = aalearn("--db", db, "retire", "app", "--reason", "replaced")
    assert (done.code, done.out) == (0, "app is retired: removed\n"), done.err
    assert not (node.base / "app").exists()
    assert node.kernel.modes() == {}
    assert last_step(db)[:3] == ("retired", 2, "replaced")
    with Records.open(node.machine.backups) as records:
        assert [records.get(one.text) for one in records.applied(b"app")][-2:] == [TWO.encode(), None]
    again = aalearn("--db", db, "retire", "app")
    assert again.code == 2
    assert "is retired on this machine already" in again.err
    back = aalearn("--db", db, "rollback", "app")
    assert back.code == 2
    assert "was retired: begin anew with `aalearn draft app`" in back.err
    assert aalearn("--db", db, "history", "app", "--show", "2").out == TWO


def test_running_tasks_are_named_and_it_is_refused(aalearn: Face, node: Simulated, db: str) -> None:
    node.task(7, "app (enforce)", unit="app.service")
    node.task(8, "app//inner (enforce)")
    node.task(9, "apple (enforce)")
    before = node.state("app")
    done = aalearn("--db", db, "retire", "app")
    assert (done.code, done.out) == (2, "")
    assert "pid 7 (/usr/bin/app of app.service) runs under app and 1 more" in done.err
    assert "systemctl stop app.service first, or --force" in done.err
    assert node.state("app") == before
    tried = aalearn("--db", db, "--output", "json", "retire", "app", "--dry-run")
    assert tried.code == 1
    assert "systemctl stop app.service" in json.loads(tried.out)["refused"]
    forced = aalearn("--db", db, "retire", "app", "--force")
    assert forced.code == 0, forced.err
    assert "warning: pid 8 (/usr/bin/app) goes on unconfined" in forced.err
    assert last_step(db)[3]["forced"] is True


def test_what_was_here_before_comes_back(aalearn: Face, node: Simulated, tmp_path: Path) -> None:
    own = "profile app /usr/bin/app flags=(complain) {\n  # the administrator's own\n  /z r,\n}\n"
    node.load(own, "app")
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, ONE, "enforced", 1)
    node.task(7, "app (enforce)")
    done = aalearn("--db", db, "retire", "app")
    assert (done.code, done.out) == (0, "app is retired: restored\n"), done.err
    assert text_of(node) == own
    assert node.kernel.modes() == {"app": "complain"}


def test_a_package_s_profile_is_switched_off_and_not_touched(
    aalearn: Face, node: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.load(ONE, "app")
    monkeypatch.setattr(files, "package_of", lambda file: "app-common" if file.name == "app" else "")
    db = f"sqlite:///{tmp_path}/x.db"
    tried = aalearn("--db", db, "retire", "app")
    assert tried.code == 0, tried.err
    assert "comes from the package app-common" in tried.err
    assert text_of(node) == ONE
    assert (node.base / "disable/app").readlink() == Path("../app")
    assert node.kernel.modes() == {}


def test_a_file_that_defines_others_too_is_left_alone(aalearn: Face, node: Simulated, tmp_path: Path) -> None:
    node.load(ONE + "profile other { }\n", "app")
    done = aalearn("--db", f"sqlite:///{tmp_path}/x.db", "retire", "app")
    assert done.code == 2
    assert "defines other too" in done.err
    assert set(node.kernel.modes()) == {"app", "other"}


def test_what_is_nowhere_is_told(aalearn: Face, node: Simulated, db: str) -> None:
    for name in ("nothere", "../x", "\x1b[31m"):
        done = aalearn("--db", db, "retire", name)
        assert (done.code, done.out) == (2, "")
        assert "there is no profile" in done.err
        assert "\x1b" not in done.err
    (node.base / "app").unlink()
    node.kernel.unload(b"app")
    done = aalearn("--db", db, "retire", "app")
    assert done.code == 0, done.err
    assert last_step(db)[0] == "retired"
    assert applied(node.machine, b"app")[-1].stage == "retired"
