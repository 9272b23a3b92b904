"""The tail of audit.log: rotation in each way, also while nobody looked; nothing is skipped, and losses are told."""

import gzip
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aalearn.model.errors import UsageError
from aalearn.sources import Chunk, Missing
from aalearn.sources.base import LINE
from aalearn.sources.tail import Tail
from tests.sources.conftest import log, record

NODE = "web-1"


class Follower:
    """A tail and what it gave. Its position is the last chunk's, as the store keeps it."""

    def __init__(self, path: Path, position: str | None = None) -> None:
        self.tail = Tail(path, NODE, owner=os.getuid())
        _open.append(self.tail)
        self.tail.open(position)
        self.lines: list[bytes] = []
        self.losses: list[Missing] = []
        self.chunks: list[Chunk] = []
        self.position = position

    def read(self) -> list[bytes]:
        """Read until all is quiet; return the new lines."""
        new: list[bytes] = []
        while chunks := self.tail.read(0):
            for chunk in chunks:
                new += [line for line in chunk.data.split(b"\n") if line]
                self.losses += chunk.losses
                if chunk.node == NODE:
                    self.position = chunk.position
            self.chunks += chunks
        self.lines += new
        return new

    def again(self) -> "Follower":
        """Another one that goes on after the position, as after a restart."""
        self.tail.close()
        return Follower(Path(self.tail.name.partition(":")[2]), self.position)


_open: list[Tail] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


