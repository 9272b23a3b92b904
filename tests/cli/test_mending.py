"""`aalearn reconcile --fix` takes nothing of others away, and one trouble keeps it from none of the other mends."""

import dataclasses
import json
from pathlib import Path

import pytest

from aalearn.cli import onnode
from aalearn.lifecycle import mending
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node import machine as places
from aalearn.lifecycle.node.applier import Change, applied, apply, pending
from aalearn.model.errors import UsageError
from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.promoted import ONE, TWO, last_step, promote, text_of
from tests.cli.schemas import RECONCILE, fits
from tests.cli.test_reconcile import kinds
from tests.lifecycle.node import test_several as several
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser

OTHERS = "# a package brought this\nabi <abi/3.0>,\nprofile app /usr/bin/app {\n  /z r,\n}\n"


def dies(*_: object) -> None:
    raise SystemExit(9)  # what no handler catches stands for kill -9


def fixed(aalearn: Face, db: str) -> tuple[list[str], str]:
    """Type `reconcile --fix`; return the differences that stay, with their mends, and what was told."""
    done = aalearn("--db", db, "--output", "json", "reconcile", "--fix")
    document = json.loads(done.out)
    fits(document, RECONCILE)
    return [f"{one['kind']}: {one['what']}: {one['mend']}" for one in document["differences"]], done.err


@pytest.mark.parametrize("task", [False, True])
def test_what_others_brought_after_a_retirement_stays(aalearn: Face, node: Simulated, db: str, task: bool) -> None:
    assert aalearn("--db", db, "retire", "app").code == 0
    node.load(OTHERS, "app")
    if task:
        node.task(7, "app (enforce)", unit="app.service")
    before = node.state("app")
    (left,), _ = fixed(aalearn, db)
    assert left.startswith(f"file-edited: it was retired, and {node.base}/app was not written by aalearn: it is left")
    assert "`aalearn retire app` takes it away" in left
    assert node.state("app") == before


