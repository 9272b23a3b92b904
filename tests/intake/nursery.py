"""A process with everything imported: for each line it forks one `ingest`, in small batches, and kills it in time."""

import os
import sys
from pathlib import Path
from signal import SIGKILL
from time import sleep

import aalearn.intake.engine as engine
import aalearn.store.store  # noqa: F401 - imported before the forks, so that these begin at once
from aalearn.intake import Options, ingest
from aalearn.sources import compressed
from aalearn.store import Store

BATCH_ROWS = 20
PIECE = 48 << 10


def main() -> None:
    """Take lines "STORE LOG SECONDS"; answer each, when the child has ended, with its exit code (-9: it was killed).

    A negative SECONDS lets it live.
    """
    engine.BATCH_ROWS = BATCH_ROWS
    vars(compressed)["CHUNK"] = PIECE
    for line in sys.stdin:
        store, log, seconds = line.split()
        child = os.fork()
        if not child:
            with Store.open(f"sqlite:///{store}") as opened:
                ingest([Path(log)], opened, Options("web-1"))
            os._exit(0)
        if float(seconds) >= 0:
            sleep(float(seconds))
            os.kill(child, SIGKILL)  # it can't be another's pid: the child was not waited for yet
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