class Rotated:
    """A log that is written to and rotated, like auditd and logrotate do. It knows all that was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.serial = 0
        self.written: list[bytes] = []
        path.write_bytes(b"")

    def write(self, count: int = 3) -> list[bytes]:
        lines = [record(self.serial + number + 1) for number in range(count)]
        self.serial += count
        with self.path.open("ab") as out:
            out.write(b"".join(line + b"\n" for line in lines))
        self.written += lines
        return lines

    def _shift(self, keep: int) -> None:
        for number in range(keep, 0, -1):
            old = self.path.with_name(f"{self.path.name}.{number}")
            for one in (old, old.with_name(old.name + ".gz")):
                if one.exists():
                    one.rename(self.path.with_name(one.name.replace(f".{number}", f".{number + 1}")))
        for one in self.path.parent.glob(f"{self.path.name}.{keep + 1}*"):
            one.unlink()

    def rename(self, keep: int = 5) -> None:
        self._shift(keep)
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.path.write_bytes(b"")

    def copytruncate(self, keep: int = 5) -> None:
        self._shift(keep)
        self.path.with_name(f"{self.path.name}.1").write_bytes(self.path.read_bytes())
        os.truncate(self.path, 0)

    def compress(self, number: int) -> None:
        plain = self.path.with_name(f"{self.path.name}.{number}")
        plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()

    def rename_compress(self, keep: int = 5) -> None:
        self.rename(keep)
        self.compress(1)


@pytest.fixture
def rotated(tmp_path: Path) -> Rotated:
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o750)
    made = Rotated(folder / "audit.log")
    made.path.chmod(0o640)
    return made


Rotate = Callable[[Rotated], None]
WAYS: dict[str, Rotate] = {
    "rename": Rotated.rename,
    "copytruncate": Rotated.copytruncate,
    "compressed": Rotated.rename_compress,
}
ways = pytest.mark.parametrize("way", WAYS)


def test_from_the_oldest_on(rotated: Rotated) -> None:
    rotated.write()
    rotated.rename_compress()
    rotated.write()
    rotated.rename()
    rotated.write()
    follower = Follower(rotated.path)
    assert follower.read() == rotated.written
    assert follower.tail.lag() == (0, 0.0)
    assert rotated.write(1) == follower.read()
    assert follower.read() == []
    assert follower.losses == []


@ways
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_rotations_between_two_looks(rotated: Rotated, way: str, times: int, writes: int) -> None:
    """Whatever was written before, between and after."""
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    if writes:
        rotated.write()
    for _ in range(times):
        WAYS[way](rotated)
        if writes == 2:
            rotated.write()
    follower.read()
    rotated.write()
    follower.read()
    assert follower.lines == rotated.written
    assert follower.losses == []


@ways
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("partly", [False, True])
def test_down_across_rotations(rotated: Rotated, way: str, times: int, partly: bool) -> None:
    rotated.write(5)
    follower = Follower(rotated.path)
    follower.read()
    if partly:
        rotated.write(2)
    for _ in range(times):
        WAYS[way](rotated)
        rotated.write(4)
    second = follower.again()
    second.read()
    assert second.lines == rotated.written[5:]
    assert second.losses == []
    assert second.again().read() == []


def test_down_in_the_middle_of_an_old_file(rotated: Rotated) -> None:
    rotated.write(9000)
    rotated.rename()
    rotated.write(3)
    follower = Follower(rotated.path)
    first = follower.tail.read(0)
    follower.position = first[0].position
    done = first[0].data.count(b"\n")
    follower.tail.close()
    rotated.rename()
    rotated.compress(2)
    assert follower.again().read() == rotated.written[done:]


def test_a_rotated_file_that_vanished(rotated: Rotated) -> None:
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    for _ in range(3):
        rotated.rename(keep=1)
        rotated.write()
    lost = rotated.written[3:6]  # kept are the last two
    follower.read()
    assert follower.lines == [line for line in rotated.written if line not in lost]
    assert [(loss.kind, loss.amount) for loss in follower.losses] == [("rotated-away", 3)]
    assert follower.losses[0].time > 1_700_000_000_000


@ways
def test_vanished_while_down(rotated: Rotated, way: str) -> None:
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    rotated.write()
    for _ in range(7):
        WAYS[way](rotated)
        rotated.write()
    second = follower.again()
    assert second.read() == rotated.written[-18:]
    assert [(loss.kind, loss.amount) for loss in second.losses] == [
        ("copytruncate" if way == "copytruncate" else "rotated-away", 6)
    ]


def test_nothing_of_what_vanished_was_unread(rotated: Rotated) -> None:
    """The records go on without a gap, so nothing can be missing."""
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    rotated.path.unlink()
    rotated.write()
    assert follower.read() == rotated.written[3:]
    second = follower.again()
    rotated.path.unlink()
    rotated.write()
    assert second.read() == rotated.written[6:]
    assert follower.losses == second.losses == []


def test_truncated_without_a_copy(rotated: Rotated) -> None:
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    rotated.write(7)
    rotated.path.write_bytes(b"")
    rotated.write(90)  # longer than it was
    assert follower.read() == rotated.written[10:]
    assert [(loss.kind, loss.amount) for loss in follower.losses] == [("copytruncate", 7)]


def test_what_is_written_between_copy_and_truncation(rotated: Rotated) -> None:
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    rotated.write()
    rotated.path.with_name("audit.log.1").write_bytes(rotated.path.read_bytes())
    rotated.write(2)
    os.truncate(rotated.path, 0)
    rotated.write()
    assert follower.read() == [*rotated.written[3:6], *rotated.written[8:]]
    assert [(loss.kind, loss.amount) for loss in follower.losses] == [("copytruncate", 2)]


@pytest.mark.parametrize("cut", [10, 60, -20, -1, None])
def test_a_copy_that_ends_in_the_midst_of_a_record(rotated: Rotated, cut: int | None) -> None:
    """What is left of the record is no evidence, and is told as lost: once."""
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    rotated.write()
    whole = rotated.path.read_bytes()
    torn = whole[: whole.rindex(b"\n", 0, -1) + 1]
    last = whole[len(torn) : -1]
    rotated.path.with_name("audit.log.1").write_bytes(torn + last[:cut])
    rotated.write(2)
    os.truncate(rotated.path, 0)
    rotated.write()
    assert follower.read() == [*rotated.written[3:5], *rotated.written[8:]]
    torn_off = sum(len(chunk.truncated) for chunk in follower.chunks)
    assert sum(loss.amount for loss in follower.losses) + torn_off == 3


def test_a_writer_that_keeps_its_place_after_the_truncation(rotated: Rotated) -> None:
    """Without O_APPEND it leaves a hole of zeros."""
    with rotated.path.open("r+b") as out:
        out.write(log(*range(1, 4000)))
        out.flush()
        follower = Follower(rotated.path)
        assert len(follower.read()) == 3999
        rotated.path.with_name("audit.log.1").write_bytes(rotated.path.read_bytes())
        os.truncate(rotated.path, 0)
        out.write(log(4000))
    assert follower.read() == [record(4000, time=1_700_000_004_000)]
    assert follower.losses == []


def test_a_partial_line_waits(rotated: Rotated) -> None:
    whole = record(1) + b"\n"
    rotated.path.write_bytes(whole[:50])
    follower = Follower(rotated.path)
    assert follower.read() == []
    with rotated.path.open("ab") as out:
        out.write(whole[50:] + record(2)[:20])
    assert follower.read() == [record(1)]
    with rotated.path.open("ab") as out:
        out.write(record(2)[20:] + b"\n")
    assert follower.again().read() == [record(2)]


def test_the_last_line_of_an_ended_file_may_lack_its_end(rotated: Rotated) -> None:
    rotated.path.write_bytes(record(1))
    follower = Follower(rotated.path)
    assert follower.read() == []
    rotated.rename()
    assert follower.read() == []  # its writer may still have it open
    rotated.path.write_bytes(record(2) + b"\n")
    assert follower.read() == [record(1), record(2)]


def test_a_writer_that_is_late(rotated: Rotated) -> None:
    with rotated.path.open("ab") as out:
        out.write(log(1))
        out.flush()
        follower = Follower(rotated.path)
        follower.read()
        rotated.rename()
        out.write(log(2))
        out.flush()
        assert len(follower.read()) == 1


def test_a_second_writer_that_keeps_the_old_file(rotated: Rotated) -> None:
    with rotated.path.open("ab") as out:
        out.write(log(1))
        out.flush()
        follower = Follower(rotated.path)
        follower.read()
        rotated.rename()
        rotated.path.write_bytes(log(2))
        follower.read()
        out.write(log(3))
        out.flush()
        follower.read()
        with rotated.path.open("ab") as new:
            new.write(log(4))
    follower.read()
    assert follower.lines == log(1, 2, 3, 4).splitlines()
    assert follower.again().read() == []


def test_a_huge_line_is_passed_over(rotated: Rotated) -> None:
    with rotated.path.open("wb") as out:
        out.write(log(1) + record(2))
        for _ in range(40):
            out.write(b"x" * (1 << 20))
    tracemalloc.start()
    follower = Follower(rotated.path)
    assert len(follower.read()) == 1
    second = follower.again()
    with rotated.path.open("ab") as out:
        out.write(b"yyy\n" + log(3))
    assert second.read() == log(3).splitlines()
    assert tracemalloc.get_traced_memory()[1] < 8 * LINE
    tracemalloc.stop()
    assert [head[:20] for chunk in follower.chunks for head in chunk.truncated] == [record(2)[:20]]


def test_a_damaged_archive_is_a_loss(rotated: Rotated) -> None:
    rotated.write(5000)
    rotated.rename()
    rotated.compress(1)
    packed = rotated.path.with_name("audit.log.1.gz")
    packed.write_bytes(packed.read_bytes()[:-500])
    rotated.write(2)
    follower = Follower(rotated.path)
    assert follower.read()[-2:] == rotated.written[-2:]
    assert [loss.kind for loss in follower.losses] == ["damaged"]


def test_dates_instead_of_numbers(rotated: Rotated) -> None:
    for name in ("audit.log-20261101.gz", "audit.log-20261102-120000", "audit.log-20261102-130000"):
        rotated.write()
        content = rotated.path.read_bytes()
        rotated.path.with_name(name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        rotated.path.write_bytes(b"")
    rotated.path.with_name("audit.log.bak").write_bytes(log(77))
    rotated.path.with_name("audit.log-20261102-130000.gz").write_bytes(b"\x1f\x8bhalf made")
    rotated.write()
    follower = Follower(rotated.path)
    assert follower.read() == rotated.written
    assert follower.losses == []


def test_nodes_and_positions(rotated: Rotated) -> None:
    """The position after all comes last, under the own node's name; those before it lead back."""
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    before = follower.position
    with rotated.path.open("ab") as out:
        out.write(b"node=db " + record(4) + b"\n" + record(5) + b"\nnode=db " + record(6) + b"\n")
    chunks = follower.tail.read(0)
    assert [(chunk.node, chunk.data.count(b"apparmor")) for chunk in chunks] == [("db", 2), (NODE, 1)]
    assert chunks[0].position == before != chunks[1].position
    assert Follower(rotated.path, before).read()
    with rotated.path.open("ab") as out:
        out.write(b"node=db " + record(7) + b"\n")
    assert [chunk.node for chunk in follower.tail.read(0)] == ["db", NODE]


