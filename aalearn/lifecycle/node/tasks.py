"""Which tasks run under which label, and those that a change of a profile does not reach until they are restarted.

Measured on 6.12: a process that runs in `P//null-/usr/bin/bash` stays in complain mode when P is enforced; loading a
profile confines nothing that already runs. Every thread has a label of its own (change_hat).
"""

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aalearn.model.label import Label
from aalearn.model.text import shown

UNCONFINED: Final = b"unconfined"
_LABEL: Final = re.compile(rb"(.*?)(?: \(([a-z]+)\))?", re.DOTALL)
_UNIT: Final = re.compile(r"([^/]+\.(?:service|scope))(?:/|$)")
_ARGUMENTS: Final = 8  # that are looked at for a script: before its name stand few options
_COMM: Final = 15  # bytes of a program's name that the kernel keeps
_INTERPRETER: Final = re.compile(
    rb"(?:ba|da|z|k|mk|c|tc|fi|a)?sh|busybox|(?:python|pypy|perl|ruby|lua|php|tclsh|node|guile|jruby)(?:js|jit)?[0-9.-]*"
    rb"|[gmn]?awk|Rscript|deno|bun"
)
_CODE: Final = re.compile(rb"-[A-Za-z]*[cm]|-[eE]")  # options after which code or a module comes, no script
_CURRENT: Final = ("attr/apparmor/current", "attr/current")  # the second on kernels before 5.1


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """One thread: ids, its label as the kernel prints it, that label's mode ("" for unconfined), its program.

    `exe` is the resolved path, without the kernel's mark of a deleted file, b"" where it can't be read. `unit` is the
    systemd unit of its cgroup, "" without. `script` is the resolved path of the script that an unconfined program
    interprets, b"" for none: a profile attaches to that, not to the interpreter.
    """

    pid: int
    tid: int
    label: bytes
    mode: str
    exe: bytes
    comm: bytes
    unit: str
    script: bytes = b""

    def __str__(self) -> str:
        thread = f" thread {self.tid}" if self.tid != self.pid else ""
        unit = f" of {self.unit}" if self.unit else ""
        script = f" {shown(self.script)}" if self.script else ""
        return f"pid {self.pid}{thread} ({shown(self.exe or self.comm)}{script}{unit}) runs under {shown(self.label)}"


def tasks(proc: Path = Path("/proc"), *, scripts: bool = False) -> tuple[Task, ...]:
    """Return all threads whose label can be read, by pid. One that ends meanwhile is left out.

    With `scripts` it is looked for what unconfined interpreters interpret. Only root reads the labels of others'
    processes.
    """
    found: list[Task] = []
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found += _threads(entry, int(entry.name), scripts=scripts)
    return tuple(sorted(found))


def _threads(folder: Path, pid: int, *, scripts: bool) -> Iterator[Task]:
    exe, unit = _exe(folder), _unit(folder)
    script: bytes | None = None
    for thread in (folder / "task").iterdir():
        with contextlib.suppress(OSError):
            label, mode = _label(thread)
            comm = (thread / "comm").read_bytes().removesuffix(b"\n")
            own = b""
            if scripts and label == UNCONFINED:
                own = script = _script(folder, exe) if script is None else script
            yield Task(pid, int(thread.name), label, mode, exe, comm, unit, own)


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


def _script(folder: Path, exe: bytes) -> bytes:
    """Return the resolved path of the script that a process interprets, b"" for none.

    The kernel calls a process after the script that was executed, and puts the script's path among the first arguments
    of the interpreter. Where env was in between, the process is called after the interpreter, just as if that had been
    typed before the script; such a one is taken for a script too.
    """
    try:
        arguments = (folder / "cmdline").read_bytes().split(b"\0")[1 : 1 + _ARGUMENTS]
        comm = (folder / "comm").read_bytes().removesuffix(b"\n")
    except OSError:
        return b""
    named = [word for word in arguments if word and not word.startswith(b"-")]
    program = _name(exe)
    found = None
    if comm != program[:_COMM]:
        found = next((word for word in named if _name(word)[:_COMM] == comm), None)
    if found is None and named and _INTERPRETER.fullmatch(program):
        options = arguments[: arguments.index(named[0])]
        found = named[0] if not any(map(_CODE.fullmatch, options)) else None
    return _resolved(folder, found) if found is not None else b""


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _resolved(folder: Path, path: bytes) -> bytes:
    """Return the path that a process means; one with another root is left as it is written, as it can't be followed."""
    try:
        joined = os.path.normpath(os.fsencode((folder / "cwd").readlink() / os.fsdecode(path)))
        if (folder / "root").readlink() == Path("/"):
            return os.path.realpath(joined)
    except OSError:
        return os.path.normpath(path) if path.startswith(b"/") else b""
    return joined


def _unit(folder: Path) -> str:
    try:
        units = _UNIT.findall((folder / "cgroup").read_text("utf-8", "replace"))
    except OSError:
        return ""
    return shown(units[-1]) if units else ""


def astray(
    found: tuple[Task, ...],
    profile: bytes,
    attaches: Callable[[bytes], bool],
    *,
    loaded: bool = True,
    units: Collection[str] = (),
) -> tuple[Task, ...]:
    """Return the tasks that the profile, once it is enforced, does not confine until they are restarted.

    Those are the ones under its `//null-` children, and unconfined ones whose program or script `attaches` says would
    come under it, or that belong to one of `units`, which are started under it. Where it is `loaded` already, those too
    that still show its name in complain mode: the load reaches such tasks at once, so before it they are no trouble.
    """
    return tuple(task for task in found if _is_astray(task, profile, attaches, loaded=loaded, units=units))


def _is_astray(
    task: Task, profile: bytes, attaches: Callable[[bytes], bool], *, loaded: bool, units: Collection[str]
) -> bool:
    if task.label == UNCONFINED:
        return task.unit in units or any(attaches(path) for path in (task.exe, task.script) if path)
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
