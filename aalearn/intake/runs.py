"""Runs: one process start on one node, found by pid, profile and the lineage that SYSCALL companions tell.

A run is opened at the first record of a (profile, pid) and goes on while records come less than RUN_GAP_MS apart, until
the node boots anew or the profile is loaded anew (only processes started later are confined by it). A process whose
parent runs under the same profile is part of its parent's run: workers of a daemon are one process start.

Which run a record belongs to is decided with what was read before it, so the order of reading could matter. It does not
where the store joins stretches of the same process; two things remain. A parent that is first read after its child was
committed stays a run of its own, and a new boot is only noticed where both of its sides are read in the order of time.
Both happen only at the seams of separately ingested parts.
"""

from collections.abc import Callable
from typing import Protocol

from aalearn.grammar.lines import Companion
from aalearn.store.batch import RUN_GAP_MS, RunKey

MOST_RUNS = 20_000  # runs remembered at once on one node
_MOST_WAITING = 1_000  # processes whose parents are not known yet
_PATIENCE = 4_000  # companions looked at without finding the one that is awaited
_BOOT_MS = 2_000  # a machine does not boot faster


class Place(Protocol):
    """In which container a process runs: the runtime's id (64 hex digits); the Pod's uid, b"" where there is none."""

    @property
    def container(self) -> bytes:
        """The container's id."""

    @property
    def pod(self) -> bytes:
        """The Pod's uid."""


Origins = Callable[[int], Place | None]
"""pid → where that process of this machine runs; None when it has ended already or runs on the host."""


class Run:
    """One run as far as it is read. Times in ms. A run that was found to belong to another's points to it."""

    __slots__ = ("base", "end", "fresh", "key", "parent", "pid", "place", "program", "start")

    def __init__(self, node: str, base: bytes, pid: int, time: int, program: bytes, fresh: bool) -> None:
        self.base = base
        self.pid = pid
        self.program = program
        self.start = self.end = time
        self.fresh = fresh
        self.key = RunKey(node, base, pid, time)
        self.parent: Run | None = None
        self.place: Place | None = None

    def first(self) -> "Run":
        """Return the run of the lineage's first process."""
        run = self
        while run.parent is not None:
            if run.parent.parent is not None:
                run.parent = run.parent.parent
            run = run.parent
        return run

    def near(self, time: int) -> bool:
        """Could a record of this time be this run's?"""
        return self.start - RUN_GAP_MS < time < self.end + RUN_GAP_MS


class Runs:
    """The runs of one node. `current` gives the run that each pid was last seen in, for the quick way."""

    __slots__ = (
        "_children", "_freshened", "_latest", "_looked", "_most", "_node", "_origins", "_orphans", "_runs",
        "awaiting", "booted", "current", "high", "high_time",
    )  # fmt: skip

    def __init__(self, node: str, origins: Origins | None = None, most: int = MOST_RUNS) -> None:
        self._node = node
        self._most = most
        self._origins = origins
        self._runs: dict[tuple[bytes, int], Run] = {}
        self._children: dict[tuple[bytes, int], list[Run]] = {}
        self._freshened: dict[bytes, int] = {}
        self._latest: dict[bytes, Run] = {}
        self._looked = self._orphans = 0
        self.current: dict[int, Run] = {}
        self.awaiting: dict[int, list[Run]] = {}
        self.booted = 0
        self.high = 0
        self.high_time = 0

    def of(self, base: bytes, pid: int, time: int, program: bytes) -> Run:
        """Return the run of a record of the profile `base` (never a child or hat); it becomes the current one."""
        key = (base, pid)
        run = self._runs.get(key)
        fresh = max(self.booted, self._freshened.get(base, 0))
        if run is None or not run.near(time) or (run.start < fresh <= time):
            if len(self._runs) >= self._most:
                self._forget()
            run = self._runs[key] = self._latest[base] = Run(self._node, base, pid, time, program, 0 < fresh <= time)
            if self._origins is not None:
                run.place = self._origins(pid)
            self._await(run)
            for child in self._children.pop(key, ()):
                _join(child, run)
        elif time < run.start:
            run.start, run.program = time, program
        elif time > run.end:
            run.end = time
        self.current[pid] = run
        return run

    def suffered(self, base: bytes, pid: int, time: int) -> Run | None:
        """Return the run of a record of what somebody did to a process of the profile (a signal received): `pid` is of
        who did it. Where that is no process of the profile it is the run that began last, None where none is known.
        """
        run = self._runs.get((base, pid)) or self._latest.get(base)
        return run if run is not None and run.near(time) else None

    def told(self, companion: Companion) -> None:
        """Take what a SYSCALL record says of a process that is awaited."""
        runs = self.awaiting.pop(companion.pid, None)
        if runs is None:
            self._looked += 1
            if self._looked > _PATIENCE:
                self.awaiting.clear()
            return
        for run in runs:
            parent = self._runs.get((run.base, companion.ppid))
            if parent is not None:
                _join(run, parent)
            else:
                self._orphans += 1
                if self._orphans > _MOST_WAITING:  # most parents (shells, init) never run under the profile
                    self._children.clear()
                    self._orphans = 1
                self._children.setdefault((run.base, companion.ppid), []).append(run)

    def loaded(self, base: bytes, time: int) -> None:
        """The profile was loaded or removed: whoever is seen in it later was started later."""
        if len(self._freshened) >= _MOST_WAITING:
            self._freshened.clear()
        self._freshened[base] = max(time, self._freshened.get(base, 0))
        self.current.clear()

    def restarted(self, serial: int, time: int) -> bool:
        """Look whether a serial far below the highest means that the node booted anew; if so, all pids begin anew."""
        if serial * 2 >= self.high or time < self.high_time + _BOOT_MS:
            return False
        self.booted, self.high, self.high_time = time, serial, time
        self.current.clear()
        self._latest.clear()
        self._runs.clear()
        self._children.clear()
        self._orphans = 0
        self.awaiting.clear()
        return True

    def _await(self, run: Run) -> None:
        self._looked = 0
        if len(self.awaiting) >= _MOST_WAITING:
            self.awaiting.clear()
        self.awaiting.setdefault(run.pid, []).append(run)

    def _forget(self) -> None:
        """Forget the half of the runs that ended first."""
        kept = sorted(self._runs.items(), key=lambda item: (item[1].end, item[0]))[len(self._runs) // 2 :]
        self._runs = dict(kept)
        self._latest = {base: run for base, run in self._latest.items() if self._runs.get((base, run.pid)) is run}
        self.current.clear()
        self._children.clear()
        self._orphans = 0


def _join(child: Run, parent: Run) -> None:
    """Make `child` part of its parent's run, if the parent lived then and no circle comes of it."""
    if parent.near(child.start) and parent.first() is not child.first():
        child.first().parent = parent.first()
