"""One writer, any number of readers; who is kept out is told by whom."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.model.errors import StoreError
from aalearn.store import Store
from aalearn.store.batch import Batch
from tests.conftest import ROOT
from tests.store.sightings import START, Sighting, commit, many

SEEN = Sighting(START, 1, 7, b"web", b"/x")


def holder(url: str, node: str = "n1") -> "subprocess.Popen[str]":
    """Start a process that holds the writer's place until its stdin closes."""
    code = (
        "import sys\n"
        "from aalearn.store import Store\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    store.ledger(sys.argv[2])\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, url, node]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_holds_it(url: str) -> None:
    with holder(url) as process, Store.open(url) as store:
        with pytest.raises(StoreError) as caught:
            store.ledger("n1")
        assert f"pid {process.pid} on {socket.gethostname()}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert store.profiles() == ()  # reading goes on
        store.decide(b"web", "/x r,", "deny", who="ann", when=1, why="")  # and so do decisions
        assert store.save_revision(b"web", "", "{}", author="a", reason="b", when=1).number == 1
        process.kill()
        process.wait()
        deadline = time.monotonic() + 5
        while True:  # PostgreSQL needs a moment to see that the connection is gone
            try:
                store.ledger("n1")
                break
            except StoreError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        commit(store, [SEEN])
    with Store.open(url) as store:
        store.claim()


def test_sqlite_keeps_out_commits_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with holder(url) as process, Store.open(url) as store:
        with pytest.raises(StoreError, match=f"pid {process.pid}"):
            store.commit(Batch())
        process.kill()


def test_a_foreign_lock_file_can_t_write_to_the_terminal(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with holder(url) as process:
        (tmp_path / "x.db.lock").write_bytes(b"\x1b[2J\npid 1")
        with Store.open(url) as store, pytest.raises(StoreError) as caught:
            store.claim()
        assert "\x1b" not in str(caught.value)
        assert "\n" not in str(caught.value)
        process.kill()


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "x.db.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match="lock"):
        Store.open(f"sqlite:///{tmp_path / 'x.db'}")
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.real
def test_nodes_of_a_fleet_write_beside_each_other(postgresql: Callable[[], str]) -> None:
    url = postgresql()
    with Store.open(url) as one, Store.open(url) as other:
        one.ledger("n1")
        other.ledger("n2")
        seen = many(300)
        failures: list[BaseException] = []

        def write(store: Store, part: list[Sighting]) -> None:
            try:
                for start in range(0, len(part), 10):
                    commit(store, part[start : start + 10])
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=write, args=pair) for pair in ((one, seen[::2]), (other, seen[1::2]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert sum(summary.events for summary in one.profiles()) == 300
        assert sum(access.count for name in (b"web", b"db") for access in one.accesses(name)) == 300


def test_two_can_open_a_new_store_at_once(url: str) -> None:
    code = "import sys; from aalearn.store import Store; Store.open(sys.argv[1]).close()"
    started = [subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4


def test_readers_see_whole_commits(url: str) -> None:
    """Each commit adds one event to each of 50 accesses: a reader never sees them differ."""
    family = [SEEN._replace(name=b"/%d" % number) for number in range(50)]
    stop = threading.Event()
    wrong: list[object] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        with Store.open(url, readonly=True) as reader:
            while not stop.is_set():
                counts = {access.count for access in reader.accesses(b"web")}
                summary = reader.profiles()[0]
                if len(counts) != 1 or summary.events % 50:
                    wrong.append((counts, summary))
                reads += 1

    with Store.open(url) as store:
        commit(store, family)
        thread = threading.Thread(target=read)
        thread.start()
        for _ in range(40):
            commit(store, family)
        stop.set()
        thread.join()
        assert store.accesses(b"web")[0].count == 41
    assert not wrong
    assert reads > 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read a file that it can't write in a folder that it can't")
def test_a_store_on_a_read_only_medium_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with Store.open(f"sqlite:///{tmp_path / 'a' / 'x.db'}") as store:
        commit(store, [SEEN])
    mount = subprocess.run(
        ["mount", "--bind", "-o", "ro", tmp_path / "a", tmp_path / "a"], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("this container may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path / "a"], check=False, capture_output=True)
        with Store.open(f"sqlite:///{tmp_path / 'a' / 'x.db'}", readonly=True) as store:
            assert len(store.accesses(b"web")) == 1
        with pytest.raises(StoreError):
            Store.open(f"sqlite:///{tmp_path / 'a' / 'x.db'}").claim()
    finally:
        subprocess.run(["umount", tmp_path / "a"], check=True)
