"""`aalearn promote` as a person types it: every gate by itself, what it writes and loads, and what it leaves alone."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aalearn.lifecycle.node.applier import applied
from aalearn.lifecycle.node.tasks import Task
from aalearn.model.errors import StoreError
from aalearn.store import Store
from aalearn.store.batch import Batch, LossRow
from tests.cli.nodes import CommandNode
from tests.cli.nodes import learned as learned  # the fixtures
from tests.cli.nodes import node as node

pytestmark = pytest.mark.parser

GATES = ("proof", "author", "convergence", "loss", "review", "trust", "replay", "features", "tasks")


def gates(node: CommandNode, *arguments: str) -> dict[str, dict[str, Any]]:
    """Return the gates of a dry run by name."""
    done = node.run("--output", "json", "promote", "app", "--dry-run", *arguments)
    document = json.loads(done.out)
    assert tuple(gate["gate"] for gate in document["gates"]) == GATES
    return {gate["gate"]: gate for gate in document["gates"]}


def refused(node: CommandNode, *arguments: str) -> list[str]:
    return [name for name, gate in gates(node, *arguments).items() if not gate["holds"]]


def states(node: CommandNode) -> list[tuple[str, int]]:
    with Store.open(node.db, readonly=True) as store:
        return [(step.state, step.revision) for step in store.steps(b"app")]


def test_from_draft_to_enforced(learned: CommandNode) -> None:
    file = learned.base / "app"
    file.chmod(0o640)
    done = learned.run("promote", "app", "--reason", "it is time")
    assert done.code == 0, done.err
    assert learned.kernel.modes() == {"app": "enforce"}
    text = file.read_text()
    assert "# Learned by aalearn" in text
    assert "/etc/app.conf r," in text
    assert "complain" not in text
    assert "/** ix" not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    for gate in GATES:
        assert f"{gate:<11}  yes" in done.out
    assert states(learned) == [("learning", 1), ("ready", 2), ("enforced", 2)]
    with Store.open(learned.db, readonly=True) as store:
        revision = store.revisions(b"app")[-1]
        step = store.steps(b"app")[-1]
    detail = json.loads(revision.detail)
    assert detail["form"] == "whole"
    assert detail["mode"] == "enforce"
    assert detail["window"]["events"] == 12
    assert detail["window"]["runs"] == 4
    assert "app /etc/app.conf r," in detail["rules"]
    assert json.loads(step.detail)["mode"] == "enforce"
    entries = applied(learned.sim.machine, b"app")
    assert [(one.stage, one.mode) for one in entries] == [("learning", "complain"), ("enforced", "enforce")]
    assert entries[-1].origin == revision.sha256 == entries[-1].text


def test_dry_run_shows_all_and_changes_nothing(learned: CommandNode, tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in sorted(tmp_path.rglob("*"))
            if path.is_file() and ".db" not in path.name
        }

    before = files()
    done = learned.run("promote", "app", "--dry-run")
    assert done.code == 0, done.err
    assert "--- app\n+++ app\n" in done.out
    assert "-  audit /** ix,\n" in done.out
    assert "+  /etc/app.conf r,\n" in done.out
    assert "would be enforced; nothing was changed" in done.err
    assert files() == before
    assert learned.kernel.modes() == {"app": "complain"}
    assert states(learned) == [("learning", 1)]
    with Store.open(learned.db, readonly=True) as store:
        assert len(store.revisions(b"app")) == 1
    document = json.loads(learned.run("--output", "json", "promote", "app", "--dry-run").out)
    assert (document["schema"], document["dry_run"], document["enforced"], document["file"]) == (1, True, False, "app")


def test_a_second_revision_and_a_canary(learned: CommandNode) -> None:
    assert learned.run("promote", "app", "--canary").code == 0
    assert states(learned)[-1] == ("canary", 2)
    assert learned.run("promote", "app").code == 0
    assert states(learned)[-2:] == [("ready", 2), ("enforced", 2)]
    learned.runs(paths=("/srv/app/new",))
    learned.ingest()
    assert refused(learned) == ["replay"]
    assert "would be denied (4 came after" not in gates(learned)["replay"]["why"]
    assert learned.run("--quiet", "suggest", "app", "--save").code == 0
    assert learned.run("promote", "app").code == 0
    assert states(learned)[-1] == ("enforced", 3)
    assert learned.run("promote", "app", "--revision", "2", "--force", "replay", "--reason", "back").code == 0
    assert states(learned)[-1] == ("enforced", 2)


def test_convergence(node: CommandNode) -> None:
    node.runs(1)
    node.ingest()
    found = gates(node)["convergence"]
    assert not found["holds"]
    assert "1 run of 3" in found["why"]
    assert node.run("promote", "app").code == 1
    assert node.kernel.modes() == {}
    assert states(node) == []


def test_loss(learned: CommandNode) -> None:
    when = learned.begin + 3600
    with Store.open(learned.db) as store:
        batch = Batch()
        batch.losses.append(LossRow(node="web-1", time=when * 1000, kind="netlink", amount=7, source="netlink"))
        store.commit(batch)
    found = gates(learned)["loss"]
    assert found["why"] == "1 loss (netlink), 7 records"
    assert refused(learned) == ["loss"]
    assert learned.run("promote", "app").code == 1
    assert learned.kernel.modes() == {"app": "complain"}


def test_review(learned: CommandNode) -> None:
    learned.runs(paths=("/etc/shadow",))
    learned.ingest()
    found = gates(learned)
    assert not found["review"]["holds"]
    assert "/etc/shadow r," in found["review"]["why"]
    done = learned.run("promote", "app")
    assert done.code == 1
    assert "aalearn: refused: app was not promoted: review; nothing was changed" in done.err
    assert learned.run("--quiet", "review", "app", "--deny", "/etc/shadow r,").code in (0, 1)
    assert learned.run("--quiet", "suggest", "app", "--save").code == 0
    assert refused(learned) == []
    assert learned.run("promote", "app").code == 0
    assert "/etc/shadow" not in (learned.base / "app").read_text()


def test_trust(node: CommandNode, tmp_path: Path) -> None:
    node.runs()
    log = tmp_path / "syslog.txt"
    lines = (tmp_path / "audit.log").read_text().splitlines()
    log.write_text(
        "".join(f"Nov 20 10:00:00 host kernel: [1.0] audit: type=1400 {line.partition(' msg=')[2]}\n" for line in lines)
    )
    assert node.run("--quiet", "ingest", str(log)).code == 0
    found = gates(node)["trust"]
    assert not found["holds"]
    assert "come only from a source that programs can write to" in found["why"]


def test_proof_of_another_text(learned: CommandNode) -> None:
    assert learned.run("--quiet", "suggest", "app", "--save").code == 0
    with Store.open(learned.db) as store:
        kept = store.revisions(b"app")[-1]
        store.save_revision(
            b"app", kept.text.replace("/etc/hosts", "/etc/shadow"), kept.proof, author="x", reason="", when=1
        )
    assert gates(learned)["proof"]["why"] == "the proof of revision 3 is of another text"
    assert "replay" in refused(learned)
    assert learned.run("promote", "app").code == 1
    assert refused(learned, "--revision", "2") == []


def test_features(learned: CommandNode) -> None:
    asked: dict[str, Any] = {
        "class": "signal",
        "requested_mask": "send",
        "denied_mask": "send",
        "signal": "term",
        "peer": "other",
    }
    learned.event(operation="signal", **asked)
    learned.ingest()
    assert gates(learned)["features"]["holds"]
    features = learned.kernel.root / "features"
    features.write_text(features.read_text().replace("signal", "nosignal"))
    found = gates(learned)["features"]
    assert not found["holds"]
    assert "does not mediate signal" in found["why"]


def test_tasks_make_it_pending(learned: CommandNode) -> None:
    learned.sim.task(7, "app//null-/usr/bin/bash (complain)", "/usr/bin/bash", "app.service")
    learned.sim.task(8, "app (enforce)")
    learned.sim.task(9, "other//null-/x (complain)")
    done = learned.run("promote", "app")
    assert done.code == 1
    assert learned.kernel.modes() == {"app": "enforce"}
    assert "tasks        pending  1 task not confined until restarted: pid 7 (/usr/bin/bash of app.service)" in done.out
    assert "restart them afterwards, or --restart app.service" in done.out
    assert "pending restart: 1 tasks are not confined" in done.err
    with Store.open(learned.db, readonly=True) as store:
        detail = json.loads(store.steps(b"app")[-1].detail)
    assert detail["unit"] == "app.service"
    assert len(detail["pending_restart"]) == 1
    learned.sim.end(7)
    assert learned.run("promote", "app").code == 0


def test_tasks_that_the_load_reaches_are_no_trouble(learned: CommandNode) -> None:
    learned.sim.task(7, "app (complain)")
    assert gates(learned)["tasks"]["holds"]


def test_unconfined_tasks_of_its_program(node: CommandNode, tmp_path: Path) -> None:
    program = tmp_path.resolve() / "server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert node.run("--quiet", "draft", "app", "--exe", str(program)).code == 0
    node.runs()
    node.ingest()
    node.sim.task(7, "unconfined", f"{program} (deleted)")
    node.sim.task(8, "unconfined", "/usr/bin/other")
    document = json.loads(node.run("--output", "json", "promote", "app").out)
    assert [(task["pid"], task["label"]) for task in document["pending_restart"]] == [(7, "unconfined")]
    assert f"profile app {program} {{" in (node.base / "app").read_text()


def test_a_script_that_runs_unconfined(node: CommandNode, tmp_path: Path) -> None:
    """The profile attaches to the script; what the kernel calls the program is its interpreter."""
    program = tmp_path.resolve() / "report.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    node.sim.task(7, "unconfined", "/usr/bin/dash", "report.service")
    node.sim.script(7, str(program), comm="report.sh")
    done = node.run("draft", "app", "--exe", str(program))
    assert f"warning: {program} runs already, unconfined (pid 7): restart it" in done.err
    node.runs()
    node.ingest()
    done = node.run("promote", "app")
    assert done.code == 1, done.err
    assert f"pid 7 (/usr/bin/dash {program} of report.service)" in done.out
    assert "or --restart report.service" in done.out
    node.sim.end(7)
    assert node.run("promote", "app").code == 0


def test_a_unit_that_shall_start_under_the_profile(
    learned: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text("#!/bin/sh\nprintf 'Id=web.service\\nAppArmorProfile=app\\n'\n")
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin:/usr/sbin")
    learned.sim.task(7, "unconfined", "/usr/bin/anything", "web.service")
    document = json.loads(learned.run("--output", "json", "promote", "app").out)
    assert [task["pid"] for task in document["pending_restart"]] == [7]


def test_restart(learned: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned.sim.task(7, "app//null-/usr/bin/bash (complain)", "/usr/bin/bash", "app.service")
    tools = tmp_path / "bin"
    tools.mkdir()
    systemctl = tools / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nrm -r {learned.sim.proc}/7\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin:/usr/sbin")
    done = learned.run("promote", "app", "--restart", "app.service")
    assert done.code == 0, done.err
    assert (tmp_path / "asked").read_text() == "restart -- app.service\n"
    assert "they are restarted after it is enforced" in done.out
    assert states(learned)[-2:] == [("enforced", 2), ("enforced", 2)]
    systemctl.write_text("#!/bin/sh\necho Unit x.service not found. >&2\nexit 5\n")
    done = learned.run("promote", "app", "--restart", "x.service")
    assert done.code == 3
    assert "x.service was not restarted: Unit x.service not found." in done.err


def test_force_is_recorded(node: CommandNode) -> None:
    node.runs(1)
    node.ingest()
    assert node.run("promote", "app", "--force", "convergence").code == 2
    done = node.run("promote", "app", "--force", "convergence", "--reason", "one path only")
    assert done.code == 0, done.err
    assert "convergence  forced" in done.out
    with Store.open(node.db, readonly=True) as store:
        step = store.steps(b"app")[-1]
    assert (step.state, step.reason) == ("enforced", "one path only")
    assert json.loads(step.detail)["gates"]["convergence"] == "forced"
    assert states(node) == [("ready", 1), ("enforced", 1)]


def test_children_are_enforced_too(node: CommandNode) -> None:
    text = CHILDREN
    file = node.base / "app"
    node.sim.load(text, "app")
    node.runs()
    node.ingest()
    done = node.run("promote", "app")
    assert done.code == 0, done.err
    assert node.kernel.modes() == {"app": "enforce", "app//tool": "enforce", "app//hat": "enforce"}
    assert "complain" not in file.read_text()


CHILDREN = """\
abi <abi/3.0>,
profile app flags=(complain) {
  /usr/bin/tool Cx -> tool,
  profile tool flags=(complain) {
    /a r,
  }
  ^hat flags=(complain) {
  }
}
"""
LOCAL = """\
abi <abi/3.0>,
# mine
profile app /usr/bin/app{flags} {{
  /etc/app.conf r,  # a comment

  include if exists <local/app>
}}
"""


@pytest.mark.parametrize("flags", ["", " flags=(complain)"])
def test_another_s_file_is_only_added_to(node: CommandNode, flags: str) -> None:
    file = node.base / "app"
    node.sim.load(LOCAL.format(flags=flags), "app")
    node.runs()
    node.ingest()
    done = node.run("promote", "app")
    assert done.code == 0, done.err
    assert file.read_text() == LOCAL.format(flags="")
    assert "/srv/app/index r," in (node.base / "local/app").read_text()
    assert node.kernel.modes() == {"app": "enforce"}
    assert states(node)[-1] == ("enforced", 1)


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package manager say that every file comes from a package."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "dpkg-query").write_text('#!/bin/sh\necho apppkg: "$2"\n')
    (tools / "dpkg-query").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin:/usr/sbin")


def test_a_package_s_file_is_never_edited(node: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    file = node.base / "app"
    node.sim.load(LOCAL.format(flags=" flags=(complain)"), "app")
    node.runs()
    node.ingest()
    done = node.run("promote", "app")
    assert done.code == 2
    assert f"the complain flag stands in {file}, which the package apppkg brought and aalearn never edits" in done.err
    assert f"`aa-enforce {file}` takes it out" in done.err
    enforcing = LOCAL.format(flags="")
    file.write_text(enforcing)
    (node.base / "force-complain").mkdir()
    (node.base / "force-complain/app").symlink_to("../app")
    done = node.run("promote", "app")
    assert done.code == 0, done.err
    assert file.read_text() == enforcing
    assert not (node.base / "force-complain/app").is_symlink()
    assert node.kernel.modes() == {"app": "enforce"}


def test_a_package_s_file_without_a_local_include(
    node: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch)
    text = LOCAL.format(flags="").replace("include if exists <local/app>", "")
    node.sim.load(text, "app")
    node.runs()
    node.ingest()
    done = node.run("promote", "app")
    assert done.code == 2
    assert "is of the package apppkg and includes no local file: it is never edited" in done.err
    assert (node.base / "app").read_text() == text


def test_what_was_changed_since(node: CommandNode) -> None:
    file = node.base / "app"
    node.sim.load(LOCAL.format(flags="").replace("include if exists <local/app>", ""), "app")
    node.runs()
    node.ingest()
    assert node.run("--quiet", "suggest", "app", "--save").code == 0
    file.write_text(file.read_text() + "# edited\n")
    done = node.run("promote", "app")
    assert done.code == 2
    assert "app was changed since revision 1 was made: `aalearn suggest app --save` makes a new revision" in done.err


def test_a_profile_that_lacks_nothing_changes_its_mode(node: CommandNode) -> None:
    file = node.base / "app"
    rules = "  /etc/app.conf r,\n  /etc/hosts r,\n  /srv/app/index r,\n"
    node.sim.load(f"abi <abi/3.0>,\nprofile app flags=(complain,audit) {{\n{rules}}}\n", "app")
    node.runs()
    node.ingest()
    done = node.run("promote", "app")
    assert done.code == 0, done.err
    assert file.read_text() == f"abi <abi/3.0>,\nprofile app flags=(audit) {{\n{rules}}}\n"
    assert node.kernel.modes() == {"app": "enforce"}


def test_a_kernel_that_refuses(learned: CommandNode) -> None:
    before = (learned.base / "app").read_bytes()
    learned.kernel.refuse = 1
    done = learned.run("promote", "app")
    assert done.code == 3
    assert "file and kernel are as before" in done.err
    assert "Traceback" not in done.err
    assert (learned.base / "app").read_bytes() == before
    assert learned.kernel.modes() == {"app": "complain"}
    assert states(learned) == [("learning", 1)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("app", "--force", "everything", "--reason", "x"), "there is no gate everything; the gates are proof,"),
        (("app", "--revision", "9"), "app has no revision 9"),
        (("app", "--revision", "1"), "revision 1 is the learning profile"),
        (("ap",), "nothing was learned for the profile ap; did you mean app?"),
        (("app", "--restart", "-x"), "--restart takes the name of a unit"),
        (("app", "--restart", "a/b"), "--restart takes the name of a unit"),
        ((), "Missing argument"),
    ],
)
def test_wrong_words(learned: CommandNode, arguments: tuple[str, ...], told: str) -> None:
    done = learned.run("promote", *arguments)
    assert done.code == 2
    assert told in done.err
    assert learned.kernel.modes() == {"app": "complain"}


def test_it_needs_root(node: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    from aalearn.lifecycle.node.kernel import RealKernel
    from aalearn.model.errors import UsageError

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root loads policy: run it with sudo"):
        RealKernel(node.kernel.root, ("apparmor_parser",)).ready()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(UsageError, match="AppArmor is off in this kernel"):
        RealKernel(node.base, ("apparmor_parser",)).ready()


def test_a_store_that_takes_nothing_after_the_load(learned: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is so is said; the restart is done all the same; reconcile writes it down later."""
    restarted: list[str] = []

    def restart(units: tuple[str, ...], look: Callable[[], tuple[Task, ...]]) -> tuple[Task, ...]:
        restarted.extend(units)
        return look()

    monkeypatch.setattr("aalearn.lifecycle.promote.restart", restart)

    def full(*_: object, **__: object) -> None:
        raise StoreError("the store: its disk is full; nothing of this was written")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "step", full)
        done = learned.run("promote", "app", "--restart", "app.service")
    assert done.code == 3
    assert "app IS enforced, but the store could not be told: the store: its disk is full" in done.err
    assert "`sudo aalearn reconcile --fix app` writes it down" in done.err
    assert "revision 2 is enforced, from app" in done.err
    assert restarted == ["app.service"]
    assert learned.kernel.modes() == {"app": "enforce"}
    assert states(learned) == [("learning", 1)]
    assert learned.run("reconcile", "--fix", "app").code == 0
    assert states(learned) == [("learning", 1), ("enforced", 2)]
    with Store.open(learned.db, readonly=True) as store:
        step = store.steps(b"app")[-1]
    detail = json.loads(step.detail)
    assert detail["since"] == applied(learned.sim.machine, b"app")[-1].when
    assert detail["mode"] == "enforce"


def test_the_step_tells_whether_it_was_enforced_before_aalearn(node: CommandNode) -> None:
    node.sim.load("abi <abi/3.0>,\nprofile app /usr/bin/app {\n  include if exists <local/app>\n}\n", "app")
    node.runs()
    node.ingest()
    assert node.run("promote", "app").code == 0
    with Store.open(node.db, readonly=True) as store:
        assert json.loads(store.steps(b"app")[-1].detail)["found"] == "enforce"
