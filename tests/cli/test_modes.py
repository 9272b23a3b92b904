"""`aalearn promote` enforces: a text with blocks in another mode is refused, whoever wrote it."""

import json
from pathlib import Path

import pytest

from aalearn.lifecycle.keeping import newest
from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.nodes import CommandNode

pytestmark = pytest.mark.parser

OTHERS = """\
abi <abi/3.0>,
profile app /usr/bin/app{flags} {{
  include if exists <local/app>
}}
profile tool flags=(complain) {{
}}
"""


@pytest.fixture
def node(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandNode:
    return CommandNode(aalearn, tmp_path, monkeypatch)


def learned(node: CommandNode) -> CommandNode:
    node.runs()
    node.ingest()
    return node


@pytest.mark.parametrize("flag", ["unconfined", "kill", "kill,audit"])
@pytest.mark.parametrize("block", ["profile app {", "  profile child {"])
def test_a_saved_text_that_would_not_be_enforced(node: CommandNode, flag: str, block: str) -> None:
    """As whoever owns the store can write it: the gates see nothing that it permits more."""
    assert node.run("--quiet", "draft", "app").code == 0
    learned(node)
    assert node.run("--quiet", "suggest", "app", "--save").code == 0
    with Store.open(node.db) as store:
        kept = newest(store.revisions(b"app"))
        assert kept is not None
        text = kept.text.rstrip().removesuffix("}") + "\n  profile child {\n    /a r,\n  }\n}\n"
        assert block in text
        forged = text.replace(block, block.replace("{", f"flags=({flag}) {{"))
        store.save_revision(b"app", forged, kept.proof, author="x", reason="", when=1, detail=kept.detail)
    before = node.sim.state("app")
    forced = ("--force", "author", "--force", "proof", "--force", "replay", "--reason", "x")
    for more in ((), ("--dry-run",), forced):
        done = node.run("promote", "app", *more)
        assert (done.code, done.out) == (2, "")
        name, mode = ("app//child" if "child" in block else "app"), flag.partition(",")[0]
        assert f"revision 3: it puts {name} into {mode} mode, and what is promoted is to be enforced" in done.err
        assert "`aalearn suggest app --save` makes a new revision" in done.err
    assert node.sim.state("app") == before


@pytest.mark.parametrize("flag", ["unconfined", "kill"])
def test_a_person_s_file_with_such_a_flag(node: CommandNode, flag: str) -> None:
    file = node.base / "app"
    node.sim.load(OTHERS.format(flags=f" flags=({flag})"), "app")
    learned(node)
    done = node.run("promote", "app")
    assert done.code == 2
    assert f"{file}: it puts app into {flag} mode" in done.err
    assert "take the flag out of that file, then promote again" in done.err
    assert not (node.base / "local/app").exists()
    assert node.kernel.modes()["app"] == flag


def test_other_profiles_of_the_file_keep_their_modes(node: CommandNode) -> None:
    node.sim.load(OTHERS.format(flags=" flags=(complain)"), "app")
    learned(node)
    done = node.run("--output", "json", "promote", "app")
    assert done.code == 0, done.err
    assert json.loads(done.out)["enforced"]
    assert node.kernel.modes() == {"app": "enforce", "tool": "complain"}


def test_a_kernel_that_enforces_no_profile(node: CommandNode) -> None:
    """Booted with apparmor.mode=complain it shows each profile in its own mode, and lets everything through."""
    assert node.run("--quiet", "draft", "app").code == 0
    learned(node)
    node.sim.parameters.mkdir()
    (node.sim.parameters / "mode").write_text("complain\n")
    refused = node.run("promote", "app")
    assert refused.code == 1
    assert "this kernel has every profile in complain mode" in refused.out
    assert node.kernel.modes() == {"app": "complain"}
    (node.sim.parameters / "mode").write_text("enforce\n")
    assert node.run("promote", "app").code == 0
