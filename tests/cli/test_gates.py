"""The gates of `aalearn promote` by the evidence: what they want looked at; status and service measure as they do."""

import json
import random
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from aalearn.service.profiles import work
from aalearn.store import Store
from aalearn.store.batch import Batch, LossRow
from aalearn.store.readings import IMPORTED
from tests.cli.nodes import CommandNode
from tests.cli.nodes import learned as learned  # the fixtures
from tests.cli.nodes import node as node
from tests.cli.test_promote import gates, refused
from tests.conftest import require
from tests.policy import trixie

pytestmark = pytest.mark.parser


@pytest.mark.parametrize("name", ["web-1", "web-1.example.org"])
def test_a_loss_after_now_counts_too(learned: CommandNode, name: str) -> None:
    """The clock was set back; what was lost is lost."""
    with Store.open(learned.db) as store:
        batch = Batch()
        when = int((time.time() + 1800) * 1000)
        batch.losses.append(LossRow(node=name, time=when, kind="backlog", amount=7, source="x"))
        store.commit(batch)
    assert refused(learned) == ["loss"]


def test_status_and_the_service_count_a_loss_after_the_last_event_too(learned: CommandNode) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(learned.run("--output", "json", "status", "app").out)
        return found

    assert status()["readiness"]["ready"]
    assert served(learned)["ready"]
    with Store.open(learned.db) as store:
        batch = Batch()
        when = int((time.time() - 3600) * 1000)
        batch.losses.append(LossRow(node="web-1", time=when, kind="backlog", amount=7, source="x"))
        store.commit(batch)
    assert refused(learned) == ["loss"]
    assert status()["readiness"]["sentence"].startswith("not ready: 1 loss on ")
    assert len(status()["losses_in_time"]) == 1
    assert (served(learned)["incomplete"], served(learned)["ready"]) == (1, False)


def served(node: CommandNode) -> dict[str, Any]:
    """Return what the service tells of app."""
    told: list[dict[str, Any]] = []
    work({"db": node.db, "most": 10, "gate": {"runs": 3}, "marks": {}}, told.append)
    (found,) = [one["figures"] for one in told if "figures" in one]
    assert isinstance(found, dict)
    return found


def test_the_service_measures_as_status_does(node: CommandNode) -> None:
    """A container's profile is taken for one, and decisions that a file brought count for neither."""
    for one in range(4):
        at = node.begin + 3600 * one
        node.file("/etc/app.conf", pid=1000 + one, at=at)
        node.file("/etc/shadow", pid=1000 + one, at=at)
        node.file(
            "/var/lib/docker/overlay2/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/diff/data/a",
            pid=1000 + one,
            at=at,
        )
        asked = {"class": "file", "name": "/bin/tool", "requested_mask": "x", "denied_mask": "x", "fsuid": "0"}
        target = "app//null-/bin/tool"
        node.event(operation="exec", pid=1000 + one, at=at, ouid="0", target=target, **asked)
        for name in "abcdef":
            node.file(f"/data/{name}", "w", target, pid=1000 + one, at=at + 1)
    node.ingest()
    with Store.open(node.db) as store:
        store.decide(b"app", "/etc/shadow r,", "accept", who=f"{IMPORTED}anna", when=5, why="")
    status = json.loads(node.run("--output", "json", "status", "app").out)["readiness"]
    found = served(node)
    assert {name: found[name] for name in ("rules", "runs", "waiting", "ready")} == {
        name: status[name] for name in ("rules", "runs", "waiting", "ready")
    }
    assert (found["waiting"], "container's profile" in node.run("suggest", "app").err) == (1, True)


def test_status_tells_the_stage(learned: CommandNode) -> None:
    assert "stage      learning, revision 1, since " in learned.run("status", "app").out
    assert learned.run("promote", "app").code == 0
    done = learned.run("status", "app")
    assert "stage      enforced, revision 2, since " in done.out
    stage = json.loads(learned.run("--output", "json", "status", "app").out)["stage"]
    assert (stage["stage"], stage["revision"]) == ("enforced", 2)
    assert "  enforced" in learned.run("status").out
    assert json.loads(learned.run("--output", "json", "status").out)["profiles"][0]["stage"] == stage


