"""One service with its watch on a real store, a clock that a test moves, and an applier that writes down what it is
asked.
"""

from concurrent.futures import Executor, Future
from typing import Any

from aalearn.lifecycle.denials import Denial
from aalearn.lifecycle.limits import Limits
from aalearn.lifecycle.units import UnitState
from aalearn.lifecycle.watch import Watch
from aalearn.model.event import Event
from aalearn.store import Store
from tests.lifecycle.watching import T0, Now, Recorder, batch

LIMITS = Limits(denials=3, seconds=10, probation=100, unit_seconds=30)


class Later(Executor):
    """Does what it is asked for when a test says so, as a thread that takes its time."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self._waiting.append((future, function, arguments))
        return future

    def work(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future, function, arguments in waiting:
            future.set_result(function(*arguments))


class Scene:
    """One service with its watch, and the clock."""

    def __init__(
        self,
        store: Store,
        failures: int = 0,
        *,
        limits: Limits = LIMITS,
        permits: bool | None = None,
        permitted: tuple[str, ...] = (),
        worker: Executor | None = None,
        node: str = "",
    ) -> None:
        self.store = store
        self.now = T0 + 1000
        self.applier = Recorder(failures)
        self.unit: UnitState | None = None
        self.asked: list[tuple[Denial, ...]] = []
        self._limits, self._permits = limits, permits
        self._permitted = permitted  # by the revision before: "what" of the denials
        self._worker, self._node = worker or Now(), node
        self.watch = self.start()

    def start(self) -> Watch:
        """Begin anew, as after a crash: nothing but the store is known."""
        self.watch = Watch(
            self._limits,
            self.applier,
            permits=self._ask,
            unit_state=lambda _: self.unit,
            unit_of=lambda pid: "nginx.service" if pid == 77 else "",
            worker=self._worker,
            node=self._node,
            clock=lambda: self.now,
        )
        return self.watch

    def _ask(self, _: bytes, __: str, basis: tuple[Denial, ...]) -> bool | None:
        self.asked.append(basis)
        if self._permitted:
            return any(one.judgement.what in self._permitted for one in basis)
        return self._permits

    def promote(self, *revisions: int) -> None:
        for revision in revisions:
            while len(self.store.revisions(b"nginx")) < revision:
                text = f"profile nginx {{ /r{len(self.store.revisions(b'nginx'))} r, }}\n"
                self.store.save_revision(b"nginx", text, "{}", author="x", reason="", when=T0)
            self.store.step(b"nginx", "enforced", revision=revision, who="anna", reason="", when=self.now)
            self.now += 1

    def denied(self, *events: Event, count: int = 1, trusted: bool = True) -> None:
        """Commit denials, and let the watch see them."""
        made = batch(*((one, self.now, count) for one in events), trusted=trusted)
        self.store.commit(made)
        self.watch.committed(made, self.store)

    def tick(self, seconds: float = 1.0) -> None:
        self.now += int(seconds * 1000)
        self.watch.tick(self.now, self.store)

    @property
    def states(self) -> list[tuple[str, int, str]]:
        return [(one.state, one.revision, one.who) for one in self.store.steps(b"nginx")]
