"""From draft to enforce mode on a real kernel, and back: with the commands that a person types."""

import json
import shlex
from collections.abc import Iterator

import pytest

from tests.vm.bed import Bed
from tests.vm.typist import Typist
from tests.vm.workloads import BASH, ENVIRONMENT, Road

pytestmark = [pytest.mark.vm, pytest.mark.slow]


ASK = (
    "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect('/run/aalearn/apply.sock')\n"
    "s.sendall(sys.argv[1].encode()+b'\\n')\ns.shutdown(1)\nprint(s.recv(65536).decode())"
)


@pytest.fixture(scope="module")
def bed(vm_ready: None) -> Iterator[Bed]:
    with Bed("6.12", aalearn=True) as booted:
        yield booted


@pytest.fixture(scope="module")
def road(bed: Bed) -> Road:
    """The script's road up to the moment before it is promoted."""
    made = Road(bed, BASH, Typist(bed, ENVIRONMENT))
    made.draft()
    made.exercise()
    made.learn()
    made.review()
    return made


def test_a_script_that_runs_tools(road: Road) -> None:
    """The same exercise passes with no denial; each attack is blocked and logged."""
    bed = road.bed
    told = road.document("promote", "report", "--dry-run")
    assert [gate["gate"] for gate in told["gates"] if not gate["holds"]] == []
    assert road.modes()["report"] == "complain"
    assert road.promote()["enforced"]
    assert road.modes()["report"] == "enforce"
    text = bed.get("/etc/apparmor.d/report").decode()
    assert "# Learned by aalearn" in text
    assert "/** ix" not in text
    since = road.mark()
    road.exercise(2)
    assert road.denied(since) == []
    for attack in BASH.attacks:
        road.attack(attack)
    assert bed.get("/usr/local/bin/report.sh").decode() == BASH.files["/usr/local/bin/report.sh"][0]
    history = road.document("history", "report")
    assert history["state"] == "enforced"
    assert [step["state"] for step in history["steps"]] == ["learning", "ready", "enforced"]


def test_the_kernel_loads_the_same_at_boot(road: Road) -> None:
    """What apparmor.service loads from the file is what was verified, bit by bit."""
    bed = road.bed
    digests = "cat /sys/kernel/security/apparmor/policy/profiles/report.*/raw_sha256"
    before = bed.check(digests)
    bed.check("apparmor_parser -r /etc/apparmor.d/report")
    assert bed.check(digests) == before


def test_tasks_that_are_not_reached(road: Road) -> None:
    """A child of an unfinished profile stays in complain mode: the promotion is pending until it is gone."""
    bed = road.bed
    bed.check(
        "printf 'abi <abi/4.0>,\\nprofile lazy flags=(complain) { }\\n' > /etc/apparmor.d/lazy\n"
        "apparmor_parser -r /etc/apparmor.d/lazy"
    )
    for _ in range(3):
        bed.check("date -s '+1 hour' > /dev/null; aa-exec -p lazy -- /usr/bin/bash -c '/usr/bin/cat /etc/hostname'")
    pid = bed.check(
        "setsid aa-exec -p lazy -- /usr/bin/bash -c '/usr/bin/sleep 600' >/dev/null 2>&1 & sleep 1; pgrep -x sleep"
    ).strip()
    road.learn()
    forced = ("--force", "convergence", "--force", "review", "--reason", "only the tasks matter here")
    told = road.document("promote", "lazy", *forced, code=1)
    assert told["enforced"]
    assert road.modes()["lazy"] == "enforce"
    assert any(str(task["pid"]) in pid.split() and "//null-" in task["label"] for task in told["pending_restart"])
    bed.check("pkill -x sleep; sleep 0.5")
    assert road.document("promote", "lazy", *forced)["pending_restart"] == []


def test_the_service_asks_for_the_way_back(road: Road) -> None:
    """The service's user gets complain mode over the socket, once and in the probation; nobody else gets anything."""
    bed = road.bed
    bed.check("systemctl start aalearn-apply.socket")

    def ask(request: object) -> dict[str, object]:
        line = request if isinstance(request, str) else json.dumps(request)
        output = bed.check(f"runuser -u aalearn -- python3 -c {shlex.quote(ASK)} {shlex.quote(line)}")
        found: dict[str, object] = json.loads(output)
        return found

    request = {"schema": 1, "do": "complain", "profile": "report"}
    assert "probation of report is over" in str(ask(request)["error"])  # hours ago, by the guest's clock
    bed.put("/etc/aalearn/config.toml", "[promotion]\nprobation_seconds = 1000000\n")
    other = f"runuser -u nobody -g aalearn -- python3 -c {shlex.quote(ASK)} {shlex.quote(json.dumps(request))}"
    assert "PermissionError" in bed.run(other).output, "who may read the store may not ask"
    answer = ask(request)
    assert answer.get("ok"), f"{answer}\n{bed.check('journalctl -u aalearn-apply@* --no-pager | tail -30')}"
    assert road.modes()["report"] == "complain"
    again = ask({"schema": 1, "do": "revert", "profile": "report"})  # as after a crash: it is so already
    assert again["notes"] == ["it was taken back already"]
    answer = ask({"schema": 1, "do": "revert", "profile": "report", "sha256": "0" * 64})
    assert "once for each promotion" in str(answer.get("error", answer))
    assert road.modes()["report"] == "complain"
    for wrong in ("{}", {"schema": 1, "do": "load", "profile": "x"}, {"schema": 1, "do": "revert", "profile": "lsb"}):
        assert ask(wrong)["ok"] is False
    told = bed.check("journalctl -u 'aalearn-apply@*' --no-pager")
    assert "asked to complain report: done: complain mode" in told
    assert "was refused" in told
    assert bed.check("stat -c '%U %G %a' /var/lib/aalearn-apply /run/aalearn/apply.sock").splitlines() == [
        "root root 700",
        "root aalearn-apply 660",
    ]
