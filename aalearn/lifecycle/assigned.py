"""Which systemd units start their programs under a profile of their own choice (`AppArmorProfile=`).

Source: systemd.exec(5); systemctl(1) `show`, which prints that property since systemd 241, with its `-` (no failure
where the profile is not loaded) in front.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from typing import Final

from aalearn.lifecycle.node.tasks import UNCONFINED, Task
from aalearn.lifecycle.units import is_service

_TIMEOUT: Final = 10.0  # seconds


def assigned(found: Iterable[Task]) -> Mapping[str, bytes]:
    """Return the profile of each service that has unconfined tasks and shall start under one: it is to be restarted.

    Nothing where systemd can't be asked.
    """
    units = sorted({task.unit for task in found if task.label == UNCONFINED and is_service(task.unit)})
    systemctl = shutil.which("systemctl")
    if not units or systemctl is None:
        return {}
    command = [systemctl, "show", "--property=Id,AppArmorProfile", "--", *units]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return read(os.fsdecode(done.stdout))


def read(text: str) -> Mapping[str, bytes]:
    """Return the profile of each unit that `systemctl show` printed one for."""
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        unit, profile = values.get("Id", ""), values.get("AppArmorProfile", "").removeprefix("-")
        if unit and profile:
            found[unit] = os.fsencode(profile)
    return found
