"""The journal as it is written: real journal files, rotated and vacuumed; nothing that a program wrote is an event."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aalearn.model.errors import BadInput, UsageError
from aalearn.sources import Chunk, Missing
from aalearn.sources.journal_feeds import Followed, has_library
from aalearn.sources.live_journal import KERNELS, PROGRAMS, Journal, own_folder
from tests.conftest import require
from tests.sources.test_journal import EVENT, REMOTE, entry

pytestmark = pytest.mark.real
BOOT = "0123456789abcdef0123456789abcdef"
START = 1_700_000_000_000_000


# systemd-python is an extra: the image of the virtual machine has it, a checkout may not.
@pytest.fixture(params=["journalctl", "library"] if has_library() else ["journalctl"])
def library(request: pytest.FixtureRequest) -> bool:
    """Whether systemd-python is used."""
    require("journalctl", shutil.which("journalctl"))
    require("systemd-journal-remote", Path(REMOTE).exists())
    return bool(request.param == "library")


def one(number: int, micros: int | None = None, boot: str = BOOT, **more: str) -> bytes:
    """An entry of the export format."""
    moment = START + number * 1000 if micros is None else micros
    fields = {
        "__CURSOR": "s=1",
        "__REALTIME_TIMESTAMP": str(moment),
        "__MONOTONIC_TIMESTAMP": str(1_000_000 + number * 1000),
        "_BOOT_ID": boot,
        "_MACHINE_ID": "1" * 32,
        "_TRANSPORT": "audit",
        "_AUDIT_TYPE": "1400",
        "_AUDIT_ID": str(number),
        "_SOURCE_REALTIME_TIMESTAMP": str(moment),
        "MESSAGE": "AVC " + EVENT,
        **more,
    }
    return entry(**fields)


def serial(line: bytes) -> int:
    return int(line.partition(b":")[2].partition(b")")[0])


class Written:
    """A folder of journal files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755)

    def add(self, name: str, *entries: bytes) -> None:
        """Append to a file, as journald does."""
        command = [REMOTE, "-o", str(self.folder / f"{name}.journal"), "-"]
        subprocess.run(command, input=b"".join(entries), check=True, capture_output=True)


class Follower:
    """A journal source and what it gave."""

    def __init__(self, folder: Path, library: bool, position: str | None = None, **more: object) -> None:
        self.source = Journal("web-1", folder, library=library, owner=os.getuid(), **more)  # type: ignore[arg-type]
        self.source.open(position)
        self.position = position
        self.lines: list[bytes] = []
        self.losses: list[Missing] = []
        self.counts: dict[str, int] = {}
        self.chunks: list[Chunk] = []

    def read(self, want: int, seconds: float = 5.0) -> list[int]:
        """Read until so many lines have come (0: until it is quiet); return their serials."""
        new: list[bytes] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            chunks = self.source.read(0.3)
            for chunk in chunks:
                new += [line for line in chunk.data.split(b"\n") if line]
                self.losses += chunk.losses
                self.position = chunk.position
                for kind, count in chunk.counts.items():
                    self.counts[kind] = self.counts.get(kind, 0) + count
            self.chunks += chunks
            if not chunks and (len(new) >= want):
                break
        self.lines += new
        return [serial(line) for line in new]


Follow = Callable[..., Follower]


@pytest.fixture
def follow(library: bool, tmp_path: Path) -> Iterator[Follow]:
    made: list[Follower] = []

    def start(position: str | None = None, **more: object) -> Follower:
        for old in made:
            old.source.close()
        made.append(Follower(tmp_path / "journal", library, position, **more))
        return made[-1]

    yield start
    for one in made:
        one.source.close()


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "journal")


def test_from_the_oldest_on_and_again_after_the_cursor(written: Written, follow: Follow) -> None:
    written.add("a", *(one(number) for number in range(1, 6)))
    first = follow()
    assert first.read(5) == [1, 2, 3, 4, 5]
    assert first.source.lag() == (None, 0.0)
    assert all(chunk.trusted and chunk.source == f"journal:{written.folder}" for chunk in first.chunks)
    written.add("a", one(6))
    assert first.read(1) == [6]
    first.source.close()
    written.add("a", one(7), one(8))
    second = follow(first.position)
    assert second.read(2) == [7, 8]
    assert first.losses == second.losses == []


def test_rotated_while_it_is_followed(written: Written, follow: Follow) -> None:
    written.add("a", *(one(number) for number in range(1, 4)))
    follower = follow()
    follower.read(3)
    written.add("b", *(one(number) for number in range(4, 7)))
    assert follower.read(3) == [4, 5, 6]
    (written.folder / "a.journal").unlink()
    written.add("c", one(7))
    assert follower.read(1) == [7]
    assert follower.losses == []


def test_down_across_two_rotations_and_boots(written: Written, follow: Follow) -> None:
    written.add("a", *(one(number) for number in range(1, 4)))
    first = follow()
    first.read(3)
    first.source.close()
    written.add("a", one(4))
    written.add("b", *(one(number, boot="2" * 32) for number in range(5, 8)))
    written.add("c", *(one(number, boot="3" * 32) for number in range(8, 10)))
    second = follow(first.position)
    assert sorted(set(second.read(6))) == [4, 5, 6, 7, 8, 9]
    assert second.losses == []


