"""Exports carry all of a store to another one, on either engine; merging counts nothing twice."""

import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aalearn.model.errors import BadInput, UsageError
from aalearn.store import Store
from aalearn.store.batch import Batch, LossRow, StatusRow
from tests.store.sightings import START, Sighting, many, sightings, take
from tests.store.test_store import readings


def bring(store: Store, content: bytes, *, trusted: bool = True) -> tuple[int, int]:
    """Import bytes."""

    @contextmanager
    def opened() -> Iterator[io.BytesIO]:
        yield io.BytesIO(content)

    return store.import_lines(opened, "x.zst", trusted=trusted)


def dump(store: Store) -> bytes:
    """Export to bytes."""
    return b"".join(store.export_lines())


def fill(store: Store, seen: list[Sighting], words: str = "") -> None:
    """Give a store some of everything."""
    batch = Batch()
    for one in seen:
        take(store, batch, one)
    batch.losses = [LossRow("n1", "s", START + n, "k", n) for n in range(1, 4)]
    batch.timeline = [StatusRow("n1", START, "profile_load", b"web\xff", "complain")]
    batch.count("records", len(seen))
    batch.positions["n1:/a.log\udcff"] = "5"
    store.commit(batch)
    for who in ("ann", "bob", "ann"):
        store.decide(b"web", f"/x{words} r,", "deny", who=who, when=START, why="\0\u2028")
    for n in range(2):
        store.save_revision(b"web", f"{words}{n}", "{}", author="a", reason="b", when=n, detail='{"a": 1}')
        store.step(b"web", "draft", revision=n + 1, who="ann", reason=words, when=START)


def everything(store: Store) -> tuple[Any, ...]:
    """All readings."""
    rest = (store.losses(), store.timeline(), store.counters(), store.positions())
    return (*readings(store), *rest, store.decisions(b"web"), store.revisions(b"web"), store.steps(b"web"))


def test_there_and_back_between_the_engines(fresh: Callable[[], str]) -> None:
    with Store.open(fresh()) as store, Store.open("sqlite://") as other, Store.open(fresh()) as third:
        fill(store, many(600), "one")
        content = dump(store)
        assert bring(other, content) == (content.count(b"\n") - 1, 0)
        assert dump(other) == content
        assert bring(third, content)[1] == 0
        assert dump(third) == content
        kept = [one for place, one in enumerate(everything(store)) if place != 7]
        assert [one for place, one in enumerate(everything(third)) if place != 7] == kept
        assert third.findings() == other.findings() == []
        assert [one.who for one in third.decisions(b"web")] == ["bob", "ann"]  # the same again: the last place holds
        bring(store, content)
        bring(third, content)
        assert dump(third) == dump(store) == content


@settings(max_examples=30)
@given(st.lists(sightings, max_size=40), st.text(max_size=5))
def test_export_import_export_gives_the_same_bytes(seen: list[Sighting], words: str) -> None:
    with Store.open("sqlite://") as store, Store.open("sqlite://") as other:
        fill(store, seen, words)
        content = dump(store)
        bring(other, content)
        assert dump(other) == content
        assert other.findings() == store.findings() == []
        assert readings(other) == readings(store)


def test_a_fleet_in_one_store_in_any_order(fresh: Callable[[], str]) -> None:
    seen = many(900)
    draw = random.Random(4)
    with Store.open("sqlite://") as one, Store.open("sqlite://") as other, Store.open("sqlite://") as whole:
        first: list[bytes] = []
        for store, node in ((one, "n1"), (other, "n2")):
            fill(store, [s for s in seen[:500] if s.node == node], node)
            first.append(dump(store))
            fill(store, [s for s in seen if s.node == node], node)  # it goes on; the first 500 are known
        fill(whole, seen)
        steps = [*first, dump(one), dump(other), *first]
        found = []
        for _ in range(2):
            draw.shuffle(steps)
            with Store.open(fresh()) as fleet:
                for content in steps:
                    bring(fleet, content)
                assert fleet.findings() == []
                assert readings(fleet) == readings(whole)
                assert fleet.counters()["records"] == one.counters()["records"] + other.counters()["records"]
                found.append(readings(fleet))
                last = dump(fleet)
            with Store.open("sqlite://") as again:
                bring(again, last)
                assert dump(again) == last
        assert found[0] == found[1]


