"""Revisions: a proved text is kept with its proof, the next one is compared with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Face

pytestmark = [pytest.mark.parser]
APPROVED = "capability dac_read_search,"


@pytest.fixture
def store(learned: Callable[[str], Path], tmp_path: Path, apparmor_parser: str) -> str:
    path = tmp_path / "x.db"
    shutil.copy(learned("redis"), path)
    return f"sqlite:///{path}"


def test_a_revision_keeps_text_proof_author_and_reason(store: str, aalearn: Face) -> None:
    empty = aalearn("--db", store, "history", "redis")
    assert (empty.code, empty.out) == (0, "")
    assert "no revision of redis was saved" in empty.err

    suggested = aalearn("--db", store, "suggest", "redis", "--save", "--reason", "first look")
    assert suggested.code == 0
    assert "saved as revision 1 of redis" in suggested.err
    shown = aalearn("--db", store, "history", "redis", "--show", "1")
    assert shown.out == suggested.out

    (kept,) = json.loads(aalearn("--db", store, "--output", "json", "history", "redis").out)["revisions"]
    assert (kept["revision"], kept["reason"]) == (1, "first look")
    proof = kept["proof"]
    assert proof["proved"] is True
    assert proof["counts"]["denied"] == 0
    for key in ("parser", "abi", "features", "sha256"):
        assert proof[key], key


def test_the_same_text_is_not_saved_twice_and_a_new_one_tells_the_difference(store: str, aalearn: Face) -> None:
    aalearn("--db", store, "suggest", "redis", "--save")
    again = aalearn("--db", store, "suggest", "redis", "--save")
    assert "not saved: this is revision 1" in again.err
    assert "last saved revision" not in again.err

    more = aalearn("--db", store, "suggest", "redis", "--approve", APPROVED, "--reason", "it reads dumps", "--save")
    assert "more (+) and less (-) than the last saved revision permits:" in more.err
    assert "  + redis: capability dac_read_search" in more.err
    assert "saved as revision 2" in more.err
    table = aalearn("--db", store, "history", "redis").out
    assert [line.split()[0] for line in table.splitlines()] == ["REVISION", "1", "2"]


def test_wrong_use_is_told_in_one_line(store: str, aalearn: Face) -> None:
    for arguments, told in (
        (("history", "redis", "--show", "3"), "redis has no revision 3: there are 0 revisions"),
        (("history", "rediss"), "redis"),
        (("suggest", "redis", "--reason", "x"), "--reason belongs to --approve or --save"),
    ):
        done = aalearn("--db", store, *arguments)
        assert done.code == 2
        assert done.out == ""
        assert told in done.err
        assert done.err.count("\n") == 1
