"""A unit that failed after a denial, by what systemd says of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.lifecycle.units import UnitState, failure, is_service, of_pid, pid_of, read

RUNS = UnitState("active", "running", "success", 0, "0", 5_000_000)
WAITS = replace(RUNS, active="activating", sub="auto-restart", changed=11_000_000)
DENIED = 10_000_000


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (RUNS, RUNS, ""),
        (None, RUNS, ""),
        (RUNS, replace(RUNS, active="failed", result="exit-code", status="1", changed=11_000_000), "failed: exit-code"),
        (None, replace(RUNS, active="failed", result="signal", changed=11_000_000), "failed: signal"),
        (RUNS, replace(RUNS, active="failed", result="signal", changed=1_000_000), ""),  # it had failed long before
        (RUNS, replace(WAITS, result="exit-code"), "waits for its restart: exit-code"),
        (RUNS, WAITS, ""),  # Restart=always, and it ended as it should
        (RUNS, replace(WAITS, result="exit-code", changed=5_000_000), ""),  # it had failed long before
        (RUNS, replace(RUNS, restarts=2, changed=11_000_000), "was restarted by systemd 2 times"),
        (RUNS, replace(RUNS, restarts=2), ""),  # before the denial
        (None, replace(RUNS, restarts=2, changed=11_000_000), ""),
        # how it ended is not known any more
        (RUNS, replace(RUNS, restarts=1, changed=11_000_000, restart="always"), ""),
        (RUNS, replace(RUNS, restarts=2, changed=11_000_000, restart="always"), "was restarted by systemd 2 times"),
        (RUNS, replace(RUNS, active="inactive", sub="dead", changed=11_000_000), ""),  # a person stopped it
    ],
)
def test_failures(before: UnitState | None, now: UnitState, said: str) -> None:
    found = failure(before, now, DENIED)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_what_systemctl_prints() -> None:
    text = (
        "Result=exit-code\nNRestarts=3\nExecMainStatus=1\nActiveState=failed\nSubState=failed\n"
        "StateChangeTimestampMonotonic=12345\nRestart=on-failure\n"
    )
    assert read(text) == UnitState("failed", "failed", "exit-code", 3, "1", 12345, "on-failure")
    assert read("NRestarts=[not set]\n") == UnitState("", "", "", 0, "", 0)


def test_the_unit_of_a_process_is_found_by_its_cgroup(tmp_path: Path) -> None:
    for pid, text, unit in (
        (1, "0::/system.slice/nginx.service\n", "nginx.service"),
        (2, "0::/system.slice/system-getty.slice/getty@tty1.service/x\n", "getty@tty1.service"),
        (3, "12:cpu:/a.service\n1:name=systemd:/system.slice/b.service\n", "b.service"),
        (4, "0::/user.slice/session-1.scope\n", ""),
        (5, "0::/kubepods/evil;rm -rf.service\n", ""),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(text)
        assert of_pid(pid, tmp_path) == unit
    assert of_pid(99, tmp_path) == ""


def test_names_that_are_no_service() -> None:
    assert is_service("nginx.service")
    for name in ("", "nginx", "--help", "-p.service; x", "a b.service", "x.service\n", "a/b.service"):
        assert not is_service(name), name


def test_the_pid_of_a_record() -> None:
    assert pid_of(b'type=AVC msg=audit(1.2:3): apparmor="DENIED" name="/ pid=1 x" pid=42 comm="x"') == 1
    assert pid_of(b'apparmor="DENIED" pid=42') == 42
    assert pid_of(b"nothing") == 0