def test_a_moved_store_goes_on_and_the_fleet_follows() -> None:
    seen = many(300)
    with Store.open("sqlite://") as old, Store.open("sqlite://") as new, Store.open("sqlite://") as fleet:
        fill(old, seen[:200])
        bring(fleet, dump(old))
        bring(new, dump(old))
        batch = Batch()
        assert sum(take(new, batch, one) for one in seen) == 100
        new.commit(batch)
        bring(fleet, dump(new))
        bring(fleet, dump(old))
        assert sum(one.events for one in fleet.profiles()) == 300
        assert fleet.findings() == []


def test_what_may_count_twice_is_refused(url: str) -> None:
    seen = [one._replace(node="n1") for one in many(100)]
    with Store.open(url) as store, Store.open("sqlite://") as other:
        fill(store, seen)
        fill(other, seen[:50])
        before = dump(store)
        with pytest.raises(UsageError, match="n1 was counted by other stores"):
            bring(store, dump(other))
        assert dump(store) == before
    with Store.open("sqlite://") as apart, Store.open("sqlite://") as other:
        fill(apart, seen[:50])
        fill(other, seen[50:])
        bring(apart, dump(other))
        assert sum(one.events for one in apart.profiles()) == 100


def test_histories_that_differ_keep_ours(url: str) -> None:
    with Store.open(url) as store, Store.open("sqlite://") as other:
        fill(store, [], "mine")
        fill(other, [], "theirs")
        for _ in range(2):
            assert bring(store, dump(other))[1] == 1
            assert [one.text for one in store.revisions(b"web")] == ["mine0", "mine1", "theirs0", "theirs1"]
            assert [one.number for one in store.revisions(b"web")] == [1, 2, 3, 4]
            assert [one.reason for one in store.steps(b"web")] == ["mine", "mine"]
        assert store.findings() == []


