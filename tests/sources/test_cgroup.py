"""From a pid to its container and Pod: the names that the runtimes give, and processes that end meanwhile."""

import os
from pathlib import Path

import pytest

from aalearn.sources.cgroup import GONE, KNOWN, Origin, Origins, origin_of

ID, OTHER = b"0123456789abcdef" * 4, b"fedcba9876543210" * 4
UID = b"7f0c3b1a-2d4e-4f60-8a91-b2c3d4e5f607"
SLICE = b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + UID.replace(b"-", b"_") + b".slice/"
STATIC = b"0a1b2c3d" * 4  # the uid of a static Pod is a digest of its manifest


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        (SLICE + b"cri-containerd-" + ID + b".scope", Origin(ID, UID)),
        (SLICE + b"crio-" + ID + b".scope", Origin(ID, UID)),
        (b"/kubepods/besteffort/pod" + UID + b"/" + ID, Origin(ID, UID)),
        (b"/kubepods/pod" + STATIC + b"/" + ID, Origin(ID, STATIC)),
        (
            b"/../../kubepods-pod" + UID.replace(b"-", b"_") + b".slice/cri-containerd-" + ID + b".scope/init.scope",
            Origin(ID, UID),
        ),
        (b"/system.slice/docker-" + ID + b".scope", Origin(ID)),
        (b"/docker/" + ID, Origin(ID)),
        (b"/machine.slice/libpod-" + ID + b".scope/container", Origin(ID)),
        (
            b"/system.slice/docker-" + OTHER + b".scope/kubelet.slice" + SLICE + b"cri-containerd-" + ID + b".scope",
            Origin(ID, UID),
        ),
        (b"/machine.slice/libpod-conmon-" + ID + b".scope", None),
        (SLICE + b"crio-conmon-" + ID + b".scope", None),
        (b"/system.slice/nginx.service", None),
        (b"/user.slice/" + ID[:63], None),
        (b"/x/" + ID + b"0", None),
        (b"/", None),
    ],
)
def test_the_names_of_control_groups(path: bytes, origin: Origin | None) -> None:
    assert origin_of(b"0::" + path + b"\n") == origin
    assert origin_of(b"12:cpuset:/\n5:memory:" + path + b"\n1:name=systemd:/\n") == origin


class _Proc:
    """A /proc of our own making."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, pid: int, path: bytes, started: int = 100, comm: bytes = b"x") -> None:
        at = self.folder / str(pid)
        at.mkdir(exist_ok=True)
        stat = b"%d (%s) S %s %d 0 0" % (pid, comm, b" ".join([b"1"] * 18), started)
        (at / "stat").write_bytes(stat)
        (at / "cgroup").write_bytes(b"0::" + path + b"\n")

    def end(self, pid: int) -> None:
        for file in (self.folder / str(pid)).iterdir():
            file.unlink()
        (self.folder / str(pid)).rmdir()


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    proc, now = _Proc(tmp_path), [0.0]
    origins = Origins(tmp_path, lambda: now[0])
    proc.put(7, b"/docker/" + ID, comm=b"a) S (b 1 2 3")
    assert origins.of(7) == Origin(ID)
    proc.put(7, b"/docker/" + OTHER)  # it was moved: a process keeps the origin that it was first seen in
    assert origins.of(7) == Origin(ID)
    proc.put(7, b"/docker/" + OTHER, started=200)
    assert origins.of(7) == Origin(OTHER)
    proc.end(7)
    assert origins.of(7) == Origin(OTHER)
    now[0] = GONE
    assert origins.of(7) is None


def test_what_can_not_be_seen_is_not_known(tmp_path: Path) -> None:
    origins = Origins(tmp_path)
    assert origins.of(1) is None
    assert origins.of(0) is None
    assert origins.of(-1) is None
    (tmp_path / "9").mkdir()
    (tmp_path / "9/stat").write_bytes(b"damaged")
    assert origins.of(9) is None


def test_memory_is_bounded(tmp_path: Path) -> None:
    proc, origins = _Proc(tmp_path), Origins(tmp_path)
    for pid in range(1, KNOWN + 20):
        if pid > 30:  # the same files serve many
            (tmp_path / str(pid)).symlink_to(tmp_path / str(pid % 30 + 1))
        else:
            proc.put(pid, b"/docker/" + ID)
        assert origins.of(pid) == Origin(ID)
    assert len(origins._known) == KNOWN


def test_this_process_is_read_from_the_real_proc() -> None:
    own = origin_of(Path("/proc/self/cgroup").read_bytes())
    assert Origins().of(os.getpid()) == own
