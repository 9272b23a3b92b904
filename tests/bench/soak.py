"""The service for as long as it takes: `python -m tests.bench.soak [LINES] [--rate N]` (3 million, as fast as it can).

A real `aalearn run` follows an audit.log that is written, and rotated every 50 MB, while it is read. 100,000 distinct
accesses: most records repeat the 2,000 that a busy program makes all the time, 3 % are any of all. At the end what the
store holds must be what was written. Printed: records a second, memory over time, the store's size.
"""

import argparse
import atexit
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep, time

from aalearn.store import Store
from tests.bench.log import bodies

DISTINCT = 100_000
HOT = 2_000
COLD_SHARE = 0.03
BLOCK = 20_000
ROTATE = 50_000_000
BACKLOG = 100_000_000  # the writer waits when the service is so many bytes behind
KEPT = 6


def blocks(lines: int) -> Iterator[tuple[bytes, int]]:
    """Yield the log, a block of lines at a time."""
    pick = random.Random(5)
    made = [(before.encode(), after.encode()) for before, after in bodies(DISTINCT)]
    start = int(time() * 1000) - 86_400_000
    serial = 1
    for block in range(0, lines, BLOCK):
        number = min(BLOCK, lines - block)
        order = pick.choices(range(HOT), k=number)
        if block < DISTINCT // COLD_SHARE:  # each at least once
            cold = int(number * COLD_SHARE) + 1
            at = block * COLD_SHARE
            order[:cold] = [int(at + step) % DISTINCT for step in range(cold)]
        else:
            order[: int(number * COLD_SHARE)] = pick.choices(range(DISTINCT), k=int(number * COLD_SHARE))
        pick.shuffle(order)
        out = []
        for which in order:
            seconds, millis = divmod(start + serial // 4 * 4, 1000)
            before, after = made[which]
            out.append(
                b'type=AVC msg=audit(%d.%03d:%d): apparmor="ALLOWED" %b pid=%d %b\n'
                % (seconds, millis, serial, before, 300 + serial // 400 % 30_000, after)
            )
            serial += 1
        yield b"".join(out), number


def figure(metrics: Path, name: str) -> float:
    """Read one figure of the service's metrics, summed over its labels."""
    try:
        text = metrics.read_text()
    except OSError:
        return 0.0
    return sum(float(found[1]) for found in re.finditer(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def memory(pid: int) -> tuple[float, float]:
    """Resident memory now and at most (MiB)."""
    text = Path(f"/proc/{pid}/status").read_text()
    now, most = (re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    assert now is not None
    assert most is not None
    return int(now[1]) / 1024, int(most[1]) / 1024


class Log:
    """An audit.log that is rotated by renaming."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self._file = path.open("ab", buffering=0)
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append, and rotate when it is full."""
        self._file.write(data)
        self._size += len(data)
        self.written += len(data)
        if self._size >= ROTATE:
            self._file.close()
            for number in range(KEPT, 0, -1):
                old = self.path.with_name(f"{self.path.name}.{number}")
                if old.exists():
                    old.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
            self.path.with_name(f"{self.path.name}.{KEPT + 1}").unlink(missing_ok=True)
            self.path.rename(self.path.with_name(f"{self.path.name}.1"))
            self._file = self.path.open("ab", buffering=0)
            self._size = 0


def soak(folder: Path, lines: int, rate: float) -> int:
    """Run it; 1 if something was lost or doubled. The service ends with us, however we end."""
    log, store, metrics = Log(folder / "audit.log"), folder / "store.db", folder / "metrics/aalearn.prom"
    config = folder / "config.toml"
    config.write_text("[metrics]\nseconds = 1\n")
    Store.open(f"sqlite:///{store}").close()  # to make a new one takes 9 MiB once, which a later start does not
    command = [sys.executable, "-m", "aalearn", "--config", str(config), "--db", f"sqlite:///{store}", "run"]
    service = subprocess.Popen([*command, "--source", str(log.path)])
    atexit.register(service.kill)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = told = monotonic()
    written = 0
    print(
        f"{'seconds':>8} {'records':>12} {'records/s':>10} {'MiB now':>8} {'most':>6} {'store MiB':>9} {'queue KiB':>9}"
    )

    def tell() -> None:
        now, most = memory(service.pid)
        done = figure(metrics, "aalearn_lines_total")
        seconds = monotonic() - begun
        size = sum(path.stat().st_size for path in folder.glob("store.db*")) / 2**20
        queue = figure(metrics, "aalearn_queue_bytes") / 1024
        print(f"{seconds:8.0f} {done:12,.0f} {done / seconds:10,.0f} {now:8.1f} {most:6.1f} {size:9.1f} {queue:9,.0f}")
        sys.stdout.flush()

    for block, number in blocks(lines):
        log.write(block)
        written += number
        while (
            log.written - figure(metrics, "aalearn_source_bytes_total") > BACKLOG
            or (rate and written > rate * (monotonic() - begun))
        ) and service.poll() is None:
            sleep(0.05)
        if monotonic() - told > max(10.0, (told - begun) / 20):
            told = monotonic()
            tell()
    while figure(metrics, "aalearn_lines_total") < lines and service.poll() is None:
        sleep(0.2)
        if monotonic() - told > max(10.0, (told - begun) / 20):
            told = monotonic()
            tell()
    tell()
    took = monotonic() - begun
    service.send_signal(signal.SIGTERM)
    code = service.wait(30)
    with Store.open(f"sqlite:///{store}", readonly=True) as opened:
        events = opened.counters().get("events", 0)
        profiles = opened.profiles()
        lost = opened.losses()
    accesses, counted = sum(one.accesses for one in profiles), sum(one.events for one in profiles)
    print(f"{lines:,} records in {took:,.0f} s ({lines / took:,.0f}/s); {events:,} in the store, {accesses:,} accesses")
    print(f"exit code {code}, {len(lost)} losses, store {store.stat().st_size / 2**20:,.1f} MiB")
    return 0 if (code, events, counted, len(lost)) == (0, lines, lines, 0) else 1


def main() -> int:
    """Take the arguments."""
    parser = argparse.ArgumentParser(description="The service under load.")
    parser.add_argument("lines", nargs="?", type=int, default=3_000_000)
    parser.add_argument("--rate", type=float, default=0.0, help="records written a second; 0: as fast as it can")
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aalearn-soak.", dir=wanted.folder) as folder:
        return soak(Path(folder), wanted.lines, wanted.rate)


if __name__ == "__main__":
    sys.exit(main())
