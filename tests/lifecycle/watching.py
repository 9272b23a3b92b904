"""Denials, promotions and a service's batches for the tests of the watch."""

from concurrent.futures import Executor, Future
from typing import Any

from aalearn.learn.options import Decision, Options
from aalearn.lifecycle.denials import Denial, Weigher
from aalearn.lifecycle.node.wire import Answer
from aalearn.model.errors import PolicyError
from aalearn.model.event import Access, Event, Verdict
from aalearn.store.batch import Batch, RunKey, Tally

T0 = 1_700_000_000_000
NAME = b"nginx"


def event(operation: str, label: bytes = NAME, verdict: Verdict = Verdict.DENIED, **fields: str) -> Event:
    pairs = {"class_": "class"}
    return Event(verdict, operation, label, tuple(sorted((pairs.get(k, k), v.encode()) for k, v in fields.items())))


def reading(path: str, label: bytes = NAME) -> Event:
    return event("open", label, name=path, requested_mask="r", denied_mask="r")


SOCKET = event("connect", name="/run/docker.sock", requested_mask="wr", denied_mask="wr")


def access(what: Event, first: int = T0, last: int = 0, count: int = 1, **more: Any) -> Access:
    values: dict[str, Any] = {"programs": (b"nginx",), "nodes": ("a",), "trusted": True, "sample": b"raw"}
    return Access(0, what, None, count, first, last or first, **{**values, **more})


def denial(what: Event, first: int = T0, last: int = 0, count: int = 1, **more: Any) -> Denial:
    return weigher().denial(access(what, first, last, count, **more))


def weigher(*decisions: Decision) -> Weigher:
    return Weigher(NAME, Options(), decisions)


def batch(
    *rows: tuple[Event, int, int], trusted: bool = True, sample: bytes = b" pid=77 comm=x", node: str = "a"
) -> Batch:
    """Return what intake would commit: (event, time, count) each."""
    made = Batch()
    for what, time, count in rows:
        run = RunKey(node, what.profile, 77, time)
        made.run(run, time, b"nginx")
        tally = made.tallies.setdefault((what.profile, what, None), Tally())
        for _ in range(count):
            tally.see(time, b"nginx", run, node, trusted, sample)
    return made


class Now(Executor):
    """Does at once what it is asked for, in this thread."""

    def submit(self, function: Any, /, *arguments: Any, **more: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **more))
        except Exception as error:  # noqa: BLE001 - just what an executor does
            future.set_exception(error)
        return future


class Recorder:
    """A reverter that writes down what it is asked for, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.failures = failures
        self.complains_in = "complain"  # the mode that complain() leads to
        self.revision = 0  # and the revision

    def revert(self, profile: bytes, sha256: str) -> Answer:
        self._do("revert", profile.decode(), sha256)
        return Answer(profile.decode(), "enforce", sha256, 0)

    def complain(self, profile: bytes) -> Answer:
        self._do("complain", profile.decode())
        return Answer(profile.decode(), self.complains_in, "", self.revision)

    def _do(self, *what: str) -> None:
        if self.failures:
            self.failures -= 1
            raise PolicyError("the applier can't be reached")
        self.asked.append(what)
