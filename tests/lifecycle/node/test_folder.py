"""Root's folder of records: nobody but root (here: this user) may have a hand in any level of it."""

import os
from pathlib import Path

import pytest

from aalearn.lifecycle.node.folder import Folder
from aalearn.lifecycle.node.machine import BACKUPS, OLD_BACKUPS
from aalearn.lifecycle.node.moving import moved
from aalearn.lifecycle.node.records import Records
from aalearn.model.errors import UsageError
from tests.conftest import ROOT

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another")


@as_root
@pytest.mark.parametrize("level", ["", "state", "state/records"])
def test_a_level_that_is_another_s_is_refused(tmp_path: Path, level: str) -> None:
    place = tmp_path / "state/records"
    place.mkdir(parents=True, mode=0o700)
    os.chown(tmp_path / level, NOBODY, NOBODY)
    with pytest.raises(UsageError, match=r"must be (writable by root alone|owned by uid 0)"), Records.open(place):
        pass


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_level_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "state/records"
    place.mkdir(parents=True, mode=0o700)
    (tmp_path / "state").chmod(mode)
    with pytest.raises(UsageError, match="state must be writable by root alone"), Records.open(place):
        pass


@pytest.mark.parametrize("level", ["state", "state/records"])
def test_no_link_is_followed_on_the_way(tmp_path: Path, level: str) -> None:
    (tmp_path / "real/records").mkdir(parents=True, mode=0o700)
    (tmp_path / "real/records").chmod(0o700)
    (tmp_path / level).parent.mkdir(exist_ok=True)
    (tmp_path / level).symlink_to(tmp_path / ("real" if level == "state" else "real/records"))
    with pytest.raises(UsageError, match="can't open the folder"), Records.open(tmp_path / "state/records"):
        pass


@as_root
def test_what_was_given_to_root_file_by_file_is_not_believed(tmp_path: Path) -> None:
    with Records.open(tmp_path / "records") as records:
        digest = records.keep(b"a text")
    os.chown(tmp_path / f"records/blob.{digest}", NOBODY, NOBODY)
    with Records.open(tmp_path / "records") as records, pytest.raises(UsageError, match="must be owned"):
        records.get(digest)


def test_it_is_made_private(tmp_path: Path) -> None:
    with Records.open(tmp_path / "a/b/records"):
        pass
    assert (tmp_path / "a/b/records").stat().st_mode & 0o7777 == 0o700


def test_old_records_are_moved_where_only_root_could_have_written_them(tmp_path: Path) -> None:
    old, new = tmp_path / "state/backups", tmp_path / "apply"
    assert moved(old, new) == ""
    with Records.open(old) as records:
        digest = records.keep(b"a text")
    with Records.open(new):  # made by systemd-tmpfiles, or by a request
        pass
    assert "are now in" in moved(old, new)
    assert not old.exists()
    with Records.open(new) as records:
        assert records.get(digest) == b"a text"
    with Records.open(old) as records:
        records.keep(b"another")
    assert moved(old, new) == "", "what is there already stays"


@as_root
@pytest.mark.parametrize("level", ["state", "state/backups", "state/backups/lock"])
def test_old_records_of_another_s_folder_are_not_believed(tmp_path: Path, level: str) -> None:
    old, new = tmp_path / "state/backups", tmp_path / "apply"
    with Records.open(old):
        pass
    os.chown(tmp_path / level, NOBODY, NOBODY)
    assert "not believed" in moved(old, new)
    assert old.exists()
    assert not new.exists()


def test_the_units_keep_the_records_apart_from_what_the_service_owns() -> None:
    assert not BACKUPS.is_relative_to("/var/lib/aalearn")
    assert OLD_BACKUPS.is_relative_to("/var/lib/aalearn")
    applier = (ROOT / "systemd/aalearn-apply@.service").read_text().splitlines()
    assert f"StateDirectory={BACKUPS.name}" in applier
    assert "Group=root" in applier
    assert f"d {BACKUPS} 0700 root root -" in (ROOT / "systemd/aalearn.tmpfiles").read_text().splitlines()
    assert str(BACKUPS) not in (ROOT / "systemd/aalearn.apparmor").read_text()


def test_a_folder_in_the_policy_folder_is_still_checked(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match="must be writable by root alone"), Folder.open(tmp_path):
        pass
