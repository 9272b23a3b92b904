"""A service that begins to watch a flooded profile and is flooded further: prints the most memory it took, in KiB.

    python -m tests.lifecycle.flooded STORE_URL

In a process of its own, for what others took before would hide it.
"""

import sys
from pathlib import Path

from aalearn.lifecycle.limits import Limits
from aalearn.lifecycle.watch import Watch
from aalearn.store import Store
from tests.lifecycle.watching import T0, Now, Recorder, batch, reading

_FOLDERS = "/".join(["é" * 100] * 19)  # 3.8 KB


def long_name(at: int) -> str:
    """Return a name as long as a path can be."""
    return f"/srv/{_FOLDERS}/{at}"


def peak() -> int:
    """Return the most memory that this process had, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def main(url: str) -> None:
    now = T0 + 1_000_000
    with Store.open(url) as store:
        watch = Watch(Limits(denials=10**9), Recorder(), worker=Now(), unit_of=lambda _: "", clock=lambda: now)
        watch.tick(now, store)
        for begin in range(100_000, 103_000, 250):
            made = batch(*((reading(long_name(at)), now, 1) for at in range(begin, begin + 250)))
            watch.committed(made, store)
        print(sum(watch.figures.denied.values()), peak())


if __name__ == "__main__":
    main(sys.argv[1])