def test_vacuumed_past_the_cursor(written: Written, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aalearn.sources.live_journal._PATIENCE_S", 0.5)
    written.add("a", *(one(number) for number in range(1, 6)))
    first = follow()
    first.read(5)
    first.source.close()
    (written.folder / "a.journal").unlink()
    written.add("b", *(one(number) for number in range(9, 12)))
    third = follow(first.position)
    third.read(3)
    third.read(0, 2)
    assert sorted({serial(line) for line in third.lines}) == [9, 10, 11]
    assert [(loss.kind, loss.amount) for loss in third.losses] == [("journal-vacuumed", 1)]
    fourth = follow(third.position)
    assert fourth.read(0, 1.5) == []
    assert fourth.losses == []


def test_a_later_entry_of_the_series_tells_at_once(library: bool) -> None:
    entries = Followed(complete=True)
    entries.awaited = "s=ab;i=10;b=1"
    for cursor in (b"s=cd;i=99;b=1", b"s=ab;i=f;b=1", b"rubbish", b""):
        entries.add({b"__CURSOR": cursor})
        assert not entries.passed
    entries.add({b"__CURSOR": b"s=ab;i=11;b=1"})
    assert entries.passed
    assert entries.awaited


def test_a_clock_that_jumps_back_a_day(written: Written, follow: Follow) -> None:
    written.add("a", *(one(number) for number in range(1, 4)))
    follower = follow()
    follower.read(3)
    day = 86_400_000_000
    written.add("b", *(one(number, START - day + number * 1000) for number in range(4, 7)))
    assert follower.read(3) == [4, 5, 6]
    second = follow(follower.position)
    written.add("b", one(7, START - day + 7000))
    assert 7 in second.read(1)
    assert follower.losses == second.losses == []


def test_forged_entries_are_none_of_ours(written: Written, follow: Follow) -> None:
    """With the usual matches they never arrive; asked for all transports, they are counted."""
    perfect = "type=AVC msg=audit(1700000000.123:77): " + EVENT
    ring = "audit: type=1400 audit(1700000000.123:77): " + EVENT
    forged = [
        *(one(20 + n, _TRANSPORT=transport, MESSAGE=perfect) for n, transport in enumerate(PROGRAMS)),
        one(30, _TRANSPORT="stdout", MESSAGE=ring, SYSLOG_FACILITY="0"),
        one(31, _TRANSPORT="kernel", MESSAGE=ring, SYSLOG_FACILITY="1"),
        one(32, _TRANSPORT="audit", _AUDIT_TYPE="1100", MESSAGE="AVC " + EVENT),
    ]
    written.add("a", one(1), *forged, one(40))
    follower = follow()
    assert follower.read(2) == [1, 40]
    assert follower.counts == {"forged": 2}
    everything = follow(None, transports=(*KERNELS, *PROGRAMS))
    assert everything.read(2) == [1, 40]
    assert everything.counts == {"forged": len(forged)}


def test_what_the_ring_leaves_out_is_no_loss_where_the_audit_transport_is_complete(
    written: Written, follow: Follow
) -> None:
    def ring(number: int, message: str) -> bytes:
        return one(number, _TRANSPORT="kernel", SYSLOG_FACILITY="0", MESSAGE=message)

    written.add(
        "a",
        ring(1, "kauditd_printk_skb: 903 callbacks suppressed"),
        one(2, _TRANSPORT="driver", MESSAGE="Missed 7 kernel messages"),
        ring(3, "audit: backlog limit exceeded"),
    )
    complete = follow()
    complete.source.read(1)
    alone = follow(None, complete=False)
    for follower, wanted in ((complete, 0), (alone, 3)):
        deadline = time.monotonic() + 5
        lines: list[bytes] = []
        while time.monotonic() < deadline and len(lines) < wanted:
            lines += [line for chunk in follower.source.read(0.2) for line in chunk.data.split(b"\n") if line]
        assert sum(b"suppressed" in line or b"Missed" in line for line in lines) == min(2, wanted)


@pytest.mark.parametrize("position", ["17", "s=zz;i=1", "s=1;i=1 --file=/etc/passwd"])
def test_a_position_of_others(written: Written, follow: Follow, position: str) -> None:
    written.add("a", one(1))
    follower = follow(position)
    assert follower.read(1) == [1]
    assert [loss.kind for loss in follower.losses] == ["position"]


def test_a_folder_that_others_may_write_is_not_trusted(written: Written, follow: Follow) -> None:
    written.add("a", one(1))
    (written.folder / "a.journal").chmod(0o666)
    follower = follow()
    follower.read(1)
    assert not any(chunk.trusted for chunk in follower.chunks)


def test_no_such_folder(library: bool, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone: can't be read: No such file"):
        Journal("n", tmp_path / "gone", library=library).open(None)


def test_journalctl_that_dies_is_started_again(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    require("journalctl", shutil.which("journalctl"))
    written.add("a", one(1), one(2))
    follower = Follower(written.folder, False)
    assert follower.read(2) == [1, 2]
    feed = follower.source._feed
    assert feed is not None
    process = vars(feed)["_process"]
    process.kill()
    process.wait()
    written.add("a", one(3))
    assert follower.read(1) == [3]
    follower.source.close()


def test_journalctl_that_can_not_run_is_told(written: Written, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Failed to open files: \033[31mno' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    monkeypatch.setattr("aalearn.sources.live_journal._LONGEST_PAUSE_S", 0.01)
    follower = Follower(written.folder, False)
    try:
        with pytest.raises(BadInput, match=r"Failed to open files: \\x1b\[31mno \(tried 6 times\)"):
            for _ in range(99):
                follower.source.read(0.2)
    finally:
        follower.source.close()


def test_own_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="machine-id"):
        own_folder(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("ab12\n")
    with pytest.raises(UsageError, match="no journal"):
        own_folder(tmp_path)
    (tmp_path / "run/log/journal/ab12").mkdir(parents=True)
    assert own_folder(tmp_path) == (tmp_path / "run/log/journal/ab12", "ab12")
    (tmp_path / "var/log/journal/ab12").mkdir(parents=True)
    assert own_folder(tmp_path)[0] == tmp_path / "var/log/journal/ab12"