@pytest.mark.parametrize("position", ["", "17", "1:2:3", "x" * 99, "1:1:1:5:0000000000000000:0:0"])
def test_a_position_of_others(rotated: Rotated, position: str) -> None:
    rotated.write()
    follower = Follower(rotated.path, position)
    assert follower.read() == rotated.written
    kinds = [loss.kind for loss in follower.losses]
    assert kinds == ([] if not position else ["position"] if position.count(":") < 6 else ["rotated-away"])


def test_trust(rotated: Rotated) -> None:
    def trusted(owner: int = os.getuid()) -> bool:
        tail = Tail(rotated.path, NODE, owner=owner)
        tail.open(None)
        (chunk,) = tail.read(0)
        tail.close()
        return chunk.trusted

    rotated.write()
    assert trusted()
    assert not trusted(os.getuid() + 1)
    for path, mode, good in (
        (rotated.path, 0o660, 0o640),
        (rotated.path, 0o642, 0o640),
        (rotated.path.parent, 0o770, 0o750),
    ):
        path.chmod(mode)
        assert not trusted()
        path.chmod(good)
    assert trusted()
    rotated.path.rename(rotated.path.with_name("real"))
    rotated.path.symlink_to("real")
    assert not trusted()


def test_trust_is_looked_at_again(rotated: Rotated) -> None:
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    rotated.path.chmod(0o666)
    rotated.write()
    follower.read()
    assert [chunk.trusted for chunk in follower.chunks] == [True, False]


