"""`aalearn draft` as a person types it, on a machine in a folder."""

import json
import os
from pathlib import Path

import pytest

from aalearn.policy.decoder import Mode
from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.nodes import CommandNode

pytestmark = pytest.mark.parser


@pytest.fixture
def node(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandNode:
    return CommandNode(aalearn, tmp_path, monkeypatch)


@pytest.fixture
def program(tmp_path: Path) -> str:
    """An executable of this machine, by its real path."""
    file = tmp_path.resolve() / "server"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return str(file)


def test_a_program(node: CommandNode, program: str) -> None:
    node.sim.task(41, "unconfined", program, "web.service")
    node.sim.task(42, "unconfined", "/usr/bin/other")
    done = node.run("draft", "web", "--exe", program, "--reason", "first")
    assert done.code == 0, done.err
    text = (node.base / "web").read_text()
    assert done.out == text
    assert f"profile web {program} flags=(complain,attach_disconnected,mediate_deleted) {{\n  audit /** ix,\n}}" in text
    assert "abi <abi/3.0>,\n" in text
    assert "deny" not in text.replace("denied", "")
    assert node.kernel.modes() == {"web": "complain"}
    assert node.kernel.loaded()[0].profile().mode == Mode.COMPLAIN
    assert (
        f"aalearn: warning: {program} runs already, unconfined (pid 41): restart it, or nothing is learned" in done.err
    )
    assert "systemctl edit web.service: [Service] AppArmorProfile=web, then systemctl restart web.service" in done.err
    for what in (
        "aa-exec -p web --",
        "docker run --security-opt apparmor=web",
        "podman",
        "containerd",
        "localhostProfile",
    ):
        assert what in done.err
    history = json.loads(node.run("--output", "json", "history", "web").out)
    assert history["state"] == "learning"
    assert [(step["state"], step["revision"], step["reason"]) for step in history["steps"]] == [
        ("learning", 1, "first")
    ]
    (revision,) = history["revisions"]
    assert revision["detail"]["form"] == "draft"
    assert revision["detail"]["mode"] == "complain"
    assert revision["text_sha256"]


def test_again_and_then_not_while_enforced(node: CommandNode, program: str) -> None:
    assert node.run("draft", "web", "--exe", program).code == 0
    assert node.run("draft", "web", "--container").code == 0
    assert "profile web flags=(complain" in (node.base / "web").read_text()
    with Store.open(node.db) as store:
        for stage in ("ready", "enforced"):
            store.step(b"web", stage, revision=1, who="x", reason="", when=1)
    for more in ((), ("--dry-run",)):
        done = node.run("draft", "web", "--exe", program, *more)
        assert done.code == 2
        assert "web can't go from enforced to" in done.err
        assert "aalearn rollback web" in done.err


def test_what_the_kernel_enforces_is_not_disarmed(node: CommandNode, program: str) -> None:
    """By the kernel: after a step back to a revision that is still enforced, or with a new store, the stage says no."""
    assert node.run("--quiet", "draft", "app", "--exe", program).code == 0
    node.runs()
    node.ingest()
    assert node.run("promote", "app").code == 0
    node.runs(paths=("/srv/app/new",))
    node.ingest()
    assert node.run("--quiet", "suggest", "app", "--save").code == 0
    assert node.run("promote", "app").code == 0
    assert node.run("rollback", "app").code == 0
    assert node.kernel.modes() == {"app": "enforce"}
    before = node.sim.state("app")
    for db in (node.db, f"{node.db}.new"):
        for more in ((), ("--no-load",), ("--dry-run",), ("--exe", program), ("--container",)):
            node.db = db
            done = node.run("draft", "app", *more)
            assert (done.code, done.out) == (2, ""), more
            assert "app is loaded in enforce mode, and a draft would disarm it: take it back to complain" in done.err
            assert "`aalearn rollback app --complain`" in done.err
            assert node.sim.state("app") == before
    node.db = node.db.removesuffix(".new")
    assert node.run("rollback", "app", "--complain").code == 0
    assert node.run("draft", "app", "--exe", program).code == 0
    assert node.kernel.modes() == {"app": "complain"}


@pytest.mark.parametrize(("mode", "flags"), [("enforce", ""), ("kill", " flags=(kill)")])
def test_what_is_enforced_without_a_file(node: CommandNode, mode: str, flags: str) -> None:
    """As container engines load their profiles."""
    node.sim.load(f"abi <abi/3.0>,\nprofile docker-default{flags} {{\n  /a r,\n}}\n")
    for more in ((), ("--no-load",), ("--dry-run",)):
        done = node.run("draft", "docker-default", "--container", *more)
        assert (done.code, done.out) == (2, "")
        assert f"docker-default is loaded in {mode} mode, and a draft would disarm it: draft another name" in done.err
    assert node.kernel.modes() == {"docker-default": mode}
    assert not (node.base / "docker-default").exists()


def test_dry_run_changes_nothing(node: CommandNode, program: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = node.run("--output", "json", "draft", "web", "--exe", program, "--dry-run")
    assert done.code == 0
    document = json.loads(done.out)
    assert (document["schema"], document["state"], document["file"], document["exe"]) == (1, None, "web", program)
    assert document["text"].startswith("# Drafted by aalearn to learn from")
    assert {one["with"] for one in document["start"]} >= {"systemd", "aa-exec", "docker", "podman", "containerd", "Pod"}
    assert sorted(tmp_path.rglob("*")) == before
    assert node.kernel.modes() == {}


def test_a_link_to_a_program(node: CommandNode, program: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(program)
    done = node.run("draft", "web", "--exe", str(link))
    assert f"profile web {program} flags" in done.out
    assert f"leads to {program}: a process attaches by the resolved path" in done.err


def test_a_container(node: CommandNode) -> None:
    done = node.run("draft", "shop", "--container")
    assert "profile shop flags=(complain" in done.out
    assert "AppArmorProfile" not in done.err
    assert "--security-opt apparmor=shop" in done.err


def test_without_loading(node: CommandNode) -> None:
    done = node.run("draft", "shop", "--no-load")
    assert done.code == 0
    assert node.kernel.modes() == {}
    assert (node.base / "shop").is_file()
    assert "apparmor_parser -r " in done.err
    assert json.loads(node.run("--output", "json", "history", "shop").out)["state"] == "draft"


def test_a_name_with_all_bytes_of_a_path(node: CommandNode, tmp_path: Path) -> None:
    strange = tmp_path.resolve() / 'a b#"c\\x01{d}'
    strange.write_text("#!/bin/sh\n")
    strange.chmod(0o755)
    done = node.run("draft", "odd", "--exe", str(strange))
    assert done.code == 0, done.err
    from aalearn.lifecycle.promote import attaches_by

    (one,) = node.kernel.loaded()
    assert one.blob is not None
    assert attaches_by(one.blob, b"odd")(os.fsencode(strange))
    assert not attaches_by(one.blob, b"odd")(os.fsencode(strange) + b"x")


OTHER = "abi <abi/3.0>,\nprofile other %s flags=(attach_disconnected) {\n  /etc/hosts r,\n  deny /etc/shadow r,\n}\n"


@pytest.mark.parametrize("loaded", [True, False])
def test_another_profile_is_for_the_same_program(node: CommandNode, program: str, loaded: bool) -> None:
    pattern = program[:-1] + "[a-z]" if loaded else program
    text = OTHER % pattern
    if loaded:
        node.sim.load(text)
    else:
        (node.base / "other").write_text(text)
    done = node.run("draft", "web", "--exe", program)
    assert done.code == 2
    assert f"{program} has a profile already, other" in done.err
    assert "--from that profile, or disable that one" in done.err
    (node.base / "disable").mkdir()
    (node.base / "disable/other").symlink_to("../other")
    assert node.run("draft", "web", "--exe", program).code == (2 if loaded else 0)


def test_on_top_of_another(node: CommandNode, program: str) -> None:
    node.sim.load(OTHER % program, "other")
    done = node.run("draft", "web", "--from", "other")
    assert done.code == 0, done.err
    assert "profile web flags=(complain,attach_disconnected,mediate_deleted) {\n  /etc/hosts r,\n}" in done.out
    assert "1 deny rules of other are left out" in done.err
    assert node.kernel.modes() == {"other": "enforce", "web": "complain"}


def test_a_file_that_is_not_ours(node: CommandNode, program: str) -> None:
    file = node.base / "web"
    file.write_text("profile web { }\n")
    done = node.run("draft", "web", "--exe", program)
    assert done.code == 2
    assert f"{file} defines web already, and aalearn did not write it: `aa-complain {file}`" in done.err
    file.write_text("profile else { }\n")
    done = node.run("draft", "web", "--exe", program)
    assert (done.code, file.read_text()) == (2, "profile else { }\n")
    assert "defines another profile: choose another name" in done.err
    file.unlink()
    file.symlink_to(program)
    done = node.run("draft", "web", "--exe", program)
    assert done.code == 2
    assert "is a symbolic link" in done.err
    assert node.kernel.modes() == {}


def test_a_kernel_that_refuses(node: CommandNode) -> None:
    node.kernel.refuse = 1
    done = node.run("draft", "web")
    assert done.code == 3
    assert "file and kernel are as before" in done.err
    assert not (node.base / "web").exists()
    assert node.run("history", "web").code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("web", "--exe", "server"), "--exe must be an absolute path"),
        (("web", "--exe", "/"), "/ is no file: --exe names a program"),
        (("web", "--exe", "/etc/passwd"), "is not executable"),
        (("web", "--exe", "/bin/sh", "--container"), "exclude each other"),
        (("a//b",), "a//b is a child or a hat"),
        (("../etc/passwd",), "no file can be named after the profile"),
        (("abstractions",), "the policy folder keeps that name"),
        (("web.dpkg-new",), "apparmor_parser would pass over it"),
        (("x" * 200,), "is too long for a file"),
        (("a\x1bb",), r"no file can be named after the profile a\x1bb"),
        (("web", "--from", "nothing"), "no file in"),
        ((), "Missing argument"),
    ],
)
def test_wrong_words(node: CommandNode, arguments: tuple[str, ...], told: str) -> None:
    done = node.run("draft", *arguments)
    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1
    assert node.kernel.modes() == {}
