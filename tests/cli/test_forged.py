"""`aalearn promote` on a store that another user owns: it is evidence, and root's own word stands elsewhere."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aalearn.lifecycle.keeping import newest
from aalearn.store import Store
from aalearn.store.readings import Revision
from tests.cli.conftest import Face
from tests.cli.nodes import CommandNode

pytestmark = pytest.mark.parser

SHADOW = "/etc/shadow r,"  # tier 2
ADMIN = "capability sys_admin,"  # tier 1
EVIL = """\
# Learned by aalearn 1
abi <abi/3.0>,
include <tunables/global>
profile app {
  /** rwlkm,
  capability,
  network,
  /usr/bin/sh Ux,
}
"""


@pytest.fixture
def node(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandNode:
    """A drafted profile that has learned enough, in a store that root shares with a group."""
    made = CommandNode(aalearn, tmp_path, monkeypatch)
    assert made.run("--quiet", "draft", "app").code == 0
    made.runs()
    made.ingest()
    (tmp_path / "x.db").chmod(0o660)
    return made


def gates(node: CommandNode, *arguments: str) -> dict[str, dict[str, Any]]:
    document = json.loads(node.run("--output", "json", "promote", "app", "--dry-run", *arguments).out)
    return {gate["gate"]: gate for gate in document["gates"]}


def refused(node: CommandNode, *arguments: str) -> list[str]:
    return [name for name, gate in gates(node, *arguments).items() if not gate["holds"]]


def saved(node: CommandNode, *arguments: str) -> Revision:
    """Return the newest revision once a person has saved one."""
    done = node.run("suggest", "app", "--save", *arguments)
    assert done.code == 0, done.err
    with Store.open(node.db, readonly=True) as store:
        found = newest(store.revisions(b"app"))
    assert found is not None
    return found


def forge(node: CommandNode, text: str, **detail: object) -> int:
    """Write a revision as who owns the store can, with a proof that says what it should; return its number."""
    with Store.open(node.db) as store:
        last = newest(store.revisions(b"app"))
        before = json.loads(last.detail) if last else {}
        made = store.save_revision(b"app", text, "{}", author="root", reason="", when=2)
        proof = {"schema": 1, "proved": True, "text_sha256": made.sha256, "counts": {"allowed": 3}}
    values = json.dumps({"form": "whole", **before, **detail})
    change(node, "update revisions set proof = ?, detail = ? where number = ?", json.dumps(proof), values, made.number)
    return made.number


def change(node: CommandNode, statement: str, *values: object) -> None:
    encoded = tuple(value.encode() if isinstance(value, str) else value for value in values)
    with sqlite3.connect(node.db.removeprefix("sqlite:///")) as connection:
        assert connection.execute(statement, encoded).rowcount > 0
    connection.close()


def admin(node: CommandNode) -> None:
    """Let the program need a capability of tier 1 in each of its runs."""
    for one in range(4):
        asked: dict[str, Any] = {"class": "cap", "capability": "21", "capname": "sys_admin"}
        node.event(operation="capable", pid=1000 + one, at=node.begin + 3600 * one, **asked)
    node.ingest()


def enforced(node: CommandNode) -> str:
    """Return what is enforced, "" for nothing."""
    return (node.base / "app").read_text() if node.kernel.modes() == {"app": "enforce"} else ""


def test_a_text_and_a_proof_that_were_made_up(node: CommandNode) -> None:
    forge(node, EVIL)
    done = node.run("promote", "app")
    assert done.code == 1
    assert "refused: app was not promoted: proof, author; nothing was changed" in done.err
    assert "  app: capability audit_control\n" in done.out
    document = json.loads(node.run("--output", "json", "promote", "app", "--dry-run").out)
    assert "app: capability sys_admin" in document["beyond"]
    assert node.run("promote", "app", "--force", "proof", "--reason", "x").code == 1
    assert enforced(node) == ""


@pytest.mark.parametrize(
    "more",
    [
        "  /srv/** r,\n",
        '  include if exists "/var/lib/aalearn/later"\n',
        "  network unix stream,\n  unix (send),\n",
        "  signal (send) peer=other,\n",
        "  profile child {\n    /a r,\n  }\n",
    ],
)
def test_what_the_proof_does_not_forbid_needs_an_author(node: CommandNode, more: str) -> None:
    text = saved(node).text
    assert refused(node) == []
    forge(node, f"{text.rstrip().removesuffix('}')}{more}}}\n")
    found = gates(node)["author"]
    assert not found["holds"]
    assert found["mend"] == "sudo aalearn suggest app --save"
    assert "nothing shows that root on this machine made revision 3" in found["why"]
    assert node.run("promote", "app").code == 1
    assert enforced(node) == ""


def test_flags_that_weaken_it(node: CommandNode) -> None:
    text = saved(node).text
    forge(node, text.replace("profile app {", "profile app flags=(attach_disconnected) {"))
    assert refused(node) == ["author"]
    assert "flags that weaken it" in gates(node)["author"]["why"]


@pytest.mark.parametrize("mode", ["unconfined", "kill"])
def test_a_mode_that_does_not_enforce(node: CommandNode, mode: str) -> None:
    forge(node, saved(node).text.replace("profile app {", f"profile app flags=({mode}) {{"))
    done = node.run("promote", "app")
    assert done.code in (1, 2)
    assert mode in done.err + done.out
    assert node.kernel.modes() == {"app": "complain"}


def test_denials_that_nobody_would_hear_of(node: CommandNode) -> None:
    text = saved(node).text
    forge(node, f"{text.rstrip().removesuffix('}')}  deny /** wl,\n}}\n")
    assert refused(node) == ["author"]
    assert "app: silent denial w /" in gates(node)["author"]["why"]
    assert node.run("promote", "app").code == 1


def test_an_attachment_that_was_taken_away(node: CommandNode, tmp_path: Path) -> None:
    program = tmp_path.resolve() / "server"
    program.write_text("")
    program.chmod(0o755)
    assert node.run("--quiet", "draft", "app", "--exe", str(program)).code == 0
    text = saved(node).text
    assert f"profile app {program} {{" in text
    assert refused(node) == []
    number = forge(node, text.replace(f"app {program} {{", "app {"))
    found = gates(node)
    assert [name for name, gate in found.items() if not gate["holds"]] == ["proof", "author"]
    why = f"it would not confine what it shall: app: it does not attach to {program} any more"
    assert found["proof"]["why"] == why
    forge(node, text.replace(f"app {program} {{", "app /nowhere {"))
    assert refused(node) == ["author"]
    assert node.run("promote", "app", "--revision", str(number)).code == 1
    assert node.kernel.modes() == {"app": "complain"}


def test_a_second_profile_in_the_text(node: CommandNode) -> None:
    forge(node, f"{saved(node).text}\nprofile sshd /usr/sbin/sshd {{\n  /a r,\n}}\n")
    assert "author" in refused(node)
    assert "sshd: a block of its own" in gates(node)["author"]["why"]


def test_a_text_that_was_exchanged_after_root_saved_it(node: CommandNode) -> None:
    kept = saved(node)
    text = kept.text.replace("/srv/app/index r,", "/srv/app/{index,other} r,")
    proof = json.dumps({**json.loads(kept.proof), "text_sha256": Revision(0, 0, "", "", text, "").sha256})
    change(node, "update revisions set text = ?, proof = ? where number = ?", text, proof, kept.number)
    assert refused(node) == ["author"]
    assert node.run("promote", "app").code == 1
    done = node.run("promote", "app", "--force", "author", "--reason", "I read it")
    assert done.code == 0, done.err
    with Store.open(node.db, readonly=True) as store:
        step = store.steps(b"app")[-1]
    assert (json.loads(step.detail)["gates"]["author"], step.reason) == ("forced", "I read it")


def test_another_use_of_a_text_that_root_saved(node: CommandNode) -> None:
    from aalearn.lifecycle.node.vouched import read

    kept = saved(node)
    vouched = read(node.sim.machine.backups, b"app")
    assert vouched.holds(b"app", kept)
    number = forge(node, kept.text, form="local", file="app")
    with Store.open(node.db, readonly=True) as store:
        assert not vouched.holds(b"app", store.revisions(b"app")[number - 1])
    assert not vouched.holds(b"other", kept)


def test_the_honest_road(node: CommandNode) -> None:
    node.runs(paths=("/etc/shadow",))
    node.ingest()
    assert refused(node) == ["review"]
    assert node.run("review", "app", "--approve", SHADOW, "--reason", "it checks passwords").code == 0
    kept = saved(node)
    found = gates(node)
    assert [name for name, gate in found.items() if not gate["holds"]] == []
    assert found["author"]["why"] == (
        f"root on this machine made revision {kept.number} and the 1 decision that counts"
    )
    assert found["trust"]["why"].endswith("by the word of a store that is not root's")
    done = node.run("promote", "app")
    assert done.code == 0, done.err
    assert SHADOW in enforced(node)
    (file,) = [one for one in (node.sim.machine.backups / "vouched").iterdir() if one.suffix == ".json"]
    assert file.stat().st_mode & 0o777 == 0o600
    decision = json.loads(file.read_text())["decisions"][0]
    assert (decision["rule"], decision["decision"], decision["why"]) == (SHADOW, "approve", "it checks passwords")


def test_promote_alone_makes_and_answers_for_a_revision(node: CommandNode) -> None:
    assert node.run("promote", "app").code == 0
    assert refused(node) == []
    assert "root on this machine made revision 2 and the 0 decisions" in gates(node)["author"]["why"]


@pytest.mark.parametrize("who", ["root", "www"])
def test_a_decision_that_was_forged(node: CommandNode, who: str) -> None:
    admin(node)
    with Store.open(node.db) as store:
        store.decide(b"app", ADMIN, "approve", who=who, when=5, why="trust me")
    found = gates(node)
    assert not found["review"]["holds"]
    assert f"1 other decision in the store not counted ({ADMIN}" in found["author"]["why"]
    reviewed = node.run("review", "app")
    assert reviewed.code == 1
    assert ADMIN in reviewed.out
    assert f"1 decision in the store not by root on this machine, so not counted: approve {ADMIN}" in reviewed.err
    assert ADMIN not in [line.strip() for line in saved(node).text.splitlines()]
    assert node.run("promote", "app").code == 1
    assert enforced(node) == ""


def test_a_text_that_rests_on_a_forged_decision(node: CommandNode) -> None:
    admin(node)
    node.root = False  # who owns the store believes it
    assert node.run("--quiet", "review", "app", "--approve", ADMIN, "--reason", "x").code == 0
    assert ADMIN in [line.strip() for line in saved(node).text.splitlines()]
    node.root = True
    assert refused(node) == ["proof", "author", "review"]
    assert "this does not hold: what waits for a person is denied; " in gates(node)["proof"]["why"]
    assert "its rule is withheld, and yet the profile permits it" in gates(node)["proof"]["why"]
    assert node.run("promote", "app").code == 1


def test_records_that_were_called_the_kernel_s(node: CommandNode) -> None:
    """A taken-over learner may invent evidence: of tier 2 it waits for root all the same, in whatever text."""
    node.runs(paths=("/etc/shadow",))
    node.ingest()
    node.root = False
    assert node.run("--quiet", "review", "app", "--accept", SHADOW).code == 0
    assert SHADOW in saved(node).text
    node.root = True
    assert refused(node) == ["review"]
    assert gates(node)["trust"]["holds"]
    assert node.run("promote", "app").code == 1
    assert enforced(node) == ""


def test_a_decision_that_was_taken_out_of_the_store(node: CommandNode) -> None:
    node.runs(paths=("/etc/shadow",))
    node.ingest()
    assert node.run("--quiet", "review", "app", "--deny", SHADOW).code == 0
    change(node, "delete from decisions")
    assert refused(node) == []
    assert node.run("promote", "app").code == 0
    assert "/etc/shadow" not in enforced(node)


def test_a_revision_of_another_user_that_root_would_write_too(node: CommandNode) -> None:
    node.root = False
    kept = saved(node)
    node.root = True
    found = gates(node)["author"]
    assert found["holds"]
    assert f"revision {kept.number} permits nothing that root would not write now" in found["why"]
    assert node.run("promote", "app").code == 0
    assert enforced(node) == kept.text


def test_root_saves_what_another_saved_before(node: CommandNode) -> None:
    node.root = False
    assert saved(node).number == 2
    node.root = True
    assert saved(node).number == 3
    assert saved(node).number == 3


def test_not_root(node: CommandNode) -> None:
    node.runs(paths=("/etc/shadow",))
    node.ingest()
    node.root = False
    done = node.run("review", "app", "--deny", SHADOW)
    assert "decided, but not by root: `sudo aalearn promote` counts it once sudo repeats it" in done.err
    assert "saved, but not by root" in node.run("suggest", "app", "--save").err
    found = gates(node)["author"]
    assert found["mend"] == "sudo aalearn promote app --dry-run"
    assert not found["holds"]
    assert "told to root alone" in found["why"]


@pytest.mark.parametrize("root", [True, False])
def test_a_store_of_root_s_own_is_believed(node: CommandNode, tmp_path: Path, *, root: bool) -> None:
    node.runs(paths=("/etc/shadow",))
    node.ingest()
    with Store.open(node.db) as store:
        store.decide(b"app", SHADOW, "approve", who="root", when=5, why="it checks passwords")
    (tmp_path / "x.db").chmod(0o600)
    node.root = root
    saved(node)
    node.root = True
    assert refused(node) == []
    assert gates(node)["author"]["why"] == "only root can write in the store"
    assert node.run("promote", "app").code == 0
    assert SHADOW in enforced(node)


def test_memory_that_is_damaged_or_open_to_others(node: CommandNode) -> None:
    saved(node)
    folder = node.sim.machine.backups / "vouched"
    (file,) = [one for one in folder.iterdir() if one.suffix == ".json"]
    whole = file.read_bytes()
    for content in (b"{", b"[]", whole.replace(b'"app"', b'"other"'), whole.replace(b'"schema": 1', b'"schema": 9')):
        file.write_bytes(content)
        done = node.run("promote", "app")
        assert done.code == 3
        assert "is damaged, or a newer aalearn wrote it: what root decided is not known" in done.err
    file.write_bytes(whole)
    folder.chmod(0o777)
    done = node.run("promote", "app")
    assert done.code == 2
    assert "must be writable by root alone" in done.err
    assert enforced(node) == ""


def test_what_can_t_be_written_down_is_told(node: CommandNode) -> None:
    node.sim.machine.backups.chmod(0o755)
    done = node.run("suggest", "app", "--save")
    told: Sequence[str] = done.err.splitlines()
    assert any("can't" in line or "must be owned" in line for line in told), done.err
