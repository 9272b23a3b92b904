"""Run in the guest, with aalearn's Python: every live source beside the others, on the real kernel. Prints JSON.

A process under a complain profile opens COUNT different files, auditd rotates its log meanwhile, and programs write
perfect AppArmor text by every way that they have. Each source should bring each record once, and none of the forged
ones. Then each way to lose records is walked, and what the source says of it is told.
"""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aalearn.sources import netlink
from aalearn.sources.auto import choose, look_around
from aalearn.sources.kmsg import Kmsg
from aalearn.sources.live import LiveSource
from aalearn.sources.live_journal import Hearsay, Journal
from aalearn.sources.netlink import Netlink
from aalearn.sources.tail import Tail

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
PROFILE = "profile probe flags=(complain) {\n  /usr/** rm,\n  /etc/** r,\n  /proc/** r,\n}\n"
WORK = (
    "import os\n"
    "for number in range({first}, {last}):\n"
    "    os.close(os.open(f'/srv/probe/{{number}}', os.O_RDONLY | os.O_CREAT))\n"
)
NAME = re.compile(rb'apparmor="ALLOWED" operation="open" .*profile="probe" name="/srv/probe/(\d+)"')
LOG = Path("/var/log/audit/audit.log")
PERFECT = (
    'apparmor="ALLOWED" operation="open" class="file" profile="probe" name="/forged" pid=1 comm="x" '
    'requested_mask="r" denied_mask="r" fsuid=0 ouid=0'
)
RING = "audit: type=1400 audit(1700000000.123:77): " + PERFECT


class Heard:
    """What one source gave."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.names: Counter[bytes] = Counter()
        self.forged_lines = 0
        self.untrusted = 0
        self.counts: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.position = ""

    def read(self, seconds: float) -> bool:
        chunks = self.source.read(seconds)
        for chunk in chunks:
            for line in chunk.data.split(b"\n"):
                if found := NAME.search(line):
                    self.names[found[1]] += 1
                    self.untrusted += not chunk.trusted
                self.forged_lines += b"/forged" in line and line.startswith(b"type=AVC")
            self.counts.update(chunk.counts)
            for loss in chunk.losses:
                self.losses[loss.kind] += loss.amount
            self.position = chunk.position
        return bool(chunks)

    def told(self) -> dict[str, Any]:
        return {
            "different": len(self.names),
            "most": max(self.names.values(), default=0),
            "untrusted": self.untrusted,
            "forged_lines": self.forged_lines,
            "counts": dict(self.counts),
            "losses": dict(self.losses),
        }


def sh(*command: str, text: str = "") -> None:
    subprocess.run(command, input=text, text=True, check=False, capture_output=True)


def work(first: int, last: int) -> None:
    script = WORK.format(first=first, last=last)
    subprocess.run(["aa-exec", "-p", "probe", "--", "/usr/bin/python3", "-c", script], check=True, capture_output=True)


def forge() -> None:
    """Write perfect text by every way that a program has."""
    sh("logger", "type=AVC msg=audit(1700000000.123:77): " + PERFECT)
    sh("logger", "-p", "kern.notice", "-t", "kernel", RING)
    sh("systemd-cat", text=RING + "\n")
    for prefix in ("<5>", "<0>", ""):
        Path("/dev/kmsg").write_text(prefix + RING)
    sh("auditctl", "-m", PERFECT)
    user = struct.pack("=IHHII", 16 + len(PERFECT), 1100, 5, 1, 0) + PERFECT.encode()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as made:
        made.sendto(user, (0, 0))


def all_sources() -> dict[str, Heard]:
    sources: dict[str, LiveSource] = {
        "audit.log": Tail(LOG, "vm"),
        "journalctl": Journal("vm", library=False),
        "library": Journal("vm", library=True),
        "netlink": Netlink("vm"),
        "kmsg": Kmsg("vm", complete=True),
        "hearsay": Hearsay("vm"),
    }
    heard = {name: Heard(source) for name, source in sources.items()}
    for one in heard.values():
        one.source.open(None)
    drain(heard, 3)
    for one in heard.values():
        one.names.clear()
        one.counts.clear()
        one.losses.clear()
    return heard


def drain(heard: dict[str, Heard], quiet: float) -> None:
    last = time.monotonic()
    while time.monotonic() - last < quiet:
        for one in heard.values():
            if one.read(0.05):
                last = time.monotonic()


def losses() -> dict[str, dict[str, int]]:
    """Walk each way to lose records on purpose."""
    netlink._BUFFER = 4096
    small = Heard(Netlink("vm"))
    small.source.open(None)
    ring = Heard(Kmsg("vm"))
    ring.source.open(None)
    while ring.read(0):
        pass
    journal = Heard(Journal("vm", library=True))
    journal.source.open(None)
    drain({"journal": journal}, 2)
    journal.source.close()
    sh("sysctl", "-w", "kernel.printk_devkmsg=on")
    with open("/dev/kmsg", "w", buffering=1) as out:
        for number in range(6000):
            out.write(f"{number} " + "x" * 200 + "\n")
    work(0, 400)
    sh("journalctl", "--rotate")
    sh("journalctl", "--vacuum-files=1")
    sh("journalctl", "--vacuum-time=1s")
    time.sleep(2)
    sh("journalctl", "--rotate")
    sh("journalctl", "--vacuum-time=1s")
    work(400, 420)
    again = Heard(Journal("vm", library=True))
    again.source.open(journal.position)
    drain({"small": small, "ring": ring, "again": again}, 3)
    for one in (small, ring, again):
        one.source.close()
    return {"netlink": dict(small.losses), "kmsg": dict(ring.losses), "journal": dict(again.losses)}


def main() -> None:
    """See the module."""
    Path("/srv/probe").mkdir(exist_ok=True)
    sh("apparmor_parser", "-r", text=PROFILE)
    heard = all_sources()
    parts = 4
    for part in range(parts):
        work(COUNT * part // parts, COUNT * (part + 1) // parts)
        pid = Path("/run/auditd.pid").read_text().strip() if Path("/run/auditd.pid").exists() else ""
        if pid:
            os.kill(int(pid), 10)  # SIGUSR1: auditd rotates its log
        for one in heard.values():
            one.read(0)
    forge()
    drain(heard, 4)
    told = {name: one.told() for name, one in heard.items()}
    for one in heard.values():
        one.source.close()
    look = look_around()
    chosen = choose(["auto"], "vm", look)
    json.dump(
        {
            "look": {"auditd": look.auditd, "journal_audit": look.journal_audit, "audit_read": look.audit_read},
            "auto": [source.name for source in chosen.sources],
            "said": chosen.told,
            "heard": told,
            "losses": losses(),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
