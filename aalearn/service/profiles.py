"""Rules and coverage of each profile, worked out now and then by a process of its own.

Synthesis takes seconds and memory that the service must not give: the process is started every few minutes, at the
lowest priority, reads the store without writing and ends. It is `python -m aalearn.service.profiles`: a request (JSON,
with the store's URL, which may hold a password) on stdin, one line of JSON a profile on stdout.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit, setrlimit
from time import monotonic, time
from typing import IO, TYPE_CHECKING, Any, Final

from aalearn.model.errors import AalearnError, NotExpressible
from aalearn.service.figures import OTHERS, Figures, ProfileFigures
from aalearn.service.options import ServiceOptions

if TYPE_CHECKING:
    from aalearn.store import Store
    from aalearn.store.readings import ProfileSummary

LONGEST_S: Final = 240.0
"""A round that takes longer is ended; what it told by then counts."""
MOST_ACCESSES: Final = 20_000
"""Profiles with more are left out: theirs would take minutes."""
_IDLE: Final = 10  # a round that took long is followed by a pause that is so many times as long
_MEMORY: Final = 1 << 30
_HOUR: Final = 3_600_000  # ms; the time without a new rule grows, so figures are worked out anew each hour

Known = dict[str, tuple[str, ProfileFigures]]
"""By the profile's name (hex): the mark of what its figures were made from, and the figures."""


class Profiles:
    """Starts the rounds and takes their results. Never waits."""

    def __init__(self, figures: Figures, options: ServiceOptions, say: Callable[[str], None]) -> None:
        self.options = options
        self._figures = figures
        self._say = say
        self._known: Known = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._begun = 0.0
        self._next = monotonic() + min(10.0, options.profiles_seconds)
        self._told = ""

    def tick(self) -> None:
        """Start a round when it is due; take the result of one that has ended."""
        now = monotonic()
        if self._child is not None:
            if self._child.poll() is None:
                if now - self._begun <= LONGEST_S:
                    return
                self._child.kill()
                self._child.wait()
            self._take()
        elif self.options.profiles_seconds and now >= self._next:
            self._start()

    def stop(self) -> None:
        """End a round that is going on."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def _start(self) -> None:
        self._begun = monotonic()
        self._next = self._begun + self.options.profiles_seconds
        request = {
            "db": self.options.db,
            "most": self.options.profiles_most,
            "gate": dict(self.options.gate),
            "marks": {name: mark for name, (mark, _) in self._known.items()},
        }
        try:
            self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _take or stop
            with tempfile.TemporaryFile() as asked:
                asked.write(json.dumps(request).encode())
                asked.seek(0)
                command = [sys.executable, "-P", "-m", "aalearn.service.profiles"]
                self._child = subprocess.Popen(command, stdin=asked, stdout=self._output, stderr=subprocess.DEVNULL)
        except OSError as error:
            self._failed(f"rules and coverage can't be worked out: {error.strerror or error}")
            self.stop()

    def _take(self) -> None:
        """Read what the round told."""
        output, child = self._output, self._child
        assert output is not None
        assert child is not None
        self._output = self._child = None
        with output:
            output.seek(0)
            lines = output.read().decode("utf-8", "replace").splitlines()
        known: Known = {}
        trouble = "" if child.returncode == 0 else f"it ended with {child.returncode}"
        for line in lines:
            told = _parsed(line)
            if "error" in told:
                trouble = str(told["error"])
            elif "profiles" in told:
                self._figures.profiles_known = int(told["profiles"])
            elif "name" in told:
                before = self._known.get(told["name"])
                if "same" in told and before is not None:
                    known[told["name"]] = before
                elif "figures" in told:
                    shown_as = self._figures.learned.of(bytes.fromhex(told["name"]))
                    if shown_as != OTHERS:
                        known[told["name"]] = (told["mark"], ProfileFigures(shown_as, **told["figures"]))
        self._known = known if not trouble else {**self._known, **known}
        self._figures.profiles = tuple(sorted((made for _, made in self._known.values()), key=lambda made: made.name))
        took = self._figures.profiles_seconds = monotonic() - self._begun
        self._next = max(self._next, monotonic() + _IDLE * took)
        if trouble:
            self._failed(f"rules and coverage were not all worked out: {trouble}")

    def _failed(self, text: str) -> None:
        self._figures.profiles_failures += 1
        if text != self._told:
            self._told = text
            self._say(text)


def _parsed(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:  # the last line of one that was killed
        return {}
    return told if isinstance(told, dict) else {}


def work(request: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Tell the figures of the profiles that were heard of last. Raises StoreError."""
    from aalearn.store import Store

    now = int(time() * 1000)
    with Store.open(request["db"], readonly=True) as store:
        summaries = store.profiles()
        tell({"profiles": len(summaries)})
        for summary in sorted(summaries, key=lambda one: -one.last)[: request["most"]]:
            if summary.accesses > MOST_ACCESSES:
                continue
            name = summary.name.hex()
            mark = f"{summary.events} {summary.losses} {len(store.decisions(summary.name))} {now // _HOUR}"
            if request["marks"].get(name) == mark:
                tell({"name": name, "same": True})
                continue
            made = _figures(store, summary, request["gate"], now)
            if made is not None:
                tell({"name": name, "mark": mark, "figures": made})


def _figures(store: "Store", summary: "ProfileSummary", gate: Mapping[str, Any], now: int) -> dict[str, Any] | None:
    """Return the figures of one profile, None where none can be made for it: what `aalearn status` tells of it to who
    is not root. (Which decisions are root's own the service can't know.)
    """
    from aalearn.learn.containers import recognised
    from aalearn.learn.convergence import converge
    from aalearn.learn.gate import Gate
    from aalearn.learn.options import Options
    from aalearn.learn.synthesis import synthesize
    from aalearn.lifecycle.decided import decisions
    from aalearn.model.target import Target

    known, _ = decisions(one for one in store.decisions(summary.name) if not one.imported)
    accesses, runs = store.accesses(summary.name), store.runs(summary.name)
    container = bool(recognised(accesses, sum(bool(run.container) for run in runs), len(runs)))
    options = Options(target=Target(), container=container, decisions=known)
    try:
        synthesis = synthesize(summary.name, accesses, options)
    except NotExpressible:
        return None
    found = converge(synthesis, accesses, store.losses_of(summary.name), now, Gate(**gate))
    return {
        "rules": found.rules,
        "coverage": found.coverage,
        "runs": found.runs,
        "waiting": found.waiting,
        "incomplete": sum(loss.times for loss in found.incomplete),
        "ready": found.ready,
    }


def main() -> int:
    """Answer the request on stdin."""
    os.nice(19)
    with suppress(OSError):  # under pressure this process goes first, not the service
        Path("/proc/self/oom_score_adj").write_text("1000")
    _, hard = getrlimit(RLIMIT_AS)
    setrlimit(RLIMIT_AS, (_MEMORY if hard == RLIM_INFINITY else min(hard, _MEMORY), hard))
    request = json.load(sys.stdin)

    def tell(told: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    try:
        work(request, tell)
    except MemoryError:
        tell({"error": f"it needs more than {_MEMORY >> 20} MiB"})
        return 3
    except AalearnError as error:
        tell({"error": str(error)})
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
