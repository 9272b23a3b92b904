"""From a process to its container and Pod, by the names of control groups: best effort, and never more than a hint.

A record holds a pid and no container. While the process lives its control group tells: runtimes name a container's
group by its id (64 hexadecimal digits) and kubelet puts those of a Pod below one named by the Pod's uid. Short-lived
processes are gone before anybody can look. What is certain is only one profile name per workload and container.

Sources: cgroups(7); kubernetes pkg/kubelet/cm/pod_container_manager_linux.go (`pod<uid>`, as a systemd slice with `_`
for `-`); the scopes of containerd (`cri-containerd-`), CRI-O (`crio-`), Docker (`docker-`) and Podman (`libpod-`),
whose monitors (`crio-conmon-`, `libpod-conmon-`) belong to no container.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KNOWN: Final = 4096  # processes that are remembered
GONE: Final = 10.0  # seconds for which the last word on a process that is gone still counts
_LARGEST: Final = 1 << 16  # bytes read of a file in /proc
_CONTAINER: Final = re.compile(rb"(?:^|[/-])([0-9a-f]{64})(?=\.scope(?:/|$)|/|$)")
_MONITOR: Final = re.compile(rb"(?:^|[/-])conmon-[0-9a-f]{64}(?:\.scope)?(?:/|$)")
_UID: Final = rb"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_POD: Final = re.compile(rb"(?:^|[/-])pod(" + _UID + rb")(?=\.slice(?:/|$)|/|$)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a process runs: the container's id, 64 hexadecimal digits, and the Pod's uid as the API spells it, b"" for
    a container of no Pod.
    """

    container: bytes
    pod: bytes = b""


@dataclass(frozen=True, slots=True)
class _Seen:
    started: bytes
    origin: Origin | None
    at: float


def origin_of(cgroups: bytes) -> Origin | None:
    """Return the origin that the text of a `/proc/PID/cgroup` tells, None for a process of the host.

    The innermost container counts (a node may itself be a container). A runtime's monitor is of the host.
    """
    for line in cgroups.splitlines():
        path = line.split(b":", 2)[-1]
        if _MONITOR.search(path):
            continue
        found = list(_CONTAINER.finditer(path))
        if found:
            pods = [match[1] for match in _POD.finditer(path, 0, found[-1].start() + 1)]
            return Origin(found[-1][1], pods[-1].replace(b"_", b"-") if pods else b"")
    return None


class Origins:
    """Looks origins up, and remembers them by pid and start time, so that a used-again pid is not mistaken.

    `proc` is where the processes are seen: in a Pod the host's /proc, mounted read-only. `clock` gives seconds.
    """

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing known."""
        self._proc, self._clock = proc, clock
        self._known: OrderedDict[int, _Seen] = OrderedDict()

    def of(self, pid: int) -> Origin | None:
        """Return the origin of a process, None where it is of the host, gone, or can't be seen. Never raises."""
        if pid <= 0:
            return None
        now, started = self._clock(), self._started(pid)
        known = self._known.get(pid)
        if known is not None and (started == known.started or (not started and now - known.at < GONE)):
            self._known.move_to_end(pid)
            return known.origin
        if not started:
            self._known.pop(pid, None)
            return None
        cgroups = self._read(pid, "cgroup")
        if not cgroups or self._started(pid) != started:  # it ended, or is another one by now
            return None
        origin = origin_of(cgroups)
        self._known[pid] = _Seen(started, origin, now)
        self._known.move_to_end(pid)
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return origin

    def _started(self, pid: int) -> bytes:
        """Return the start time of a process, field 22 of its stat (proc(5)), b"" when it is gone.

        The program's name, field 2, stands in parentheses and may hold anything, so counting begins behind the last.
        """
        fields = self._read(pid, "stat").rpartition(b")")[2].split()
        return fields[19] if len(fields) > 19 else b""

    def _read(self, pid: int, name: str) -> bytes:
        try:
            with (self._proc / str(pid) / name).open("rb") as file:
                return file.read(_LARGEST)
        except OSError:  # it is gone, or hidden from us: that is what b"" says
            return b""
