"""What root's own record says against a promotion: edits by hand, and a revision that was taken back."""

import os
import shutil
from pathlib import Path

import pytest

from aalearn.cli import promotecase
from aalearn.lifecycle.node import machine as machines
from aalearn.lifecycle.node import requests
from aalearn.lifecycle.node.applier import applied
from aalearn.store import Store
from tests.cli.nodes import CommandNode
from tests.cli.nodes import learned as learned  # the fixtures
from tests.cli.nodes import node as node

pytestmark = pytest.mark.parser

LOCAL = "abi <abi/3.0>,\nprofile app /usr/bin/app {\n  include if exists <local/app>\n}\n"
EDITED = "app was edited since aalearn wrote it, and would be written anew"


def second(node: CommandNode) -> None:
    """Save a second revision, which permits more."""
    node.runs(paths=("/srv/app/new",))
    node.ingest()
    assert node.run("--quiet", "suggest", "app", "--save").code == 0


def states(node: CommandNode) -> list[tuple[str, int]]:
    with Store.open(node.db, readonly=True) as store:
        return [(step.state, step.revision) for step in store.steps(b"app")]


def test_an_edit_of_our_own_file_is_not_overwritten(learned: CommandNode) -> None:
    assert learned.run("promote", "app").code == 0
    file = learned.base / "app"
    written = file.read_text()
    edited = written.replace("/etc/app.conf r,", "/etc/app.conf r,\n  /etc/by-hand r,")
    file.write_text(edited)
    before = learned.sim.state("app")
    second(learned)
    for more in ((), ("--dry-run",), ("--revision", "2"), ("--canary",)):
        done = learned.run("promote", "app", *more)
        assert (done.code, done.out) == (2, "")
        assert f"{learned.base}/{EDITED}: take the edit out" in done.err
        assert "or delete the comment that says aalearn made it" in done.err
        assert done.err.count("\n") == 1
    assert learned.sim.state("app") == before
    file.write_text(written)
    assert learned.run("promote", "app").code == 0


def test_the_comment_gone_the_file_is_the_person_s(learned: CommandNode) -> None:
    """As the refusal says: it is only added to then."""
    assert learned.run("promote", "app").code == 0
    file = learned.base / "app"
    lines = file.read_text().replace("/etc/app.conf r,", "/etc/app.conf r,\n  /etc/by-hand r,").splitlines(True)
    file.write_text("".join(line for line in lines if not line.startswith("# Learned by aalearn")))
    second(learned)
    done = learned.run("promote", "app")
    assert done.code == 0, done.err
    assert "/etc/by-hand r," in file.read_text()
    assert "/srv/app/new r," in file.read_text()


def test_an_edit_of_the_draft(learned: CommandNode) -> None:
    file = learned.base / "app"
    edited = file.read_text().replace("  audit /** ix,", "  audit /** ix,\n  deny /etc/secret r,")
    file.write_text(edited)
    for command in (("promote", "app"), ("draft", "app"), ("draft", "app", "--no-load"), ("draft", "app", "--dry-run")):
        done = learned.run(*command)
        assert (done.code, done.out) == (2, ""), command
        assert EDITED in done.err
    assert file.read_text() == edited


def test_the_complain_flag_alone_is_no_edit(learned: CommandNode) -> None:
    """As aa-complain and aa-enforce set it."""
    assert learned.run("promote", "app").code == 0
    file = learned.base / "app"
    enforced = file.read_text()
    file.write_text(enforced.replace("profile app {", "profile app flags=(complain) {"))
    assert learned.run("promote", "app").code == 0
    assert file.read_text() == enforced


def test_a_draft_that_was_written_and_not_loaded_is_no_edit(learned: CommandNode) -> None:
    assert learned.run("promote", "app").code == 0
    assert learned.run("rollback", "app", "--complain").code == 0
    assert learned.run("draft", "app", "--no-load").code == 0
    assert learned.run("draft", "app", "--no-load").code == 0
    learned.sim.load((learned.base / "app").read_text())
    second(learned)
    done = learned.run("promote", "app")
    assert done.code == 0, done.err


