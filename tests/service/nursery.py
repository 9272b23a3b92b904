"""A process with everything imported; each line that it reads makes it fork one `aalearn`, to be killed in time.

Lines are WHAT STORE LOG SECONDS LINES. WHAT is `run` (the service, until SIGTERM), `ingest` or `write` (only the log).
LINES records are appended to LOG meanwhile, by this process. After SECONDS the child is killed with SIGKILL; below 0 it
ends as it would by itself: `run` when all is stored. The answer is its exit code.
"""

import os
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM
from time import monotonic, sleep

import aalearn.service.loop as loop
import aalearn.store.store  # noqa: F401 - imported before the forks, so that these begin at once
from aalearn.intake import Limits, Options, engine, ingest
from aalearn.model.errors import StoreError
from aalearn.service import ServiceOptions, run
from aalearn.sources.tail import Tail
from aalearn.store import Store
from tests.intake.conftest import record

ACCESSES = 97
_written = 0


def append(log: Path, number: int) -> None:
    """Append records, a few hundred at a time, sometimes half a line."""
    global _written
    lines = b"".join(
        record(_written + at, name=f"/f/{(_written + at) % ACCESSES}", pid=1 + at % 7) for at in range(1, number + 1)
    )
    _written += number
    with log.open("ab", buffering=0) as file:
        for start in range(0, len(lines), 30_011):
            file.write(lines[start : start + 30_011])


def work(what: str, url: str, log: Path) -> int:
    """Be the child."""
    if what == "ingest":
        engine.BATCH_ROWS = 20
        with Store.open(url) as store:
            ingest([log], store, Options("web-1"))
        return 0
    loop.LIMITS = Limits(rows=40, size=1 << 20, lines=100, cache=200, marks=2_000)  # type: ignore[misc]
    options = ServiceOptions(url, "web-1", commit_seconds=0.01, profiles_seconds=0)
    with Store.open(url) as store:
        return run(
            options,
            lambda: options,
            store=store,
            choose=lambda _: ([Tail(log, "web-1", owner=os.geteuid())], ()),
            say=lambda text: print(text, file=sys.stderr),
        )


def settled(url: str, number: int) -> bool:
    """Are so many events in the store?"""
    try:
        with Store.open(url, readonly=True) as store:
            return store.counters().get("events", 0) >= number
    except StoreError:  # not made yet
        return False


def answer(what: str, store: Path, log: Path, seconds: float, lines: int) -> int:
    """Serve one line."""
    if what == "write":
        append(log, lines)
        return 0
    url = f"sqlite:///{store}"
    begun = monotonic()
    child = os.fork()
    if not child:
        code = 70
        try:
            code = work(what, url, log)
        finally:
            os._exit(code)
    if lines:
        append(log, lines)
    if seconds >= 0:
        sleep(max(0.0, begun + seconds - monotonic()))
        os.kill(child, SIGKILL)  # it can't be another's pid: the child was not waited for yet
    elif what == "run":
        while not settled(url, _written) and monotonic() - begun < 60:
            sleep(0.1)
        sleep(0.5)  # would anything come twice, it came now
        os.kill(child, SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Answer each line."""
    for line in sys.stdin:
        what, store, log, seconds, lines = line.split()
        print(answer(what, Path(store), Path(log), float(seconds), int(lines)), flush=True)


if __name__ == "__main__":
    main()
