"""Profile text: layout, and that nothing can leave its place. What is written is compiled by apparmor_parser."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.grammar.writer import write, write_local
from aalearn.model.errors import NotExpressible
from aalearn.model.profile import Document, Line, Profile, State

Compiles = Callable[[str], bytes]


@dataclass(frozen=True)
class Given:
    """A rule as text; the real kinds are tested with their own modules."""

    words: str
    kind: str = "file"

    def text(self) -> str:
        return self.words


def line(text: str, kind: str = "file", state: State = State.ACTIVE, comments: tuple[str, ...] = ()) -> Line:
    return Line(Given(text, kind), comments, state)


@dataclass
class Compiler:
    parser: str
    folder: Path
    number: int = field(default=0)

    def __call__(self, text: str) -> bytes:
        self.number += 1
        file = self.folder / f"{self.number}.aa"
        file.write_text(text)
        command = [self.parser, "--config-file", "/dev/null", "-Q", "-K", "-S", "-M", "/etc/apparmor.d/abi/3.0"]
        done = subprocess.run([*command, "--base", "/etc/apparmor.d", file], capture_output=True, check=False)
        assert done.returncode == 0, (text, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def compiles(apparmor_parser: str, tmp_path_factory: pytest.TempPathFactory) -> Compiles:
    return Compiler(apparmor_parser, tmp_path_factory.mktemp("writer"))


FULL = Document(
    Profile(
        "web",
        (
            line("capability net_bind_service,", "capability", comments=("seen 4 times, in 2 runs",)),
            line("network inet stream,", "network"),
            line("/etc/web.conf r,"),
            line("owner @{root}/** rw,"),
            line("/etc/shadow r,", state=State.REVIEW, comments=("one run alone read it",)),
            line("capability sys_admin,", "capability", State.WITHHELD, ("takes over the host",)),
        ),
        attachment="/usr/sbin/web",
        flags=("complain", "attach_disconnected"),
        comments=("learned from 12 runs",),
        children=(Profile("tool", (line("/usr/bin/tool mr,"),), flags=("complain",)),),
        hats=(Profile("guest", flags=("complain",)),),
    ),
    includes=("tunables/global",),
    variables=(("root", ("/srv/web", "/var/web")),),
    comments=("Written by aalearn.",),
)

FULL_TEXT = """\
# Written by aalearn.

abi <abi/3.0>,

include <tunables/global>

@{root} = /srv/web /var/web

# learned from 12 runs
profile web /usr/sbin/web flags=(complain,attach_disconnected) {
  # seen 4 times, in 2 runs
  capability net_bind_service,

  network inet stream,

  /etc/web.conf r,
  owner @{root}/** rw,

  # ---- waits for review: active until a person has decided (aalearn review web) ----
  # one run alone read it
  /etc/shadow r,

  # ---- withheld: not active until a person approves it by name, with a reason (aalearn review web) ----
  # takes over the host
  # withheld: capability sys_admin,
  # ---- end of review ----

  profile tool flags=(complain) {
    /usr/bin/tool mr,
  }

  ^guest flags=(complain) {
  }
}
"""


def test_the_layout_of_a_whole_profile() -> None:
    assert write(FULL) == FULL_TEXT
    assert write(FULL) == write(FULL)


@pytest.mark.parser
def test_the_layout_compiles(compiles: Compiles) -> None:
    policy = compiles(write(FULL))
    for name in (b"web\0", b"web//tool\0", b"web//guest\0"):
        assert name in policy


def test_the_least_profile() -> None:
    assert write(Document(Profile("least"))) == "abi <abi/3.0>,\n\nprofile least {\n}\n"


def test_only_children() -> None:
    document = Document(Profile("top", children=(Profile("a"), Profile("b", (line("/x r,"),)))))
    assert write(document) == (
        "abi <abi/3.0>,\n\nprofile top {\n  profile a {\n  }\n\n  profile b {\n    /x r,\n  }\n}\n"
    )


def test_a_local_include_holds_rules_alone() -> None:
    lines = [line("capability chown,", "capability"), line("/etc/x r,"), line("/y w,", state=State.WITHHELD)]
    assert write_local(lines, ("what web lacks",), "web") == (
        "# what web lacks\n\ncapability chown,\n\n/etc/x r,\n\n"
        "# ---- withheld: not active until a person approves it by name, with a reason (aalearn review web) ----\n"
        "# withheld: /y w,\n# ---- end of review ----\n"
    )
    assert write_local([], ("nothing",)) == "# nothing\n"


@pytest.mark.parametrize(
    "document",
    [
        Document(Profile("a b")),
        Document(Profile("a{")),
        Document(Profile("a\n/etc/shadow r,")),
        Document(Profile("")),
        Document(Profile("a", attachment="/x {\n")),
        Document(Profile("a", attachment="")),
        Document(Profile("a", flags=("complain) {",))),
        Document(Profile("a", (line("/x r"),))),
        Document(Profile("a", (line("/x r,\n/y r,"),))),
        Document(Profile("a", (line("/x\x00 r,"),))),
        Document(Profile("a", (line("/\u2028 r,"),))),
        Document(Profile("a", children=(Profile("b\tc"),))),
        Document(Profile("a", hats=(Profile("}"),))),
        Document(Profile("a"), abi="3.0>,\n"),
        Document(Profile("a"), includes=("../../etc/passwd",)),
        Document(Profile("a"), includes=("/etc/passwd",)),
        Document(Profile("a"), includes=("x>\n",)),
        Document(Profile("a"), variables=(("x}", ("a",)),)),
        Document(Profile("a"), variables=(("x", ("a\nb",)),)),
    ],
)
def test_what_would_leave_its_place_is_refused(document: Document) -> None:
    with pytest.raises(NotExpressible):
        write(document)


HOSTILE = ["a\nb", "\r/etc/shadow r,", "include <x>", "#include <x>", "x\\", "\x1b[2J", "\u2028/x r,"]
HOSTILE += ["}", "a\x0bb", "\x00", "é"]


@pytest.mark.parser
def test_comments_compile_to_nothing(compiles: Compiles) -> None:
    bare = Document(Profile("p", (line("/x r,"),)))
    noisy = Document(
        Profile("p", (line("/x r,", comments=tuple(HOSTILE)),), comments=tuple(HOSTILE)), comments=tuple(HOSTILE)
    )
    assert compiles(write(noisy)) == compiles(write(bare))


@given(st.text())
def test_a_comment_stays_a_comment(comment: str) -> None:
    text = write(
        Document(Profile("p", (line("/x r,", comments=(comment,)),), comments=(comment,)), comments=(comment,))
    )
    rest = [row for row in text.splitlines() if row.strip() and not row.lstrip().startswith("# ")]
    assert rest == ["abi <abi/3.0>,", "profile p {", "  /x r,", "}"]
    assert text.isascii() or text.isprintable() or all(char.isprintable() or char == "\n" for char in text)
