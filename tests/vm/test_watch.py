"""After a promotion, on the real kernel: a new feature is denied, told, taken back, accepted, promoted; then kills."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.vm.bed import Bed
from tests.vm.typist import VICTIMS, Typist
from tests.vm.workloads import Road, Workload

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


@pytest.fixture(scope="module")
def road(bed: Bed) -> Road:
    return Road(bed, Workload("shop", (), "true", (), units=("shop.service",)), Typist(bed, {}))


def says(bed: Bed, word: str) -> float:
    """Return when (s since the epoch) the service first said a word."""
    lines = [line.split() for line in bed.check("cat /srv/shop/log").splitlines()]
    return next((float(line[0]) for line in lines if line[1:] == [word]), 0.0)


def promote(road: Road) -> None:
    """Without any gate forced."""
    road.aalearn("promote", "shop", "--restart", "shop.service")
    assert road.bed.check(MODE).strip() == "shop (enforce)"


def test_a_new_feature_is_denied_taken_back_accepted_and_promoted_again(road: Road) -> None:
    bed = road.bed
    road.draft()
    for run in (1, 2):
        bed.check("date -s '+1 hour' > /dev/null; systemctl start shop")
        until(bed, f"test $(grep -c plain /srv/shop/log) -ge {4 * run}", 60)
        bed.check("systemctl stop shop")
    bed.check("systemctl start shop; sleep 3")  # for the service to have read it
    promote(road)
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
    history = road.document("history", "shop")
    last = history["steps"][-1]
    assert (last["state"], last["by"], last["detail"]["mode"]) == ("reverted", "aalearn", "complain")
    assert [one["rule"] for one in last["detail"]["lacking"]] == ["/srv/shop/new.conf r,"]

    bed.check("systemctl restart shop; sleep 4")
    road.aalearn("review", "shop", "--accept", "/srv/shop/new.conf r,", "--reason", "the new feature")
    road.aalearn("suggest", "shop", "--save", "--reason", "the new feature")
    promote(road)
    before = int(bed.run(DENIED).output)
    bed.check("sleep 4")
    assert int(bed.run(DENIED).output) == before
    assert bed.check("tail -n 1 /srv/shop/log").split()[1] == "works"
    assert road.document("watch", "shop", "--once")["profiles"][0]["events"] == 0
    assert road.document("reconcile")["differences"] == []
    assert road.document("diff", "shop@enforced", "shop@last")["changes"] == []


def test_killed_at_random_moments_all_agree_after_reconcile(bed: Bed) -> None:
    """50 kills -9 of rollback and promote, each second one in the very change: victims/kills.py looks on."""
    revision = json.loads(bed.check("aalearn --quiet --output json history shop", 300))["steps"][-1]["revision"]
    bed.put("/root/kills.py", (VICTIMS / "kills.py").read_bytes())
    bed.check("systemctl stop shop aalearn")
    printed = bed.check(f"cd /; /opt/aalearn/bin/python3 -P /root/kills.py {revision} 50 7", 1200)
    told = json.loads(printed.splitlines()[-1])
    assert sum(told["hit"].values()) >= 35, told
    assert told["hit"]["promote"] >= 6, told
    assert told["opened"] >= 10, told
    assert told["seen"] == ["shop (complain)", "shop (enforce)"]


def test_after_a_reboot_all_agree_and_the_watch_goes_on(bed: Bed) -> None:
    bed.check("systemctl enable aalearn aalearn-apply.socket; sync")
    bed.reboot()
    until(bed, "systemctl is-active aalearn", 120)
    assert document(bed, "reconcile")["differences"] == []
    bed.check("apparmor_parser -R /etc/apparmor.d/shop")
    found = document(bed, "reconcile", 1)["differences"]
    assert [one["kind"] for one in found] == ["not-loaded"]
    assert document(bed, "reconcile --fix")["differences"] == []
    assert re.fullmatch(r"shop \((enforce|complain)\)", bed.check(MODE).strip())


def document(bed: Bed, command: str, code: int = 0) -> dict[str, Any]:
    """Return what a command prints, typed at a shell as it is."""
    done = bed.run(f"aalearn --quiet --output json {command}", 300)
    assert done.code == code, f"{command}: {done.code}\n{done.output}"
    found: dict[str, Any] = json.loads(done.output)
    return found
