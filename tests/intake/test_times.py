"""Times that can't be: 0, and days ahead of the clock. The event counts; first, last and runs don't take them."""

import time
from itertools import permutations
from pathlib import Path

import pytest

from aalearn.model.event import Access
from aalearn.store import Store
from tests.intake.conftest import Ingest, fresh, record, without_runs

NOW = int(time.time() * 1000)
FUTURE = NOW + 3 * 86_400_000
GOOD = NOW - 60_000


def only(store: Store) -> Access:
    (access,) = store.accesses(b"p")
    return access


@pytest.mark.parametrize("spoiled", [FUTURE, 9_999_999_999_999, 0], ids=["in two days", "year 2286", "none"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_time_that_can_not_be_is_ignored(
    tmp_path: Path, store: Store, into: Ingest, spoiled: int, apart: bool
) -> None:
    lines = [record(1, time=spoiled), record(2, time=GOOD), record(3, time=spoiled), record(4, time=GOOD + 5)]
    for number, part in enumerate(lines if apart else [b"".join(lines)]):
        (tmp_path / f"log{number}").write_bytes(part)
        into(tmp_path / f"log{number}")
    access = only(store)
    assert (access.count, access.first, access.last) == (4, GOOD, GOOD + 5)
    assert access.sample == lines[1].strip()
    (profile,) = store.profiles()
    assert (profile.events, profile.first, profile.last) == (4, GOOD, GOOD + 5)
    assert all(run.end <= NOW + 1000 for run in store.runs(b"p"))
    assert into(tmp_path / "log0").duplicates > 0


def test_only_times_that_can_not_be(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "log").write_bytes(record(1, time=FUTURE) + record(2, time=FUTURE))
    assert into(tmp_path / "log").events == 2
    access = only(store)
    assert (access.count, access.first, access.last) == (2, 0, 0)
    assert access.sample == record(1, time=FUTURE).strip()


def test_a_little_ahead_is_a_clock_that_was_set(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "log").write_bytes(record(1, time=NOW + 3_600_000))
    into(tmp_path / "log")
    assert only(store).last == NOW + 3_600_000


def test_a_clock_that_jumps_back_a_day(tmp_path: Path, store: Store, into: Ingest) -> None:
    day = 86_400_000
    (tmp_path / "log").write_bytes(
        b"".join(record(serial, time=GOOD + serial) for serial in range(1, 50))
        + b"".join(record(serial, time=GOOD + serial - day) for serial in range(50, 100))
    )
    assert into(tmp_path / "log").events == 99
    access = only(store)
    assert (access.count, access.first, access.last) == (99, GOOD + 50 - day, GOOD + 49)


def test_the_order_does_not_matter(tmp_path: Path) -> None:
    lines = [record(1, time=FUTURE), record(2, time=GOOD), record(3, time=0)]
    states = []
    for name, order in enumerate(permutations(lines)):
        parts = []
        for number, line in enumerate(order):
            part = tmp_path / f"{name}-{number}"
            part.write_bytes(line)
            parts.append((part,))
        states.append(without_runs(fresh(tmp_path, f"s{name}", *parts)))
    assert all(state == states[0] for state in states)


def test_later_records_are_no_new_boot(tmp_path: Path, store: Store, into: Ingest) -> None:
    """A future time must not keep the real reboot from being seen."""
    (tmp_path / "log").write_bytes(
        record(9000, time=GOOD - 500_000) + record(9001, time=FUTURE) + record(1, "/b", time=GOOD)
    )
    into(tmp_path / "log")
    assert len(store.runs(b"p")) == 2
