"""What goes in comes out, once, whatever the order and the cut; on SQLite and on PostgreSQL alike."""

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aalearn.model.event import Access, Verdict
from aalearn.store import Store
from aalearn.store.batch import RUN_GAP_MS, SAMPLE_BYTES, Batch, LossRow, RunKey, RunRow, StatusRow, Tally
from aalearn.store.readings import Loss, ProfileSummary, Run, Status
from tests.store.sightings import START, Sighting, commit, many, sightings, take

Readings = tuple[tuple[ProfileSummary, ...], list[tuple[Access, ...]], list[tuple[Run, ...]]]


def readings(store: Store) -> Readings:
    """All that depends on accesses."""
    summaries = store.profiles()
    names = [summary.name for summary in summaries]
    return summaries, [store.accesses(name) for name in names], [store.runs(name) for name in names]


def test_what_is_told_again_by_who_can_be_believed_is_confirmed(url: str) -> None:
    doubted = Sighting(START + 5, 1, 7, b"web", b"/etc/x", trusted=False)
    others = [doubted._replace(serial=2, name=b"/etc/y"), doubted._replace(serial=3, name=b"/etc/z", trusted=True)]
    with Store.open(url) as store:
        commit(store, [doubted, *others])
        before = [(one.event, one.count, one.runs, one.sample) for one in store.accesses(b"web")]
        assert [one.believed for one in store.accesses(b"web")] == [False, False, True]
        batch = Batch()
        for seen in (doubted, others[1], doubted._replace(name=b"/etc/never"), doubted._replace(label=b"none")):
            batch.retold.add((seen.label, seen.need(), seen.owner))
        assert batch.weight() == 4
        store.commit(batch)
        found = store.accesses(b"web")
        assert [(one.trusted, one.confirmed) for one in found] == [(False, True), (False, False), (True, True)]
        assert [(one.event, one.count, one.runs, one.sample) for one in found] == before
        assert store.findings() == []
        commit(store, [doubted._replace(serial=9)])
        assert store.accesses(b"web")[0].confirmed


def test_an_access_is_one_row_with_its_story(url: str) -> None:
    first = Sighting(START + 5, 1, 7, b"web", b"/etc/x", program=b"cat")
    later = first._replace(time=START + 9, serial=2, pid=8, program=b"sh", node="n2", trusted=False)
    with Store.open(url) as store:
        commit(store, [later])
        commit(store, [first, first._replace(serial=3)])
        (access,) = store.accesses(b"web")
        assert access.event == first.need()
        assert (access.count, access.first, access.last) == (3, START + 5, START + 9)
        assert access.programs == (b"cat", b"sh")
        assert access.nodes == ("n1", "n2")
        assert access.run_count == len(access.runs) == 2
        assert {run.id for run in store.runs(b"web")} == set(access.runs)
        assert (access.trusted, access.confirmed, access.believed) == (False, True, True)
        assert access.sample == first.line()
        (summary,) = store.profiles()
        assert summary == ProfileSummary(
            b"web", ((Verdict.ALLOWED, 1, 3),), 1, 3, START + 5, START + 9, 2, ("n1", "n2"), False, 0
        )


def test_children_hats_and_owners(url: str) -> None:
    seen = Sighting(START, 1, 7, b"web", b"/etc/x")
    family = [seen._replace(label=label) for label in (b"web", b"web//null-/bin/sh", b"web//hat", b"web2", b":ns:web")]
    owners = [seen._replace(owner=True), seen._replace(owner=False), seen._replace(verdict=Verdict.DENIED)]
    with Store.open(url) as store:
        commit(store, family + owners)
        found = store.accesses(b"web")
        assert [access.event.profile for access in found] == [b"web"] * 4 + [b"web//hat", b"web//null-/bin/sh"]
        assert {access.owner for access in found} == {True, False, None}
        assert [access.event.verdict for access in store.accesses(b"web", verdicts=[Verdict.DENIED])] == [
            Verdict.DENIED
        ]
        assert store.accesses(b"web", verdicts=()) == ()
        assert store.accesses(b"nothing") == ()
        assert [summary.name for summary in store.profiles()] == [b":ns:web", b"web", b"web2"]
        assert store.nearest(b"wbe2") == [b"web2", b"web"] or store.nearest(b"wbe2")[0] in (b"web", b"web2")
        assert store.nearest(b"zzzzzz") == []


