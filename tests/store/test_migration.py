"""A store of schema 0001 with data in it becomes one of today, on both engines."""

from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from aalearn.model.errors import StoreError
from aalearn.model.event import Verdict
from aalearn.store import Store, codec, ledger, migrate, state
from aalearn.store import engine as engines
from aalearn.store.batch import Batch, RunKey, RunRow
from aalearn.store.readings import Loss, Revision, Run, Step
from aalearn.store.writing import base_id, label_id, node_id, run_id
from tests.store.sightings import START, Sighting, commit, take

SEEN = Sighting(START, 9, 7, b"web", b"/x")


def old_store(url: str) -> None:
    """Make a store as the first aalearn wrote it: one access, run, loss, revision and counted event."""
    place = engines.Place(url)
    if place.file is not None:
        engines.look_at(place.file, place.name, readonly=False)
    engine = place.engine(readonly=False)
    node, base, label = node_id("n1"), base_id(b"web"), label_id(b"web")
    run = run_id(node, base, 7, START)
    made = state.State()
    made.add(1, START, START, True)
    made.add_who({b"cat": 1}, [node], [run])
    need = codec.encode_need(SEEN.need(), None)
    low = codec.low(label)
    mark = ledger.mark_of(ledger.fold(0), 7, START)
    rows: dict[str, dict[str, Any]] = {
        "labels": {"id": label, "base": base, "label": b"web", "low": low, "high": codec.low(label + 1)},
        "nodes": {"id": node, "name": b"n1"},
        "accesses": {"digest": codec.identity(low, need), "need": need, "state": made.encode(), "sample": SEEN.line()},
        "totals": {"label": label, "verdict": 0, "accesses": 1, "state": made.encode()},
        "ledger": {"node": node, "block": 0, "marks": ledger.encode({9 << 32 | mark})},
        "losses": {"id": 1, "node": node, "time": START, "kind": b"k", "amount": 3, "source": b"s"},
    }
    rows["runs"] = {"id": run, "base": base, "node": node, "pid": 7, "start": START, "end": START}
    rows["runs"] |= {"program": b"cat", "fresh": False}
    rows["revisions"] = {"base": base, "number": 1, "profile": b"web", "at": 5, "author": b"ann"}
    rows["revisions"] |= {"reason": b"why", "text": b"profile web {}", "proof": b"{}"}
    with engine.connect() as connection:
        engines.for_writing(connection, True)
        with connection.begin():
            config = Config()
            config.set_main_option("script_location", str(migrate.MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            for table, row in rows.items():
                names = ", ".join(f'"{name}"' for name in row)
                values = ", ".join(f":{name}" for name in row)
                connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
    engine.dispose()


def test_a_store_of_the_first_schema_is_migrated(url: str) -> None:
    old_store(url)
    with pytest.raises(StoreError, match="older schema"):
        Store.open(url, readonly=True)
    for _ in range(2):
        with Store.open(url) as store:
            (access,) = store.accesses(b"web")
            assert (access.count, access.event, access.nodes) == (1, SEEN.need(), ("n1",))
            assert store.runs(b"web") == (Run(START, START, "n1", 7, b"cat", access.runs[0]),)
            assert store.losses() == (Loss(START, "n1", "k", 3, "s"),)
            assert store.revisions(b"web") == (Revision(1, 5, "ann", "why", "profile web {}", "{}", "{}"),)
            assert store.steps(b"web") == ()
            (summary,) = store.profiles()
            assert (summary.losses, summary.verdicts) == (1, ((Verdict.ALLOWED, 1, 1),))
            marks = store.ledger("n1").block(0)
            assert marks == {9 << 32 | ledger.mark_of(ledger.fold(0), 7, START)}
    with Store.open(url) as store:
        batch = Batch()
        assert take(store, batch, SEEN._replace(serial=10))
        store.commit(batch)
        commit(store, [SEEN])
        assert store.accesses(b"web")[0].count == 3


def test_steps_are_kept_in_the_order_taken(url: str) -> None:
    with Store.open(url) as store:
        assert store.stages() == {}
        store.step(b"web", "draft", revision=0, who="ann", reason="new \udcff", when=START)
        store.step(b"web", "learning", revision=1, who="aalearn", reason="", when=START - 86_400_000, detail='{"a": 1}')
        store.step(b"db", "draft", revision=0, who="bob", reason="", when=START)
        first = Step(1, START, "draft", 0, "ann", "new \udcff")
        second = Step(2, START - 86_400_000, "learning", 1, "aalearn", "", '{"a": 1}')
        assert store.steps(b"web") == (first, second)
        assert list(store.stages().items()) == [(b"db", Step(1, START, "draft", 0, "bob", "")), (b"web", second)]
        assert store.steps(b"nothing") == ()
    with Store.open(url, readonly=True) as store:
        assert store.stages()[b"web"] == second


def test_a_revision_has_details_and_a_sum(url: str) -> None:
    with Store.open(url) as store:
        made = store.save_revision(b"web", "abc", "{}", author="a", reason="b", when=1, detail='{"window": []}')
        assert store.revisions(b"web") == (made,)
    assert made.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert made.detail == '{"window": []}'


def test_runs_know_their_container(url: str) -> None:
    key = RunKey("n1", b"web", 7, START)
    with Store.open(url) as store:
        for row in (
            RunRow(START, START),
            RunRow(START, START + 1, b"", False, b"c" * 64, b"uid"),
            RunRow(START, START),
        ):
            batch = Batch()
            batch.runs[key] = row
            store.commit(batch)
        (run,) = store.runs(b"web")
        assert (run.container, run.pod, run.end) == (b"c" * 64, b"uid", START + 1)
