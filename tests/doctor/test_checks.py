"""Each check of the doctor, on trees of files as a machine shows them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aalearn.doctor.examine import ORDER, examine, healthy
from aalearn.doctor.finding import CHECKS, Ask, Finding, Level, check
from aalearn.doctor.host import Host

Tree = dict[str, str]
Machine = Callable[[Tree], Host]

GOOD: Tree = {
    "/proc/sys/kernel/osrelease": "6.12.1-amd64\n",
    "/proc/cmdline": "root=/dev/sda1 ro quiet\n",
    "/proc/77/comm": "auditd\n",
    "/sys/kernel/security/lsm": "lockdown,capability,apparmor",
    "/sys/module/apparmor/parameters/enabled": "Y\n",
    "/sys/module/apparmor/parameters/mode": "enforce\n",
    "/sys/module/apparmor/parameters/audit": "normal\n",
    "/sys/module/apparmor/parameters/export_binary": "Y\n",
    "/var/log/audit/audit.log": "",
    "/var/log/journal/1/system.journal": "",
    "/etc/audit/auditd.conf": "max_log_file = 50\nnum_logs = 10\nmax_log_file_action = ROTATE\n",
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a function that lays out a tree and gives it as a machine."""

    def lay(tree: Tree) -> Host:
        for name, text in tree.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Host(tmp_path)

    return lay


def ask(name: str, host: Host) -> list[Finding]:
    return list(CHECKS[name](host, Ask()))


def problems(name: str, host: Host) -> list[str]:
    return [finding.text for finding in ask(name, host) if finding.level is Level.PROBLEM]


def test_every_check_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(CHECKS)
    with pytest.raises(ValueError, match="two checks"):
        check("kernel")(CHECKS["kernel"])


@pytest.mark.parametrize("name", ["kernel", "apparmor", "audit", "permissions", "rate limits", "kubelet", "containers"])
def test_a_good_machine_has_no_problem(name: str, machine: Machine) -> None:
    assert problems(name, machine(GOOD)) == []


BAD = [
    ("kernel", {"/sys/kernel/security/lsm": None, "/proc/sys/kernel/osrelease": None}, "/proc can't be read"),
    ("kernel", {"/sys/kernel/security/lsm": None}, "there is no securityfs"),
    ("apparmor", {"/sys/module/apparmor/parameters/enabled": None}, "the kernel has no AppArmor"),
    ("apparmor", {"/sys/module/apparmor/parameters/enabled": "N"}, "AppArmor is off"),
    ("apparmor", {"/sys/kernel/security/lsm": "lockdown,selinux"}, "AppArmor is off"),
    ("apparmor", {"/sys/module/apparmor/parameters/mode": "complain"}, "enforced profiles do not enforce"),
    ("apparmor", {"/sys/module/apparmor/parameters/audit": "quiet"}, "nothing can be learned"),
    ("audit", {"/proc/cmdline": "root=/dev/sda1 audit=0"}, "auditing is switched off at boot"),
    ("audit", {"/proc/77/comm": "init"}, "records go to the kernel ring only"),
    ("rate limits", {"/etc/systemd/journald.conf": "[Journal]\nStorage=none\n"}, "the journal stores nothing"),
    (
        "rate limits",
        {
            "/proc/77/comm": "init",
            "/proc/sys/kernel/printk_ratelimit": "5",
            "/proc/sys/kernel/printk_ratelimit_burst": "10",
        },
        "takes 10 records in 5 seconds",
    ),
]


@pytest.mark.parametrize(("name", "changes", "said"), BAD)
def test_each_fault_is_told_with_its_mend(
    name: str, changes: dict[str, str | None], said: str, machine: Machine
) -> None:
    tree = {**GOOD, **{path: text for path, text in changes.items() if text is not None}}
    for path, text in changes.items():
        if text is None:
            del tree[path]
    found = [finding for finding in ask(name, machine(tree)) if finding.level is Level.PROBLEM]
    assert [finding for finding in found if said in finding.text], found
    assert all(finding.mend for finding in found)


def test_a_kernel_that_keeps_no_copy_is_worth_a_note(machine: Machine) -> None:
    host = machine({**GOOD, "/sys/module/apparmor/parameters/export_binary": "N"})
    (note,) = [finding for finding in ask("apparmor", host) if finding.level is Level.NOTE]
    assert "can't be verified" in note.text


def test_a_small_audit_log_is_worth_a_note(machine: Machine) -> None:
    conf = "max_log_file = 8\nnum_logs = 2\nmax_log_file_action = rotate\ndisk_full_action = SUSPEND\n"
    notes = [finding.text for finding in ask("audit", machine({**GOOD, "/etc/audit/auditd.conf": conf}))]
    assert any("keeps 16 MB" in note for note in notes)
    assert any("disk_full_action = suspend" in note for note in notes)


def test_container_runtimes_need_the_parser(machine: Machine) -> None:
    host = machine({**GOOD, "/run/containerd/containerd.sock": ""})
    (problem,) = problems("containers", host)
    assert "cri-containerd.apparmor.d" in problem


def test_a_store_tells_its_losses_and_how_to_avoid_them(machine: Machine, tmp_path: Path) -> None:
    from aalearn.store import Store
    from aalearn.store.batch import Batch, LossRow

    file = tmp_path / "x.db"
    with Store.open(f"sqlite:///{file}") as store:
        batch = Batch()
        batch.losses += [LossRow("n", "s", 1_700_000_000_000, "backlog limit", 3), LossRow("n", "s", 1, "truncated", 1)]
        store.ledger("n")
        store.commit(batch)
    found = list(CHECKS["store"](machine(GOOD), Ask(store=file)))
    lost = [finding for finding in found if finding.level is Level.PROBLEM]
    assert len(lost) == 2
    assert all(finding.mend for finding in lost)
    assert "at least 3 records" in lost[0].text
    assert not healthy(found)


def test_a_damaged_store_is_a_problem(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (found,) = CHECKS["store"](machine(GOOD), Ask(store=file))
    assert found.level is Level.PROBLEM


def test_no_store_yet_is_a_note(machine: Machine, tmp_path: Path) -> None:
    (found,) = CHECKS["store"](machine(GOOD), Ask(store=tmp_path / "none.db"))
    assert found.level is Level.NOTE


def test_this_machine_can_be_examined() -> None:
    """Whatever it is like: no check may fail, and each problem but a refused feature file has its mend."""
    found = examine(Host(), Ask())
    assert {finding.check for finding in found} <= set(ORDER)
    assert all(finding.mend for finding in found if finding.level is Level.PROBLEM and finding.check != "features")