def test_runs_that_were_denied_something_are_no_evidence(learned: CommandNode) -> None:
    before = gates(learned)["convergence"]["why"]
    for one in range(3, 40):
        learned.file("/etc/other", "r", "app", "DENIED", pid=2000 + one, at=learned.begin + 3600 * one)
    learned.ingest()
    assert gates(learned)["convergence"]["why"] == before == "ready: 3 rules hold over 4 runs"


@pytest.mark.parametrize("path", ["/proc/{pid}/maps", "/proc/{pid}/environ", "/srv/" + "x" * 1100])
def test_what_is_withheld_is_looked_at_whatever_its_tier(learned: CommandNode, path: str) -> None:
    for one in range(4):
        learned.file(path.format(pid=1000 + one), pid=1000 + one, at=learned.begin + 3600 * one)
    learned.ingest()
    found = gates(learned)
    assert [name for name, gate in found.items() if not gate["holds"]] == ["review"]
    assert "not reviewed: " in found["review"]["why"]
    document = json.loads(learned.run("--output", "json", "status", "app").out)
    assert document["readiness"]["waiting"] == 1
    done = learned.run("promote", "app")
    assert done.code == 1
    assert learned.kernel.modes() == {"app": "complain"}
    (rule,) = [one["rule"] for one in json.loads(learned.run("--output", "json", "review", "app").out)["waiting"]]
    assert learned.run("--quiet", "review", "app", "--deny", rule).code == 0
    found = gates(learned)
    assert [name for name, gate in found.items() if not gate["holds"]] == []
    assert "; 1 stays denied (see review)" in found["replay"]["why"] or "/proc" in path
    assert learned.run("--quiet", "review", "app", "--accept", rule).code == 0
    assert refused(learned) == ["replay"]
    assert learned.run("--quiet", "suggest", "app", "--save").code == 0
    assert refused(learned) == []
    assert learned.run("promote", "app").code == 0


@pytest.mark.parametrize("number", [150, 300, 450])
def test_a_flood_is_no_silent_denial(learned: CommandNode, number: int) -> None:
    choice = random.Random(1)
    names = {"".join(choice.choices("bcdfghjklmnpqrstvwz", k=9)) for _ in range(number)}
    for name in sorted(names):
        learned.file(f"/srv/app/out/{name}", "w", pid=1000, at=learned.begin + 10)
    learned.ingest()
    found = gates(learned)
    if number > 200:
        assert f"{min(number, 400) - 200} rules withheld not reviewed: " in found["review"]["why"]
    assert found["review"]["holds"] == (number < 200)
    assert found["replay"]["holds"]
    assert ("50 names of floods unheard" in found["replay"]["why"]) == (number > 400)


def test_a_local_file_that_appeared_since_can_be_saved_for(node: CommandNode) -> None:
    node.sim.load("abi <abi/3.0>,\nprofile app /usr/bin/app {\n  include if exists <local/app>\n}\n", "app")
    node.runs()
    node.ingest()
    assert "saved as revision 1" in node.run("suggest", "app", "--save").err
    assert "not saved: this is revision 1" in node.run("suggest", "app", "--save").err
    (node.base / "local").mkdir(exist_ok=True)
    (node.base / "local/app").write_text("")
    done = node.run("promote", "app")
    assert done.code == 2
    assert "was changed since revision 1 was made: `aalearn suggest app --save` makes a new revision" in done.err
    assert "saved as revision 2" in node.run("suggest", "app", "--save").err
    assert "not saved: this is revision 2" in node.run("suggest", "app", "--save").err
    assert node.run("promote", "app").code == 0
    assert "/etc/app.conf r," in (node.base / "local/app").read_text()


