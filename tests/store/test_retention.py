"""The store stays small: what goes first, what never goes, and that what is gone is never counted twice or hidden."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.store import Store, retention
from aalearn.store.batch import NODES_KEPT, Batch, LossRow, RunKey, StatusRow
from aalearn.store.readings import Loss, Retained
from tests.store.sightings import START, Sighting, commit, many, take

DAY = retention.DAY_MS
NOW = START + 1000 * DAY
HUGE = 1 << 40


def settle(store: Store, limit: int, now: int = NOW) -> Retained:
    """Call it until it is done; the amounts are of all calls together."""
    sums = dict.fromkeys(("samples", "runs", "losses", "statuses", "labels", "blocks"), 0)
    for _ in range(500):
        made = store.retain(limit, now, seconds=0.2)
        for name in sums:
            sums[name] += getattr(made, name)
        if made.done:
            return Retained(made.size, made.used, made.over, made.done, **sums)
    raise AssertionError("it never ends")


def counts(store: Store) -> list[tuple[object, ...]]:
    """All that must never go."""
    names = [summary.name for summary in store.profiles()]
    found: list[tuple[object, ...]] = [(one.name, one.events, one.accesses, one.runs) for one in store.profiles()]
    return found + [
        (one.event, one.owner, one.count, one.first, one.last, one.programs, one.nodes)
        for name in names
        for one in store.accesses(name)
    ]


def runs_of_a_day(day: int, amount: int) -> Batch:
    """Runs of one profile, each of its own (a day apart they don't join)."""
    batch = Batch()
    for number in range(amount):
        at = START + day * DAY + number * 60_000
        batch.run(RunKey("n1", b"web", number + 1, at), at, b"cat")
    return batch


def test_under_the_limit_nothing_goes(url: str) -> None:
    with Store.open(url) as store:
        commit(store, many(500))
        before = counts(store), store.accesses(b"web"), store.runs(b"web")
        made = store.retain(HUGE, START + DAY)
        assert (made.done, made.over, made.samples, made.runs, made.blocks) == (True, 0, 0, 0, 0)
        assert 0 < made.used <= made.size
        assert (counts(store), store.accesses(b"web"), store.runs(b"web")) == before


def test_samples_go_first_then_runs_and_counts_never(url: str) -> None:
    seen = [Sighting(START + n, n + 1, 7, b"web", b"/%0400d" % n) for n in range(3000)]
    with Store.open(url) as store:
        commit(store, seen)
        store.commit(runs_of_a_day(1, 2000))
        store.decide(b"web", "/x r,", "deny", who="ann", when=1, why="")
        before = counts(store)
        with store._writing() as connection:
            size = retention.used_bytes(connection)
        made = settle(store, int(size * 0.9))
        assert made.samples > 0
        assert made.runs == 0
        assert made.used <= size * 0.9
        assert counts(store) == before
        last = settle(store, 1)
        assert last.over == last.used - 1
        assert (last.runs, last.samples > 0) == (1901, True)
        assert counts(store) == before
        assert all(not access.sample for access in store.accesses(b"web"))
        assert len(store.runs(b"web")) == retention.RUNS_ALWAYS
        assert store.profiles()[0].runs == 2001
        assert len(store.decisions(b"web")) == 1
        assert settle(store, 1).runs == 0


def test_runs_that_are_gone_count_as_one(url: str) -> None:
    """Else the many processes of one start would become many runs, and a rule look well founded."""
    with Store.open(url) as store:
        store.commit(runs_of_a_day(5, retention.RUNS_ALWAYS))
        for pid in range(50):  # one start with many helpers
            commit(store, [Sighting(START + pid, pid + 1, 9000 + pid, b"web", b"/x")])
        (access,) = store.accesses(b"web")
        assert access.run_count == 1
        runs = store.profiles()[0].runs
        assert settle(store, 1).runs > 0
        (access,) = store.accesses(b"web")
        assert access.run_count == 1
        assert store.profiles()[0].runs == runs


def test_the_file_shrinks(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    with Store.open(f"sqlite:///{file}") as store:
        commit(store, [Sighting(START, n + 1, 7, b"web", b"/%d" % n) for n in range(20_000)])
        made = settle(store, 1)
        assert made.samples == 20_000
        before = made.size
        limit = int(made.used * 1.02)
        assert made.size <= limit
        assert before < 20_000 * 600
    assert file.stat().st_size <= limit


def test_old_losses_are_summed_up_and_windows_stay_incomplete(url: str) -> None:
    seen = [Sighting(START, 1, 7, b"web", b"/x"), Sighting(START + 10 * DAY, 2, 7, b"web", b"/x")]
    losses = [LossRow("n1", f"s{n % 2}", START + n * DAY // 10, "rate limit", n) for n in range(1, 100)]
    with Store.open(url) as store:
        commit(store, seen)
        store.commit(Batch(losses=[*losses, LossRow("n2", "s", START + 1, "rate limit", 5)]))
        assert store.profiles()[0].losses == 99
        made = settle(store, HUGE)
        told = store.losses()
        assert len(told) == 1 + len({loss.time // DAY for loss in losses})
        assert made.losses == 100 - len(told)
        assert sum(one.amount for one in told) == sum(range(1, 100)) + 5
        assert sum(one.times for one in told) == 100
        assert store.profiles()[0].losses == 99
        assert Loss(START + 1, "n2", "rate limit", 5, "s") in told
        assert settle(store, HUGE).losses == 0
        store.commit(Batch(losses=losses))  # told again
        assert store.losses() == told


def test_losses_of_a_profile_stay_in_its_time_when_they_are_summed_up(url: str) -> None:
    start = START - START % DAY
    with Store.open(url) as store:
        commit(
            store, [Sighting(start + 500, 1, 7, b"web", b"/x"), Sighting(start + 900, 2, 7, b"db", b"/x", node="n2")]
        )
        store.commit(Batch(losses=[LossRow("n1", "s", at, "k", 1000) for at in (start + 5, start + 600)]))

        def inside() -> list[Loss]:
            return [loss for loss in store.losses_of(b"web") if loss.since(start + 500)]

        assert [loss.times for loss in inside()] == [1]
        settle(store, HUGE)
        assert [(loss.times, loss.amount) for loss in inside()] == [(2, 2000)]
        assert store.losses_of(b"db") == ()


def test_with_more_nodes_than_are_kept_a_loss_on_any_counts(url: str) -> None:
    nodes = [f"n{number}" for number in range(NODES_KEPT + 20)]
    with Store.open(url) as store:
        commit(store, [Sighting(START + at, at, 7, b"web", b"/x", node=node) for at, node in enumerate(nodes, 1)])
        store.commit(Batch(losses=[LossRow(node, "s", START + 9, "k", 1) for node in nodes]))
        assert {loss.node for loss in store.losses_of(b"web")} == set(nodes)
        assert store.profiles()[0].losses == len(nodes)


def test_a_window_inside_a_summed_day_is_incomplete(url: str) -> None:
    start = START - START % DAY
    with Store.open(url) as store:
        commit(store, [Sighting(start + 100 + n, 1, 7, b"web", b"/x") for n in range(9)])
        store.commit(Batch(losses=[LossRow("n1", "s", at, "k", 1) for at in (start + 5, start + 900)]))
        assert store.profiles()[0].losses == 1  # the later one
        settle(store, HUGE)
        assert store.profiles()[0].losses == 2  # whether they were inside can't be told any more


@pytest.mark.parametrize("days", [0.0001, 1.0])
def test_floods_of_losses_and_statuses_are_bounded(url: str, monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    monkeypatch.setattr(retention, "LOSSES_KEPT", 100)
    monkeypatch.setattr(retention, "STATUSES_KEPT", 100)
    apart = int(days * DAY)
    with Store.open(url) as store:
        losses = [LossRow("n1", "s", START + n * apart, "k", 1) for n in range(1000)]
        timeline = [StatusRow("n1", START + n * apart, "profile_load", b"p%d" % n) for n in range(1000)]
        store.commit(Batch(losses=losses, timeline=timeline))
        settle(store, HUGE, START)
        told = store.losses()
        assert len(told) <= 100
        assert (sum(one.times for one in told), max(one.until or one.time for one in told)) == (1000, losses[-1].time)
        assert len(store.timeline()) <= 100
        assert store.timeline()[-1].time == timeline[-1].time


def test_the_last_load_of_each_profile_stays(url: str) -> None:
    rows = [StatusRow("n1", START + n, "profile_replace", b"web") for n in range(50)]
    rows += [StatusRow("n1", START, "profile_load", b"db"), StatusRow("n1", NOW, "profile_load", b"new")]
    with Store.open(url) as store:
        store.commit(Batch(timeline=rows))
        assert settle(store, HUGE).statuses == 49
        assert [(one.profile, one.time) for one in store.timeline()] == [
            (b"db", START),
            (b"web", START + 49),
            (b"new", NOW),
        ]


def test_what_the_ledger_forgot_is_behind_the_horizon(url: str) -> None:
    old = [Sighting(START + n, n + 1, 7, b"web", b"/x%d" % n) for n in range(20_000)]
    new = [one._replace(time=NOW - DAY + one.serial, serial=one.serial + 10**6) for one in old]
    with Store.open(url) as store:
        for part in (old, new):
            batch = Batch()
            assert all(take(store, batch, one) for one in part)
            store.commit(batch)
        assert store.ledger("n1").horizon == 0
        made = settle(store, 1)
        assert made.blocks == 5
        assert store.ledger("n1").horizon == old[-1].time
        assert not any(take(store, Batch(), one) for one in new)
    with Store.open(url) as store:
        assert store.ledger("n1").horizon == old[-1].time
        assert store.ledger("n2").horizon == 0


def test_it_is_bounded_in_time_and_goes_on(url: str) -> None:
    with Store.open(url) as store:
        commit(store, [Sighting(START, n + 1, 7, b"web", b"/%d" % n) for n in range(9000)])
        begun = time.monotonic()
        made = store.retain(1, NOW, seconds=0)
        assert time.monotonic() - begun < 2
        assert not made.done
        assert made.over == 0
        assert settle(store, 1).over > 0


def test_labels_without_accesses_go(url: str) -> None:
    with Store.open(url) as store:
        commit(store, [Sighting(START, 1, 7, b"web", b"/x"), Sighting(START, 1, 7, b"db", b"/x")])
        with store._writing() as connection:
            connection.exec_driver_sql("DELETE FROM totals WHERE label IN (SELECT id FROM labels LIMIT 1)")
        assert store.retain(HUGE, NOW).labels == 1
        assert replace(store.retain(HUGE, NOW), size=0, used=0) == Retained()
