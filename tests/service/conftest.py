"""A service in this process: its loop in the main thread, what it says and tells, and a log that it follows."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pytest

from aalearn.model.errors import StoreError
from aalearn.service import Follower, ServiceOptions, run
from aalearn.service.figures import Figures
from aalearn.service.notify import Notifier
from aalearn.sources.live import LiveSource
from aalearn.store import Store
from tests.intake.conftest import record
from tests.service.following import Follow

Condition = Callable[[], bool]


class Systemd:
    """A socket like systemd's, and what came in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.told: list[str] = []

    def look(self) -> list[str]:
        """Everything told so far."""
        while True:
            try:
                self.told.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return self.told

    def words(self) -> list[str]:
        """All lines but the statuses."""
        return [line for text in self.look() for line in text.split("\n") if not line.startswith("STATUS=")]


@dataclass
class Bench:
    """One service, step by step. `play` are (condition, act): when it holds, the act is done, and the next waits."""

    folder: Path
    systemd: Systemd
    log: Path
    said: list[str] = field(default_factory=list)
    sources: list[LiveSource] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)
    figures: Figures | None = None
    watchdog: str = ""
    chosen: list[ServiceOptions] = field(default_factory=list)
    failed: str = ""

    @property
    def db(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self.folder / 'store.db'}"

    def options(self, **more: object) -> ServiceOptions:
        """Options for quick tests."""
        values = {"commit_seconds": 0.05, "profiles_seconds": 0.0, **more}
        return ServiceOptions(self.db, "web-1", **values)  # type: ignore[arg-type]

    def write(self, first: int, number: int = 100) -> None:
        """Append records with these serials."""
        with self.log.open("ab") as file:
            file.write(b"".join(record(serial, name=f"/f/{serial % 50}") for serial in range(first, first + number)))

    def choose(self, options: ServiceOptions) -> tuple[list[LiveSource], list[str]]:
        """The sources, as `sources.auto` would."""
        self.chosen.append(options)
        return self.sources or [Follow(self.log)], ["reading what the test wants"]

    def serve(
        self,
        options: ServiceOptions | None = None,
        *play: tuple[Condition, Callable[[], object]],
        reload: Callable[[], ServiceOptions] | None = None,
        patience: float = 30.0,
    ) -> int:
        """Run it; a thread plays, and ends it with SIGTERM at last."""
        options = options or self.options()
        over = threading.Event()

        def wait(step: int, condition: Condition) -> bool:
            end = monotonic() + patience
            while not condition():
                if over.is_set():
                    return False
                if monotonic() > end:
                    self.failed = f"step {step} waited in vain; said: {self.said}"
                    return False
                sleep(0.01)
            return True

        def player() -> None:
            try:
                for step, (condition, act) in enumerate(play):
                    if not wait(step, condition):
                        break
                    act()
            except BaseException as error:
                self.failed = f"{error!r}; said: {self.said}"
                raise
            finally:
                if not over.is_set():
                    os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=player)
        environment = {"NOTIFY_SOCKET": str(self.systemd.path), "WATCHDOG_USEC": self.watchdog}
        with Store.open(self.db) as store:
            before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a late one must not end the tests
            if play:
                thread.start()
            try:
                code = run(
                    options,
                    reload or (lambda: options),
                    store=store,
                    choose=self.choose,
                    say=self.said.append,
                    followers=self.followers,
                    notifier=Notifier(environment),
                    finished=lambda figures: setattr(self, "figures", figures),
                )
            finally:
                over.set()
                if play:
                    thread.join()
                signal.signal(signal.SIGTERM, before)
        assert not self.failed, self.failed
        return code

    def events(self) -> int:
        """How many events the store holds."""
        with Store.open(self.db, readonly=True) as store:
            return store.counters().get("events", 0)

    def stored(self, number: int) -> Condition:
        """A condition: so many events are in the store (which may be out of order for a while)."""

        def holds() -> bool:
            try:
                return self.events() >= number
            except StoreError:
                return False

        return holds

    def says(self, text: str) -> Condition:
        """A condition: this was said."""
        return lambda: any(text in line for line in self.said)


def always() -> bool:
    """A condition that holds."""
    return True


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An empty log and no store yet."""
    log = tmp_path / "audit.log"
    log.touch()
    systemd = Systemd(tmp_path / "notify")
    yield Bench(tmp_path, systemd, log)
    systemd.socket.close()
