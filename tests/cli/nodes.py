"""A whole node for commands that change one: a simulated machine, its policy folder, a store, and a log that grows."""

import time
from pathlib import Path

import pytest

from aalearn.cli import onnode
from tests.cli.conftest import Done, Face
from tests.lifecycle.simulated import Simulated

DAY = 86_400


class CommandNode:
    """A node on which commands are typed. Its log begins five days ago, so that its last rule is not new."""

    def __init__(self, aalearn: Face, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sim = Simulated(folder)
        self.base = self.sim.base
        self.kernel = self.sim.kernel
        self.db = f"sqlite:///{folder / 'x.db'}"
        self._aalearn = aalearn
        self._log = folder / "audit.log"
        self._serial = 0
        self.root = True  # whether commands are typed by root
        self.begin = int(time.time()) - 5 * DAY
        monkeypatch.setattr(onnode, "machine", lambda _: self.sim.machine)
        monkeypatch.setattr("aalearn.cli.vouching.is_root", lambda: self.root)
        monkeypatch.setenv("AALEARN_BASE", str(self.base))
        monkeypatch.setenv("AALEARN_NODE", "web-1")
        monkeypatch.setenv("AALEARN_PROMOTION__RUNS", "3")  # the default, 20, says nothing more here and takes longer

    def run(self, *arguments: str) -> Done:
        """Type a command."""
        return self._aalearn("--db", self.db, *arguments)

    def event(
        self,
        profile: str = "app",
        verdict: str = "ALLOWED",
        *,
        pid: int = 1000,
        at: int | None = None,
        **fields: object,
    ) -> None:
        """Log one record; `at` in seconds since the epoch."""
        self._serial += 1
        values = {"profile": profile, **fields, "pid": str(pid), "comm": "app"}
        plain = ("pid", "fsuid", "ouid", "capability")
        told = " ".join(f"{key}={value}" if key in plain else f'{key}="{value}"' for key, value in values.items())
        when = self.begin + self._serial if at is None else at
        with self._log.open("a") as log:
            log.write(
                f'type=AVC msg=audit({when}.{self._serial % 1000:03d}:{self._serial}): apparmor="{verdict}" {told}\n'
            )

    def file(
        self,
        path: str,
        mask: str = "r",
        profile: str = "app",
        verdict: str = "ALLOWED",
        *,
        pid: int = 1000,
        at: int | None = None,
    ) -> None:
        """Log the use of a file."""
        operation = {"r": "open", "w": "mknod"}.get(mask, "open")
        fields = {"operation": operation, "class": "file", "name": path}
        asked = {"requested_mask": mask, "denied_mask": mask, "fsuid": "33", "ouid": "0"}
        self.event(profile, verdict, pid=pid, at=at, **fields, **asked)

    def runs(self, number: int = 4, paths: tuple[str, ...] = ("/etc/app.conf", "/etc/hosts", "/srv/app/index")) -> None:
        """Log so many runs of the same program, an hour apart."""
        for one in range(number):
            for path in paths:
                self.file(path, pid=1000 + one, at=self.begin + 3600 * one)

    def ingest(self) -> None:
        """Read the log, as one that only root could write."""
        done = self.run("--quiet", "ingest", "--trusted", str(self._log))
        assert done.code == 0, done.err


@pytest.fixture
def node(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandNode:
    return CommandNode(aalearn, tmp_path, monkeypatch)


@pytest.fixture
def learned(node: CommandNode) -> CommandNode:
    """A drafted profile that has learned enough."""
    assert node.run("--quiet", "draft", "app").code == 0
    node.runs()
    node.ingest()
    return node
