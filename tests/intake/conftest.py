"""A store on disk, ingestion into it, and what it then knows, as values that can be compared."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aalearn.intake import Options, Summary, ingest
from aalearn.store import Store

Ingest = Callable[..., Summary]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def into(store: Store) -> Ingest:
    """Ingest paths into the store."""

    def reading(*paths: Path, node: str = "web-1", trusted: bool = False) -> Summary:
        return ingest(paths, store, Options(node, trusted))

    return reading


def state(store: Store) -> dict[str, Any]:
    """All that a store knows, but for where files were read to."""
    profiles = store.profiles()
    return {
        "profiles": profiles,
        "accesses": {profile.name: store.accesses(profile.name) for profile in profiles},
        "runs": {profile.name: store.runs(profile.name) for profile in profiles},
        "losses": store.losses(),
        "counters": dict(store.counters()),
        "timeline": store.timeline(),
    }


def without_runs(known: dict[str, Any]) -> dict[str, Any]:
    """The same, less what depends on lineage being read in one go."""
    accesses = {
        name: tuple(replace(access, runs=(), run_count=0) for access in found)
        for name, found in known["accesses"].items()
    }
    profiles = tuple(replace(profile, runs=0) for profile in known["profiles"])
    return {**known, "accesses": accesses, "profiles": profiles, "runs": {}}


def fresh(tmp_path: Path, name: str, *steps: tuple[Path, ...]) -> dict[str, Any]:
    """The state of a new store after ingesting these paths, a tuple at a time."""
    with Store.open(f"sqlite:///{tmp_path / name}.db") as opened:
        for paths in steps:
            ingest(paths, opened, Options("web-1"))
        return state(opened)


def record(serial: int, name: str = "/etc/hosts", pid: int = 7, time: int = 1_700_000_000_000, **more: str) -> bytes:
    """An audit.log line."""
    seconds, ms = divmod(time, 1000)
    fields = {"profile": "p", "verdict": "ALLOWED", "operation": "open", **more}
    return (
        f'type=AVC msg=audit({seconds}.{ms:03}:{serial}): apparmor="{fields["verdict"]}" '
        f'operation="{fields["operation"]}" class="file" profile="{fields["profile"]}" name="{name}" pid={pid} '
        'comm="x" requested_mask="r" denied_mask="r" fsuid=0 ouid=0\n'
    ).encode()


def syscall(serial: int, pid: int, ppid: int, time: int = 1_700_000_000_000) -> bytes:
    """The SYSCALL companion of a record."""
    seconds, ms = divmod(time, 1000)
    return (
        f"type=SYSCALL msg=audit({seconds}.{ms:03}:{serial}): arch=c000003e syscall=257 success=yes exit=3 a0=0 a1=0 "
        f"a2=0 a3=0 items=0 ppid={ppid} pid={pid} auid=4294967295 uid=0 gid=0 euid=0 suid=0 "
        "fsuid=0 egid=0 sgid=0 fsgid=0 "
        'tty=(none) ses=4294967295 comm="x" exe="/usr/bin/x" subj=p key=(null)\n'
    ).encode()
