"""The machine that is looked at: its files below one root, and what its programs say."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LARGEST: Final = 1 << 20  # bytes of a file that is looked at
_SECONDS: Final = 10.0
_PLACES: Final = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Said:
    """What a program said: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: `root` is where its file system begins. Programs are asked only where that is the running machine."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Return an absolute name below the root."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """Return a file's content (at most 1 MiB), None where it is missing or may not be read."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(_LARGEST).decode("utf-8", "replace").strip()
        except OSError:
            return None

    def exists(self, name: str) -> bool:
        """Return whether a file of that name is there, as far as this user may see."""
        return os.path.lexists(self.path(name))

    def readable(self, name: str) -> bool:
        """Return whether this user may read it."""
        return os.access(self.path(name), os.R_OK)

    def programs(self) -> frozenset[str]:
        """Return the names (comm) of all processes."""
        found = set()
        try:
            numbers = [path.name for path in self.path("/proc").iterdir() if path.name.isdigit()]
        except OSError:
            return frozenset()
        for number in numbers:
            comm = self.text(f"/proc/{number}/comm")
            if comm:
                found.add(comm)
        return frozenset(found)

    def run(self, *command: str) -> Said | None:
        """Return what a program says within ten seconds, None where it is not installed, or hangs.

        Never asked of another root than the running machine's.
        """
        if self.root != Path("/"):
            return None
        path = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:{_PLACES}")
        if path is None:
            return None
        environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        try:
            done = subprocess.run(
                [path, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_SECONDS,
                env=environment,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return Said(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def unit_active(self, unit: str) -> bool | None:
        """Return whether a systemd unit is active, None where systemd can't tell."""
        said = self.run("systemctl", "is-active", unit)
        if said is None or "not been booted" in said.err or "Failed to connect" in said.err:
            return None
        return said.out.strip() == "active"
