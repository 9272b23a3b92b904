"""The census counts what a compiled profile grants of a tree."""

from pathlib import Path

import pytest

from aalearn.model.errors import UsageError
from aalearn.policy.ask.base import Machine
from aalearn.policy.census import EXAMPLES, Census, census_of_paths, census_of_tree, paths_of
from aalearn.policy.compiler import Parser
from aalearn.policy.gate import subjects
from aalearn.policy.walks import bits_of

pytestmark = pytest.mark.parser
RULES = "/ r, /etc/ r, /etc/* r, owner /var/log/*.log w, /bin/* rix, /data/** a,"


@pytest.fixture
def machine(bookworm_parser: Parser) -> Machine:
    found = subjects(bookworm_parser.compile(f"profile x {{ {RULES} }}").blob)[b"x"].file
    assert found is not None
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "etc/passwd",
        "etc/shadow",
        "etc/sub/deep",
        "var/log/a.log",
        "var/log/b.txt",
        "bin/sh",
        "data/one/two",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "etc" / "link").symlink_to("/etc/passwd")
    return tmp_path


PATHS = (
    *(b"/", b"/etc/", b"/etc/passwd", b"/etc/shadow", b"/etc/sub/", b"/etc/sub/deep", b"/var/", b"/var/log/"),
    *(b"/var/log/a.log", b"/var/log/b.txt", b"/bin/", b"/bin/sh", b"/data/", b"/data/one/", b"/data/one/two"),
)
ACCESSED = {
    b"/etc/passwd": bits_of("r"),
    b"/var/log/a.log": bits_of("w"),
    b"/bin/sh": bits_of("x"),
    b"/gone": bits_of("rw"),
}
EXPECTED = Census(
    paths=15,
    readable=5,
    writable=3,
    executable=1,
    unread=4,
    unwritten=2,
    unread_examples=(b"/", b"/bin/sh", b"/etc/", b"/etc/shadow"),
    unwritten_examples=(b"/data/one/", b"/data/one/two"),
)


def test_a_tree(machine: Machine, tree: Path) -> None:
    assert census_of_tree(machine, tree, ACCESSED) == EXPECTED


@pytest.mark.parametrize("order", [1, -1])
def test_a_list_in_any_order(machine: Machine, order: int) -> None:
    assert census_of_paths(machine, PATHS[::order], ACCESSED) == EXPECTED


def test_shares(machine: Machine) -> None:
    census = census_of_paths(machine, PATHS, ACCESSED)
    assert (census.over_read, census.over_written) == (4 / 15, 2 / 15)
    assert census_of_paths(machine, (), {}).over_read == 0.0


def test_examples_are_the_first_and_bounded(machine: Machine) -> None:
    paths = [b"/etc/%04d" % number for number in range(500, 0, -1)]
    census = census_of_paths(machine, paths, {})
    assert census.unread == 500
    assert census.unread_examples == tuple(b"/etc/%04d" % number for number in range(1, EXAMPLES + 1))


def test_an_unreadable_root_is_told(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        census_of_tree(machine, tmp_path / "none", {})


def test_saved_lists() -> None:
    assert list(paths_of([b"/a\n", b"/b\0/c\0", b"", b"relative\n"])) == [b"/a", b"/b", b"/c"]
