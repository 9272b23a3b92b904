"""`aalearn db` as a person uses it."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.store import Store
from tests.cli.conftest import Face
from tests.conftest import ROOT


@pytest.fixture
def url(learned: Callable[[str], Path], tmp_path: Path) -> str:
    """A store of its own with the nginx sample."""
    shutil.copy(learned("nginx"), tmp_path / "x.db")
    return f"sqlite:///{tmp_path / 'x.db'}"


def test_check_of_a_sound_store(aalearn: Face, url: str) -> None:
    done = aalearn("--db", url, "db", "check")
    assert (done.code, done.out, done.err) == (0, "the store is sound\n", "")
    assert json.loads(aalearn("--db", url, "--output", "json", "db", "check").out) == {"schema": 1, "findings": []}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE totals SET accesses = accesses + 1", "the totals of nginx"),
        ("UPDATE labels SET high = x'00'", "wrong range"),
        ("DELETE FROM labels", "belongs to no label"),
        ("UPDATE ledger SET marks = x'00'", "ledger"),
        ("UPDATE nodes SET name = x'61'", "wrong id"),
        ("DELETE FROM stores", "numbers of its own"),
        ("UPDATE accesses SET state = x'00' WHERE id = 1", "damaged"),
    ],
)
def test_check_finds_what_is_wrong(aalearn: Face, url: str, damage: str, words: str) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute(damage)
    connection.commit()
    connection.close()
    done = aalearn("--db", url, "db", "check")
    assert done.code in (1, 3)
    assert words in done.out + done.err


def test_a_backup_is_private_and_never_replaces_unasked(aalearn: Face, url: str, tmp_path: Path) -> None:
    target = tmp_path / "b.db"
    assert aalearn("--db", url, "db", "backup", target).code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()
    again = aalearn("--db", url, "db", "backup", target)
    assert (again.code, again.err.count("\n")) == (3, 1)
    assert "--force" in again.err
    assert target.read_bytes() == before
    assert aalearn("--db", url, "db", "backup", target, "--force").code == 0
    assert aalearn("--db", f"sqlite:///{target}", "db", "check").code == 0
    missing = aalearn("--db", url, "db", "backup", tmp_path / "no" / "b.db")
    assert (missing.code, missing.err.count("\n")) == (3, 1)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_backups_while_the_service_writes_are_of_one_moment(aalearn: Face, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    code = (
        "import sys\nfrom aalearn.store import Store\nfrom tests.store.sightings import commit, many\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    for seed in range(100000):\n"
        "        commit(store, many(300, seed, 5000))\n"
        "        if seed == 3: print('go', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        events = []
        for number in range(4):
            target = tmp_path / f"b{number}.db"
            assert aalearn("--db", url, "db", "backup", target).code == 0
            assert aalearn("--db", f"sqlite:///{target}", "db", "check").code == 0
            with Store.open(f"sqlite:///{target}", readonly=True) as store:
                events.append(sum(one.events for one in store.profiles()))
        refused = aalearn("--db", url, "db", "vacuum")
        assert refused.code == 3
        assert f"pid {writer.pid}" in refused.err
        writer.kill()
    assert events == sorted(events)
    assert all(amount % 300 == 0 for amount in events)


def test_export_and_import(aalearn: Face, url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl.zst", tmp_path / "2.jsonl.zst"
    other = f"sqlite:///{tmp_path / 'new' / 'y.db'}"
    assert aalearn("--db", url, "db", "export", first).code == 0
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert aalearn("--db", url, "db", "export", first).code == 3
    for _ in range(2):
        done = aalearn("--db", other, "db", "import", "--trusted", first)
        assert (done.code, done.err) == (0, "")
    assert aalearn("--db", other, "db", "check").code == 0
    assert aalearn("--db", other, "db", "export", second).code == 0
    assert first.read_bytes() == second.read_bytes()
    assert aalearn("--db", other, "suggest", "nginx").out == aalearn("--db", url, "suggest", "nginx").out


@pytest.mark.parametrize("content", [b"", b"x\n", b"\x28\xb5\x2f\xfd" + b"\0" * 50, b"\x28\xb5\x2f\xfd"])
def test_what_is_no_export(aalearn: Face, url: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "e.zst"
    file.write_bytes(content)
    done = aalearn("--db", url, "db", "import", file)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


def test_a_cut_export_changes_nothing(aalearn: Face, url: str, tmp_path: Path) -> None:
    file, other = tmp_path / "e.zst", f"sqlite:///{tmp_path / 'y.db'}"
    aalearn("--db", url, "db", "export", file)
    file.write_bytes(file.read_bytes()[:-200])
    assert aalearn("--db", other, "db", "import", file).code == 2
    assert json.loads(aalearn("--db", other, "--output", "json", "status").out)["profiles"] == []
    for wrong in (tmp_path, tmp_path / "none", Path("/dev/zero")):
        done = aalearn("--db", other, "db", "import", wrong)
        assert (done.code, done.err.count("\n")) == (2, 1)


def test_vacuum_shrinks_and_makes_no_store(aalearn: Face, url: str, tmp_path: Path) -> None:
    done = aalearn("--db", url, "--output", "json", "db", "vacuum")
    document = json.loads(done.out)
    assert document["after"] <= document["before"]
    assert aalearn("--db", f"sqlite:///{tmp_path / 'none.db'}", "db", "vacuum").code == 2
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("command", ["vacuum", "check", "backup", "export", "import"])
def test_each_has_help_with_an_example(aalearn: Face, command: str) -> None:
    done = aalearn("db", command, "--help")
    assert done.code == 0
    assert f"db {command}" in done.out.partition("Example")[2]
    assert aalearn("db").code == 2
