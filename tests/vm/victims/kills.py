"""In the guest: kill -9 of promote and rollback at random moments; afterwards all memories of the profile agree.

`kills.py REVISION TIMES SEED`: the profile shop is enforced, and nothing else works on it. A task runs under it all the
time. While a command works, and after its kill, the file must be whole, the profile loaded and the task confined. After
`reconcile --fix` the file, the kernel, root's record and the store must tell the same; they are compared here, not by
aalearn. One line of JSON at the end.
"""

import gc
import glob
import hashlib
import importlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

REVISION, TIMES, SEED = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
FILE = Path("/etc/apparmor.d/shop")
SECURITY = "/sys/kernel/security/apparmor"
RECORDS = "/var/lib/aalearn-apply"
STORE = "file:/var/lib/aalearn/aalearn.db?mode=ro"
WAYS = {
    "complain": ["rollback", "shop", "--complain", "--reason", "x"],
    "enforce": ["rollback", "shop", "--to", REVISION, "--reason", "x"],
    "promote": ["promote", "shop", "--revision", REVISION],
}
# All is loaded before the forks: to start Python takes several times as long as what it does then.
PRELOADED = (
    *("cli.main", "cli.settings", "cli.promote", "cli.rollback", "cli.reconcile", "cli.promotecase", "cli.onnode"),
    *("cli.promotestep", "lifecycle.assigned"),
    *("lifecycle.gates", "lifecycle.keeping", "lifecycle.mending", "lifecycle.observing", "lifecycle.past"),
    *("lifecycle.promote", "lifecycle.proving", "lifecycle.reconcile", "lifecycle.rollback", "lifecycle.existing"),
    *("lifecycle.node.requests", "lifecycle.decided", "policy.compare", "store.store", "learn.synthesis"),
)


def work(arguments: list[str]) -> int:
    """Begin a command in a process of its own; return its pid."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            out = os.open("/tmp/work", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1), os.dup2(out, 2)
            code = importlib.import_module("aalearn.cli.main").run(arguments)
        finally:
            os._exit(code)
    return pid


def finish(arguments: list[str]) -> None:
    """Run a command to its good end."""
    _, status = os.waitpid(work(arguments), 0)
    assert os.waitstatus_to_exitcode(status) == 0, Path("/tmp/work").read_text()[-3000:]


class Shop:
    """The profile, as it is on disk, in the kernel and in memories that are not aalearn's code."""

    def __init__(self) -> None:
        # Not with our own streams: what runs the script waits for their end.
        own = subprocess.DEVNULL
        sleep = ["aa-exec", "-p", "shop", "--", "sleep", "infinity"]
        self.task = subprocess.Popen(sleep, stdin=own, stdout=own, stderr=own)
        while Path(f"/proc/{self.task.pid}/comm").read_text() != "sleep\n":
            assert self.task.poll() is None, "no task can run under it"
            time.sleep(0.05)
        self.seen: set[str] = set()

    def look(self) -> str:
        """Return the mode; fail where the file is half, the profile gone or the task unconfined."""
        text = FILE.read_bytes()
        assert text.rstrip().endswith(b"}") and b"profile shop" in text, "half a file"
        lines = [line for line in Path(SECURITY, "profiles").read_text().splitlines() if line.startswith("shop (")]
        assert len(lines) == 1, lines
        label = Path(f"/proc/{self.task.pid}/attr/apparmor/current").read_text().strip()
        assert label in ("shop (complain)", "shop (enforce)"), f"the task is {label}"
        self.seen |= {lines[0], label}
        return lines[0].removeprefix("shop (").removesuffix(")")

    def agree(self) -> None:
        """Fail unless file, kernel, root's record and the store tell the same."""
        mode = self.look()
        (loaded,) = glob.glob(f"{SECURITY}/policy/profiles/shop.*/raw_sha256")
        (record,) = glob.glob(f"{RECORDS}/applied.*.json")
        entry = json.loads(Path(record).read_text())["entries"][-1]
        assert entry["text"] == hashlib.sha256(FILE.read_bytes()).hexdigest(), entry
        assert entry["policy"] == Path(loaded).read_text().strip(), entry
        assert entry["mode"] == mode, entry
        with sqlite3.connect(STORE, uri=True) as store:
            ask = "SELECT state, detail FROM steps WHERE profile = ? ORDER BY number DESC LIMIT 1"
            state, detail = store.execute(ask, (b"shop",)).fetchone()
        told = json.loads(detail).get("mode", "enforce" if state == b"enforced" else "")
        assert told == mode, f"the store says {state}, {detail}"


def changing() -> bool:
    """Is a change begun and not ended?"""
    return bool(glob.glob(f"{RECORDS}/intent.*"))


def kill(shop: Shop, way: str, seconds: float, in_change: bool, draw: random.Random) -> bool:
    """Kill a command some seconds after its start, or (`in_change`) in its change; return whether it was alive."""
    pid = work(WAYS[way])
    end = time.monotonic() + (60 if in_change else seconds)
    while time.monotonic() < end and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        shop.look()
        if in_change and changing():
            time.sleep(draw.choice((0, 0.02, 0.1, 0.3)))
            break
        time.sleep(0.03)  # one processor: what looks on must not take the time of what is looked at
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def main() -> None:
    os.environ["AALEARN_OUTPUT"] = "json"
    for name in PRELOADED:
        importlib.import_module(f"aalearn.{name}")
    gc.freeze()
    shop, draw = Shop(), random.Random(SEED)
    hit: dict[str, int] = {}
    lasted: dict[str, float] = {}
    opened = forth = 0
    for way in ("complain", "enforce", "complain", "promote"):
        begun = time.monotonic()
        finish(WAYS[way])
        lasted[way] = time.monotonic() - begun
        shop.agree()
    for number in range(TIMES):
        way = "complain" if shop.look() == "enforce" else ("promote", "enforce")[forth % 2]
        forth += way != "complain"
        hit[way] = hit.get(way, 0) + kill(shop, way, draw.uniform(0, 1.2 * lasted[way]), bool(number % 2), draw)
        shop.look()
        opened += changing()
        begun = time.monotonic()
        finish(["reconcile", "--fix", "shop"])
        lasted["reconcile"] = time.monotonic() - begun
        shop.agree()
    finish(["reconcile"])  # the task is left alone: enforced, the profile keeps even root's SIGKILL from it
    print(json.dumps({"hit": hit, "opened": opened, "lasted": lasted, "seen": sorted(shop.seen)}))


main()
