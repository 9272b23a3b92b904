"""nginx, redis and a Python service in containers of four runtimes: learned, promoted, enforced, attacked."""

import re
import shlex
from dataclasses import dataclass

import pytest

from tests.vm import containers
from tests.vm.bed import Bed
from tests.vm.containers import POD, Abuse
from tests.vm.typist import Typist
from tests.vm.workloads import ENVIRONMENT, Road, Workload

pytestmark = [pytest.mark.vm, pytest.mark.slow]

NAMES = ("web", "redis", "api")
HOUR = "date -s '+1 hour' > /dev/null\n"
# The service has written down what redis did while redis still runs: some hundred events.
FOLLOWED = r"""
events() { awk '/^aalearn_events_total/ { all += $2 } END { print all + 0 }' /var/lib/aalearn/metrics/aalearn.prom; }
for i in $(seq 240); do
  test $(events) -gt 200 && exit
  sleep .5
done
exit 1
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A workload by a runtime: how it is used, attacked and stopped."""

    profile: str
    use: str
    attack: str
    stop: str
    abuses: tuple[Abuse, ...]


def _cri(*steps: tuple[str, ...]) -> str:
    return f"python3 /run/cri.py --pod {POD} " + " -- ".join(shlex.join(step) for step in steps) + "\n"


def _oci(runtime: str) -> Box:
    run = f"RT={runtime}; SIGNAL=QUIT\n"
    attack = shlex.join((runtime, "exec", "web", "/usr/bin/busybox", "sh", "-c", containers.in_shell(WEB)))
    return Box("web", run + containers.WEB_START, attack, run + containers.WEB_STOP, WEB)


WEB, REDIS, API = containers.WEB_ABUSES, containers.REDIS_ABUSES, containers.API_ABUSES
START = ("start", "redis", *containers.REDIS.split())
USE = (("host", f"set -e\n{containers.REDIS_ASK}"), ("exec", *containers.REDIS_PROBE))
BOXES = {
    "nginx by runc": _oci("runc"),
    "nginx by crun": _oci("crun"),
    "redis by containerd": Box(
        "redis", _cri(START, *USE), _cri(("exec", "/bin/sh", "-c", containers.in_shell(REDIS))), _cri(("stop",)), REDIS
    ),
    "python by podman": Box(
        "api",
        containers.API_START,
        shlex.join(("podman", "exec", "api", "/usr/bin/python3", "-c", containers.in_python(API))),
        containers.API_STOP,
        API,
    ),
}


class Guest:
    """The booted machine with the three workloads."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        typist = Typist(bed, ENVIRONMENT)
        self.roads = {name: Road(bed, Workload(name, ("--container",), "true", ()), typist) for name in NAMES}

    def learn(self) -> None:
        """Three runs of each, an hour apart; the first one of redis with the service at work."""
        bed = self.bed
        bed.put("/etc/aalearn/config.toml", '[run]\nsources = ["audit.log"]\n[metrics]\nseconds = 1\n')
        bed.check("systemctl start aalearn", 300)
        followed = ("host", FOLLOWED)
        bed.check(_cri(START, *USE, followed, ("stop",)), 300)
        bed.check("systemctl stop aalearn")
        again = (("host", HOUR + containers.REDIS_LEAK), START, *USE, ("stop",))
        bed.check(_cri(*again, *again), 300)
        for name in ("nginx by runc", "nginx by crun", "nginx by runc", *["python by podman"] * 3):
            bed.check(HOUR + BOXES[name].use, 300)
            bed.check(BOXES[name].stop)


@pytest.fixture(scope="module")
def guest(container_bed: Bed) -> Guest:
    """All three are learned and drafted here: the service follows the first run, the rest is ingested."""
    made = Guest(container_bed)
    for road in made.roads.values():
        road.draft()
    made.learn()
    return made


@pytest.fixture(scope="module")
def enforced(guest: Guest) -> Guest:
    """All three are promoted without any gate forced; redis runs meanwhile, as Pods do."""
    guest.roads["redis"].learn()
    places = guest.roads["redis"].document("status", "redis")["containers"]
    assert {place["pod"] for place in places} == {POD}, places
    guest.bed.check(BOXES["redis by containerd"].use)
    for road in guest.roads.values():
        road.review()
        road.promote()
    return guest


def test_promoted_while_a_pod_runs(enforced: Guest) -> None:
    """Every gate held; the texts need nothing of the node, and hold no name of the host's side."""
    modes = enforced.roads["web"].modes()
    assert [modes[name] for name in NAMES] == ["enforce"] * 3
    for name in NAMES:
        text = enforced.bed.get(f"/etc/apparmor.d/{name}").decode()
        assert "# Learned by aalearn" in text
        assert "include" not in text.replace("# includes", "")
        assert "/** ix" not in text
        assert "snapshots" not in text
        assert "/srv/k" not in text
    assert "/etc/passwd r," in enforced.bed.get("/etc/apparmor.d/redis").decode()
    enforced.bed.check(_cri(*USE, ("stop",)))
    assert enforced.roads["redis"].denied(0) == []


@pytest.mark.parametrize("name", list(BOXES))
def test_enforced_it_works_and_abuses_are_blocked(enforced: Guest, name: str) -> None:
    """0 DENIED in use; each abuse fails and is logged; the runtime can still exec and stop it, without a denial."""
    box, bed = BOXES[name], enforced.bed
    road = enforced.roads[box.profile]
    start = road.mark()
    bed.check(box.use)
    assert road.denied(start) == []
    start = road.mark()
    said = bed.check(box.attack).splitlines()
    assert said == [line for line in said if line.startswith("blocked: ")]
    assert len(said) == len(box.abuses)
    denied = "\n".join(road.denied(start))
    assert [one.name for one in box.abuses if not _has(one, denied)] == [], denied
    start = road.mark()
    bed.check(box.stop)
    assert road.denied(start) == []


def _has(abuse: Abuse, denied: str) -> bool:
    return any(re.search(abuse.denied, line) for line in denied.splitlines())
