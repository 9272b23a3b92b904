"""Which tasks run under which label, and those that a change of a profile does not reach until they are restarted.

Measured on 6.12: a process that runs in `P//null-/usr/bin/bash` stays in complain mode when P is enforced; loading a
profile confines nothing that already runs. Every thread has a label of its own (change_hat).
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aalearn.model.label import Label
from aalearn.model.text import shown

UNCONFINED: Final = b"unconfined"
_LABEL: Final = re.compile(rb"(.*?)(?: \(([a-z]+)\))?", re.DOTALL)
_UNIT: Final = re.compile(r"([^/]+\.(?:service|scope))(?:/|$)")
_CURRENT: Final = ("attr/apparmor/current", "attr/current")  # the second on kernels before 5.1


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """One thread: ids, its label as the kernel prints it, that label's mode ("" for unconfined), its program.

    `exe` is the resolved path, without the kernel's mark of a deleted file, b"" where it can't be read. `unit` is the
    systemd unit of its cgroup, "" without.
    """

    pid: int
    tid: int
    label: bytes
    mode: str
    exe: bytes
    comm: bytes
    unit: str

    def __str__(self) -> str:
        thread = f" thread {self.tid}" if self.tid != self.pid else ""
        unit = f" of {self.unit}" if self.unit else ""
        return f"pid {self.pid}{thread} ({shown(self.exe or self.comm)}{unit}) runs under {shown(self.label)}"


def tasks(proc: Path = Path("/proc")) -> tuple[Task, ...]:
    """Return all threads whose label can be read, by pid. One that ends meanwhile is left out.

    Only root reads the labels of others' processes.
    """
    found: list[Task] = []
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found += _threads(entry, int(entry.name))
    return tuple(sorted(found))


def _threads(folder: Path, pid: int) -> Iterator[Task]:
    exe, unit = _exe(folder), _unit(folder)
    for thread in (folder / "task").iterdir():
        with contextlib.suppress(OSError):
            label, mode = _label(thread)
            comm = (thread / "comm").read_bytes().removesuffix(b"\n")
            yield Task(pid, int(thread.name), label, mode, exe, comm, unit)


def _label(thread: Path) -> tuple[bytes, str]:
    for name in _CURRENT:
        try:
            word = (thread / name).read_bytes().rstrip(b"\n\0")
        except FileNotFoundError:
            continue
        match = _LABEL.fullmatch(word)
        return (match[1], (match[2] or b"").decode()) if match else (word, "")
    return b"", ""


def _exe(folder: Path) -> bytes:
    try:
        return os.fsencode((folder / "exe").readlink()).removesuffix(b" (deleted)")
    except OSError:  # a kernel thread has none, and one that ends loses it
        return b""


def _unit(folder: Path) -> str:
    try:
        units = _UNIT.findall((folder / "cgroup").read_text("utf-8", "replace"))
    except OSError:
        return ""
    return shown(units[-1]) if units else ""


def astray(
    found: tuple[Task, ...], profile: bytes, attaches: Callable[[bytes], bool], *, loaded: bool = True
) -> tuple[Task, ...]:
    """Return the tasks that the profile, once it is enforced, does not confine until they are restarted.

    Those are the ones under its `//null-` children, and unconfined ones whose program `attaches` says would come under
    it. Where it is `loaded` already, those too that still show its name in complain mode: the load reaches such tasks
    at once, so before it they are no trouble.
    """
    return tuple(task for task in found if _is_astray(task, profile, attaches, loaded=loaded))


def _is_astray(task: Task, profile: bytes, attaches: Callable[[bytes], bool], *, loaded: bool) -> bool:
    if task.label == UNCONFINED:
        return bool(task.exe) and attaches(task.exe)
    label = Label.parse(task.label)
    own = [part for part in (label, *label.stacked) if part.parts[0] == profile and not part.namespace]
    return any(part.is_null for part in own) or (loaded and bool(own) and task.mode == "complain")


def under(found: tuple[Task, ...], profile: bytes, *, inner: bool = True) -> tuple[Task, ...]:
    """Return the tasks whose label has the profile as a member; with `inner` its children, hats and nulls too."""
    kept = []
    for task in found:
        label = Label.parse(task.label)
        for part in (label, *label.stacked):
            whole = b"//null-".join((part.base, *part.nulls))
            if whole == profile or (inner and whole.startswith(profile + b"//")):
                kept.append(task)
                break
    return tuple(kept)
