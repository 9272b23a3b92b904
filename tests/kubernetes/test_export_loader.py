"""The loader of `export configmap` as a node runs it: only the parser's call into the kernel is a stand-in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, require

SCRIPT = ROOT / "templates/loader.sh"
# Compiles with the real parser; instead of the kernel it fills a folder laid out as the kernel's.
PARSER = """#!/bin/sh
set -eu
for last; do :; done
name=$(sed -n 's/^profile \\([^ ]*\\) .*/\\1/p' "$last" | head -n 1)
case " $* " in
*" --skip-kernel-load "*) exec {parser} --config-file /dev/null -Q -K -S "$last" ;;
esac
[ ! -e "$BROKEN" ] || {{ echo "no permission" >&2; exit 1; }}
echo "$name" >>"$KERNEL/../calls"
mkdir -p "$KERNEL/policy/profiles/$name.1"
{parser} --config-file /dev/null -Q -K -S "$last" >"$KERNEL/policy/profiles/$name.1/raw_data"
mode=enforce; if grep -q 'flags=(complain' "$last"; then mode=complain; fi
grep -v "^$name " "$KERNEL/profiles" >"$KERNEL/rest" || true
{{ cat "$KERNEL/rest"; echo "$name ($mode)"; }} >"$KERNEL/profiles"
"""
TEXT = "abi <abi/3.0>,\nprofile {name} flags=({mode}attach_disconnected) {{\n  /etc/{file} r,\n}}\n"


class Node:
    """A node's kernel files, a ConfigMap's folder, and the loader."""

    def __init__(self, folder: Path, parser: str) -> None:
        self.folder, self.profiles, self.kernel = folder, folder / "profiles", folder / "kernel"
        for path in (self.profiles, self.kernel, folder / "bin", folder / "state"):
            path.mkdir()
        (self.kernel / "profiles").write_text("other (enforce)\n")
        program = folder / "bin/apparmor_parser"
        program.write_text(PARSER.format(parser=parser))
        program.chmod(0o755)

    def put(self, name: str, mode: str = "complain,", file: str = "hosts") -> None:
        (self.profiles / name).write_text(TEXT.format(name=name, mode=mode, file=file))

    def run(self, rounds: int = 1) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PROFILES": str(self.profiles),
            "KERNEL": str(self.kernel),
            "STATE": str(self.folder / "state"),
            "BROKEN": str(self.folder / "broken"),
            "SECONDS_BETWEEN": "0",
            "ROUNDS": str(rounds),
        }
        return subprocess.run(["sh", SCRIPT], env=environment, capture_output=True, text=True, check=False)

    @property
    def ready(self) -> bool:
        return (self.folder / "state/ready").exists()

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def node(tmp_path: Path, apparmor_parser: str) -> Node:
    require("cmp", shutil.which("cmp"))
    return Node(tmp_path, apparmor_parser)


@pytest.mark.parser
def test_profiles_are_loaded_once_and_checked(node: Node) -> None:
    node.put("web-1")
    node.put("api-2", mode="")
    done = node.run(rounds=3)
    assert done.returncode == 0, done.stderr
    assert node.ready
    assert sorted(node.calls()) == ["api-2", "web-1"]
    assert (node.kernel / "profiles").read_text().splitlines() == [
        "other (enforce)",
        "api-2 (enforce)",
        "web-1 (complain)",
    ]


@pytest.mark.parser
def test_what_the_kernel_has_otherwise_is_loaded_again(node: Node) -> None:
    node.put("web-1")
    assert node.run().returncode == 0
    node.put("web-1", file="passwd")  # other rules: the same name and mode, so only the policy itself tells
    assert node.run().returncode == 0
    assert node.calls() == ["web-1", "web-1"]
    (node.kernel / "profiles").write_text("web-1 (enforce)\n")  # somebody changed the mode
    assert node.run().returncode == 0
    (node.kernel / "profiles").write_text("")  # somebody took it away
    assert node.run().returncode == 0
    assert node.calls() == ["web-1"] * 4
    assert node.ready


@pytest.mark.parser
def test_a_profile_that_does_not_load_is_told_and_the_pod_is_not_ready(node: Node) -> None:
    node.put("web-1")
    assert node.run().returncode == 0
    node.put("bad-1")
    (node.folder / "broken").touch()
    done = node.run()
    assert done.returncode != 0
    assert "bad-1 is not loaded" in done.stderr
    assert not node.ready


def test_a_node_without_apparmor_is_told(node: Node) -> None:
    (node.kernel / "profiles").unlink()
    done = node.run()
    assert done.returncode == 1
    assert "AppArmor is off" in done.stderr
