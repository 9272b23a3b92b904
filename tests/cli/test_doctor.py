"""`aalearn doctor` as an admin types it, on whatever machine this is."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Face


def test_findings_come_with_their_mends(aalearn: Face, tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path / 'x.db'}"
    done = aalearn("--db", db, "--output", "json", "doctor")
    document = json.loads(done.out)
    assert document["schema"] == 1
    problems = [one for one in document["findings"] if one["level"] == "problem"]
    assert done.code == (1 if problems else 0)
    assert document["healthy"] is (not problems)
    text = aalearn("--db", db, "doctor")
    assert text.code == done.code
    assert text.out.count("PROBLEM") == len(problems)
    for one in problems:
        assert one["mend"] in text.out


def test_a_support_archive_has_no_password(aalearn: Face, tmp_path: Path) -> None:
    file = tmp_path / "support.tar.gz"
    done = aalearn("--db", "postgresql+psycopg://me:s3cret@nowhere/x", "doctor", "--bundle", str(file))
    assert done.code in (0, 1), done.err
    with tarfile.open(file) as archive:
        for member in archive.getmembers():
            stream = archive.extractfile(member)
            assert stream is not None
            assert b"s3cret" not in stream.read()
    again = aalearn("doctor", "--bundle", str(file))
    assert again.code == 2
    assert "exists already" in again.err


@pytest.mark.parametrize("arguments", [("--journal",), ("--bundle",), ("--bundel", "x")])
def test_wrong_use_is_one_line(aalearn: Face, arguments: tuple[str, ...]) -> None:
    done = aalearn("doctor", *arguments)
    assert done.code == 2
    assert done.err.count("\n") == 1
