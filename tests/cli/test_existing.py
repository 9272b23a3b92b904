"""Profiles on disk: `suggest` gives what they lack and touches nothing else; aa-logprof's failures are tests."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done, Face
from tests.cli.schemas import SUGGEST, fits

pytestmark = pytest.mark.parser

TEXT = """\
# vim:syntax=apparmor
# A person's own comment.
abi <abi/3.0>,

#include <tunables/global>

@{DATA} = /srv/data /var/data

profile app /usr/bin/app flags=(attach_disconnected) {
  #include <abstractions/base>

  @{DATA}/** rwk,   # covers what it writes
\t/usr/bin/app   mr,

  # nothing of the network
  deny network inet6,

  profile tool {
    /usr/bin/tool mr,
  }
  /usr/bin/tool Cx -> tool,
%s}
"""
LOCAL = "\n  include if exists <local/usr.bin.app>\n"


class Node:
    """A folder of profiles, a store and a log that grows."""

    def __init__(self, aalearn: Face, folder: Path) -> None:
        self._aalearn = aalearn
        self.base = folder / "apparmor.d"
        self.base.mkdir()
        for name in ("abi", "tunables", "abstractions"):
            shutil.copytree(Path("/etc/apparmor.d") / name, self.base / name)
        (self.base / "local").mkdir()
        self._db = f"sqlite:///{folder / 'x.db'}"
        self._log = folder / "audit.log"
        self._serial = 0

    def profile(self, text: str, name: str = "usr.bin.app") -> Path:
        file = self.base / name
        file.write_text(text)
        return file

    def event(self, operation: str, profile: str = "app", verdict: str = "ALLOWED", **fields: str) -> None:
        """Log one record. Values that begin with 0x are written unquoted, without it: hex."""
        self._serial += 1
        shown = " ".join(
            f"{key}={value[2:]}"
            if value.startswith("0x")
            else f"{key}={value}"
            if key in ("fsuid", "ouid", "capability")
            else f'{key}="{value}"'
            for key, value in {"profile": profile, "pid": "0x77", "comm": "app", **fields}.items()
        )
        with self._log.open("a") as log:
            log.write(
                f'type=AVC msg=audit(1795450774.{self._serial:03d}:{self._serial}): apparmor="{verdict}" '
                f'operation="{operation}" {shown}\n'
            )

    def file(self, path: str, mask: str, profile: str = "app", verdict: str = "ALLOWED") -> None:
        fields = {"class": "file", "name": path, "requested_mask": mask, "denied_mask": mask, "fsuid": "1", "ouid": "2"}
        self.event("open", profile, verdict, **fields)

    def run(self, path: str, profile: str = "app") -> None:
        fields = {"name": path, "requested_mask": "x", "denied_mask": "x", "target": f"{profile}//null-{path}"}
        self.event("exec", profile, fsuid="0", ouid="0", **{"class": "file"}, **fields)

    def suggest(self, *options: str, name: str = "app", form: str = "text") -> Done:
        self._aalearn("--db", self._db, "--quiet", "ingest", "--trusted", self._log)
        return self._aalearn("--db", self._db, "--output", form, "suggest", *options, "--base", self.base, name)

    def call(self, *arguments: str) -> Done:
        return self._aalearn("--db", self._db, *arguments)

    def check(self, file: Path) -> Done:
        return self._aalearn("--db", self._db, "check", "--base", self.base, file)


@pytest.fixture
def node(aalearn: Face, tmp_path: Path) -> Node:
    return Node(aalearn, tmp_path)


def value(done: Done, code: int = 0) -> dict[str, Any]:
    assert done.code == code, done.err
    document: dict[str, Any] = json.loads(done.out)
    fits(document, SUGGEST)
    return document


def added(done: Done) -> list[str]:
    return [one["rule"] for one in value(done)["added"]]


def is_only_added_to(old: str, new: str) -> bool:
    """Whether each line of the old text stands in the new one, in the same order and unchanged."""
    lines = iter(new.splitlines(keepends=True))
    return all(line in lines for line in old.splitlines(keepends=True))


def test_what_it_lacks_goes_to_its_local_include(node: Node) -> None:
    file = node.profile(TEXT % LOCAL)
    node.file("/srv/data/x/y", "rw")
    node.file("/etc/app.conf", "r")
    node.event("capable", **{"class": "cap"}, capability="10", capname="net_bind_service")
    done = node.suggest()
    assert done.code == 0, done.err
    assert "\n/etc/app.conf r,\n" in done.out
    assert "\ncapability net_bind_service,\n" in done.out
    assert "/srv/data" not in done.out
    assert str(node.base / "local/usr.bin.app") in done.err
    before = file.read_text()
    (node.base / "local/usr.bin.app").write_text(done.out)
    assert node.check(file).code == 0
    assert file.read_text() == before
    again = node.suggest()
    assert (again.code, again.out) == (0, "")
    assert "lacks nothing" in again.err


def test_a_local_file_keeps_what_it_holds(node: Node) -> None:
    node.profile(TEXT % LOCAL)
    (node.base / "local/usr.bin.app").write_text("# mine\n/opt/mine r,  # too\n")
    node.file("/etc/app.conf", "r")
    done = node.suggest()
    assert done.out.startswith("# mine\n/opt/mine r,  # too\n\n")
    assert done.out.endswith("/etc/app.conf r,\n")


@pytest.mark.parametrize("change", ["", "\r", "tabs", "oneline"])
def test_without_one_it_is_the_least_edit(node: Node, change: str) -> None:
    text = TEXT % ""
    if change == "\r":
        text = text.replace("\n", "\r\n")
    elif change == "tabs":
        text = text.replace("\n  ", "\n\t\t")
    elif change == "oneline":
        text = "abi <abi/3.0>,\n#include <tunables/global>\nprofile app /usr/bin/app { /usr/bin/app mr, } # end\n"
    file = node.base / "usr.bin.app"
    file.write_bytes(text.encode())
    node.file("/etc/app.conf", "r")
    done = node.suggest(form="json")
    if change == "\r" and done.code == 3:  # the parser of AppArmor 4 refuses such a file itself
        assert "syntax error" in done.err
        assert file.read_bytes() == text.encode()
        return
    document = value(done)
    assert document["form"] == "edit"
    assert document["file"] == str(file)
    new = document["text"]
    if change == "oneline":
        assert new.startswith(text[: text.index(" } # end")])
        assert new.endswith("} # end\n")
    else:
        assert is_only_added_to(text, new)
    assert ("\r\n" in new) == (change == "\r")
    file.write_bytes(new.encode())
    assert node.check(file).code == 0
    assert value(node.suggest(form="json"))["form"] == "nothing"


def test_rules_go_into_the_block_that_lacks_them(node: Node) -> None:
    text = TEXT % LOCAL
    file = node.profile(text)
    node.file("/etc/tool.conf", "r", profile="app//tool")
    document = value(node.suggest(form="json"))
    assert document["form"] == "edit"
    assert document["added"] == [{"block": "app//tool", "rule": "/etc/tool.conf r,"}]
    assert is_only_added_to(text, document["text"])
    tool = document["text"][document["text"].index("profile tool {") :]
    assert "/etc/tool.conf r," in tool[: tool.index("}")]
    file.write_text(document["text"])
    assert node.check(file).code == 0


def test_null_children_are_placed_as_the_profile_would_run_them(node: Node) -> None:
    node.profile(TEXT % LOCAL)
    node.run("/usr/bin/tool")
    node.file("/usr/bin/tool", "r", profile="app//null-/usr/bin/tool")
    node.file("/etc/tool.conf", "r", profile="app//null-/usr/bin/tool")
    document = value(node.suggest(form="json"))
    assert document["added"] == [{"block": "app//tool", "rule": "/etc/tool.conf r,"}]


def test_a_program_that_it_may_not_run_yet(node: Node) -> None:
    file = node.profile(TEXT % LOCAL)
    node.run("/usr/bin/other")
    node.file("/usr/bin/other", "rm", profile="app//null-/usr/bin/other")
    node.file("/etc/other.conf", "r", profile="app//null-/usr/bin/other")
    node.run("/usr/bin/nested", profile="app//null-/usr/bin/other")
    node.file("/usr/bin/nested", "rm", profile="app//null-/usr/bin/other//null-/usr/bin/nested")
    document = value(node.suggest(form="json"))
    rules = [one["rule"] for one in document["added"]]
    assert any(rule.startswith("/usr/bin/other ") and "ix" in rule for rule in rules)
    assert "/etc/other.conf r," in rules
    assert not any("null" in rule for rule in rules)
    if document["form"] == "local":
        (node.base / "local/usr.bin.app").write_text(document["text"])
    else:
        file.write_text(document["text"])
    assert node.check(file).code == 0


def test_an_unknown_hat_becomes_a_block(node: Node) -> None:
    """aa-logprof -a asks for ever."""
    file = node.profile(TEXT % "")
    node.event("change_hat", **{"class": "file"}, name="newhat", target="app//null-newhat")
    node.file("/etc/hat.conf", "r", profile="app//null-newhat")
    document = value(node.suggest(form="json"))
    assert is_only_added_to(TEXT % "", document["text"])
    assert "  ^newhat" in document["text"]
    file.write_text(document["text"])
    assert node.check(file).code == 0


def test_an_explicit_deny_is_a_refutation_and_not_overruled(node: Node) -> None:
    node.profile((TEXT % LOCAL).replace("deny network inet6,", "deny /etc/app.conf r,"))
    node.file("/etc/app.conf", "r")
    done = node.suggest()
    assert (done.code, done.out) == (1, "")
    assert "/etc/app.conf" in done.err


def test_denied_records_are_no_evidence(node: Node) -> None:
    """aa-logprof -a allows them."""
    node.profile(TEXT % LOCAL)
    node.file("/etc/app.conf", "r")
    node.file("/etc/secret", "r", verdict="DENIED")
    assert added(node.suggest(form="json")) == ["/etc/app.conf r,"]
    assert "/etc/secret r," in added(node.suggest("--include-denied", form="json"))


def test_a_profile_that_can_not_be_read_stops_nothing(node: Node) -> None:
    """aa-logprof stops at one unparsable profile in the folder."""
    node.profile(TEXT % LOCAL)
    node.profile("profile broken { { {", name="a.broken")
    node.profile("\x00\x01\x02", name="a.binary")
    (node.base / "a.dangling").symlink_to("/nowhere")
    node.file("/etc/app.conf", "r")
    done = node.suggest()
    assert done.code == 0, done.err
    assert "a.broken is left out" in done.err


def test_its_own_file_must_compile(node: Node) -> None:
    node.profile((TEXT % LOCAL).replace("mr,", "nonsense,"))
    node.file("/etc/app.conf", "r")
    done = node.suggest()
    assert (done.code, done.out) == (3, "")
    assert done.err.count("\n") == 1
    assert "usr.bin.app" in done.err


@pytest.mark.parametrize(
    "path",
    [b"/tmp/ends,", b"/tmp/x\tr,\n/etc/shadow\trw,\n/tmp/y", b'/tmp/"q" {a,b} @{HOME} #', b"/tmp/\xff\\"],
)
def test_names_that_aa_logprof_spells_wrong(node: Node, path: bytes) -> None:
    file = node.profile(TEXT % LOCAL)
    node.file("0x" + path.hex().upper(), "r")
    done = node.suggest()
    assert done.code == 0, done.err
    (node.base / "local/usr.bin.app").write_text(done.out)
    assert node.check(file).code == 0
    rules = [line for line in done.out.splitlines() if line and not line.startswith("#")]
    assert len(rules) == 1


def test_lines_that_abort_aa_logprof(node: Node) -> None:
    node.profile(TEXT % LOCAL)
    node.file("/etc/app.conf", "r")
    node.event("open", verdict="HINT", name="/x")
    node.event("open", verdict="AUDIT", name="/x", requested_mask="r")
    node.event("change_profile", **{"class": "file"}, target="other", name="other")
    node.event("userns_create", **{"class": "namespace"}, info="Userns create - failed to find a profile")
    node.file("no/slash", "r")
    node.event("uring_cmd", **{"class": "io_uring"}, requested="cmd", denied="cmd")
    mask = {"requested_mask": "send", "denied_mask": "send"}
    node.event("signal", **{"class": "signal"}, **mask, signal="unknown(77)", peer="x")
    done = node.suggest()
    assert "/etc/app.conf r," in done.out, done.err
    assert done.code == 0


def test_variables_in_names_and_attachments(node: Node) -> None:
    """aa-logprof expands none."""
    text = (TEXT % LOCAL).replace("@{DATA} =", "@{exec_path} = /usr/bin/app /opt/app/bin/app\n@{DATA} =")
    text = text.replace("profile app /usr/bin/app", "profile app @{exec_path}")
    file = node.profile(text.replace("/usr/bin/app   mr", "@{exec_path} mr"))
    node.file("/opt/app/bin/app", "r")
    node.file("/var/data/x", "w")
    assert value(node.suggest(form="json"))["form"] == "nothing"
    node.file("/etc/app.conf", "r")
    done = node.suggest()
    assert done.out.endswith("/etc/app.conf r,\n")
    (node.base / "local/usr.bin.app").write_text(done.out)
    assert node.check(file).code == 0


def test_profiles_named_by_a_path(node: Node) -> None:
    node.profile("abi <abi/3.0>,\ninclude <tunables/global>\n/usr/bin/app {\n  /usr/bin/app mr,\n}\n")
    node.file("/etc/app.conf", "r", profile="/usr/bin/app")
    assert value(node.suggest(name="/usr/bin/app", form="json"))["form"] == "edit"
    node.file("/etc/app.conf", "r", profile="/usr/bin/{app,apps}")
    done = node.suggest(name="/usr/bin/{app,apps}")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "no profile can be written for /usr/bin/{app,apps}" in done.err


def test_an_attachment_by_variables_is_asked_for(node: Node) -> None:
    text = (TEXT % LOCAL).replace("app /usr/bin/app", "app @{bin}/app")
    node.profile(text.replace("@{DATA} =", "@{bin} = /bin\n@{DATA} ="))
    node.file("/etc/app.conf", "r")
    assert node.suggest().code == 0
    done = node.suggest("--whole")
    assert (done.code, done.out) == (2, "")
    assert "--exe" in done.err
    assert "\nprofile app /bin/app {\n" in node.suggest("--whole", "--exe", "/bin/app").out


def test_a_preamble_that_lacks_what_the_rules_need(node: Node) -> None:
    text = "abi <abi/3.0>,\n\n# mine\nprofile app /usr/bin/app {\n  /usr/bin/app mr,\n}\n"
    file = node.profile(text)
    node.file("/proc/77/status", "r")
    document = value(node.suggest(form="json"))
    assert is_only_added_to(text, document["text"])
    file.write_text(document["text"])
    assert node.check(file).code == 0


def test_whole_and_what_aalearn_wrote_itself(node: Node) -> None:
    file = node.profile(TEXT % LOCAL)
    node.file("/etc/app.conf", "r")
    whole = node.suggest("--whole")
    assert whole.code == 0, whole.err
    assert "\nprofile app /usr/bin/app {\n" in whole.out
    assert "a whole new text" in whole.err
    assert "- app: " in whole.err
    file.write_text(whole.out)
    node.file("/etc/other.conf", "r")
    document = value(node.suggest(form="json"))
    assert document["form"] == "whole"
    assert document["text"].startswith("# Learned by aalearn ")
    assert any("+ app: file r /etc/other.conf" in line for line in document["proof"]["difference"])


def test_what_is_withheld_from_an_existing_profile_stays_a_comment(node: Node) -> None:
    node.profile(TEXT % LOCAL)
    node.event("capable", **{"class": "cap"}, capability="21", capname="sys_admin")
    done = node.suggest()
    assert done.code == 0, done.err
    assert "# withheld: capability sys_admin,\n" in done.out
    assert "\ncapability" not in done.out
    assert "\ncapability sys_admin,\n" in node.suggest("--all").out


def test_a_base_that_is_none(node: Node, aalearn: Callable[..., Done], tmp_path: Path) -> None:
    node.file("/etc/app.conf", "r")
    assert node.suggest().code == 0
    done = aalearn("--db", f"sqlite:///{tmp_path}/x.db", "suggest", "--base", tmp_path / "none", "app")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1


def test_two_files_that_define_the_same_profile_are_told(node: Node) -> None:
    first, second = node.profile(TEXT % LOCAL), node.profile(TEXT % "", "zz.copy")
    node.file("/etc/app.conf", "r")
    done = node.suggest()
    assert (done.code, done.out) == (2, "")
    assert f"the profile app is defined in {first} and {second}: remove all but one, or disable" in done.err
    (node.base / "disable").mkdir()
    (node.base / "disable/zz.copy").symlink_to(second)
    assert value(node.suggest(form="json"))["file"] == str(node.base / "local/usr.bin.app")
    (node.base / "disable/usr.bin.app").symlink_to(first)
    assert node.suggest().code == 2
    second.unlink()
    assert node.suggest().code == 0


@pytest.mark.parametrize("name", ["/tmp/**", "a b", "a/../b", 'a"{}'])
def test_a_name_that_policy_can_not_spell_is_told(node: Node, aalearn: Face, name: str) -> None:
    node.file("/etc/app.conf", "r", profile=f"0x{name.encode().hex().upper()}")
    for command in ("suggest", "review", "explain"):
        node.suggest(name="nothing")
        done = node.call(command, "--", name)
        assert (done.code, done.out) == (2, "")
        assert f"no profile can be written for {name}: a name is made of letters" in done.err


def test_a_profile_that_attaches_to_nothing_is_told(node: Node) -> None:
    node.file("/etc/app.conf", "r")
    node.file("/etc/app.conf", "r", profile="/usr/bin/other")
    hint = "attaches to no program: give --exe PATH, or start the program under it (aa-exec -p app, AppArmorProfile=app"
    assert hint in node.suggest().err
    assert hint not in node.suggest("--exe", "/usr/bin/app").err
    assert hint not in node.suggest("--container").err
    assert "attaches to no program" not in node.suggest(name="/usr/bin/other").err
    node.profile(TEXT % LOCAL)
    assert "attaches to no program" not in node.suggest("--whole").err
    assert "attaches to no program" not in node.suggest().err


@pytest.mark.parametrize("path", ["/a/../b", "/a//b", "/a/", "/", "/./a", "//a"])
def test_a_program_that_is_no_plain_path_is_refused(node: Node, path: str) -> None:
    node.file("/etc/app.conf", "r")
    done = node.suggest("--exe", path)
    assert (done.code, done.out) == (2, "")
    assert f"--exe must be a file's real path, without //, . or .. and no slash at its end: {path}" in done.err


def test_a_cache_that_can_not_be_used_is_told_in_plain_words(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    node.file("/etc/app.conf", "r")
    done = node.suggest()
    assert done.code == 0
    assert f"aalearn: note: no compiled policy is cached: {tmp_path}/file/aalearn/policy: Not a directory\n" in done.err
    assert "Errno" not in done.err


def test_one_is_told_as_one(node: Node) -> None:
    node.event("capable", **{"class": "cap"}, capability="2", capname="dac_read_search")
    done = node.suggest()
    assert "# Learned by aalearn from 1 event of 1 run, " in done.out
    assert "1 rule withheld (1 access stays denied): see `aalearn review`" in done.err
