"""nginx, redis and a Python service on the real kernel, from draft to enforce mode, and attacks in each.

One boot for all: they are learned at the same time, as on a real server, and then promoted one after another. The only
threshold that is set is quiet_days = 0 (the machine is thrown away after some minutes); three starts are enough for
the others. The script is attacked in test_promotion.
"""

from collections.abc import Iterator

import pytest

from tests.vm.bed import Bed
from tests.vm.catalogue import LATER, NGINX, NOTES, PREPARATION, REDIS
from tests.vm.typist import VICTIMS, Typist
from tests.vm.workloads import ENVIRONMENT, Road

pytestmark = [pytest.mark.vm, pytest.mark.slow]

WORKLOADS = (NOTES, NGINX, REDIS)  # nginx is a proxy of notes
STARTS = 3
NAMES = [workload.profile for workload in WORKLOADS]


@pytest.fixture(scope="module")
def roads(vm_ready: None) -> Iterator[dict[str, Road]]:
    """All workloads drafted, exercised, and their logs ingested."""
    with Bed("6.12", aalearn=True) as bed:
        typist = Typist(bed, ENVIRONMENT)
        bed.put("/root/probe.py", (VICTIMS / "probe.py").read_bytes())
        bed.check(PREPARATION)
        made = {workload.profile: Road(bed, workload, typist) for workload in WORKLOADS}
        for road in made.values():
            road.draft()
        for _ in range(STARTS):
            bed.check("date -s '+1 hour' > /dev/null")
            for workload in WORKLOADS:
                bed.check(workload.exercise)
        next(iter(made.values())).learn()
        yield made


def ready(road: Road) -> list[str]:
    """Return what keeps a profile from being ready, as `aalearn status` says."""
    return list(road.document("status", road.workload.profile)["readiness"]["reasons"])


@pytest.mark.parametrize("name", NAMES)
def test_from_draft_to_enforce_mode(roads: dict[str, Road], name: str) -> None:
    """Once a person has decided on what is risky it is ready; promoted, the same exercise meets no denial."""
    road = roads[name]
    road.review()
    assert ready(road) == []
    since = road.mark()
    told = road.promote()
    assert told["enforced"]
    assert [gate["gate"] for gate in told["gates"] if not (gate["holds"] or gate["pending"])] == []
    assert told["pending_restart"] == []
    assert road.modes()[name] == "enforce"
    road.bed.check(LATER)
    road.exercise(1)
    assert road.denied(since) == []


@pytest.mark.parametrize("name", NAMES)
def test_attacks_are_blocked_and_logged(roads: dict[str, Road], name: str) -> None:
    """Each fails, and the kernel says which access it refused."""
    road = roads[name]
    assert road.modes()[name] == "enforce"
    assert len(road.attack_all()) >= 5


def test_all_of_them_go_on_together(roads: dict[str, Road]) -> None:
    """What worked before the attacks works after them, with no denial; nothing that an attacker wanted is there."""
    bed = next(iter(roads.values())).bed
    since = roads["notes"].mark()
    for road in roads.values():
        road.exercise(1)
        assert road.denied(since) == []
    assert {name: roads[name].modes()[name] for name in NAMES} == dict.fromkeys(NAMES, "enforce")
    bed.check("for unit in notes nginx redis-server; do systemctl is-active $unit || exit 1; done")
    assert bed.check("ls -A /etc/cron.d; mount | grep -c ' /mnt ' || true").split()[-1] == "0"
    assert not [name for name in bed.check("ls -A /etc/cron.d").split() if name in ("evil", "logged") or "rdb" in name]
    labels = bed.check("cat /proc/[0-9]*/attr/apparmor/current 2>/dev/null | sort -u").splitlines()
    assert {f"{name} (enforce)" for name in ("notes", "nginx", "redis")} <= set(labels)
    assert not [label for label in labels if "//null-" in label]
