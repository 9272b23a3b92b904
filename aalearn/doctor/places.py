"""Checks of the disk, the clock, the service, container runtimes and the kubelet."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aalearn.doctor.finding import Ask, Finding, Level, check
from aalearn.doctor.host import Host
from aalearn.model.text import shown

_LITTLE_BYTES: Final = 1 << 30
_LITTLE_SHARE: Final = 0.05
_OLDEST: Final = 1_735_689_600  # 2025-01-01: a clock before this was never set
_UNIT: Final = "aalearn.service"
_APPLY: Final = "aalearn-apply.socket"
# Where a runtime listens or lives, and the profile that it gives to containers which name none.
_RUNTIMES: Final = (
    ("containerd", "/run/containerd/containerd.sock", "cri-containerd.apparmor.d"),
    ("docker", "/run/docker.sock", "docker-default"),
    ("CRI-O", "/run/crio/crio.sock", "crio-default"),
    ("podman", "/usr/bin/podman", "containers-default-*"),
)
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")


@check("disk")
def disk(host: Host, ask: Ask) -> Iterator[Finding]:
    """Is there room where the store and the logs are."""
    for folder in dict.fromkeys([*_store_folder(ask), host.path("/var/log")]):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        name = shown(str(folder))
        if total and (free < _LITTLE_BYTES or free < total * _LITTLE_SHARE):
            text = f"{name} has {free >> 20:,} MiB left of {total >> 20:,}"
            yield Finding("disk", Level.PROBLEM, text, "make room, or move the store with the setting db")
        elif found.f_files and not found.f_favail:
            yield Finding("disk", Level.PROBLEM, f"{name} has no inode left", "remove files there")
        else:
            yield Finding("disk", Level.OK, f"{name} has {free >> 20:,} MiB left")


def _store_folder(ask: Ask) -> Iterator[Path]:
    if ask.store is None:
        return
    folder = ask.store.absolute().parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    yield folder


@check("clock")
def clock(host: Host, _: Ask) -> Iterator[Finding]:
    """Is the clock plausible and kept in step: windows of learning are spans of time."""
    if time.time() < _OLDEST:
        yield Finding("clock", Level.PROBLEM, "the clock was never set", "sudo timedatectl set-ntp true")
        return
    said = host.run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if said is not None and said.out.strip() == "no":
        yield Finding("clock", Level.NOTE, "nothing keeps the clock in step", "sudo timedatectl set-ntp true")
    else:
        yield Finding("clock", Level.OK, "the clock is plausible")


@check("service")
def service(host: Host, _: Ask) -> Iterator[Finding]:
    """Does the service run, and may it revert a promotion."""
    active = host.unit_active(_UNIT)
    if active is None:
        return
    known = host.run("systemctl", "cat", _UNIT)
    if known is None or known.code:
        text = "the service is not installed: logs are read only when you run `aalearn ingest`"
        yield Finding("service", Level.NOTE, text, "see systemd/README.md")
        return
    if active:
        yield Finding("service", Level.OK, f"{_UNIT} runs")
    else:
        mend = f"journalctl -u {_UNIT} -n 20; sudo systemctl enable --now {_UNIT}"
        yield Finding("service", Level.PROBLEM, f"{_UNIT} does not run", mend)
    if not host.unit_active(_APPLY):
        text = f"{_APPLY} does not listen: the service can't revert a promotion that goes wrong"
        yield Finding("service", Level.PROBLEM, text, f"sudo systemctl enable --now {_APPLY}")


@check("containers")
def containers(host: Host, _: Ask) -> Iterator[Finding]:
    """Which container runtimes there are, and what they confine containers with."""
    for name, place, default in _RUNTIMES:
        if not host.exists(place):
            continue
        yield Finding(
            "containers", Level.OK, f"{name} is here; containers without a profile of their own get {default}"
        )
        if not host.exists("/usr/sbin/apparmor_parser") and not host.exists("/sbin/apparmor_parser"):
            text = f"{name} needs apparmor_parser to load {default}: without it containers run unconfined or fail"
            yield Finding("containers", Level.PROBLEM, text, "sudo apt-get install apparmor")


@check("kubelet")
def kubelet(host: Host, _: Ask) -> Iterator[Finding]:
    """Is this a Kubernetes node, and how do its Pods name a profile."""
    if "kubelet" not in host.programs():
        return
    said = host.run("kubelet", "--version")
    match = _VERSION.search(said.out) if said is not None else None
    if match is None:
        yield Finding("kubelet", Level.OK, "a kubelet runs here")
        return
    version = int(match[1]), int(match[2])
    by = "by the field appArmorProfile" if version >= (1, 30) else "by annotation only"
    yield Finding("kubelet", Level.OK, f"a kubelet {match[1]}.{match[2]} runs here: Pods name their profile {by}")
