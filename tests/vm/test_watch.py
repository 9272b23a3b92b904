"""After a promotion, on the real kernel: a new feature is denied, told, taken back, accepted; then nothing is denied.

And kill -9 at random moments of promote and rollback: file, kernel and record agree after `reconcile --fix`, and at no
moment was the profile half-written or not loaded.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.vm.bed import Bed

pytestmark = [pytest.mark.vm, pytest.mark.slow]

SHOP = """#!/bin/bash
# A service that reads its data now and then, and what it is told to by a new feature.
say() { printf '%s %s\\n' "${EPOCHREALTIME/,/.}" "$1" >> /srv/shop/log; }
while :; do
  read -r data < /srv/shop/data || exit 1
  if [ -e /srv/shop/feature ]; then
    if read -r more < /srv/shop/new.conf; then say works; else say broken; fi
  else
    say plain
  fi
  /usr/bin/sleep .5
done
"""
UNIT = """[Service]
ExecStart=/usr/local/bin/shop
AppArmorProfile=shop
"""
# One run is enough for a service this small, and three denials are too many for it.
CONFIG = """[promotion]
runs = 1
quiet_days = 0
revert_denials = 3
revert_seconds = 10
"""
FORCED = "--force convergence --reason 'it does one thing'"


@pytest.fixture(scope="module")
def bed(vm_ready: None) -> Iterator[Bed]:
    with Bed("6.12", aalearn=True) as booted:
        booted.put("/usr/local/bin/shop", SHOP, 0o755)
        booted.put("/etc/systemd/system/shop.service", UNIT)
        booted.check("mkdir -p /srv/shop /etc/aalearn; echo x > /srv/shop/data; echo x > /srv/shop/new.conf")
        booted.put("/etc/aalearn/config.toml", CONFIG)
        booted.check("systemctl daemon-reload; systemctl start aalearn-apply.socket aalearn", 300)
        yield booted


def until(bed: Bed, script: str, seconds: float) -> str:
    """Return what a script printed once it succeeds, at most so many seconds from now."""
    end = time.monotonic() + seconds
    while True:
        done = bed.run(script)
        if done.code == 0:
            return done.output
        assert time.monotonic() < end, f"{script!r} never succeeded:\n{done.output}\n{bed.run(JOURNAL).output}"
        time.sleep(0.5)


JOURNAL = "journalctl --no-pager -o cat -u aalearn -u 'aalearn-apply@*' | tail -40"
MODE = "grep -E '^shop \\(' /sys/kernel/security/apparmor/profiles"
DENIED = 'grep -c \'apparmor="DENIED".*profile="shop"\' /var/log/audit/audit.log'


def document(bed: Bed, command: str, code: int = 0) -> dict[str, Any]:
    done = bed.run(f"aalearn --output json {command} 2>/tmp/talk", 300)
    assert done.code == code, f"{command}: {done.code}\n{done.output}\n{bed.run('cat /tmp/talk').output}"
    found: dict[str, Any] = json.loads(done.output)
    return found


def says(bed: Bed, word: str) -> float:
    """Return when (s since the epoch) the service first said a word."""
    lines = [line.split() for line in bed.check("cat /srv/shop/log").splitlines()]
    return next((float(line[0]) for line in lines if line[1:] == [word]), 0.0)


def promote(bed: Bed, *more: str) -> None:
    done = bed.run(f"aalearn promote shop --restart shop.service {' '.join(more)} {FORCED}", 300)
    assert done.code == 0, done.output
    assert bed.check(MODE).strip() == "shop (enforce)"


def test_a_new_feature_is_denied_taken_back_accepted_and_promoted_again(bed: Bed) -> None:
    bed.check("aalearn draft shop", 300)
    bed.check("systemctl start shop")
    until(bed, "test $(grep -c plain /srv/shop/log) -ge 4", 60)
    bed.check("systemctl restart shop")
    until(bed, "test $(grep -c plain /srv/shop/log) -ge 12", 60)
    bed.check("sleep 3")  # for the service to have read it
    promote(bed)
    before = int(bed.run(DENIED).output)
    bed.check("sleep 3; systemctl is-active shop")
    assert int(bed.run(DENIED).output) == before, "the same exercise passes in enforce mode"

    bed.check("touch /srv/shop/feature")
    until(bed, "grep -q works /srv/shop/log", 60)
    broken, works = says(bed, "broken"), says(bed, "works")
    assert 0 < works - broken < 10, f"it took {works - broken:.1f} s"
    assert bed.check(MODE).strip() == "shop (complain)"
    journal = until(bed, f"{JOURNAL} | grep 'was taken back' && {JOURNAL}", 60)
    assert "shop denied open r /srv/shop/new.conf by shop" in journal
    assert "would be allowed by /srv/shop/new.conf r," in journal
    assert re.search(r"shop was taken back to complain mode: [3-9] denials within 10 s", journal), journal
    history = document(bed, "history shop")
    last = history["steps"][-1]
    assert (last["state"], last["by"], last["detail"]["mode"]) == ("reverted", "aalearn", "complain")
    assert [one["rule"] for one in last["detail"]["lacking"]] == ["/srv/shop/new.conf r,"]

    bed.check("systemctl restart shop; sleep 4")
    bed.check("aalearn suggest shop --save --reason 'the new feature'", 300)
    promote(bed)
    before = int(bed.run(DENIED).output)
    bed.check("sleep 4")
    assert int(bed.run(DENIED).output) == before
    assert bed.check("tail -n 1 /srv/shop/log").split()[1] == "works"
    assert document(bed, "watch shop --once")["profiles"][0]["events"] == 0
    assert document(bed, "reconcile")["differences"] == []
    changed = document(bed, "diff shop@enforced shop@last")["changes"]
    assert changed == []


def test_after_a_reboot_all_agree_and_the_watch_goes_on(bed: Bed) -> None:
    bed.check("systemctl enable aalearn aalearn-apply.socket; systemctl stop shop; sync")
    bed.reboot()
    until(bed, "systemctl is-active aalearn", 120)
    assert document(bed, "reconcile")["differences"] == []
    bed.check("apparmor_parser -R /etc/apparmor.d/shop")
    found = document(bed, "reconcile", 1)["differences"]
    assert [one["kind"] for one in found] == ["not-loaded"]
    assert document(bed, "reconcile --fix")["differences"] == []
    assert bed.check(MODE).strip() == "shop (enforce)"


KILLS = r"""
import json, os, random, signal, sys, time
sys.argv = ["aalearn"]
from aalearn.cli import face, onnode, promotecase  # all is loaded before the forks
from aalearn.cli.main import run
from aalearn.lifecycle import gates, keeping, mending, observing, past, promote, proving, reconcile, rollback
import aalearn.lifecycle.existing, aalearn.lifecycle.node.requests, aalearn.policy.compare, aalearn.store.store

