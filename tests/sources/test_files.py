"""Files, folders and streams: content decides, time orders, damage is told before anything is read."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.errors import AalearnError, BadInput, UsageError
from aalearn.sources import Origin, plan
from aalearn.sources.base import CHUNK, LINE
from aalearn.sources.cut import by_node, whole_lines
from tests.sources.conftest import Reader, log, record

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("name", PACKERS)
def test_compressed_by_content_not_by_name(tmp_path: Path, read: Reader, name: str) -> None:
    file = tmp_path / "audit.log.1"  # no suffix tells it
    file.write_bytes(PACKERS[name](log(*range(1000))))
    assert read(file).lines == log(*range(1000)).splitlines()


@pytest.mark.parametrize("name", PACKERS)
def test_several_compressed_streams_in_one_file(tmp_path: Path, read: Reader, name: str) -> None:
    file = tmp_path / f"audit.log.{name}"
    file.write_bytes(PACKERS[name](log(1, 2)) + PACKERS[name](log(3)))
    assert read(file).lines == log(1, 2, 3).splitlines()


@pytest.mark.parametrize("name", PACKERS)
def test_empty_compressed_file(tmp_path: Path, read: Reader, name: str) -> None:
    file = tmp_path / f"audit.log.{name}"
    file.write_bytes(PACKERS[name](b""))
    assert read(file).lines == []


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("keep", [0.3, 0.9, -1])
def test_truncated_archive_is_one_clear_line_before_reading(tmp_path: Path, name: str, keep: float) -> None:
    packed = PACKERS[name](b"".join(record(n, os.urandom(8).hex()) + b"\n" for n in range(5000)))
    file = tmp_path / f"audit.log.{name}"
    file.write_bytes(packed[: int(len(packed) * keep) if keep > 0 else -1])
    with pytest.raises(BadInput, match=r"audit\.log.*(truncated|damaged)") as caught:
        plan([file], Origin("n"))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", PACKERS)
def test_damaged_archive(tmp_path: Path, name: str) -> None:
    packed = bytearray(PACKERS[name](b"".join(record(n, os.urandom(8).hex()) + b"\n" for n in range(5000))))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = os.urandom(40)
    file = tmp_path / f"audit.log.{name}"
    file.write_bytes(packed)
    if name == "zst":  # without a checksum some damage is invisible
        packed[len(packed) // 4 :: 97] = b"\xff" * len(packed[len(packed) // 4 :: 97])
        file.write_bytes(packed)
    with pytest.raises(BadInput, match=r"audit\.log"):
        plan([file], Origin("n"))


def test_zstd_bomb_stays_small(tmp_path: Path) -> None:
    file = tmp_path / "bomb.zst"
    file.write_bytes(zstandard.ZstdCompressor(level=19).compress(b"\0" * (200 << 20)))
    tracemalloc.start()
    with pytest.raises(BadInput, match="not a log"):
        plan([file], Origin("n"))
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_rotated_folder_is_read_in_the_order_of_time(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "audit.log").write_bytes(log(40, 41))
    (tmp_path / "audit.log.1").write_bytes(log(30, 31))
    (tmp_path / "audit.log.2.gz").write_bytes(gzip.compress(log(20, 21)))
    (tmp_path / "audit.log.10.xz").write_bytes(lzma.compress(log(10, 11)))
    (tmp_path / "notes.bin").write_bytes(b"\0\1\2")
    (tmp_path / "empty").write_bytes(b"")
    found = read(tmp_path)
    assert found.lines == log(10, 11, 20, 21, 30, 31, 40, 41).splitlines()
    assert found.skipped == (str(tmp_path / "notes.bin"),)


def test_without_times_rotation_and_change_give_the_order(tmp_path: Path, read: Reader) -> None:
    for number, name in enumerate(["dmesg.3", "dmesg.2", "dmesg.1", "dmesg"]):
        (tmp_path / name).write_bytes(b"[    %d.000000] audit: x\n" % number)
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
    assert read(tmp_path).lines == [b"[    %d.000000] audit: x" % number for number in range(4)]


def test_last_line_without_newline_is_read(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a.log").write_bytes(log(1, 2)[:-1])
    assert read(tmp_path / "a.log").lines == log(1, 2).splitlines()


def test_a_100_mb_line_is_skipped_in_little_memory(tmp_path: Path, read: Reader) -> None:
    file = tmp_path / "audit.log"
    with file.open("wb") as out:
        out.write(log(1))
        out.write(record(2)[:-1])
        for _ in range(100):
            out.write(b"x" * (1 << 20))
        out.write(b"\n" + log(3))
    tracemalloc.start()
    found = read(file)
    assert tracemalloc.get_traced_memory()[1] < 12 << 20
    tracemalloc.stop()
    assert found.lines == log(1, 3).splitlines()
    assert [head.split(b" ")[1] for head in found.truncated] == [b"msg=audit(1700000000.000:2):"]


def test_a_long_line_at_the_end(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a").write_bytes(log(1) + b"type=AVC " + b"y" * (3 << 20))
    found = read(tmp_path / "a")
    assert found.lines == log(1).splitlines()
    assert len(found.truncated) == 1


@pytest.mark.parametrize("content", [b"\0\1\2\xff" * 5000, b"hello\nworld\n", b"x" * 3_000_000, os.urandom(100_000)])
def test_no_log(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "no\x1b[31m\nlog"
    file.write_bytes(content)
    with pytest.raises(BadInput, match="not a log") as caught:
        plan([file], Origin("n"))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_log_may_begin_late(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a").write_bytes(b"-\n" * 100_000 + log(1))
    assert record(1, time=1_700_000_000_001) in read(tmp_path / "a").lines


def test_missing_and_folder_without_logs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        plan([tmp_path / "gone.log"], Origin("n"))
    with pytest.raises(BadInput, match="no log in this folder"):
        plan([tmp_path], Origin("n"))
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(UsageError, match="neither a file"):
            plan([Path(device)], Origin("n"))


def test_no_right_to_read(tmp_path: Path) -> None:
    """As another user, because root may read everything."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "audit.log").write_bytes(log(1))
    script = (
        "import sys\nfrom pathlib import Path\nfrom aalearn.sources import plan, Origin\nfrom aalearn.model.errors "
        "import UsageError\nimport os\nif os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "else: os.chmod(sys.argv[1], 0)\n"
        "for path in (Path(sys.argv[1]), Path(sys.argv[1]) / 'audit.log'):\n"
        "    try: plan([path], Origin('n'))\n"
        "    except UsageError as error: print(error)\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, closed], capture_output=True, text=True, check=True)
    assert done.stdout.count("can't be read: Permission denied (run as root") == 2
    closed.chmod(0o700)


def test_a_file_that_disappears_is_still_read(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(log(1, 2))
    made = plan([tmp_path], Origin("n"))
    file.unlink()
    assert b"".join(chunk.data for source in made.sources for chunk in source.chunks()) == log(1, 2)
    made.close()


def test_stdin_plain_and_packed() -> None:
    for content in (log(*range(9000)), gzip.compress(log(*range(9000)))):
        made = plan([Path("-")], Origin("n", trusted=True), io.BytesIO(content))
        chunks = [chunk for source in made.sources for chunk in source.chunks()]
        assert b"".join(chunk.data for chunk in chunks) == log(*range(9000))
        assert all(chunk.trusted and chunk.source == "-" for chunk in chunks)
        made.close()
    with pytest.raises(BadInput, match="not a log"):
        plan([Path("-")], Origin("n"), io.BytesIO(b"\0" * 100))
    with pytest.raises(BadInput, match="truncated"):
        plan([Path("-")], Origin("n"), io.BytesIO(gzip.compress(log(1))[:-3]))


def test_a_pipe_by_name(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with subprocess.Popen(["/bin/sh", "-c", 'printf "%s" "$1" > "$2"', "sh", log(1).decode(), str(fifo)]):
        made = plan([fifo], Origin("n"))
        assert b"".join(chunk.data for source in made.sources for chunk in source.chunks()) == log(1)
        made.close()


def test_nodes_are_kept_apart(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "a").write_bytes(b"node=a " + record(1) + b"\nnode=b\x1b " + record(2) + b"\n" + record(3) + b"\n")
    assert [(chunk.node, chunk.data.count(b"apparmor=")) for chunk in read(tmp_path / "a").chunks] == [
        ("a", 1),
        ("b\\x1b", 1),
        ("web-1", 1),
    ]
    assert list(by_node(b"x\ny\n", "n")) == [("n", b"x\ny\n")]


@given(st.lists(st.binary(max_size=30).map(lambda text: text + b"\n" * (len(text) % 3)), max_size=30))
def test_cutting_loses_nothing(pieces: list[bytes]) -> None:
    cuts = list(whole_lines(piece for piece in pieces if piece))
    assert b"".join(cut.data for cut in cuts) == b"".join(pieces)
    assert sum(cut.read for cut in cuts) == len(b"".join(pieces))
    full = [cut.data for cut in cuts if cut.data]
    assert all(data.endswith(b"\n") for data in full[:-1])


@given(st.binary(max_size=2000))
def test_any_bytes_give_a_plan_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for head in (b"", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"__CURSOR=", b'{"__CURSOR":'):
        try:
            made = plan([Path("-")], Origin("n"), io.BytesIO(head + content))
        except AalearnError as error:
            assert "\n" not in str(error)
        else:
            for source in made.sources:
                assert all(len(chunk.data) <= LINE + CHUNK for chunk in source.chunks())
            made.close()
