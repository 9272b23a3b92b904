"""`aalearn reconcile` as root types it: differences made for real on a machine in a folder, told and mended."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.lifecycle.node.applier import applied
from aalearn.lifecycle.node.records import Intent, Records
from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.promoted import ONE, TWO, last_step, promote, text_of
from tests.cli.schemas import RECONCILE, fits
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser


def kinds(aalearn: Face, db: str, *more: str) -> list[str]:
    done = aalearn("--db", db, "--output", "json", "reconcile", *more)
    document = json.loads(done.out)
    fits(document, RECONCILE)
    found = [one["kind"] for one in document["differences"]]
    assert done.code == (1 if found else 0), done.err
    return found


def test_all_agree(aalearn: Face, node: Simulated, db: str) -> None:
    done = aalearn("--db", db, "reconcile")
    assert (done.code, done.out) == (0, ""), done.err
    assert "kernel, disk and store agree" in done.err
    assert kinds(aalearn, db, "app") == []
    none = aalearn("--db", db, "reconcile", "other")
    assert none.code == 2
    assert aalearn("--db", db, "reconcile", "--dry-run").code == 2


def reboot(node: Simulated) -> None:
    node.kernel.unload(b"app")


def complained(node: Simulated) -> None:
    node.load(TWO.replace("/usr/bin/app {", "/usr/bin/app flags=(complain) {"))


def replaced(node: Simulated) -> None:
    node.load(TWO.replace("/b r", "/b rw"))


def linked(node: Simulated) -> None:
    (node.base / "app").unlink()


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(reboot, "not-loaded"), (complained, "mode"), (replaced, "other-policy"), (linked, "file-missing")],
)
def test_what_can_be_mended_is(
    aalearn: Face, node: Simulated, db: str, harm: Callable[[Simulated], None], kind: str
) -> None:
    before = node.state("app")
    harm(node)
    harmed = node.state("app")
    assert kinds(aalearn, db) == [kind]
    assert kinds(aalearn, db, "--fix", "--dry-run") == [kind]
    assert node.state("app") == harmed
    assert kinds(aalearn, db, "--fix") == []
    assert node.state("app") == before
    assert last_step(db)[:2] == ("enforced", 2)


def test_the_same_meaning_by_other_bytes_is_no_difference(aalearn: Face, node: Simulated, db: str) -> None:
    node.load(TWO.replace("  /a r,\n  /b r,\n", "  /b r,\n  /{a,a} r,\n"))
    assert kinds(aalearn, db) == []


def test_a_person_s_edit_is_told_and_kept(aalearn: Face, node: Simulated, db: str) -> None:
    mine = TWO + "# mine\n"
    (node.base / "app").write_text(mine)
    assert kinds(aalearn, db, "--fix") == ["file-edited"]
    assert text_of(node) == mine
    told = aalearn("--db", db, "reconcile").out
    assert f"aalearn history app --show 2 | diff - {node.base}/app" in told
    node.kernel.unload(b"app")
    assert kinds(aalearn, db, "--fix") == ["file-edited", "not-loaded"]
    assert node.kernel.modes() == {}


def test_what_was_never_written_down_is(aalearn: Face, node: Simulated, db: str) -> None:
    from aalearn.lifecycle.node.applier import Change, apply

    change = Change(b"app", "app", ONE.encode(), node.policy(ONE), "reverted", "bert", revision=1, reason="x")
    apply(node.machine, change)  # and killed before the store heard of it
    assert kinds(aalearn, db) == ["not-written-down"]
    assert kinds(aalearn, db, "--fix") == []
    state, revision, reason, detail = last_step(db)
    assert (state, revision, reason) == ("reverted", 1, "x")
    assert (detail["mode"], detail["from"]) == ("enforce", 2)
    with Store.open(db, readonly=True) as store:
        assert store.steps(b"app")[-1].who == "bert"


def test_a_script_that_is_astray_is_named(aalearn: Face, node: Simulated, db: str) -> None:
    node.task(8, "unconfined", exe="/usr/bin/dash", unit="app.service")
    node.script(8, "-e", "/usr/bin/app", comm="app")
    assert kinds(aalearn, db, "--fix") == ["astray"]
    assert "systemctl restart app.service" in aalearn("--db", db, "reconcile").out


def test_tasks_that_are_astray_are_named_with_their_unit(aalearn: Face, node: Simulated, db: str) -> None:
    node.task(7, "app//null-/usr/bin/bash (complain)", exe="/usr/bin/bash", unit="app.service")
    node.task(8, "unconfined", exe="/usr/bin/app")
    assert kinds(aalearn, db, "--fix") == ["astray"]
    told = aalearn("--db", db, "reconcile").out
    assert "systemctl restart app.service" in told
    assert "pid 7" in told


def interrupted(node: Simulated, stage: str, text: str, *, loaded: bool) -> None:
    """Leave an intent behind, as a kill does."""
    with Records.open(node.machine.backups) as records:
        last = records.applied(b"app")[-1]
        policy = node.policy(text)
        new, new_policy = records.keep(text.encode()), records.keep(policy)
        records.begin(
            Intent("app", "app", last.text, new, last.policy, new_policy, (), stage, 3, "anna", "", last.when + 1)
        )
    (node.base / "app").write_text(text)
    if loaded:
        node.kernel.load(policy)


@pytest.mark.parametrize(
    ("stage", "loaded", "text", "step"),
    [
        ("enforced", False, TWO, ("enforced", 2)),  # forward, not loaded yet: taken back
        ("enforced", True, ONE, ("enforced", 3)),  # forward, and the kernel runs it: finished
        ("reverted", False, ONE, ("reverted", 3)),  # a way back is always gone to its end
        ("reverted", True, ONE, ("reverted", 3)),
    ],
)
def test_an_interrupted_change_is_ended(
    aalearn: Face, node: Simulated, db: str, stage: str, loaded: bool, text: str, step: tuple[str, int]
) -> None:
    interrupted(node, stage, ONE, loaded=loaded)
    assert kinds(aalearn, db) == ["interrupted"]
    assert kinds(aalearn, db, "--fix", "--dry-run") == ["interrupted"]
    assert kinds(aalearn, db, "--fix") == []
    assert text_of(node) == text
    assert last_step(db)[:2] == step
    assert kinds(aalearn, db) == []


def test_a_store_out_of_order_is_told_and_the_rest_compared(
    aalearn: Face, node: Simulated, db: str, tmp_path: Path
) -> None:
    (tmp_path / "x.db").write_bytes(b"damaged" * 1000)
    done = aalearn("--db", db, "reconcile")
    assert (done.code, done.out) == (3, ""), "nobody has compared the store"
    assert "not compared: " in done.err
    assert "the rest is not known" in done.err
    assert "store agree" not in done.err
    node.kernel.unload(b"app")
    done = aalearn("--db", db, "--output", "json", "reconcile")
    assert done.code == 1
    assert "is not an SQLite database" in done.err
    document = json.loads(done.out)
    fits(document, RECONCILE)
    assert [one["kind"] for one in document["differences"]] == ["not-loaded"]
    (why,) = document["not_compared"]
    assert "is not an SQLite database" in why


def test_a_link_in_a_file_s_place(aalearn: Face, node: Simulated, db: str) -> None:
    (node.base / "app").unlink()
    (node.base / "app").symlink_to("/etc/passwd")
    assert kinds(aalearn, db, "--fix") == ["uncompilable"]
    assert (node.base / "app").is_symlink()


def test_a_retired_profile_that_came_back(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "retire", "app").code == 0
    assert kinds(aalearn, db) == []
    node.load(ONE, "app")
    assert kinds(aalearn, db) == ["file-left", "still-loaded"]
    assert kinds(aalearn, db, "--fix") == []
    assert node.kernel.modes() == {}
    assert applied(node.machine, b"app")[-1].stage == "retired"
    promote(node, db, ONE, "learning", 0)
    assert kinds(aalearn, db) == []
