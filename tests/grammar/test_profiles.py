"""Profile text: blocks, names, flags and includes as apparmor_parser sees them; edits that change nothing else."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.grammar.profiles import ProfileFile, insert_rules, read_profiles, set_complain
from aalearn.model.errors import BadInput, UsageError
from tests.conftest import require
from tests.policy import trixie

BASE = Path("/etc/apparmor.d")
EVERYTHING = r"""# a comment with { braces }
abi <abi/4.0>,
include <tunables/global>
#include <tunables/local>
# include <not/this>
@{exec_path} = /usr/bin/{a,b} # }{
@{exec_path} += "/usr/bin/x y" \
  /usr/bin/z
$debug = true
alias /a/ -> /b/,

profile "all of it" @{exec_path} xattrs=(user.a="b }") flags = (attach_disconnected, complain) {
  include <abstractions/base>
  include if exists <local/all>
  /x/{a,b{c,d}}/** r, # a } comment
  "/y {z}" rw, /a,b r,
  /trailing\{ r,
  /[{]class r,
  owner { /o r, }
  audit deny /d w,
  priority=10 allow /p r,
  mqueue,
  all,
  prompt /q r,
  userns,
  dbus (send, receive) bus=system peer=(name="x, }", label=y),
  unix(send,receive) type=stream peer=(label=splat\(),
  mount options=(rw, bind) "/a b" -> /c/,
  change_profile -> x,
  set rlimit nofile <= 1024,
  if defined @{exec_path} { /if r, } else if $debug { /elif r, } else {
    /else r,
    include <local/conditional>
    ^inner { }
  }
  ^hat flags=(complain) { /h r, }
  hat other{
    /h r,
  }
  profile child
  # between
  {
    #include "/etc/apparmor.d/local/all_child"
    profile deep /deep { /e r, }
  }
}
/usr/bin/plain { /x r,}
:ns:/usr/bin/spaced (enforce) { }
profile last {}"""


def place(file: ProfileFile, path: str) -> tuple[str, str]:
    """Return the characters at the open and the close of a block."""
    block = file.find(path)
    return file.text[block.open], file.text[block.close]


def test_everything_at_once() -> None:
    file = read_profiles(EVERYTHING)
    assert [block.path for block in file.walk()] == [
        "all of it", "all of it//inner", "all of it//hat", "all of it//other", "all of it//child",
        "all of it//child//deep", "/usr/bin/plain", ":ns:///usr/bin/spaced", "last",
    ]  # fmt: skip
    top = file.find("all of it")
    assert (top.attachment, top.flags, top.xattrs) == (
        "@{exec_path}", ("attach_disconnected", "complain"), '(user.a="b }")',
    )  # fmt: skip
    assert top.flags_at is not None
    assert EVERYTHING[slice(*top.flags_at)] == "flags = (attach_disconnected, complain)"
    assert [include.path for include in top.includes] == ["abstractions/base", "local/all"]
    assert [include.path for include in file.includes] == ["tunables/global", "tunables/local"]
    assert (file.abi, file.variables) == ("abi/4.0", ("@{exec_path}", "@{exec_path}", "$debug"))
    assert all(place(file, block.path) == ("{", "}") for block in file.walk())
    assert [block.local for block in file.walk()][:1] == ["local/all"]
    assert file.find("all of it//child").local == "local/all_child"
    assert file.find(":ns:///usr/bin/spaced").flags == ("enforce",)
    assert [file.find(f"all of it//{name}").kind for name in ("hat", "other", "child")] == ["hat", "hat", "profile"]


@pytest.mark.parametrize(
    ("line", "local"),
    [
        ("include if exists <local/x>", "local/x"),
        ("include <local/x>", "local/x"),
        ("#include <local/x>", "local/x"),
        ("#include if exists <local/x>", "local/x"),
        ('include "local/x"', "local/x"),
        ('include if exists "/etc/apparmor.d/local/x"', "local/x"),
        ("include /etc/apparmor.d/local/x", "local/x"),
        ("  include   <local/other>\n include <local/x> # why", "local/x"),
        ("include <local/usr.bin.x>", "local/usr.bin.x"),
        ("# include <local/x>", None),
        ("include <abstractions/local>", None),
        ("if defined @{x} { include <local/x> }", None),
    ],
)
def test_local_includes_however_they_are_spelled(line: str, local: str | None) -> None:
    assert read_profiles(f"profile x {{\n{line}\n}}\n").find("x").local == local


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("profile x {\n  /a r,\n}\n", "profile x {\n  /a r,\n  /new r,\n}\n"),
        ("profile x {\n\t/a r,\n\n}\n", "profile x {\n\t/a r,\n\n\t/new r,\n}\n"),
        ("profile x {\n}\n", "profile x {\n  /new r,\n}\n"),
        ("profile x {}\n", "profile x {\n  /new r,\n}\n"),
        ("profile x { /a r, }\n", "profile x { /a r, \n  /new r,\n}\n"),
        ("profile x {\r\n  /a r,\r\n}\r\n", "profile x {\r\n  /a r,\r\n  /new r,\r\n}\r\n"),
        ("profile x {\n  /a r, # c }\n}", "profile x {\n  /a r, # c }\n  /new r,\n}"),
        ("profile x {\n   /a r,\n ^h {\n/b r,\n  }\n}\n", "profile x {\n   /a r,\n ^h {\n/b r,\n  }\n   /new r,\n}\n"),
    ],
)  # fmt: skip
def test_rules_are_inserted_at_the_end_of_the_block(before: str, after: str) -> None:
    assert insert_rules(before, "x", ["/new r,"]) == after


def test_inserting_into_an_inner_block() -> None:
    text = insert_rules(EVERYTHING, "all of it//child//deep", ["/new r,", "# why"])
    assert "profile deep /deep { /e r, \n      /new r,\n      # why\n    }" in text
    assert text.replace("\n      /new r,\n      # why\n    ", "") == EVERYTHING


@pytest.mark.parametrize("path", [block.path for block in read_profiles(EVERYTHING).walk()])
def test_an_edit_keeps_every_other_byte(path: str) -> None:
    text = insert_rules(EVERYTHING, path, ["/new r,"])
    before, _, after = text.partition("/new r,")
    assert EVERYTHING.startswith(before.rstrip())
    assert EVERYTHING.endswith(after.lstrip())
    assert [block.path for block in read_profiles(text).walk()] == [
        block.path for block in read_profiles(EVERYTHING).walk()
    ]


def test_modes_change_in_every_block() -> None:
    complain = set_complain(EVERYTHING, "all of it", True)
    assert all("complain" in block.flags for block in read_profiles(complain).find("all of it").walk())
    enforce = set_complain(complain, "all of it", False)
    assert all("complain" not in block.flags for block in read_profiles(enforce).find("all of it").walk())
    assert read_profiles(enforce).find("all of it").flags == ("attach_disconnected",)
    assert set_complain("profile x flags=(complain) {}", "x", False) == "profile x {}"
    assert set_complain("profile x {}", "x", True) == "profile x flags=(complain) {}"
    assert set_complain(complain, "all of it", True) == complain


@pytest.mark.parametrize("text", ["profile x {", "}", "profile x { }}", 'profile x { "/a r, }', "profile x {\n{\n}"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"line \d"):
        read_profiles(text)


def test_unknown_and_doubled_names() -> None:
    with pytest.raises(UsageError, match="not there; the file's profiles: x"):
        read_profiles("profile x {}").find("y")
    with pytest.raises(UsageError, match="twice"):
        read_profiles("profile x {} profile x {}").find("x")


@given(st.text(alphabet='{}()[]"\\#,= \n^@abr/<>', max_size=60))
def test_no_text_does_harm(text: str) -> None:
    try:
        file = read_profiles(text)
    except BadInput:
        return
    assert all(text[block.open] == "{" and text[block.close] == "}" for block in file.walk())


def test_deep_nesting_is_no_recursion() -> None:
    text = "profile x {" * 2000 + "}" * 2000
    assert len(read_profiles("profile x {" + "{" * 2000 + "}" * 2000 + "}").profiles) == 1
    assert len(list(read_profiles(text).profiles)) == 1


def names(parser: list[str], path: Path, base: Path) -> set[str] | None:
    """Return the names that a parser finds in a file; None when it refuses the file."""
    options = ["--config-file", "/dev/null", "-Q", "-K", "-N", "-I", str(base), "--base", str(base)]
    done = subprocess.run([*parser, *options, str(path)], capture_output=True, check=False, cwd="/")
    return set(done.stdout.decode("utf-8", "surrogateescape").split("\n")) - {""} if done.returncode == 0 else None


@pytest.mark.parser
def test_installed_profiles_are_read_as_the_parser_reads_them(apparmor_parser: str) -> None:
    files = [path for path in BASE.rglob("*") if path.is_file() and "abi" not in path.parts]
    require("AppArmor's own profiles", files)
    for path in files:
        file = read_profiles(path.read_text("utf-8", "surrogateescape"))
        if path.parent != BASE or not file.profiles:
            continue
        assert {block.path for block in file.walk()} == names([apparmor_parser], path, BASE)


@pytest.mark.parser
@pytest.mark.slow
def test_apparmor_s_own_parser_tests_are_read_as_the_parser_reads_them() -> None:
    try:
        source, parser, base = trixie.source(), list(trixie.parser()), trixie.base()
    except trixie.TrixieError as error:
        require(f"Debian 13's AppArmor ({error})", None)
        raise
    read = differ = 0
    for path in sorted((source / "parser" / "tst" / "simple_tests").rglob("*.sd")):
        text = path.read_text("utf-8", "surrogateescape")
        if "EXRESULT PASS" not in text:
            continue
        ours = {block.path for block in read_profiles(text).walk()}
        read += 1
        if read % 3 or "include" in text:
            continue
        theirs = names(parser, path, base)
        if theirs is None or path.parent.name == "conditional":
            continue
        differ += ours != theirs
        assert ours == theirs, path
    assert read > 1000
    assert not differ


@pytest.mark.parser
def test_an_edited_profile_compiles(apparmor_parser: str, tmp_path: Path) -> None:
    for path in sorted(path for path in BASE.iterdir() if path.is_file()):
        text = path.read_text()
        for block in read_profiles(text).walk():
            edited = set_complain(insert_rules(text, block.path, ["/new/file r,"]), block.path, True)
            target = tmp_path / path.name
            target.write_text(edited)
            command = [
                apparmor_parser,
                "--config-file",
                "/dev/null",
                "-Q",
                "-K",
                "-S",
                "-I",
                str(BASE),
                "--base",
                str(BASE),
            ]
            done = subprocess.run([*command, str(target)], capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