def changed(content: bytes, kind: str, change: Callable[[list[Any]], None]) -> bytes:
    """Return an export with lines of one kind changed."""
    made = []
    for line in content.splitlines():
        row = json.loads(line)
        if isinstance(row, list) and row[0] == kind:
            change(row)
        made.append(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return b"".join(made)


@pytest.mark.parametrize(
    ("horizon", "trusted"),
    [(1 << 62, True), (1 << 62, False), (START + 40 * 365 * 86_400_000, True), (START * 11 // 10, False)],
)
def test_a_horizon_that_hides_what_is_yet_to_come_is_refused(url: str, horizon: int, trusted: bool) -> None:
    seen = many(60)
    with Store.open("sqlite://") as other:
        fill(other, seen)
        content = dump(other)

    def forge(row: list[Any]) -> None:
        row[2] = horizon

    with Store.open(url) as store:
        before = dump(store)
        with pytest.raises(UsageError, match="new ones would be lost"):
            bring(store, changed(content, "node", forge), trusted=trusted)
        assert dump(store) == before
        late = changed(content, "marks", lambda row: row.__setitem__(3, 1 << 62))
        with pytest.raises(UsageError, match="new ones would be lost"):
            bring(store, changed(late, "node", lambda row: row.__setitem__(2, 1 << 61)), trusted=trusted)


def test_a_horizon_that_is_over_is_taken_but_not_for_a_node_counted_here(url: str) -> None:
    early = many(60)
    past = min(one.time for one in early)

    def forge(row: list[Any]) -> None:
        row[2] = past

    with Store.open("sqlite://") as other:
        fill(other, early)
        content = changed(dump(other), "node", forge)
        fresh = early[0].node
    with Store.open(url) as store:
        bring(store, content, trusted=False)
        assert store.ledger(fresh).horizon == past
    with Store.open("sqlite://") as here:
        batch = Batch()
        take(here, batch, early[0]._replace(time=past + 5, serial=1 << 40, name=b"/other"))
        here.commit(batch)
        bring(here, content, trusted=False)
        assert here.ledger(fresh).horizon == 0


def test_what_nobody_vouches_for_is_marked_and_the_rest_is_the_same(fresh: Callable[[], str]) -> None:
    with Store.open("sqlite://") as other, Store.open(fresh()) as store, Store.open(fresh()) as believed:
        fill(other, many(60))
        content = dump(other)
        bring(believed, content)
        for _ in range(2):
            bring(store, content, trusted=False)
            assert store.findings() == []
            assert not any(one.trusted or one.confirmed for one in store.accesses(b"web"))
            assert not any(one.trusted for one in store.profiles())
            assert [one.who for one in store.decisions(b"web")] == ["imported:bob", "imported:ann"]
            assert all(one.imported for one in store.decisions(b"web"))
            assert all(one.imported for one in store.revisions(b"web"))
            assert [(one.number, one.author) for one in store.revisions(b"web")] == [
                (1, "imported:a"),
                (2, "imported:a"),
            ]
            assert [one.who for one in store.steps(b"web")] == ["imported:ann"] * 2
            assert store.positions() == {}
            assert [one.events for one in store.profiles()] == [one.events for one in believed.profiles()]
            assert store.losses() == believed.losses()


def test_an_untrusted_import_of_what_is_here_changes_nothing(url: str) -> None:
    seen = many(120)
    with Store.open(url) as store:
        fill(store, seen)
        before = dump(store)
        trusted = [one.trusted for one in store.accesses(b"web")]
        bring(store, before, trusted=False)
        assert [one.trusted for one in store.accesses(b"web")] == trusted
        kept = store.decisions(b"web")
        assert not any(one.imported for one in kept)
        assert not any(one.imported for one in store.revisions(b"web"))
        assert dump(store) == before


HEAD = b'{"aalearn":"export","version":1}\n'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b'{"aalearn":"export","version":2}\n',
        HEAD[:-1],
        HEAD + b"[" * 200_000 + b"\n",
        HEAD + b'["node"]\n',
        HEAD + b'["nodes","x",0,[]]\n',
        HEAD + b'["node","x",-1,[]]\n',
        HEAD + b'["node","x",99999999999999999999,[]]\n',
        HEAD + b'["node","x",' + b"9" * 5000 + b",[]]\n",
        HEAD + b'["node","x",NaN,[]]\n',
        HEAD + b'["node","\\u1234",0,[]]\n',
        HEAD + b'["node","x",true,[]]\n',
        HEAD + b'["marks",1,1,1,"AAAA"]\n',
        HEAD + b'["marks",1,1,1,5]\n',
        HEAD + b'["counter","x",{"y":1}]\n',
        HEAD + b'["counter","x",{"1":1}]\n["node","x",0,[]]\n',
        HEAD + b'["access","web",["ALLOWED","open",[],null],{"1":[1,1,1,true,{},[],[],"AAAA"]},""]\n',
        HEAD + b'["access","web",["NOTHING","open",[],null],{},""]\n',
        HEAD + b'["access","web",["ALLOWED","open",[],null],{"1":[0,1,1,true,{},[],[],""]},""]\n',
        HEAD + b'["access","web",["ALLOWED","open",[],null],{},""]\n',
        HEAD + b'["step",1,"web",1]\n',
        b"\x00\xff" * 50,
        HEAD + b'["node","x",0,[]]',
        HEAD + b'["node","' + b"x" * (17 << 20) + b'",0,[]]\n',
    ],
    ids=lambda content: repr(content[30:70]),
)
def test_hostile_files_are_refused_in_one_line(content: bytes) -> None:
    with Store.open("sqlite://") as store:
        before = dump(store)
        with pytest.raises(BadInput) as caught:
            bring(store, content)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200
        assert dump(store) == before


def test_any_damage_is_refused_or_harmless() -> None:
    with Store.open("sqlite://") as store:
        fill(store, many(60))
        content = dump(store)
    draw = random.Random(5)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        with Store.open("sqlite://") as store:
            try:
                bring(store, bytes(damaged))
            except (BadInput, UsageError):
                assert dump(store).count(b"\n") == 1


def test_the_form_is_as_documented() -> None:
    with Store.open("sqlite://") as store:
        fill(store, many(5))
        kinds = [json.loads(line) for line in dump(store).splitlines()]
    assert kinds[0] == {"aalearn": "export", "version": 1}
    assert {row[0] for row in kinds[1:]} >= {"node", "marks", "counter", "position", "loss", "status", "run", "access"}
