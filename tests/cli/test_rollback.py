"""`aalearn rollback` as root types it, on a machine in a folder: real policy, a simulated kernel."""

import json
import time
from pathlib import Path

import pytest

from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.promoted import DRAFT, ONE, TWO, last_step, text_of
from tests.cli.schemas import ROLLBACK, fits
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser


def test_back_to_the_revision_before(aalearn: Face, node: Simulated, db: str) -> None:
    node.task(7, "app (enforce)")
    tried = aalearn("--db", db, "--output", "json", "rollback", "app", "--dry-run")
    assert tried.code == 0, tried.err
    assert "- app: file r /b" in tried.err
    assert "1 task under it, reached at once: pid 7 (/usr/bin/app) runs under app" in tried.err
    fits(json.loads(tried.out), ROLLBACK)
    assert text_of(node) == TWO
    done = aalearn("--db", db, "rollback", "app", "--reason", "it broke\x1b[1m")
    assert done.code == 0, done.err
    assert done.out.startswith("app is back at revision 1 (enforce, sha256 ")
    assert text_of(node) == ONE
    assert node.kernel.modes() == {"app": "enforce"}
    state, revision, reason, detail = last_step(db)
    assert (state, revision, reason) == ("reverted", 1, "it broke\x1b[1m")
    assert (detail["from"], detail["mode"], detail["automatic"]) == (2, "enforce", False)
    assert "\x1b" not in aalearn("--db", db, "history", "app").out


def test_twice_goes_further_back_and_then_there_is_nothing(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "rollback", "app").code == 0
    assert aalearn("--db", db, "rollback", "app").code == 0
    assert text_of(node) == DRAFT
    assert node.kernel.modes() == {"app": "complain"}
    done = aalearn("--db", db, "rollback", "app")
    assert (done.code, done.out) == (2, "")
    assert "use --complain or --to NUMBER" in done.err


def test_to_a_revision_and_to_complain_mode(aalearn: Face, node: Simulated, db: str) -> None:
    assert aalearn("--db", db, "rollback", "app", "--complain").code == 0
    assert text_of(node) == TWO.replace("/usr/bin/app {", "/usr/bin/app flags=(complain) {")
    assert node.kernel.modes() == {"app": "complain"}
    assert last_step(db)[3]["mode"] == "complain"
    assert aalearn("--db", db, "rollback", "app", "--to", "1").code == 0
    assert (text_of(node), node.kernel.modes()) == (ONE, {"app": "enforce"})
    assert aalearn("--db", db, "rollback", "app", "--to", "2").code == 0
    assert (text_of(node), node.kernel.modes()) == (TWO, {"app": "enforce"})


def test_wrong_use_changes_nothing(aalearn: Face, node: Simulated, db: str) -> None:
    before = node.state("app")
    for arguments, told in (
        (("nothere",), "nothing was applied to nothere on this machine"),
        (("app", "--to", "9"), "revision 9 of app was never applied on this machine (applied were 1, 2)"),
        (("app", "--to", "2"), "app is at revision 2 already"),
        (("app", "--to", "1", "--complain"), "exclude each other"),
        (("../../etc/passwd",), "nothing was applied"),
    ):
        done = aalearn("--db", db, "rollback", *arguments)
        assert (done.code, done.out) == (2, ""), done
        assert told in done.err
        assert done.err.count("\n") == 1
    assert node.state("app") == before
    aalearn("--db", db, "rollback", "app", "--complain")
    assert "in complain mode already" in aalearn("--db", db, "rollback", "app", "--complain").err


def test_what_a_person_edited_is_not_overwritten(aalearn: Face, node: Simulated, db: str) -> None:
    (node.base / "app").write_text(TWO + "# mine\n")
    done = aalearn("--db", db, "rollback", "app")
    assert (done.code, done.out) == (2, "")
    assert "was changed since aalearn applied it" in done.err
    assert text_of(node) == TWO + "# mine\n"
    assert last_step(db)[0] == "enforced"


def test_a_kernel_that_refuses(aalearn: Face, node: Simulated, db: str) -> None:
    node.kernel.refuse = 1
    before = node.state("app")
    done = aalearn("--db", db, "rollback", "app")
    assert (done.code, done.out) == (3, "")
    assert "file and kernel are as before" in done.err
    assert node.state("app") == before
    assert last_step(db)[0] == "enforced"


def test_a_store_out_of_order_holds_nobody_up(aalearn: Face, node: Simulated, db: str, tmp_path: Path) -> None:
    Path(tmp_path / "x.db").write_bytes(b"damaged" * 1000)
    done = aalearn("--db", db, "rollback", "app")
    assert done.code == 0, done.err
    assert text_of(node) == ONE
    assert "not written down" in done.err
    assert "aalearn reconcile --fix" in done.err


@pytest.mark.parametrize(
    ("state", "note"),
    [
        ("learning", True),  # promote was killed after the load, before the store was told
        ("ready", True),  # and between its steps
        ("draft", True),
        ("retired", True),
        ("hibernated", True),  # a word of a newer aalearn
        ("canary", False),
    ],
)
def test_root_s_own_record_decides_and_not_the_store(
    aalearn: Face, node: Simulated, db: str, state: str, note: bool
) -> None:
    with Store.open(db) as store:
        store.step(b"app", state, revision=2, who="x", reason="", when=int(time.time() * 1000))
    told = f"note: the store says that app is {state}; this machine's record counts"
    tried = aalearn("--db", db, "rollback", "app", "--dry-run")
    assert tried.code == 0, tried.err
    assert (told in tried.err) == note
    done = aalearn("--db", db, "rollback", "app", "--complain")
    assert done.code == 0, done.err
    assert node.kernel.modes() == {"app": "complain"}
    assert last_step(db)[:2] == ("reverted", 2)
