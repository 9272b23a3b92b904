"""Revisions: a proved text is kept with its proof, the next one is compared with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.store import Store
from tests.cli.conftest import Face
from tests.cli.schemas import HISTORY, fits

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
    table, changed = aalearn("--db", store, "history", "redis").out.split("\n\n")
    assert [line.split()[0] for line in table.splitlines()] == ["REVISION", "1", "2"]
    assert changed.splitlines()[1:] == ["  2  + redis: capability dac_read_search"]
    document = json.loads(aalearn("--db", store, "--output", "json", "history", "redis").out)
    assert (document["state"], document["steps"]) == (None, [])
    assert [one["changed"] for one in document["revisions"]] == [[], ["+ redis: capability dac_read_search"]]


@pytest.fixture
def two(store: str, aalearn: Face) -> str:
    """A store with two revisions of redis; the second was promoted, taken back and promoted again."""
    aalearn("--db", store, "suggest", "redis", "--save")
    aalearn("--db", store, "suggest", "redis", "--approve", APPROVED, "--reason", "it reads dumps", "--save")
    with Store.open(store) as opened:
        for at, (state, revision, detail) in enumerate(
            (
                ("ready", 1, {}),
                ("enforced", 1, {"unit": "redis.service"}),
                ("reverted", 1, {"mode": "complain"}),
                ("ready", 2, {}),
                ("enforced", 2, {}),
            )
        ):
            opened.step(
                b"redis",
                state,
                revision=revision,
                who="root",
                reason="x\x1b[31m",
                when=1_700_000_000_000 + at,
                detail=json.dumps(detail),
            )
    return store


def test_steps_and_states_are_told(two: str, aalearn: Face) -> None:
    done = aalearn("--db", two, "history", "redis")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    revisions, _, steps = done.out.split("\n\n")
    assert [line.split()[4] for line in revisions.splitlines()[1:]] == ["reverted", "enforced"]
    assert [line.split()[4] for line in steps.splitlines()[1:]] == [
        "ready",
        "enforced",
        "reverted",
        "ready",
        "enforced",
    ]
    document = json.loads(aalearn("--db", two, "--output", "json", "history", "redis").out)
    fits(document, HISTORY)
    assert document["state"] == "enforced"
    assert document["steps"][1]["detail"] == {"unit": "redis.service"}


def test_two_revisions_are_compared_by_their_automata(two: str, aalearn: Face, tmp_path: Path) -> None:
    for pair in (("redis@1", "redis@2"), ("redis@1", "redis@last"), ("redis@1", "redis@enforced")):
        done = aalearn("--db", two, "diff", *pair)
        assert done.code == 1, done.err
        assert done.out == "profile redis: changed\n  + capability dac_read_search\n"
    assert aalearn("--db", two, "diff", "redis@2", "redis@last").code == 0
    file = tmp_path / "redis.aa"
    file.write_text(aalearn("--db", two, "suggest", "redis", "--revision", "1").out)
    assert aalearn("--db", two, "diff", "redis@1", file).code == 0
    document = json.loads(aalearn("--db", two, "--output", "json", "diff", file, "redis@2").out)
    assert (document["a"], document["b"]) == (str(file), "redis@2")
    assert document["changes"][0]["gained"] == [
        {"kind": "capability", "permissions": "", "object": "dac_read_search"},
    ]


def test_a_file_comes_before_a_revision_of_that_name(
    two: str, aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("redis@1").write_text("profile redis { }\n")
    assert "capability dac_override" in aalearn("--db", two, "diff", "redis@1", "redis@2").out
    Path("redis@1").unlink()
    assert "dac_override" not in aalearn("--db", two, "diff", "redis@1", "redis@2").out


def test_revisions_of_a_local_include_are_compared(two: str, aalearn: Face) -> None:
    with Store.open(two) as opened:
        for text in ("  /etc/x r,\n", "  /etc/x rw,\n  @{PROC}/1/stat r,\n"):
            opened.save_revision(b"redis", text, "{}", author="x", reason="", when=1)
    done = aalearn("--db", two, "diff", "redis@3", "redis@4")
    assert done.code == 1, done.err
    assert "+ file w /etc/x" in done.out
    assert "+ file r /proc/1/stat" in done.out


def test_a_kept_revision_is_printed_as_it_was(two: str, aalearn: Face) -> None:
    for number in "1", "2":
        shown = aalearn("--db", two, "history", "redis", "--show", number)
        done = aalearn("--db", two, "suggest", "redis", "--revision", number)
        assert (done.code, done.out) == (0, shown.out)
    assert (
        json.loads(aalearn("--db", two, "--output", "json", "suggest", "redis", "--revision", "2").out)["revision"] == 2
    )


def test_wrong_selectors_are_told_in_one_line(two: str, aalearn: Face) -> None:
    for arguments, told in (
        (("diff", "redis@3", "redis@1"), "redis has no revision 3: there are 2 revisions"),
        (("diff", "redis@1", "rediss@1"), "did you mean redis?"),
        (("diff", "redis@x", "redis@1"), "can't read redis@x"),
        (("suggest", "redis", "--revision", "7"), "redis has no revision 7"),
        (("suggest", "redis", "--revision", "1", "--complain"), "leave out --complain"),
        (("suggest", "redis", "--revision", "0"), "--revision"),
    ):
        done = aalearn("--db", two, *arguments)
        assert (done.code, done.out) == (2, ""), done
        assert told in done.err
        assert done.err.count("\n") == 1


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