@settings(max_examples=60)
@given(st.lists(sightings, max_size=40), st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=4))
def test_any_order_and_any_cut_give_the_same(seen: list[Sighting], draw: random.Random, cuts: list[int]) -> None:
    _same_in_parts("sqlite://", "sqlite://", seen, draw, cuts)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_any_cut_give_the_same_on_each_engine(fresh: Callable[[], str], seed: int) -> None:
    draw = random.Random(seed)
    _same_in_parts(fresh(), fresh(), many(400, seed), draw, draw.sample(range(400), 5))


def _same_in_parts(one: str, other: str, seen: list[Sighting], draw: random.Random, cuts: list[int]) -> None:
    with Store.open(one) as whole:
        commit(whole, seen)
        expected = readings(whole)
    shuffled = draw.sample(seen, len(seen))
    with Store.open(other) as parts:
        places = sorted({0, len(seen), *(min(cut, len(seen)) for cut in cuts)})
        for start, end in itertools.pairwise(places):
            commit(parts, shuffled[start:end])
        assert readings(parts) == expected


def test_again_changes_nothing(url: str) -> None:
    seen = many(500)
    for _ in range(3):
        with Store.open(url) as store:
            batch = Batch()
            fresh = [take(store, batch, one) for one in seen]
            batch.positions["a.log"] = "500"
            store.commit(batch)
            result = readings(store)
            assert sum(summary.events for summary in result[0]) == 500
            assert all(fresh) or not any(fresh)
            assert store.positions() == {"a.log": "500"}


def test_more_than_fits_is_still_counted(url: str) -> None:
    seen = [
        Sighting(START + number, number + 1, 1000 + number, b"web", b"/x", program=b"p%d" % number, node=f"n{number}")
        for number in range(100)
    ]
    with Store.open(url) as store:
        commit(store, seen[:50])
        commit(store, seen[50:])
        (access,) = store.accesses(b"web")
        assert access.count == 100
        assert (len(access.programs), len(access.runs), len(access.nodes)) == (32, 64, 64)
        assert 97 <= access.run_count <= 103
        assert store.profiles()[0].runs == 100


def test_runs_are_joined_over_cuts_but_not_over_beginnings(url: str) -> None:
    def stretch(opened: int, start: int, end: int, fresh: bool = False, pid: int = 5) -> Batch:
        batch = Batch()
        key = RunKey("n1", b"web", pid, opened)
        batch.runs[key] = RunRow(start, end, b"", fresh)
        seen = Sighting(start, 1, pid, b"web", b"/x")
        found = batch.tallies.setdefault((seen.label, seen.need(), None), Tally())
        found.see(start, b"", key, "n1", True, b"")
        return batch

    with Store.open(url) as store:
        store.commit(stretch(START + 1000, START + 1000, START + 2000))
        store.commit(stretch(START, START, START + 900))  # earlier part, read later
        assert [(run.start, run.end) for run in store.runs(b"web")] == [(START, START + 2000)]
        store.commit(stretch(START + 3000, START + 3000, START + 4000, fresh=True))
        store.commit(stretch(START + 5000, START + 5000, START + 5000 + RUN_GAP_MS))
        far = START + 5000 + 3 * RUN_GAP_MS
        store.commit(stretch(far, far, far))
        store.commit(stretch(START, START, START, pid=6))
        runs = store.runs(b"web")
        assert [(run.pid, run.start) for run in runs] == [(5, START), (5, START + 3000), (5, far)]
        (access,) = store.accesses(b"web")
        assert set(access.runs) == {run.id for run in runs}
        assert access.run_count == 3
        assert store.profiles()[0].runs == 3


def test_small_things(url: str) -> None:
    loss = LossRow("n1", "b.log", START + 5, "rate limit", 12)
    status = StatusRow("n1", START, "profile_replace", b"web\xff", "complain")
    with Store.open(url) as store:
        for source in ("b.log", "a.log", "b.log"):
            batch = Batch(losses=[loss, loss._replace(source=source)], timeline=[status, status])
            batch.count("records", 5)
            batch.count("records", 2)
            batch.count("duplicates")
            batch.positions[f"/var/log/\udcff{source}"] = "inode=5 offset=77"
            store.commit(batch)
        assert store.losses() == (Loss(START + 5, "n1", "rate limit", 12, "a.log"),)
        assert store.timeline() == (Status(START, "n1", "profile_replace", b"web\xff", "complain"),)
        assert store.counters() == {"duplicates": 3, "records": 21}
        assert list(store.counters()) == ["duplicates", "records"]
        assert list(store.positions()) == ["/var/log/\udcffa.log", "/var/log/\udcffb.log"]


