"""Profile names never become paths unchecked; links are neither followed nor replaced; writes are whole."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.folder import Folder
from aalearn.model.errors import UsageError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    made = tmp_path / "apparmor.d"
    made.mkdir(mode=0o755)
    return made


@pytest.mark.parametrize(
    ("profile", "name"),
    [
        (b"nginx", "nginx"),
        (b"/usr/sbin/nginx", "usr.sbin.nginx"),
        (b"a/b", "a.b"),
        (b"A-b_c.d+", None),
        (b"", None),
        (b"/", None),
        (b"..", None),
        (b"../x", None),
        (b".hidden", None),
        (b"/.x", None),
        (b"a//b", None),
        (b":ns:a", None),
        (b"a b", None),
        (b"a\nb", None),
        (b"\xff", None),
        (b"local", None),
        (b"/tunables/", None),
        (b"a~", None),
        (b"a.rpmsave", None),
        (b"a.dpkg-dist", None),
        (b"a" * 180, "a" * 180),
        (b"a" * 181, None),
    ],
)
def test_names(profile: bytes, name: str | None) -> None:
    if name is None:
        with pytest.raises(UsageError):
            files.file_name(profile)
    else:
        assert files.file_name(profile) == name


@given(st.binary(max_size=40))
def test_no_name_leaves_the_folder(profile: bytes) -> None:
    try:
        name = files.file_name(profile)
    except UsageError:
        return
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()
    assert os.path.normpath(f"/base/{name}") == f"/base/{name}"


@pytest.mark.parametrize(
    "place", ["", "/x", "../x", "a/b", "local/../x", "local/", "local/.x", "abstractions/base", ".x"]
)
def test_places(base: Path, place: str) -> None:
    for act in (files.read, files.link_target):
        with pytest.raises(UsageError, match="is no place for a policy file"):
            act(base, place)
    with pytest.raises(UsageError):
        files.write(base, place, b"x")
    with pytest.raises(UsageError):
        files.link(base, place, "../x")
    assert list(base.parent.iterdir()) == [base]


def test_a_file_is_written_whole_and_keeps_what_it_had(base: Path) -> None:
    files.write(base, "a", b"1")
    assert (base / "a").stat().st_mode & 0o777 == 0o644
    (base / "a").chmod(0o600)
    inode = (base / "a").stat().st_ino
    files.write(base, "a", b"1")
    assert (base / "a").stat().st_ino == inode  # nothing changed, so nothing was written
    files.write(base, "a", b"2")
    assert (base / "a").read_bytes() == b"2"
    assert (base / "a").stat().st_mode & 0o777 == 0o600
    files.write(base, "local/a", b"3")
    assert (base / "local").stat().st_mode & 0o777 == 0o755
    files.write(base, "a", None)
    files.write(base, "a", None)
    assert files.read(base, "a") is None
    assert files.read(base, "disable/a") is None


def test_extended_attributes_stay(base: Path) -> None:
    files.write(base, "a", b"1")
    try:
        os.setxattr(base / "a", "user.note", b"mine")
    except OSError:
        return  # this file system has none
    files.write(base, "a", b"2")
    assert os.getxattr(base / "a", "user.note") == b"mine"


def test_links_are_never_followed(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "a").write_text("theirs")
    (base / "a").symlink_to(outside / "a")
    (base / "local").symlink_to(outside)
    (base / "pipe").mkdir()
    os.mkfifo(base / "fifo")
    for place in ("a", "local/a", "pipe", "fifo"):
        with pytest.raises(UsageError):
            files.read(base, place)
        with pytest.raises(UsageError):
            files.write(base, place, b"ours")
    assert (outside / "a").read_text() == "theirs"
    assert sorted(os.listdir(outside)) == ["a"]


def test_a_full_disk_leaves_the_old_file(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(base, "a", b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write(base, "a", b"new")
    assert (base / "a").read_bytes() == b"old"
    assert os.listdir(base) == ["a"]


def test_what_was_interrupted_is_swept(base: Path) -> None:
    (base / ".aalearn-new.a").write_text("half")
    (base / "local").mkdir()
    (base / "local/.aalearn-new.a").write_text("half")
    (base / ".mine").write_text("kept")
    files.sweep(base)
    assert sorted(str(path.relative_to(base)) for path in base.rglob("*")) == [".mine", "local"]


def test_folders_that_others_may_write_in(base: Path, tmp_path: Path) -> None:
    base.chmod(0o775)
    with pytest.raises(UsageError, match="must be writable by root alone"):
        files.write(base, "a", b"x")
    with pytest.raises(UsageError, match="No such file"), Folder.open(tmp_path / "none"):
        pass
    with pytest.raises(UsageError, match=r"Not a directory|No such"), Folder.open(tmp_path / "none" / "x"):
        pass


def test_packages(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(base, "a", b"x")
    assert files.package_of(base / "a") == ""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "rpm").write_text("#!/bin/sh\necho -n 'man-db: '\n")
    (tools / "rpm").chmod(0o755)
    monkeypatch.setenv(
        "PATH", str(tools) + ":/bin:/usr/bin" if not os.path.exists("/usr/bin/dpkg-query") else str(tools)
    )
    assert files.package_of(base / "a") == "man-db"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert files.package_of(base / "a") == ""
