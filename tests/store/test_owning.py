"""What root makes in another user's folder is that user's; and nothing of root's is changed through it."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aalearn.model.errors import StoreError
from aalearn.store import Store
from tests.conftest import ROOT
from tests.store.sightings import START, Sighting, commit

SEEN = Sighting(START, 1, 7, b"web", b"/x")
USER, GROUP = 61234, 61235

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of another user, which that user can reach (pytest's own folders are closed to others)."""
    made = Path(tempfile.mkdtemp(prefix="aa-own-"))
    os.chown(made, USER, GROUP)
    yield made
    shutil.rmtree(made)


def as_user(url: str) -> str:
    """Write to the store as the other user, with nothing of root's left."""
    code = (
        "import os, sys\n"
        "from aalearn.store import Store\n"
        "from aalearn.model.errors import StoreError\n"
        "from tests.store.sightings import commit, Sighting\n"
        "Store.open('sqlite://').close()  # all is imported before the checkout can't be read any more\n"
        f"os.setgroups([]); os.setgid({GROUP}); os.setuid({USER})\n"
        "try:\n"
        "    with Store.open(sys.argv[1]) as store:\n"
        "        store.claim()\n"
        "        commit(store, [Sighting(5, 1, 7, b'web', b'/y')])\n"
        "        print(len(store.accesses(b'web')))\n"
        "except StoreError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def owners(folder: Path) -> set[tuple[int, int, int]]:
    """Return owner, group and mode of all in a folder."""
    found = [(folder / name).lstat() for name in os.listdir(folder)]
    return {(one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for one in found}


def test_a_store_made_by_root_is_the_folders(folder: Path) -> None:
    url = f"sqlite:///{folder / 'x.db'}"
    with Store.open(url) as store:
        commit(store, [SEEN])
        assert sorted(os.listdir(folder)) == ["x.db", "x.db-shm", "x.db-wal", "x.db.lock"]
        assert owners(folder) == {(USER, GROUP, 0o600)}
    assert as_user(url) == "2"


def test_the_service_writes_on_after_root_wrote(folder: Path) -> None:
    url = f"sqlite:///{folder / 'x.db'}"
    assert as_user(url) == "1"
    with Store.open(url) as store:
        commit(store, [SEEN])
        store.step(b"web", "ready", revision=1, who="root", reason="", when=1)
        assert owners(folder) == {(USER, GROUP, 0o600)}
    assert as_user(url) == "2"


def test_root_alone_decides_the_mode_that_stays(folder: Path) -> None:
    url = f"sqlite:///{folder / 'x.db'}"
    assert as_user(url) == "1"
    (folder / "x.db").chmod(0o640)
    with Store.open(url) as store:
        commit(store, [SEEN])
        assert {stat.S_IMODE((folder / f"x.db{end}").stat().st_mode) for end in ("", "-wal", "-shm")} == {0o640}


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("how", ["symlink", "hardlink", "fifo"])
def test_tricks_of_the_folders_owner_are_refused(folder: Path, tmp_path: Path, end: str, how: str) -> None:
    url = f"sqlite:///{folder / 'x.db'}"
    assert as_user(url) == "1"
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    trap = folder / f"x.db{end}"
    trap.unlink(missing_ok=True)
    if how == "symlink":
        trap.symlink_to(victim)
    elif how == "hardlink":
        trap.hardlink_to(victim)
    else:
        os.mkfifo(trap)
    with pytest.raises(StoreError, match=r"remove it|can't be made"), Store.open(url) as store:
        store.claim()
    assert victim.read_bytes() == b"precious"
    assert victim.stat().st_uid == 0
    trap.unlink()
    assert as_user(url) == "1"


@pytest.mark.parametrize("how", ["symlink", "dangling", "hardlink"])
@pytest.mark.parametrize("readonly", [False, True])
def test_a_store_that_is_a_link_in_anothers_folder_is_refused(
    folder: Path, tmp_path: Path, how: str, readonly: bool
) -> None:
    victim, trap = tmp_path / "victim.db", folder / "x.db"
    if how != "dangling":
        with Store.open(f"sqlite:///{victim}") as store:
            commit(store, [SEEN])
    before = victim.read_bytes() if victim.exists() else b""
    if how == "hardlink":
        trap.hardlink_to(victim)
    else:
        trap.symlink_to(victim)
    os.chown(trap, USER if how != "hardlink" else 0, GROUP if how != "hardlink" else 0, follow_symlinks=False)
    with pytest.raises(StoreError, match=r"is a link|can't be opened|there is no store"):
        Store.open(f"sqlite:///{trap}", readonly=readonly).close()
    assert (victim.read_bytes() if victim.exists() else b"") == before


def test_a_link_in_a_folder_of_roots_own_is_followed(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'real.db'}") as store:
        commit(store, [SEEN])
    (tmp_path / "x.db").symlink_to(tmp_path / "real.db")
    with Store.open(f"sqlite:///{tmp_path / 'x.db'}") as store:
        assert store.profiles()[0].events == 1
