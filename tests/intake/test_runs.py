"""Runs: one process start on one node, its forks included."""

from pathlib import Path

from aalearn.intake.runs import Runs
from aalearn.store import Store
from aalearn.store.batch import RUN_GAP_MS
from tests.intake.conftest import Ingest, record, syscall

T = 1_700_000_000_000


def found(store: Store, name: bytes = b"p") -> list[tuple[int, int]]:
    return [(run.pid, run.start - T) for run in store.runs(name)]


def test_workers_are_their_parents_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    log = record(1, pid=10) + syscall(1, 10, 1) + record(2, pid=11) + syscall(2, 11, 10) + record(3, pid=12)
    log += syscall(3, 12, 11) + record(4, "/other", pid=12) + record(5, pid=20, time=T + 60_000) + syscall(5, 20, 1)
    (tmp_path / "log").write_bytes(log)
    into(tmp_path / "log")
    assert found(store) == [(10, 0), (20, 60_000)]
    assert {access.event.get("name"): access.run_count for access in store.accesses(b"p")} == {
        b"/etc/hosts": 2,
        b"/other": 1,
    }


def test_a_worker_that_is_read_before_its_parent(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "log").write_bytes(record(1, pid=11) + syscall(1, 11, 10) + record(2, pid=10) + syscall(2, 10, 1))
    into(tmp_path / "log")
    assert found(store) == [(10, 0)]


def test_a_double_fork_is_one_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    """Neither ppid=1 nor a missing companion tells whose process it is: one start must not be two witnesses."""
    log = record(1, pid=500) + syscall(1, 500, 1) + record(2, pid=501, time=T + 4) + syscall(2, 501, 1)
    (tmp_path / "log").write_bytes(log + record(3, pid=502, time=T + 8))
    into(tmp_path / "log")
    assert found(store) == [(500, 0)]
    (access,) = store.accesses(b"p")
    assert access.run_count == len(access.runs) == 1


def test_who_sends_a_signal_is_no_run_of_the_receiver(tmp_path: Path, store: Store, into: Ingest) -> None:
    """systemd stops a service: the record is under the service's profile and has the pid of systemd, which is the
    parent of the next start.
    """
    log = b""
    for number in range(3):
        pid, time = 100 + number, T + number * 60_000
        signal = (
            f'type=AVC msg=audit({time // 1000 + 9}.000:{number * 10 + 9}): apparmor="ALLOWED" operation="signal" '
            'class="signal" profile="p" pid=1 comm="systemd" requested_mask="receive" denied_mask="receive" '
            'signal=term peer="unconfined"\n'
        )
        log += record(number * 10 + 5, pid=pid, time=time) + syscall(number * 10 + 5, pid, 1) + signal.encode()
        log += syscall(number * 10 + 9, 1, 0)
    (tmp_path / "log").write_bytes(log)
    into(tmp_path / "log")
    assert found(store) == [(100, 0), (101, 60_000), (102, 120_000)]
    assert [access.run_count for access in store.accesses(b"p")] == [3, 3]


def test_a_signal_among_its_own_is_its_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    signal = record(2, pid=10, time=T + 5).replace(b'operation="open"', b'operation="signal" signal=hup peer="p"')
    signal = signal.replace(b'requested_mask="r" denied_mask="r"', b'requested_mask="receive" denied_mask="receive"')
    assert b"receive" in signal
    (tmp_path / "log").write_bytes(record(1, pid=10) + signal)
    into(tmp_path / "log")
    assert [access.run_count for access in store.accesses(b"p")] == [1, 1]


def test_many_forks_of_one_start_are_one_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "log").write_bytes(b"".join(record(pid, pid=pid, time=T + pid) for pid in range(1, 300)))
    into(tmp_path / "log")
    assert [access.run_count for access in store.accesses(b"p")] == [1]


def test_null_children_and_hats_belong_to_the_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    log = record(1, pid=10) + record(2, pid=10, profile="p//null-/bin/sh") + record(3, pid=10, profile="p//hat")
    (tmp_path / "log").write_bytes(log + record(4, pid=10, profile="q"))
    into(tmp_path / "log")
    assert found(store) == [(10, 0)]
    assert found(store, b"q") == [(10, 0)]


def test_a_pid_used_again_much_later_is_another_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    later = T + RUN_GAP_MS + 6
    (tmp_path / "log").write_bytes(record(1, pid=10) + record(2, pid=10, time=T + 5) + record(3, pid=10, time=later))
    into(tmp_path / "log")
    assert found(store) == [(10, 0), (10, RUN_GAP_MS + 6)]


def test_a_new_boot_is_another_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    log = record(5000, pid=10) + record(5001, pid=10, time=T + 10)
    (tmp_path / "log").write_bytes(log + record(40, pid=10, time=T + 60_000) + record(41, pid=10, time=T + 60_100))
    into(tmp_path / "log")
    assert found(store) == [(10, 0), (10, 60_000)]


def test_lines_out_of_order_are_no_boot(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "log").write_bytes(record(5000, pid=10) + record(2, pid=10, time=T + 10) + record(5001, pid=10))
    into(tmp_path / "log")
    assert found(store) == [(10, 0)]


def test_a_profile_loaded_anew_is_another_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    status = (
        b'type=AVC msg=audit(1700000001.000:2): apparmor="STATUS" operation="profile_load" profile="unconfined" '
        b'name="p" pid=4 comm="apparmor_parser"\n'
    )
    log = record(1, pid=10) + status + record(3, pid=10, time=T + 2000)
    (tmp_path / "log").write_bytes(log)
    into(tmp_path / "log")
    assert found(store) == [(10, 0), (10, 2000)]
    assert [(one.operation, one.profile) for one in store.timeline()] == [("profile_load", b"p")]


def test_stretches_of_two_ingests_are_one_run(tmp_path: Path, store: Store, into: Ingest) -> None:
    for name, serial, time in (("late", 3, T + 9000), ("early", 1, T), ("middle", 2, T + 5000)):
        (tmp_path / name).write_bytes(record(serial, pid=10, time=time))
        into(tmp_path / name)
    assert found(store) == [(10, 0)]
    assert [access.run_count for access in store.accesses(b"p")] == [1]


def test_nodes_have_their_own_pids(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "log").write_bytes(b"node=a " + record(1, pid=10) + b"node=b " + record(2, pid=10))
    into(tmp_path / "log")
    assert sorted(run.node for run in store.runs(b"p")) == ["a", "b"]


def test_circles_and_floods_end() -> None:
    runs = Runs("n")
    first = runs.of(b"p", 1, T, b"")
    runs.told(_told(1, 2))
    second = runs.of(b"p", 2, T, b"")
    runs.told(_told(2, 1))
    assert first.first() is second.first()
    for pid in range(3, 60_000):
        runs.of(b"p", pid, T + pid, b"")
    assert len(runs.current) <= 20_001
    assert len(runs.awaiting) <= 1_000


def _told(pid: int, ppid: int):  # type: ignore[no-untyped-def]
    from aalearn.grammar.lines import Companion

    return Companion(T, 1, pid, ppid, b"")