def test_what_a_newer_kernel_alone_mediates(node: CommandNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learned under abi 4.0, so promote's own text has that too; what suggest writes for the least target is told."""
    try:
        parser, newer = trixie.parser(), trixie.base()
    except trixie.TrixieError as error:
        require(f"Debian 13's AppArmor ({error})", None)
        raise
    monkeypatch.setenv("AALEARN_PARSER", shlex.join(parser))
    shutil.copy(newer / "abi/4.0", node.base / "abi/4.0")
    assert node.run("--quiet", "draft", "app").code == 0
    assert "abi <abi/4.0>," in (node.base / "app").read_text()
    node.runs()
    asked = {"class": "namespace", "info": "Userns create", "requested": "userns_create", "denied": "userns_create"}
    for one in range(4):
        at = node.begin + 3600 * one
        node.event(operation="userns_create", pid=1000 + one, at=at, **asked)
    node.ingest()
    features = str(node.kernel.root / "features")
    found = gates(node)
    assert [name for name, gate in found.items() if not gate["holds"]] == ["review"]
    assert "aalearn review app --target /sys/kernel/security/apparmor/features, then" in found["review"]["mend"]
    decision = ("--approve", "userns create,", "--reason", "its sandbox")
    assert node.run("--quiet", "review", "app", "--target", features, *decision).code == 0
    assert refused(node) == []
    assert node.run("--quiet", "suggest", "app", "--save").code == 0
    found = gates(node)
    assert [name for name, gate in found.items() if not gate["holds"]] == ["features"]
    assert "aalearn suggest app --save --target /sys/kernel/security/apparmor/features" in found["features"]["mend"]
    assert node.run("--quiet", "suggest", "app", "--save", "--target", features).code == 0
    assert refused(node) == []
    assert node.run("promote", "app").code == 0
    assert "  userns create," in (node.base / "app").read_text()


def test_what_only_root_could_write_confirms_what_was_told_before(node: CommandNode, tmp_path: Path) -> None:
    log = str(tmp_path / "audit.log")
    assert node.run("--quiet", "draft", "app").code == 0
    node.runs()
    assert node.run("--quiet", "ingest", log).code == 0
    assert refused(node) == ["trust"]
    assert "3 of 3 accesses come only from a source that programs can write to" in gates(node)["trust"]["why"]
    node.runs(1, ("/etc/one-more",))
    assert node.run("--quiet", "ingest", log).code == 0
    lines = Path(log).read_text().splitlines(keepends=True)
    part = tmp_path / "part.log"
    part.write_text("".join(line for line in lines if "one-more" not in line))
    assert node.run("--quiet", "ingest", "--trusted", str(part)).code == 0
    assert "1 of 4 accesses come only from" in gates(node)["trust"]["why"]
    before = json.loads(node.run("--output", "json", "status", "app").out)
    assert node.run("--quiet", "ingest", "--trusted", log).code == 0
    after = json.loads(node.run("--output", "json", "status", "app").out)
    assert (after["events"], after["runs"]) == (before["events"], before["runs"])  # nothing counts twice
    assert gates(node)["trust"]["holds"]
    assert node.run("--quiet", "ingest", log).code == 0
    assert gates(node)["trust"]["holds"]


def test_a_trusted_sighting_beside_forged_ones_confirms(node: CommandNode, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    assert node.run("--quiet", "draft", "app").code == 0
    node.runs(2)
    assert node.run("--quiet", "ingest", str(log)).code == 0
    log.unlink()
    for one in range(2, 6):
        for path in ("/etc/app.conf", "/etc/hosts", "/srv/app/index"):
            node.file(path, pid=1000 + one, at=node.begin + 3600 * one)
    node.ingest()
    assert gates(node)["trust"]["holds"]


def test_a_node_s_two_names_give_no_second_run(
    node: CommandNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AALEARN_PROMOTION__NODES", "2")
    monkeypatch.setenv("AALEARN_PROMOTION__RUNS", "5")
    node.runs()
    log = tmp_path / "audit.log"
    names = ("node=web-1 ", "node=web-1.example.org ")
    lines = [f"{names[at % 2]}{line}" for at, line in enumerate(log.read_text().splitlines())]
    log.write_text("\n".join(lines) + "\n")
    node.ingest()
    assert "4 runs of 5; 1 node of 2" in gates(node)["convergence"]["why"]
    assert json.loads(node.run("--output", "json", "status", "app").out)["runs"] == 4
