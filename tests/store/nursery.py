"""A process with everything imported; each line that it reads makes it fork one writer, to be killed by test_crash."""

import os
import sys

import aalearn.store.store  # noqa: F401 - imported before the forks, so that these begin at once
from aalearn.store import Store
from aalearn.store.batch import Batch
from tests.store.sightings import Sighting, many, take

LINES = 4000
STEP = 20


def write(url: str, seen: list[Sighting], told: int) -> None:
    """Write all that is not written yet; say "now" after `told` commits (below 0: before the store is opened)."""
    if told < 0:
        os.write(1, b"now\n")
    with Store.open(url) as store:
        done = int(store.positions().get("a.log", "0"))
        batch = Batch()
        for number in range(max(0, done - 7), len(seen)):  # some are read again, as after a rotation
            if told == 0:
                os.write(1, b"now\n")
            take(store, batch, seen[number])
            if number % STEP == STEP - 1:
                batch.positions["a.log"] = str(number + 1)
                store.commit(batch)
                batch.clear()
                told -= 1
            elif told == 0:
                told = -1


def main() -> None:
    """Answer each line with the writer's pid, what the writer says, and its exit code."""
    url = sys.argv[1]
    seen = many(LINES)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os.write(1, b"%d\n" % os.getpid())
            write(url, seen, int(line))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
