"""Runs in the guest under a profile: many small accesses, each under a comm of its own, to tell its records by.

The same program runs under an empty complain profile (which logs what each access needs) and under enforced ones (which
deny some). Only the standard library. Every access undoes what it did, whether it was allowed or not.
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NAME = 15
BOX = Path("/srv/box")
NOBODY = 65534
ACCESSES: dict[str, Callable[[], object]] = {}


def access(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Register one access; its name (at most 15 bytes) is the comm of its records."""

    def keep(function: Callable[[], object]) -> Callable[[], object]:
        assert len(name) <= 15, name
        assert name not in ACCESSES, name
        ACCESSES[name] = function
        return function

    return keep


def call(name: str, *arguments: object) -> int:
    """Call libc, raising OSError as Python's own wrappers do."""
    result: int = getattr(LIBC, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@contextlib.contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def files() -> None:
    """Files of root and of another user: what each operation on them needs."""
    for kind in ("mine", "yours"):
        for number in range(4):
            short = f"{kind[0]}{number}"

            def one(verb: str, act: Callable[[str], object], kind: str = kind, short: str = short) -> None:
                # A file of its own for each access: what one leaves undone does not disturb the next.
                access(f"{verb}-{short}")(lambda: act(str(BOX / kind / f"{verb}{short[1]}")))

            one("read", lambda path: os.close(os.open(path, os.O_RDONLY)))
            one("write", lambda path: os.close(os.open(path, os.O_WRONLY)))
            one("append", lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)))
            one("rdwr", lambda path: os.close(os.open(path, os.O_RDWR)))
            one("trunc", lambda path: os.truncate(path, 0))
            one("chmod", lambda path: os.chmod(path, 0o644))
            one("lock", lambda path: lock(path))
            one("map", lambda path: map_executable(path))
            one("create", lambda path: create(path + ".new"))
            one("rename", lambda path: rename(path))
            one("link", lambda path: link(path))
            one("symlink", lambda path: symlink(path))
            one("mkdir", lambda path: mkdir(path + ".d"))
            one("list", lambda path: os.listdir(os.path.dirname(path)))


def lock(path: str) -> None:
    with opened(path, os.O_RDONLY) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def map_executable(path: str) -> None:
    with opened(path, os.O_RDONLY) as descriptor:
        mmap.mmap(descriptor, 16, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE).close()


def create(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644))
    os.unlink(path)


def rename(path: str) -> None:
    os.rename(path, path + ".moved")
    os.rename(path + ".moved", path)


def link(path: str) -> None:
    os.link(path, path + ".link")
    os.unlink(path + ".link")


def symlink(path: str) -> None:
    os.symlink(path, path + ".sym")
    os.unlink(path + ".sym")


def mkdir(path: str) -> None:
    os.mkdir(path)
    os.rmdir(path)


@access("exec-true")
def run_true() -> None:
    subprocess.run(["/usr/bin/true"], check=True)


@access("exec-cat")
def run_cat() -> None:
    subprocess.run(["/usr/bin/cat", "/etc/hostname"], check=True, stdout=subprocess.DEVNULL)


def open_socket(family: int, kind: int, protocol: int) -> None:
    socket.socket(family, kind, protocol).close()


def sockets() -> None:
    """Sockets of each family and type that this kernel has."""
    kinds = {
        "inet-stream": (socket.AF_INET, socket.SOCK_STREAM, 0),
        "inet-dgram": (socket.AF_INET, socket.SOCK_DGRAM, 0),
        "inet-raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "inet6-stream": (socket.AF_INET6, socket.SOCK_STREAM, 0),
        "inet6-dgram": (socket.AF_INET6, socket.SOCK_DGRAM, 0),
        "netlink-raw": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "netlink-dgram": (socket.AF_NETLINK, socket.SOCK_DGRAM, 0),
        "packet-dgram": (socket.AF_PACKET, socket.SOCK_DGRAM, 0),
        "unix-stream": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
        "unix-dgram": (socket.AF_UNIX, socket.SOCK_DGRAM, 0),
        "unix-seqpacket": (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
    }
    for name, (family, kind, protocol) in kinds.items():
        access(name)(partial(open_socket, family, kind, protocol))


@access("bind-tcp")
def bind_tcp() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 4711))
        listener.listen()