os.environ["AALEARN_OUTPUT"] = "json"
machine = onnode.machine(face.Face())
FILE = "/etc/apparmor.d/shop"
PROFILES = "/sys/kernel/security/apparmor/profiles"
WAYS = {
    "complain": ["rollback", "shop", "--complain", "--reason", "x"],
    "enforce": ["rollback", "shop", "--to", REVISION, "--reason", "x"],
    "promote": ["promote", "shop", "--revision", REVISION, "--force", "convergence", "--reason", "x"],
}

def work(arguments):
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            out = os.open("/tmp/work", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1), os.dup2(out, 2)
            code = run(arguments)
        finally:
            os._exit(code)
    return pid

def finish(arguments):
    _, status = os.waitpid(work(arguments), 0)
    assert os.waitstatus_to_exitcode(status) == 0, open("/tmp/work").read()[-3000:]

whole = set()
def look():
    text = open(FILE, "rb").read()
    assert text.rstrip().endswith(b"}") and b"profile shop" in text, "half a file"
    lines = [line for line in open(PROFILES).read().splitlines() if line.startswith("shop (")]
    assert len(lines) == 1, lines
    whole.add(lines[0])
    return lines[0].removeprefix("shop (").removesuffix(")")

def changing():
    return any(one.name.startswith("intent.") for one in machine.backups.iterdir())

def kill(way, seconds, in_change):
    pid = work(WAYS[way])
    end = time.monotonic() + (60 if in_change else seconds)
    while time.monotonic() < end and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        look()
        if in_change and changing():
            time.sleep(draw.choice((0, .02, .1, .3)))
            break
        time.sleep(.01)  # one processor: what looks on must not take the time of what is looked at
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])

draw, hit, opened, lasted, forth = random.Random(SEED), {}, 0, {}, 0
for way in ("complain", "enforce", "complain", "promote"):
    begun = time.monotonic()
    finish(WAYS[way])
    lasted[way] = time.monotonic() - begun
for number in range(TIMES):
    way = "complain" if look() == "enforce" else ("promote", "enforce")[forth % 2]
    forth += way != "complain"
    hit[way] = hit.get(way, 0) + kill(way, draw.uniform(0, 1.2 * lasted[way]), number % 2)
    look()
    opened += changing()
    finish(["reconcile", "--fix", "shop"])
    finish(["reconcile", "shop"])
    look()
print(json.dumps({"hit": hit, "opened": opened, "lasted": lasted, "states": sorted(whole)}))
"""


def test_killed_at_random_moments_all_agree_after_reconcile(bed: Bed) -> None:
    """50 kills of rollback and promote, each second one in the very change."""
    bed.check("systemctl stop shop")
    revision = document(bed, "history shop")["steps"][-1]["revision"]
    script = KILLS.replace("REVISION", repr(str(revision))).replace("SEED", "7").replace("TIMES", "50")
    bed.put("/root/kills.py", script)
    printed = bed.check("cd /; /opt/aalearn/bin/python3 -P /root/kills.py", 1200)
    told = json.loads(printed.splitlines()[-1])
    assert sum(told["hit"].values()) >= 35, told
    assert told["hit"]["promote"] >= 6, told
    assert told["opened"] >= 10, told
    assert told["states"] == ["shop (complain)", "shop (enforce)"]
