"""The bounded look at what was seen last: what it holds, and what it only counts."""

from collections.abc import Iterator

import pytest

from aalearn.model.event import Event, Verdict
from aalearn.store import Store
from aalearn.store.batch import Batch, Tally

T0 = 1_700_000_000_000
DENIED = frozenset({Verdict.DENIED, Verdict.KILLED})


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def seen(store: Store, name: str, *times: int, node: str = "a", label: bytes = b"app", verdict: str = "DENIED") -> None:
    """Commit sightings of one access at these times (ms after T0)."""
    batch, event = Batch(), Event(Verdict(verdict), "open", label, (("name", name.encode()),))
    tally = batch.tallies.setdefault((label, event, None), Tally())
    for at in times:
        tally.see(T0 + at, b"app", None, node, True, b"raw " + name.encode())
    store.commit(batch)


def names(store: Store, since: int = 0, **more: object) -> tuple[list[str], int, int]:
    found = store.latest(b"app", DENIED, T0 + since, **more)  # type: ignore[arg-type]
    return [access.event.text("name") for access in found.accesses], found.more, found.more_events


def test_it_holds_what_all_accesses_hold_but_the_runs(store: Store) -> None:
    seen(store, "/a", 1, 5)
    seen(store, "/b", 3, label=b"app//child")
    seen(store, "/c", 9, verdict="ALLOWED")
    seen(store, "/d", 9, label=b"other")
    assert names(store) == (["/a", "/b"], 0, 0)
    whole = {access.event: access for access in store.accesses(b"app")}
    for access in store.latest(b"app", DENIED).accesses:
        other = whole[access.event]
        assert (access.id, access.count, access.first, access.last) == (other.id, other.count, other.first, other.last)
        assert (access.programs, access.nodes, access.sample) == (other.programs, other.nodes, other.sample)
    assert store.latest(b"nothing", DENIED).accesses == ()


def test_the_rest_is_counted(store: Store) -> None:
    for at in range(20):
        seen(store, f"/{at:02}", at, at, at)
    assert names(store, most=3) == (["/19", "/18", "/17"], 17, 51)
    assert names(store, since=18) == (["/19", "/18"], 0, 0)
    few, more, events = names(store, room=400)
    assert few[0] == "/19"
    assert (len(few) + more, 3 * len(few) + events) == (20, 60)
    seen(store, "/00", 50)
    assert names(store, since=18, most=1) == (["/00"], 2, 6)
    assert names(store, since=40, most=0) == ([], 1, 1), "what began before counts once"
    assert store.latest(b"app", DENIED).whole
    some = store.latest(b"app", DENIED, rows=5)
    assert (len(some.accesses), some.more, some.whole) == (5, 0, False)


def test_of_one_node_only(store: Store) -> None:
    seen(store, "/a", 1, 2)
    seen(store, "/b", 3, 4, node="evil")
    seen(store, "/both", 5, 5)
    seen(store, "/both", 6, 6, node="evil")
    assert names(store, on=lambda node: node == "a") == (["/both", "/a"], 0, 0)
    assert names(store, most=0, on=lambda node: node == "a") == ([], 2, 3)
    assert names(store, on=lambda node: node == "b") == ([], 0, 0)
