"""`aalearn retire` as root types it, on a machine in a folder: real policy, a simulated kernel."""

import json
from pathlib import Path

import pytest

from aalearn.lifecycle import retire
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import applied
from aalearn.lifecycle.node.records import Records
from aalearn.model.errors import UsageError
from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.promoted import ONE, TWO, last_step, promote, text_of
from tests.cli.schemas import RETIRE, fits
from tests.lifecycle.node import test_several as several
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


def backup(node: Simulated, text: str) -> bool:
    """Whether a text is among the backups."""
    return (node.machine.backups / f"blob.{files.digest(text.encode())}").exists()


def test_an_edited_file_s_text_is_kept(aalearn: Face, node: Simulated, db: str) -> None:
    edited = TWO + "# mine\n"
    (node.base / "app").write_text(edited)
    done = aalearn("--db", db, "retire", "app")
    assert done.code == 0, done.err
    assert f"was edited since: that text is kept as {node.machine.backups}/blob." in done.err
    assert not (node.base / "app").exists()
    assert backup(node, edited)
    assert aalearn("--db", db, "draft", "app").code == 0
    assert backup(node, edited), "later changes do not forget it"


@pytest.mark.parametrize("what", ["file", "record"])
def test_what_changed_between_look_and_act_is_refused(node: Simulated, db: str, what: str) -> None:
    wanted = retire.plan(node.machine, b"app")
    if what == "file":
        (node.base / "app").write_text(TWO + "# mine\n")
    else:
        promote(node, db, TWO, "enforced", 2)
    before = node.state("app")
    with pytest.raises(UsageError, match=r"changed by (somebody else|another aalearn) meanwhile"):
        retire.carry_out(node.machine, wanted, who="anna", reason="", force=True)
    assert node.state("app") == before


def test_what_was_in_complain_mode_by_a_link_is_so_again(node: Simulated) -> None:
    for name in ("local", "force-complain"):
        (node.base / name).mkdir()
    link = node.base / "force-complain/usr.app"
    link.symlink_to("../usr.app")
    node.load(several.OWN.replace("inner {", "inner flags=(complain) {"))
    (node.base / "usr.app").write_text(several.ENFORCED)
    found = node.kernel.modes()
    assert found == {"app": "complain", "app//inner": "complain"}
    several.promote(node, 1, several.ONE)
    assert node.kernel.modes() == {"app": "enforce", "app//inner": "enforce"}
    retire.carry_out(node.machine, retire.plan(node.machine, b"app"), who="anna", reason="", force=False)
    assert link.is_symlink()
    assert node.kernel.modes() == found


def test_what_was_found_unloaded_comes_back_unloaded(aalearn: Face, node: Simulated, tmp_path: Path) -> None:
    own = "# the administrator's own\n" + ONE
    (node.base / "app").write_text(own)
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, TWO, "enforced", 1)
    node.task(7, "app (enforce)")
    refused = aalearn("--db", db, "retire", "app")
    assert refused.code == 2
    assert "without the profile it would go on unconfined" in refused.err
    node.end(7)
    done = aalearn("--db", db, "retire", "app")
    assert (done.code, done.out) == (0, "app is retired: restored\n"), done.err
    assert "comes back, not loaded, as it was" in done.err
    assert (text_of(node), node.kernel.modes()) == (own, {})
    assert aalearn("--db", db, "reconcile").code == 0
    node.load(own)  # at the next boot
    assert aalearn("--db", db, "reconcile").code == 0


@pytest.mark.parametrize("word", ["retired", "a newer aalearn's"])
def test_the_machine_decides_whatever_the_store_says(aalearn: Face, node: Simulated, db: str, word: str) -> None:
    with Store.open(db) as store:
        store.step(b"app", word, revision=2, who="anna", reason="", when=applied(node.machine, b"app")[-1].when + 1)
    done = aalearn("--db", db, "retire", "app")
    assert (done.code, node.kernel.modes()) == (0, {}), done.err
    assert last_step(db)[:2] == ("retired", 2)


def test_what_others_brought_after_it_is_retired_again_when_asked(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "retire", "app").code == 0
    others = "# others brought it\n" + ONE
    node.load(others, "app")
    node.task(7, "app (enforce)")
    assert aalearn("--db", db, "retire", "app").code == 2
    node.end(7)
    done = aalearn("--db", db, "retire", "app")
    assert (done.code, node.kernel.modes()) == (0, {}), done.err
    assert not (node.base / "app").exists()
    assert backup(node, others)
    (node.base / "app").write_text("profile myapp { }\n")  # that is another profile
    assert aalearn("--db", db, "reconcile").code == 0
    assert aalearn("--db", db, "retire", "app").code == 2


def test_a_file_of_its_name_that_defines_another_stays(aalearn: Face, node: Simulated, tmp_path: Path) -> None:
    node.load(ONE)
    (node.base / "app").write_text("profile other { }\n")
    done = aalearn("--db", f"sqlite:///{tmp_path}/x.db", "retire", "app")
    assert (done.code, node.kernel.modes()) == (0, {}), done.err
    assert text_of(node) == "profile other { }\n"


def test_a_store_that_can_t_be_made_holds_nothing_up(aalearn: Face, node: Simulated, db: str) -> None:
    done = aalearn("--db", "sqlite:////proc/nothere/x.db", "--output", "json", "retire", "app")
    assert (done.code, node.kernel.modes()) == (0, {}), done.err
    assert json.loads(done.out)["recorded"] is False
    assert "it is done, but not written down" in done.err
    assert aalearn("--db", db, "--quiet", "reconcile", "--fix").code == 0
    assert last_step(db)[0] == "retired"