def test_a_package_s_file_with_our_text_stays(
    aalearn: Face, node: Simulated, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert aalearn("--db", db, "retire", "app").code == 0
    node.load(TWO, "app")
    monkeypatch.setattr(files, "package_of", lambda _: "app-common")
    before = node.state("app")
    (left,), _ = fixed(aalearn, db)
    assert "comes from the package app-common" in left
    assert node.state("app") == before


def test_a_profile_of_that_name_from_elsewhere_stays(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "retire", "app").code == 0
    node.load(TWO, "usr.bin.app")
    (left,), _ = fixed(aalearn, db)
    assert left.startswith(f"still-loaded: it was retired, and {node.base}/usr.bin.app defines it")
    (node.base / "usr.bin.app").unlink()
    node.load(OTHERS)
    (left,), _ = fixed(aalearn, db)
    assert "the kernel runs a policy for app that was not applied here" in left
    assert node.kernel.modes() == {"app": "enforce"}
    node.load(TWO)
    assert fixed(aalearn, db)[0] == []
    assert node.kernel.modes() == {}


def test_our_own_that_came_back_stays_while_tasks_run_under_it(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "retire", "app").code == 0
    node.load(ONE, "app")
    node.task(7, "app (enforce)", unit="app.service")
    before = node.state("app")
    left, _ = fixed(aalearn, db)
    assert [one.partition(":")[0] for one in left] == ["file-left", "still-loaded"]
    assert "pid 7 (/usr/bin/app of app.service) runs under app, which would go on unconfined" in left[1]
    assert left[1].endswith("systemctl stop app.service, and then `aalearn reconcile --fix`")
    assert node.state("app") == before
    with pytest.raises(UsageError, match="would go on unconfined"):
        mending.again(node.machine, b"app", applied(node.machine, b"app"))
    node.end(7)
    assert fixed(aalearn, db)[0] == []
    assert node.kernel.modes() == {}


def test_a_package_s_own_file_may_change_after_it_was_switched_off(
    aalearn: Face, node: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.load(ONE, "app")
    monkeypatch.setattr(files, "package_of", lambda _: "app-common")
    db = f"sqlite:///{tmp_path}/x.db"
    assert aalearn("--db", db, "retire", "app").code == 0
    (node.base / "app").write_text(OTHERS)  # an upgrade
    assert kinds(aalearn, db) == []
    (node.base / "disable/app").unlink()
    node.load(OTHERS)
    assert kinds(aalearn, db) == ["still-loaded", "link"]
    assert fixed(aalearn, db)[0] == []
    assert (text_of(node), node.kernel.modes()) == (OTHERS, {})


def test_what_was_found_and_came_back_is_its_owner_s(aalearn: Face, node: Simulated, tmp_path: Path) -> None:
    node.load(OTHERS, "app")
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, ONE, "enforced", 1)
    assert aalearn("--db", db, "retire", "app").code == 0
    (node.base / "app").unlink()
    node.kernel.unload(b"app")  # by its owner, for good
    assert fixed(aalearn, db)[0] == []
    assert (node.kernel.modes(), (node.base / "app").exists()) == ({}, False)


def test_without_a_store_the_machine_is_mended_all_the_same(
    aalearn: Face, node: Simulated, db: str, tmp_path: Path
) -> None:
    (tmp_path / "x.db").write_bytes(b"damaged" * 1000)
    node.kernel.unload(b"app")
    done = aalearn("--db", db, "reconcile", "--fix")
    assert node.kernel.modes() == {"app": "enforce"}
    assert done.code == 3
    assert "what was applied last (enforced) is in force again" in done.err
    assert "all that could be compared agrees" in done.err
    assert "kernel, disk and store agree" not in done.err


def test_one_change_that_can_t_be_ended_holds_up_no_other(
    aalearn: Face, node: Simulated, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "abi <abi/3.0>,\nprofile other { }\n"
    change = Change(b"other", "other", other.encode(), node.policy(other), "learning", "anna")
    apply(node.machine, change)
    node.kernel.unload(b"other")
    with monkeypatch.context() as patched:
        patched.setattr(type(node.kernel), "load", dies)
        with pytest.raises(SystemExit):
            aalearn("--db", db, "rollback", "app", "--complain")
    (intent,) = pending(node.machine)
    for digest in (intent.new_policy, intent.old_policy):
        (node.machine.backups / f"blob.{digest}").write_bytes(b"x")
    left, told = fixed(aalearn, db)
    assert "the interrupted change of app was not ended" in told
    (open_one,) = left
    assert open_one.startswith("interrupted: a change to reverted was interrupted, and can't be ended: the backup")
    assert f"put {node.base}/app right by hand and load it, then remove the file intent.* of it" in open_one
    assert node.kernel.modes()["other"] == "enforce", "which was not loaded"
    assert "other: learning is written down" in told


def test_what_can_t_be_finished_for_want_of_a_backup_is_taken_back(
    aalearn: Face, node: Simulated, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(type(node.kernel), "load", dies)
        with pytest.raises(SystemExit):
            aalearn("--db", db, "rollback", "app")
    (intent,) = pending(node.machine)
    (node.machine.backups / f"blob.{intent.new_text}").unlink()
    assert "(undo is right)" in aalearn("--db", db, "reconcile").out
    assert fixed(aalearn, db)[0] == []
    assert (text_of(node), node.kernel.modes()) == (TWO, {"app": "enforce"})


@pytest.mark.parametrize("kind", ["applied", "intent"])
def test_a_damaged_record_holds_up_no_other(aalearn: Face, node: Simulated, db: str, kind: str) -> None:
    (node.machine.backups / f"{kind}.{'0' * 32}.json").write_text("{")
    assert aalearn("--db", db, "reconcile").code == 3
    node.kernel.unload(b"app")
    done = aalearn("--db", db, "reconcile", "--fix")
    assert done.code == 3
    assert "is damaged, or a newer aalearn wrote it" in done.err
    assert node.kernel.modes() == {"app": "enforce"}
    assert aalearn("--db", db, "reconcile", "nothere").code == 3


def test_an_edit_after_the_crash_is_kept(
    aalearn: Face, node: Simulated, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(type(node.kernel), "load", dies)
        with pytest.raises(SystemExit):
            aalearn("--db", db, "rollback", "app")
    edited = ONE.replace("/a r,", "/a r,\n  /by/hand r,")
    (node.base / "app").write_text(edited)
    for _ in range(2):
        (left,), told = fixed(aalearn, db)
        assert left.startswith(f"interrupted: a change to reverted was interrupted, and {node.base}/app edited since")
        assert "was edited after the change" in told
        assert text_of(node) == edited
    (node.base / "app").rename(node.folder / "mine")  # as it was told
    assert fixed(aalearn, db)[0] == []
    assert (text_of(node), last_step(db)[:2]) == (ONE, ("reverted", 1))


@pytest.mark.parametrize("under", [False, True])
def test_a_killed_retirement_is_gone_to_its_end_and_the_store_follows(
    aalearn: Face, node: Simulated, db: str, monkeypatch: pytest.MonkeyPatch, under: bool
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(type(node.kernel) if under else files, "unload" if under else "write", dies)
        with pytest.raises(SystemExit):
            aalearn("--db", db, "retire", "app", "--reason", "gone")
    if under:  # a program was started meanwhile: it is confined, and stays so
        node.task(7, "app (enforce)")
        assert fixed(aalearn, db)[0] == []
        assert (text_of(node), node.kernel.modes()) == (TWO, {"app": "enforce"})
        assert last_step(db)[:2] == ("enforced", 2)
        return
    assert fixed(aalearn, db)[0] == []
    assert (node.kernel.modes(), (node.base / "app").exists()) == ({}, False)
    assert last_step(db)[:3] == ("retired", 2, "gone")
    assert [one.stage for one in applied(node.machine, b"app")][-2:] == ["enforced", "retired"]
    assert kinds(aalearn, db) == []


@pytest.mark.parametrize("revision", [2, 3])
def test_a_promotion_killed_between_its_steps_is_written_down(
    aalearn: Face, node: Simulated, db: str, revision: int
) -> None:
    with Store.open(db) as store:
        when = applied(node.machine, b"app")[-1].when + 1
        store.step(b"app", "ready", revision=revision, who="anna", reason="", when=when)
    assert kinds(aalearn, db) == ["not-written-down"]
    assert fixed(aalearn, db)[0] == []
    assert last_step(db)[:2] == ("enforced", 2)
    assert aalearn("--db", db, "rollback", "app").code == 0


def test_gates_that_held_of_what_is_not_enforced_are_no_difference(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "rollback", "app").code == 0
    with Store.open(db) as store:
        store.step(b"app", "ready", revision=2, who="anna", reason="", when=applied(node.machine, b"app")[-1].when + 1)
    assert kinds(aalearn, db) == []


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apparmor_parser: str) -> tuple[Simulated, str]:
    """An administrator's profile whose complain flag a promotion took out, with an addition of ours; its store."""
    node = Simulated(tmp_path / "node")
    (node.base / "local").mkdir()
    monkeypatch.setattr(onnode, "machine", lambda _: node.machine)
    node.load(several.OWN, "usr.app")
    several.promote(node, 1, several.ONE)
    db = f"sqlite:///{tmp_path}/x.db"
    with Store.open(db) as store:
        store.step(b"app", "enforced", revision=1, who="a", reason="", when=applied(node.machine, b"app")[-1].when)
    return node, db


@pytest.mark.parametrize("loaded", [False, True])
def test_a_complain_flag_that_was_put_back_is_told(aalearn: Face, added: tuple[Simulated, str], loaded: bool) -> None:
    node, db = added
    assert kinds(aalearn, db) == []
    (node.base / "usr.app").write_text(several.OWN)
    if loaded:
        node.load(several.OWN.replace("include if exists <local/usr.app>", several.ONE))
    for _ in range(2):
        (left,), _ = fixed(aalearn, db)
        assert left.startswith(f"file-edited: {node.base}/usr.app has a complain flag again: ")
        assert ("at the next boot app is not enforced" in left) != loaded
        assert (node.base / "usr.app").read_text() == several.OWN
        assert node.kernel.modes()["app"] == ("complain" if loaded else "enforce")
    (node.base / "usr.app").write_text(several.ENFORCED)
    assert fixed(aalearn, db)[0] == []
    assert node.kernel.modes()["app"] == "enforce"


def test_a_second_file_that_is_gone_comes_back(aalearn: Face, added: tuple[Simulated, str]) -> None:
    node, db = added
    (node.base / "usr.app").unlink()
    node.kernel.unload(b"app")
    assert kinds(aalearn, db) == ["file-missing", "not-loaded"]
    assert fixed(aalearn, db)[0] == []
    assert several.there(node)[:2] == (several.ENFORCED, several.ONE)
    assert several.agrees(node)
    changed = several.ENFORCED.replace("/a r,", "/a rw,")  # that is the administrator's affair
    node.load(changed.replace("include if exists <local/usr.app>", several.ONE))
    (node.base / "usr.app").write_text(changed)
    assert kinds(aalearn, db) == []


def test_a_link_that_an_earlier_change_took_away_is_seen(aalearn: Face, node: Simulated, tmp_path: Path) -> None:
    (node.base / "force-complain").mkdir()
    link = node.base / "force-complain/app"
    link.symlink_to("../app")
    db = f"sqlite:///{tmp_path}/x.db"
    change = Change(b"app", "app", ONE.encode(), node.policy(ONE), "enforced", "anna", revision=1)
    apply(node.machine, dataclasses.replace(change, links=(("force-complain/app", ""),)))
    promote(node, db, TWO, "enforced", 1)  # no link to see to any more
    assert kinds(aalearn, db) == []
    link.symlink_to("../app")
    assert kinds(aalearn, db) == ["link"]
    assert fixed(aalearn, db)[0] == []
    assert not link.is_symlink()


def test_what_the_service_took_back_meanwhile_is_not_applied_over(aalearn: Face, node: Simulated, db: str) -> None:
    seen = applied(node.machine, b"app")
    node.kernel.unload(b"app")
    assert aalearn("--db", db, "rollback", "app", "--to", "1").code == 0
    (node.base / "app").write_text(TWO)  # as if the file were the one that was looked at
    with pytest.raises(UsageError, match="by another aalearn meanwhile"):
        mending.again(node.machine, b"app", seen)
    assert applied(node.machine, b"app")[-1].stage == "reverted"


def test_only_this_node_s_steps_are_compared(
    aalearn: Face, node: Simulated, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AALEARN_NODE", "web-1")
    when = applied(node.machine, b"app")[-1].when
    with Store.open(db) as store:  # another took it back on its own machine
        store.step(b"app", "reverted", revision=1, who="b", reason="", when=when + 1, detail='{"node": "web-2"}')
    assert kinds(aalearn, db) == []
    with Store.open(db) as store:
        store.step(b"app", "reverted", revision=1, who="b", reason="", when=when - 1, detail='{"node": "web-1"}')
    assert kinds(aalearn, db) == ["not-written-down"]
    assert fixed(aalearn, db)[0] == []
    assert last_step(db)[3]["node"] == "web-1"


@pytest.mark.parametrize("more", [(), ("--fix", "--dry-run"), ("--fix",)])
def test_only_fix_moves_an_older_aalearn_s_records(
    aalearn: Face, node: Simulated, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    old, new = tmp_path / "old", node.machine.backups
    new.rename(old)
    monkeypatch.setattr(places, "BACKUPS", new)
    monkeypatch.setattr(places, "OLD_BACKUPS", old)
    node.kernel.unload(b"app")
    done = aalearn("--db", db, "reconcile", *more)
    assert ("not-loaded" in done.out) == (more != ("--fix",)), "they are read where they are"
    moved = more == ("--fix",)
    assert (old.exists(), new.exists()) == (not moved, moved)
    assert ("`aalearn reconcile --fix` moves them" in done.err) != moved