@access("bind-low")
def bind_low() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 81))


@access("unix-path")
def unix_path() -> None:
    path = str(BOX / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
            listener.listen()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


@access("unix-abstract")
def unix_abstract() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0aalearn-calibrate")
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0aalearn-calibrate")


@access("chown")
def chown() -> None:
    os.chown(BOX / "mine" / "f0", NOBODY, NOBODY)
    os.chown(BOX / "mine" / "f0", 0, 0)


@access("chroot")
def chroot() -> None:
    in_child(lambda: os.chroot("/srv"))


@access("setuid")
def setuid() -> None:
    in_child(lambda: os.setuid(NOBODY))


@access("setgid")
def setgid() -> None:
    in_child(lambda: os.setgid(NOBODY))


@access("nice")
def nice() -> None:
    in_child(lambda: os.nice(-5))


@access("hostname")
def hostname() -> None:
    socket.sethostname(socket.gethostname())


@access("mknod")
def mknod() -> None:
    path = BOX / "device"
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    finally:
        path.unlink(missing_ok=True)


@access("userns")
def userns() -> None:
    in_child(lambda: call("unshare", 0x10000000))


def in_child(act: Callable[[], object]) -> None:
    """Do what can't be undone in a child that ends; the child keeps the comm."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise PermissionError("denied in the child")


def signals() -> None:
    """Signals to a process under another profile and to one that is unconfined."""
    for label, pid in (("peer", int(os.environ["PEER"])), ("free", int(os.environ["FREE"]))):
        for number in (0, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT):
            access(f"kill{int(number)}-{label}")(partial(os.kill, pid, number))
        access(f"trace-{label}")(partial(trace, pid))


def trace(pid: int) -> None:
    call("ptrace", 16, pid, 0, 0)
    os.waitpid(pid, 0)
    call("ptrace", 17, pid, 0, 0)


def mounts() -> None:
    """Mounts of several kinds, each undone by an unconfined helper if the access itself can't."""
    bind, remount, rdonly, private, noexec = 4096, 32, 1, 1 << 18, 8
    target, other = b"/srv/box/mnt", b"/srv/box/mnt2"

    def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int) -> None:
        call("mount", source, target, kind, ctypes.c_ulong(flags), None)
        call("umount2", target, 0)

    def again(flags: int) -> None:
        call("mount", b"tmpfs", target, b"tmpfs", ctypes.c_ulong(0), None)
        try:
            call("mount", None, target, None, ctypes.c_ulong(flags), None)
        finally:
            call("umount2", target, 0)

    access("mount-tmpfs")(lambda: mount(b"tmpfs", target, b"tmpfs", 0))
    access("mount-noexec")(lambda: mount(b"tmpfs", target, b"tmpfs", noexec))
    access("mount-other")(lambda: mount(b"tmpfs", other, b"tmpfs", 0))
    access("mount-bind")(lambda: mount(b"/srv/box/mine", target, None, bind))
    access("mount-proc")(lambda: mount(b"proc", target, b"proc", 0))
    access("mount-remount")(lambda: again(remount | rdonly))
    access("mount-private")(lambda: again(private))


def main() -> None:
    """Perform every access once, in order, and print each one's outcome."""
    files()
    sockets()
    signals()
    mounts()
    own = b"calibrate"
    for name, act in ACCESSES.items():
        LIBC.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
        try:
            act()
            outcome = "done"
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            outcome = str(getattr(error, "errno", None) or type(error).__name__)
        finally:
            LIBC.prctl(PR_SET_NAME, own, 0, 0, 0)
        sys.stdout.write(f"access {name} {outcome}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
