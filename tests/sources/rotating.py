"""A process that writes audit.log as fast as it is told and rotates it, and then says what it wrote and lost.

    python -m tests.sources.rotating FOLDER WAY LINES RATE SECONDS_BETWEEN KEEP

WAY is rename, copytruncate (the writer pauses meanwhile, so that nothing is lost) or racing (it does not: what it
writes between the copy and the truncation is lost).
"""

import os
import sys
import time
from pathlib import Path
from threading import Lock, Thread

BATCH = 250
LINE = (
    b'type=AVC msg=audit(%d.%03d:%d): apparmor="ALLOWED" operation="open" class="file" profile="p" name="/srv/%d" '
    b'pid=%d comm="x" requested_mask="r" denied_mask="r" fsuid=0 ouid=0\n'
)


class Log:
    """The log, its writer and its rotations."""

    def __init__(self, folder: Path, way: str, keep: int) -> None:
        self.path = folder / "audit.log"
        self.way = way
        self.keep = keep
        self.lock = Lock()
        self.out = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self.done = False
        self.rotations = 0

    def write(self, lines: int, rate: int) -> None:
        """Write so many lines but one, at most so many a second."""
        begun = time.monotonic()
        for first in range(1, lines, BATCH):
            self.put(range(first, min(first + BATCH, lines)))
            ahead = first / rate - (time.monotonic() - begun)
            if ahead > 0:
                time.sleep(ahead)
        self.done = True

    def put(self, serials: range) -> None:
        """Write lines with these serials."""
        now = int(time.time() * 1000)
        data = b"".join(
            LINE % (now // 1000, now % 1000, serial, serial % 1000, 100 + serial % 50) for serial in serials
        )
        with self.lock:
            os.write(self.out, data)

    def rotate(self) -> None:
        """Rotate once."""
        self.rotations += 1
        if self.way == "racing":
            self._shift()
            self._copy()
            time.sleep(0.002)
            os.truncate(self.path, 0)
            return
        with self.lock:
            self._shift()
            if self.way == "copytruncate":
                self._copy()
                os.truncate(self.path, 0)
            else:
                self.path.rename(f"{self.path}.1")
                os.close(self.out)
                self.out = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def _shift(self) -> None:
        for number in range(self.keep, 0, -1):
            old = Path(f"{self.path}.{number}")
            if old.exists():
                old.rename(f"{self.path}.{number + 1}")
        Path(f"{self.path}.{self.keep + 1}").unlink(missing_ok=True)

    def _copy(self) -> None:
        Path(f"{self.path}.1").write_bytes(self.path.read_bytes())


def main() -> None:
    """See the module."""
    folder, way, lines, rate, between, keep = sys.argv[1:]
    log = Log(Path(folder), way, int(keep))
    writer = Thread(target=log.write, args=(int(lines), int(rate)))
    begun = time.monotonic()
    writer.start()
    while not log.done:
        time.sleep(float(between))
        log.rotate()
    writer.join()
    log.put(range(int(lines), int(lines) + 1))  # only what comes after a gap can tell of it
    print(log.rotations, round(int(lines) / (time.monotonic() - begun)), flush=True)


if __name__ == "__main__":
    main()
