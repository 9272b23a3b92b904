"""Has the systemd unit of a denied program failed? Asked of systemctl, which is there wherever units are.

Source: systemctl(1) `show`, systemd.service(5), org.freedesktop.systemd1(5): ActiveState, SubState, Result, NRestarts;
the timestamps are µs of CLOCK_MONOTONIC.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aalearn.model.text import shown

_PROPERTIES: Final = (
    "ActiveState", "SubState", "Result", "NRestarts", "ExecMainStatus", "StateChangeTimestampMonotonic", "Restart",
)  # fmt: skip
_TIMEOUT: Final = 10.0  # seconds
_SLACK: Final = 2_000_000  # µs: a record's time and a unit's are not taken at the same moment
_ALSO_AFTER_SUCCESS: Final = frozenset({"always", "on-success"})
_UNIT: Final = re.compile(r"(?:^|/)([A-Za-z0-9:_.\\@-]+\.service)(?=/|$)")
_PID: Final = re.compile(rb" pid=([0-9]{1,10})(?= |$)")


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of a unit. `changed` is in µs of CLOCK_MONOTONIC, 0 for never; `restart` when it is restarted
    by itself.
    """

    active: str
    sub: str
    result: str
    restarts: int
    status: str
    changed: int
    restart: str = ""


def failure(before: UnitState | None, now: UnitState, denied: int, *, restless: bool = False) -> str:
    """Return how a unit failed after a denial (µs of CLOCK_MONOTONIC), "" where it did not.

    `before` is its state when no denial was recent, None where it was not asked then; `restless`: it was restarted
    without any denial too. An ordinary stop, start or end is no failure. Once a unit runs again nothing tells how it
    ended: where it is restarted after a good end too, one restart means nothing.
    """
    if now.changed < denied - _SLACK:
        return ""
    result = shown(f"{now.result or 'unknown'}, exit status {now.status or '?'}")
    if now.active == "failed":
        return f"failed: {result}"
    if now.sub.startswith("auto-restart"):
        return "" if now.result == "success" else f"waits for its restart: {result}"
    more = now.restarts - before.restarts if before is not None else 0
    least = 2 if now.restart in _ALSO_AFTER_SUCCESS else 1
    return f"was restarted by systemd {more} times" if more >= least and not restless else ""


def read(text: str) -> UnitState:
    """Return the state that `systemctl show` printed; what is missing is "" or 0."""
    values = dict(line.partition("=")[::2] for line in text.splitlines())

    def number(name: str) -> int:
        word = values.get(name, "")
        return int(word) if word.isascii() and word.isdigit() else 0

    return UnitState(
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        result=values.get("Result", ""),
        restarts=number("NRestarts"),
        status=values.get("ExecMainStatus", ""),
        changed=number("StateChangeTimestampMonotonic"),
        restart=values.get("Restart", ""),
    )


def state(unit: str) -> UnitState | None:
    """Return what systemd says of a unit, None where it can't be asked."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not is_service(unit):
        return None
    command = [systemctl, "show", f"--property={','.join(_PROPERTIES)}", "--", unit]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = read(done.stdout.decode("utf-8", "replace"))
    return found if done.returncode == 0 and found.active else None


def is_service(unit: str) -> bool:
    """Return whether a word is a service's name, as systemd spells them."""
    return _UNIT.fullmatch(unit) is not None


def of_pid(pid: int, proc: Path = Path("/proc")) -> str:
    """Return the service that a process belongs to by its cgroup, "" for none or where it can't be read."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (hierarchy == "0" or controllers == "name=systemd") and (units := _UNIT.findall(path)):
            return str(units[-1])
    return ""


def pid_of(record: bytes) -> int:
    """Return the process that a raw record names, 0 for none."""
    match = _PID.search(record.partition(b"\x1d")[0])
    return int(match[1]) if match else 0
