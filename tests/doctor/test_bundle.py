"""The support archive holds what helps, and no secret."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from aalearn.doctor.bundle import bundle
from aalearn.doctor.finding import Ask, Finding, Level
from aalearn.doctor.host import Host
from aalearn.model.errors import UsageError
from aalearn.store import Store

SECRET = "hunter2-in-a-file-name"
FOUND = (Finding("kernel", Level.OK, "Linux 6"), Finding("disk", Level.PROBLEM, "full", "make room"))


def contents(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        return {
            member.name.removeprefix("aalearn-support/"): stream.read().decode()
            for member in archive.getmembers()
            if (stream := archive.extractfile(member)) is not None
        }


def stored(folder: Path) -> Path:
    """Return a store that learned of a file with a secret name."""
    from aalearn.intake import Options, ingest

    log = folder / "audit.log"
    log.write_text(
        'type=AVC msg=audit(1700000000.123:456): apparmor="ALLOWED" operation="open" class="file" profile="p" '
        f'name="/srv/{SECRET}" pid=7 comm="x" requested_mask="r" denied_mask="r" fsuid=0 ouid=0\n'
    )
    with Store.open(f"sqlite:///{folder / 'x.db'}") as store:
        ingest([log], store, Options("n", trusted=True))
    return folder / "x.db"


def test_the_archive_holds_what_helps_and_no_record(tmp_path: Path) -> None:
    file = tmp_path / "support.tar.gz"
    members = bundle(file, Host(), Ask(store=stored(tmp_path)), FOUND, {"db": "sqlite:///x.db"})
    found = contents(file)
    assert sorted(found) == list(members)
    assert json.loads(found["doctor.json"])[1]["mend"] == "make room"
    assert json.loads(found["store.json"])["events"] == 1
    assert "journal.txt" in found["README.txt"] and "journal.txt" not in found
    assert all(SECRET not in text for text in found.values())
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_journal_is_there_when_asked_for(tmp_path: Path) -> None:
    members = bundle(tmp_path / "a", Host(), Ask(), FOUND, {}, journal=True)
    assert "journal.txt" in members


def test_no_file_is_overwritten_and_none_is_left_half_written(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        bundle(file, Host(), Ask(), FOUND, {})
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match="can't write"):
        bundle(tmp_path / "none" / "a", Host(), Ask(), FOUND, {})
    if os.path.exists("/dev/full"):
        (tmp_path / "full").symlink_to("/dev/full")
        with pytest.raises(UsageError):
            bundle(tmp_path / "full", Host(), Ask(), FOUND, {})