@pytest.mark.parametrize("place", ["local/app", "app"])
def test_an_edit_while_promote_looks_at_the_gates(
    node: CommandNode, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    node.sim.load(LOCAL, "app")
    node.runs()
    node.ingest()
    edited = "  /by/hand r,\n" if place == "local/app" else LOCAL.replace("include", "/by/hand r,\n  include")
    real = promotecase.case_of

    def slow(*arguments: object, **options: object) -> object:
        found = real(*arguments, **options)  # type: ignore[arg-type]
        (node.base / "local").mkdir(exist_ok=True)
        (node.base / place).write_text(edited)
        return found

    monkeypatch.setattr(promotecase, "case_of", slow)
    loads = len(node.kernel.loads)
    done = node.run("promote", "app")
    assert (done.code, done.out) == (2, "")
    assert "was changed by somebody else meanwhile, so nothing was done" in done.err
    assert (node.base / place).read_text() == edited
    assert len(node.kernel.loads) == loads
    assert states(node) == []


def test_an_edit_while_draft_is_made(node: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node.run("--quiet", "draft", "app").code == 0
    from aalearn.lifecycle import keeping

    real = keeping.keep_draft

    def slow(*arguments: object, **options: object) -> object:
        (node.base / "app").write_text("profile app { /by/hand r, }\n")
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(keeping, "keep_draft", slow)
    done = node.run("draft", "app")
    assert (done.code, done.out) == (2, "")
    assert "was changed by somebody else meanwhile" in done.err
    assert "by/hand" in (node.base / "app").read_text()


def test_a_revision_that_was_taken_back_is_not_taken_again(learned: CommandNode) -> None:
    assert learned.run("promote", "app").code == 0
    second(learned)
    assert learned.run("promote", "app").code == 0
    assert learned.run("rollback", "app").code == 0
    before = learned.sim.state("app")
    for more in ((), ("--dry-run",), ("--canary",)):
        done = learned.run("promote", "app", *more)
        assert (done.code, done.out) == (2, "")
        assert "revision 3 is the newest, and was taken back on this machine" in done.err
        assert "`aalearn suggest app --save` makes a new one" in done.err
        assert "or the same again by `aalearn promote app --revision 3`" in done.err
    assert learned.sim.state("app") == before
    assert learned.run("promote", "app", "--revision", "3").code == 0
    assert learned.run("promote", "app").code == 0  # a person wants it again
    assert states(learned)[-1] == ("enforced", 3)


@pytest.mark.parametrize("by_the_service", [True, False])
def test_one_that_is_in_complain_mode_again(learned: CommandNode, by_the_service: bool) -> None:
    assert learned.run("promote", "app").code == 0
    if by_the_service:
        requests.complain(learned.sim.machine, b"app", who="aalearn", reason="tier1", asked=True)
    else:
        assert learned.run("rollback", "app", "--complain").code == 0
    assert learned.run("promote", "app").code == 2
    second(learned)
    done = learned.run("promote", "app")
    assert done.code == 0, done.err
    assert learned.run("rollback", "app").code == 0
    assert learned.kernel.modes() == {"app": "complain"}
    assert learned.run("promote", "app").code == 2


def test_a_draft_in_between_changes_nothing_of_that(learned: CommandNode) -> None:
    assert learned.run("promote", "app").code == 0
    assert learned.run("rollback", "app", "--complain").code == 0
    assert learned.run("draft", "app").code == 0
    assert "was taken back on this machine" in learned.run("promote", "app").err


def test_a_dry_run_moves_no_records(learned: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is in the old place is read there."""
    assert learned.run("--quiet", "suggest", "app", "--save").code == 0
    assert learned.run("promote", "app").code == 0
    assert learned.run("rollback", "app", "--complain").code == 0
    old, new = tmp_path / "old", learned.sim.machine.backups
    os.rename(new, old)
    shutil.rmtree(old / "vouched")  # which no aalearn kept there
    monkeypatch.setattr(machines, "BACKUPS", new)
    monkeypatch.setattr(machines, "OLD_BACKUPS", old)
    for command in (
        ("promote", "app", "--dry-run", "--revision", "2"),
        ("promote", "app", "--dry-run"),
        ("suggest", "app"),
        ("status", "app"),
    ):
        done = learned.run(*command)
        assert (old.exists(), new.exists()) == (True, False), command
        assert done.code == (2 if command == ("promote", "app", "--dry-run") else 0), done.err
    (tmp_path / "x.db").chmod(0o660)  # root's own word is asked for then
    for command in (("promote", "app", "--dry-run", "--revision", "2"), ("suggest", "app"), ("status", "app")):
        learned.run(*command)
        assert (old.exists(), new.exists()) == (True, False), command
    (tmp_path / "x.db").chmod(0o600)
    done = learned.run("promote", "app", "--revision", "2")
    assert done.code == 0, done.err
    assert (old.exists(), new.exists()) == (False, True)
    assert len(applied(learned.sim.machine, b"app")) == 4


def test_a_dry_run_that_can_t_read_the_record(learned: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert learned.run("promote", "app").code == 0
    assert learned.run("rollback", "app", "--complain").code == 0
    from aalearn.lifecycle.node import applier

    def closed(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "backups")

    monkeypatch.setattr(applier, "applied", closed)
    done = learned.run("promote", "app", "--dry-run")
    assert done.code == 0, done.err
    assert "note: what was applied here before was not looked at: Permission denied" in done.err