@pytest.mark.parametrize("begin", [b"\n", b"the same first line\n", b"\n\n# a\n\n"])
@pytest.mark.parametrize("down", [False, True])
def test_files_that_begin_alike_are_all_read(rotated: Rotated, begin: bytes, down: bool) -> None:
    def anew() -> None:
        rotated.path.write_bytes(begin)

    anew()
    rotated.write()
    follower = Follower(rotated.path)
    follower.read()
    got = list(follower.lines)
    for number in (3, 2, 1):
        rotated.path.rename(rotated.path.with_name(f"audit.log.{number}"))
        anew()
        rotated.write()
    if down:
        follower = follower.again()
    got += follower.read()
    records = [line for line in got if b"audit(" in line]
    assert sorted(set(records)) == sorted(rotated.written)
    assert len(records) == len(rotated.written)
    assert not follower.losses


def test_a_pipe_in_a_files_place_is_never_waited_for(rotated: Rotated, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = rotated.write()
    follower = Follower(rotated.path)
    assert follower.read() == wanted
    rotated.path.rename(rotated.path.with_name("audit.log.1"))
    os.mkfifo(rotated.path)
    os.mkfifo(rotated.path.with_name("audit.log.2"))
    assert follower.read() == []
    rotated.path.unlink()
    wanted = rotated.write()
    real = os.open

    def swapped(path: str | os.PathLike[str], flags: int, *more: int) -> int:
        if Path(path) == rotated.path:  # between the look and the opening
            rotated.path.rename(rotated.path.with_name("aside"))
            os.mkfifo(rotated.path)
            try:
                return real(path, flags, *more)
            finally:
                rotated.path.unlink()
                rotated.path.with_name("aside").rename(rotated.path)
        return real(path, flags, *more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", swapped)
        assert follower.read() == []
    assert follower.read() == wanted


def test_the_log_may_come_later_but_not_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone: can't be read: No such file"):
        Tail(tmp_path / "gone" / "audit.log", NODE).open(None)
    follower = Follower(tmp_path / "audit.log")
    assert follower.read() == []
    (tmp_path / "audit.log").write_bytes(log(1))
    assert len(follower.read()) == 1


@pytest.mark.parametrize("seed", range(40))
def test_anything_in_any_order(rotated: Rotated, seed: int) -> None:
    """Writing, rotating by one way, compressing, looking, stopping: each line exactly once, in order, and no loss."""
    draw = random.Random(seed)
    way = draw.choice([Rotated.rename, Rotated.copytruncate])
    follower = Follower(rotated.path)
    lines: list[bytes] = []
    for _ in range(60):
        match draw.randrange(7):
            case 0 | 1 | 2:
                rotated.write(draw.randrange(1, 900))
            case 3:
                way(rotated, keep=100)
            case 4:
                lines += follower.read()
            case 5:
                for chunk in follower.tail.read(0)[: draw.randrange(3)]:  # what was not committed is read again
                    lines += chunk.data.splitlines()
                    follower.position = chunk.position
                follower = follower.again()
            case _:
                number = draw.randrange(2, 5)
                if rotated.path.with_name(f"audit.log.{number}").exists():
                    rotated.compress(number)
                    for later in range(number + 1, 101):
                        if rotated.path.with_name(f"audit.log.{later}").exists():
                            rotated.compress(later)
    lines += follower.read()
    assert follower.losses == []
    assert lines == rotated.written


def test_more_old_files_than_may_be_open(rotated: Rotated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aalearn.sources.tail._OPEN", 3)
    for _ in range(20):
        rotated.write()
        rotated.rename(keep=30)
    rotated.write()
    follower = Follower(rotated.path)
    assert follower.read() == rotated.written
    assert follower.losses == []
