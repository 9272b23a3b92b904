"""Builds the virtual machine's disk and fetches its kernels, cached by content.

A Debian root is made with mmdebstrap (which knows its mirrors itself), a kernel is unpacked beside it, and `mke2fs -d`
makes the disk without mounting anything. Needs root (mmdebstrap keeps owners), mmdebstrap, dpkg, apt and e2fsprogs.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = "trixie"
# Kernel series by the Debian release that has it.
KERNELS = {"6.1": "bookworm", "6.12": "trixie", "sid": "sid"}
PACKAGES = [
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "procps",
    "iproute2",
    "util-linux",
    "auditd",
    "apparmor",
    "apparmor-utils",
    "cron",
    "python3",
    "python3-systemd",
    "python3-grpcio",
    "python3-protobuf",
    "containerd",
    "runc",
    "crun",
    "podman",
    "busybox-static",
    "nginx-light",
    "redis-server",
    "curl",
    "strace",
]
# Units that only cost time under emulation.
MASKED = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-hwdb-update.service",
    "ldconfig.service",
    "man-db.timer",
    "systemd-networkd-wait-online.service",
    "systemd-pcrphase.service",
    "logrotate.timer",
    "dev-hugepages.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-logind.service",
    "systemd-pstore.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
]
# Units that the tests start themselves, when they need them: not enabled, but there.
NOT_ENABLED = [
    "nginx.service",
    "redis-server.service",
    "containerd.service",
    "cron.service",
    "netavark-dhcp-proxy.service",
    "netavark-dhcp-proxy.socket",
    "netavark-firewalld-reload.service",
    "podman.service",
    "podman.socket",
    "podman-auto-update.service",
    "podman-auto-update.timer",
    "podman-clean-transient.service",
    "podman-restart.service",
]
# aalearn itself comes on a small disk of its own (tests/vm/program.py), which is mounted here.
PROGRAM = "opt/aalearn"


@dataclass(frozen=True, slots=True)
class Image:
    """A disk (ext4 on the bare device) and the kernel that boots it."""

    disk: Path
    kernel: Path
    release: str


def cache() -> Path:
    """The folder for what is expensive to make; AALEARN_CACHE names another one."""
    given = os.environ.get("AALEARN_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aalearn"
    base.mkdir(parents=True, exist_ok=True)
    return base


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Only one process builds; the others wait and find it done."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a build step; its output is shown only when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def key(*more: str) -> str:
    """What the root depends on (and `more`), as a short digest."""
    parts = [*more, *(path.read_text() for path in sorted((HERE / "guest").iterdir())), Path(__file__).read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def image(kernel: str = "6.12") -> Image:
    """Return the image for a kernel series of KERNELS, building what is missing."""
    folder = cache() / "vm" / f"disk-{kernel}-{key(kernel)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(folder.with_name(f"{folder.name}.lock")):
        if not (folder / "disk").exists():
            with tempfile.TemporaryDirectory(prefix="aalearn-vm.", dir=folder.parent) as work:
                build(Path(work), kernel)
                shutil.rmtree(folder, ignore_errors=True)
                (Path(work) / "out").rename(folder)
    return Image(folder / "disk", folder / "vmlinuz", (folder / "release").read_text())


def build(work: Path, kernel: str) -> None:
    """Make `work`/out with disk, vmlinuz and release."""
    out, root = work / "out", work / "root"
    out.mkdir()
    base = base_root()
    with use(base):
        run("cp", "-a", "--reflink=auto", base, root)
    unpacked = fetch_kernel(work, root, KERNELS[kernel])
    (vmlinuz,) = (unpacked / "boot").glob("vmlinuz-*")
    release = vmlinuz.name.removeprefix("vmlinuz-")
    modules = next(path for path in (unpacked / "usr/lib/modules", unpacked / "lib/modules") if path.is_dir())
    (root / "usr/lib/modules").mkdir(parents=True, exist_ok=True)
    run("cp", "-a", modules / release, root / "usr/lib/modules" / release)
    run("chroot", root, "depmod", release)
    size = int(subprocess.run(["du", "-sm", root], capture_output=True, text=True, check=True).stdout.split()[0])
    run("mke2fs", "-q", "-t", "ext4", "-d", root, "-E", "root_owner=0:0", out / "disk", f"{size * 5 // 4 + 512}M")
    shutil.copy(vmlinuz, out / "vmlinuz")
    (out / "release").write_text(release)


def base_root() -> Path:
    """The Debian root that all kernels share."""
    root = cache() / "vm" / f"root-{key()}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with use(root):
        if not (root / "etc/aalearn-ready").exists():
            shutil.rmtree(root, ignore_errors=True)
            run("mmdebstrap", "-q", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root)
            furnish(root)
            (root / "etc/aalearn-ready").write_text("made by tests/vm/image.py\n")
    return root


def use(root: Path) -> AbstractContextManager[None]:
    """Keep others from changing the shared root meanwhile."""
    return lock(root.with_name(f"{root.name}.lock"))


def furnish(root: Path) -> None:
    """Put the agent in, mask what the tests do not need, move the stock profiles away (slow to compile there)."""
    shutil.copy(HERE / "guest/agent.py", root / "usr/local/lib/aalearn-agent.py")
    units = root / "etc/systemd/system"
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "guest").glob("*.service"):
        shutil.copy(path, units)
        (wants / path.name).symlink_to(f"/etc/systemd/system/{path.name}")
    for unit in MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for folder in units.glob("*.wants"):
        for unit in NOT_ENABLED:
            (folder / unit).unlink(missing_ok=True)
    (root / PROGRAM).mkdir(parents=True)
    (root / "usr/local/bin/aalearn").symlink_to(f"/{PROGRAM}/bin/aalearn")
    stock, away = root / "etc/apparmor.d", root / "usr/share/aalearn-stock-profiles"
    away.mkdir(parents=True)
    for path in stock.iterdir():
        if path.is_file():
            path.rename(away / path.name)
    # A machine that has an id boots as one that booted before: nobody enables what is not.
    (root / "etc/machine-id").write_text(f"{hashlib.sha256(b'aalearn vm').hexdigest()[:32]}\n")
    (root / "etc/hostname").write_text("vm\n")
    (root / "etc/fstab").write_text("/dev/nvme0n1 / ext4 defaults 0 1\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)


def fetch_kernel(work: Path, root: Path, suite: str) -> Path:
    """Download the newest cloud kernel of `suite` by the mirror that mmdebstrap found, and unpack it."""
    apt = work / "apt"
    for folder in ("lists/partial", "cache/archives/partial", "etc"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "etc/sources.list").write_text(sources(root, suite))
    options = [
        f"Dir::State::Lists={apt}/lists",
        f"Dir::State::Status={apt}/status",
        f"Dir::Cache={apt}/cache",
        f"Dir::Etc::SourceList={apt}/etc/sources.list",
        "Dir::Etc::SourceParts=/dev/null",
        "Dir::Etc::Parts=/etc/apt/apt.conf.d",
        f"Dir::Etc::TrustedParts={root}/etc/apt/trusted.gpg.d",
        "APT::Architecture=amd64",
        "Acquire::Languages=none",
        "APT::Sandbox::User=root",
    ]
    flags = [part for option in options for part in ("-o", option)]
    run("apt-get", *flags, "-q", "update")
    show = ["apt-cache", *flags, "depends", "--no-recommends", "--no-suggests", "linux-image-cloud-amd64"]
    told = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64(?!-unsigned))", told)
    if found is None:
        raise RuntimeError(f"{suite} has no cloud kernel:\n{told}")
    run("apt-get", *flags, "-q", "download", found[1], cwd=work)
    (package,) = work.glob("linux-image-*.deb")
    run("dpkg", "-x", package, work / "kernel")
    return work / "kernel"


def sources(root: Path, suite: str) -> str:
    """The root's own first source with another suite, verified by the host's or the root's archive keys."""
    for path in (root / "etc/apt/sources.list", *sorted((root / "etc/apt/sources.list.d").glob("*"))):
        found = re.search(r"^deb (?:\[[^]]*\] )?(\S+) ", path.read_text(), re.M) if path.is_file() else None
        if found:
            return f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {found[1]} {suite} main\n"
    raise RuntimeError("the new root names no package source")


if __name__ == "__main__":
    built = image(sys.argv[1] if len(sys.argv) > 1 else "6.12")
    sys.stdout.write(f"{built.disk}\n{built.kernel}\n")
