"""What root said on this machine: kept whole, only added to, bounded; and whether a store is root's own."""

import os
from pathlib import Path

import pytest

from aalearn.lifecycle.node import vouched
from aalearn.lifecycle.node.vouched import Kept, add, digest, read, roots_own
from aalearn.model.errors import UsageError
from aalearn.store.readings import Decision, Revision

OWN = frozenset({0, os.geteuid()})


def decision(number: int) -> Decision:
    return Decision(number, f"/a{number} r,", "accept", "anna", "a \udcff reason")


def test_decisions_and_revisions_are_added(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    assert read(backups, b"app") == vouched.Vouched()
    assert not backups.exists()
    add(backups, b"app", [decision(1)])
    add(backups, b"app", [decision(2)], [Kept("x", 1, "anna", 5)])
    add(backups, b"/usr/bin/a\xff", [decision(3)])
    add(backups, b"app", [], [Kept("x", 2, "bob", 6), Kept("y", 3, "bob", 7)])
    found = read(backups, b"app")
    assert found.decisions == (decision(1), decision(2))
    assert found.revisions == (Kept("x", 1, "anna", 5), Kept("y", 3, "bob", 7))
    assert read(backups, b"/usr/bin/a\xff").decisions == (decision(3),)
    assert backups.stat().st_mode & 0o777 == 0o700


def test_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vouched, "_DECISIONS", 3)
    monkeypatch.setattr(vouched, "_REVISIONS", 2)
    for number in range(5):
        add(tmp_path / "backups", b"app", [decision(number)], [Kept(str(number), number, "anna", 1)])
    found = read(tmp_path / "backups", b"app")
    assert [one.when for one in found.decisions] == [2, 3, 4]
    assert [one.sha256 for one in found.revisions] == ["3", "4"]


def test_links_and_open_folders_are_refused(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    add(backups, b"app", [decision(1)])
    (tmp_path / "elsewhere").mkdir()
    (backups / "vouched").rename(tmp_path / "elsewhere/vouched")
    (backups / "vouched").symlink_to(tmp_path / "elsewhere/vouched")
    with pytest.raises(UsageError, match="can't open the folder"):
        read(backups, b"app")
    (backups / "vouched").unlink()
    (tmp_path / "elsewhere/vouched").rename(backups / "vouched")
    assert read(backups, b"app").decisions
    backups.chmod(0o711)
    with pytest.raises(UsageError, match="0700"):
        read(backups, b"app")


def test_a_digest_is_of_name_text_and_use() -> None:
    one = Revision(1, 2, "anna", "", "text", "{}", '{"form": "whole", "window": {}}')
    same = Revision(7, 9, "bob", "x", "text", "{1}", '{"window": {"last": 1}, "form": "whole"}')
    assert digest(b"app", one) == digest(b"app", same)
    others = [
        digest(b"ap", Revision(1, 2, "anna", "", "ptext", "{}", one.detail)),
        digest(b"app", Revision(1, 2, "anna", "", "text ", "{}", one.detail)),
        digest(b"app", Revision(1, 2, "anna", "", "text", "{}", '{"form": "local"}')),
        digest(b"app", Revision(1, 2, "anna", "", "text", "{}", '{"form": "whole", "include_denied": true}')),
    ]
    assert len({digest(b"app", one), *others}) == 5


def test_whose_a_store_is(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    file = folder / "x.db"
    assert roots_own(file, OWN)  # not there yet: only root could make it
    file.touch(0o600)
    assert roots_own(file, OWN)
    assert roots_own(file) == (os.geteuid() == 0)
    assert not roots_own(file, frozenset({4_000_000}))
    for place, mode, fit in (
        (file, 0o660, False),
        (file, 0o602, False),
        (file, 0o640, True),
        (folder, 0o775, False),
        (folder, 0o1777, False),  # others could put a journal beside it
        (tmp_path, 0o1777, True),  # as /tmp: nobody can take away or exchange what is another's
        (tmp_path, 0o777, False),
        (folder, 0o755, True),
    ):
        place.chmod(mode)
        assert roots_own(file, OWN) is fit, (place, oct(mode))
        place.chmod(0o600 if place == file else 0o755)
    beside = folder / "x.db-wal"
    beside.touch(0o600)
    beside.chmod(0o666)
    assert not roots_own(file, OWN)


def test_a_store_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x.db").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert roots_own(tmp_path / "link/x.db", OWN)
    (tmp_path / "real").chmod(0o777)
    assert not roots_own(tmp_path / "link/x.db", OWN)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert not roots_own(tmp_path / "loop/x.db", OWN)