def test_losses_since_the_window_began_are_the_profiles(url: str) -> None:
    with Store.open(url) as store:
        commit(store, [Sighting(START, 1, 7, b"web", b"/x"), Sighting(START + 100, 2, 7, b"web", b"/x")])
        rows = [(START - 1, "n1"), (START + 50, "n1"), (START + 60, "n2"), (START + 101, "n1")]
        store.commit(Batch(losses=[LossRow(node, "s", time, "suppressed", 1) for time, node in rows]))
        assert store.profiles()[0].losses == 2  # what was lost after its last event may have been one


def test_decisions_and_revisions(url: str) -> None:
    with Store.open(url) as store:
        store.decide(b"web", "/etc/shadow r,", "deny", who="ann", when=START + 5, why="no need \udcff\0")
        store.decide(b"web", "/etc/x r,", "accept", who="bob", when=START, why="")
        store.decide(b"db", "/etc/x r,", "accept", who="bob", when=START, why="")
        assert [(one.rule, one.who, one.when, one.why) for one in store.decisions(b"web")] == [
            ("/etc/x r,", "bob", START, ""),
            ("/etc/shadow r,", "ann", START + 5, "no need \udcff\0"),
        ]
        first = store.save_revision(b"web", "profile web {}\n", '{"a": 1}', author="ann", reason="first", when=START)
        second = store.save_revision(b"web", "profile web { }\n", "{}", author="bob", reason="more", when=START + 1)
        assert (first.number, second.number) == (1, 2)
        assert store.save_revision(b"db", "x", "{}", author="a", reason="b", when=START).number == 1
        assert store.revisions(b"web") == (first, second)
    with Store.open(url, readonly=True) as store:
        assert store.revisions(b"web") == (first, second)


HOSTILE = [
    b"'; DROP TABLE accesses; --",
    b'"); DELETE FROM labels; --',
    b"%s %(x)s :name ? \\",
    bytes(range(256)),
    b"\x1b[2J\xe2\x80\xae",
    b"x" * 100_000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:12]))
def test_foreign_names_are_only_names(url: str, name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    seen = Sighting(START, 1, 7, b"p" + name, name, program=name, node=text)
    with Store.open(url) as store:
        commit(store, [seen])
        commit(store, [seen])
        batch = Batch(losses=[LossRow(text, text, 1, text, 1)], timeline=[StatusRow(text, 1, text, name, text)])
        batch.count(text)
        batch.positions[text] = text
        store.commit(batch)
        (summary,) = store.profiles()
        (access,) = store.accesses(summary.name)
        assert access.event.get("name") == name
        assert access.count == 2
        assert access.programs == (name[:255],)
        assert access.nodes == (text,)
        assert len(access.sample) <= SAMPLE_BYTES
        assert store.positions() == {text: text}
        assert store.counters() == {text: 1}
        assert store.losses()[0].kind == text
        assert store.timeline()[0].profile == name


def test_impossible_numbers_are_kept_within_the_columns(url: str) -> None:
    huge = 10**40
    seen = Sighting(huge, huge, huge, b"web", b"/x")
    with Store.open(url) as store:
        batch = Batch(losses=[LossRow("n", "s", huge, "k", huge)], timeline=[StatusRow("n", -huge, "o", b"p")])
        batch.count("x", huge)
        assert take(store, batch, seen)
        store.commit(batch)
        assert not take(store, Batch(), seen)
        assert store.accesses(b"web")[0].last == 2**63 - 1
        assert store.runs(b"web")[0].end == 2**63 - 1


def test_ids_don_t_tell_the_order(fresh: Callable[[], str]) -> None:
    seen = many(200)
    with Store.open(fresh()) as one, Store.open(fresh()) as other:
        commit(one, seen)
        commit(other, seen[::-1])
        assert [access.id for access in one.accesses(b"web")] == [access.id for access in other.accesses(b"web")]


def test_many_profiles_in_few_statements(url: str) -> None:
    """A flood of `//null-` labels is many labels, each with one access."""
    seen = [Sighting(START + n, n + 1, 7, b"web//null-/tmp/%d" % n, b"/x") for n in range(12_000)]
    with Store.open(url) as store:
        commit(store, seen)
        commit(store, seen[:100])
        assert len(store.accesses(b"web")) == 12_000
        assert store.profiles()[0].events == 12_100
