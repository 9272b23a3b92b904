"""nginx, redis and a Python service in containers of four runtimes: learned, promoted, enforced, attacked.

The commands are those that a person types; several go into one interpreter, since a start of it costs seconds there.
"""

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

import pytest

from tests.vm import containers
from tests.vm.bed import Bed
from tests.vm.containers import POD, Abuse
from tests.vm.workloads import AUDIT, SETTINGS, Road, Workload

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
SEVERAL = """\
import json, os, sys, tempfile
from aalearn.cli.main import run

done = []
for words in json.load(sys.stdin):
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        code = run(words)
        sys.stdout.flush(), sys.stderr.flush()
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        out.seek(0), err.seek(0)
        done.append((code, out.read().decode(), err.read().decode()))
json.dump(done, sys.stdout)
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
        self.roads = {name: Road(bed, Workload(name, ("--container",), "true", ())) for name in NAMES}
        bed.put("/run/several.py", SEVERAL)

    def type(self, *commands: tuple[str, ...], codes: tuple[int, ...] = (0,)) -> list[Any]:
        """Type commands; each must end with one of `codes`. Returns what they print, documents as such."""
        bed = self.bed
        bed.put("/run/commands.json", json.dumps(commands))
        told = json.loads(bed.check(f"{SETTINGS} /opt/aalearn/bin/python3 /run/several.py < /run/commands.json", 900))
        for words, (code, out, err) in zip(commands, told, strict=True):
            assert code in codes, f"aalearn {' '.join(words)}: exit {code}\n{out}\n{err}"
        return [json.loads(out) if out.startswith("{") else out for _, out, _ in told]

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
        self.roads["web"].settle()


@pytest.fixture(scope="module")
def guest(container_bed: Bed) -> Guest:
    """All three are learned and drafted here: the service follows the first run, the rest is ingested."""
    made = Guest(container_bed)
    made.type(*(("draft", name, "--container") for name in NAMES))
    assert [made.roads["web"].modes()[name] for name in NAMES] == ["complain"] * 3
    made.learn()
    return made


@pytest.fixture(scope="module")
def enforced(guest: Guest) -> Guest:
    """All three are promoted without any gate forced; redis runs meanwhile, as Pods do."""
    json_out = ("--quiet", "--output", "json")
    told = guest.type(
        ("--quiet", "ingest", "--trusted", AUDIT),
        (*json_out, "status", "redis"),
        *((*json_out, "review", name) for name in NAMES),
        codes=(0, 1),
    )
    places = told[1]["containers"]
    assert {place["pod"] for place in places} == {POD}, told[1]
    accepts = [
        (
            "review",
            name,
            *(word for one in waits["waiting"] for word in ("--accept", one["rule"])),
            "--reason",
            "it must",
        )
        for name, waits in zip(NAMES, told[2:], strict=True)
        if waits["waiting"]
    ]
    guest.bed.check(BOXES["redis by containerd"].use)
    guest.type(
        *accepts,
        *(("--quiet", "suggest", name, "--save") for name in NAMES),
        *((*json_out, "promote", name) for name in NAMES),
    )
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
