"""The service itself: everything that is written is stored once, whatever comes between."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from aalearn.model.errors import StoreError, UsageError
from aalearn.service import ServiceOptions
from aalearn.service import loop as loop_module
from aalearn.service.queue import ByteQueue, Item
from aalearn.sources import Chunk
from aalearn.store import Store
from aalearn.store.batch import Batch
from tests.service.conftest import Bench, always
from tests.service.following import Follow


def hup() -> None:
    """Ask this process to read its configuration again."""
    os.kill(os.getpid(), signal.SIGHUP)


def test_follows_stops_and_goes_on(bench: Bench) -> None:
    bench.write(1)
    assert bench.serve(None, (bench.stored(100), lambda: bench.write(101)), (bench.stored(200), lambda: None)) == 0
    assert bench.said == ["reading what the test wants"]
    with Store.open(bench.db, readonly=True) as store:
        assert store.positions() == {f"web-1:follow:{bench.log}": str(bench.log.stat().st_size)}
    bench.write(201)  # while nobody looks
    source = Follow(bench.log)
    bench.sources = [source]
    assert bench.serve(None, (bench.stored(300), lambda: None)) == 0
    assert bench.events() == 300
    assert source.opened[0] is not None
    assert int(source.opened[0]) > 0
    assert bench.figures is not None
    assert bench.figures.totals["duplicates"] == 0


def test_systemd_is_told(bench: Bench) -> None:
    bench.watchdog = "2000000"
    bench.write(1)

    def alive() -> bool:
        return bench.systemd.words().count("WATCHDOG=1") >= 2

    assert bench.serve(None, (bench.stored(100), lambda: None), (alive, lambda: None)) == 0
    words = bench.systemd.words()
    assert words[0] == "READY=1"
    assert words[1] == f"MAINPID={os.getpid()}"
    assert words[-1] == "STOPPING=1"
    first = bench.systemd.told[0]
    assert f"STATUS=0 events (0 records/s) from follow:{bench.log}" in first


def test_status_shows_figures(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_STATUS_S", 0.2)
    bench.write(1)

    def shown() -> bool:
        return any(text.startswith("STATUS=100 events") for text in bench.systemd.look())

    assert bench.serve(None, (shown, lambda: None)) == 0


def test_a_read_that_hangs_starves_the_watchdog(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_HANGS_S", 0.5)
    bench.watchdog = "500000"
    source = Follow(bench.log)
    bench.sources = [source]
    seen: list[int] = []

    def look() -> None:
        bench.systemd.look()
        seen.append(bench.systemd.words().count("WATCHDOG=1"))

    def quiet_for_three_seconds() -> bool:
        sleep(3)
        return True

    assert (
        bench.serve(
            None,
            (always, source.hang.set),
            (bench.says("a read has not come back"), look),
            (quiet_for_three_seconds, look),
            (always, source.hang.clear),
            (lambda: bench.systemd.words().count("WATCHDOG=1") > seen[1], lambda: None),
        )
        == 0
    )
    assert seen[1] - seen[0] <= 1


def test_ends_within_five_seconds_under_load(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not read stays unread, what was read is stored: the next run finds exactly the rest."""
    monkeypatch.setattr(loop_module, "DRAIN_S", 0.1)
    lines = 300_000
    bench.write(1, lines)
    asked: list[float] = []
    assert bench.serve(None, (bench.stored(1), lambda: asked.append(monotonic()))) == 0
    assert monotonic() - asked[0] < 5
    assert 0 < bench.events() < lines
    assert bench.serve(None, (bench.stored(lines), lambda: None), patience=90) == 0
    assert bench.events() == lines


def test_what_cannot_be_read_twice_is_drained_or_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "DRAIN_S", 0.0)
    lines = 300_000
    bench.write(1, lines)
    bench.sources = [Follow(bench.log, resumable=False)]
    assert bench.serve(None, (bench.stored(1), lambda: None)) == 0
    with Store.open(bench.db, readonly=True) as store:
        (loss,) = store.losses()
        assert loss.kind == "stopped"
        assert loss.amount > 0
        assert store.counters()["events"] + loss.amount <= lines


def test_reload(bench: Bench) -> None:
    bench.write(1)
    other = bench.folder / "other.log"
    other.touch()
    asked: list[str] = []

    def reload() -> ServiceOptions:
        asked.append("reload")
        if len(asked) == 1:
            raise UsageError("config.toml:3: there is no setting surces")
        if len(asked) == 2:
            return replace(bench.options(), listen="0.0.0.0:0")
        bench.sources = [Follow(bench.log), Follow(other)]
        return replace(bench.options(sources=("a", "b")), db="sqlite:////other.db")

    def more() -> None:
        bench.write(101)
        other.write_bytes(bench.log.read_bytes().replace(b"/f/", b"/g/").replace(b'profile="p"', b'profile="q"'))

    code = bench.serve(
        None,
        (bench.stored(100), hup),
        (bench.says("no setting surces"), hup),
        (bench.says("not this machine's own"), hup),
        (bench.says("was read again"), more),
        (bench.stored(400), lambda: None),
        reload=reload,
    )
    assert code == 0
    assert bench.figures is not None
    assert (bench.figures.reloads, bench.figures.bad_reloads) == (1, 2)
    assert bench.figures.totals["duplicates"] == 0
    words = bench.systemd.words()
    assert words.count("RELOADING=1") == 3
    assert words.count("READY=1") == 4
    assert any(word.startswith("MONOTONIC_USEC=") for word in words)
    assert any("db: changed, but that takes a restart" in line for line in bench.said)


def test_a_source_breaks_and_comes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aalearn.service.reader.FIRST_PAUSE_S", 0.1)
    source, well = Follow(bench.log), Follow(bench.log, name="well")
    bench.sources = [source, well]
    bench.write(1)

    def break_it() -> None:
        source.broken = "the log is damaged"

    def mend_it() -> None:
        source.broken = ""
        bench.write(101)

    back = bench.says("is read again")
    assert (
        bench.serve(
            None,
            (bench.stored(100), break_it),
            (bench.says("next try"), mend_it),
            (back, lambda: None),
            (bench.stored(200), lambda: None),
        )
        == 0
    )
    assert source.opened[-1] is not None
    assert bench.figures is not None
    assert bench.figures.readers[0].restarts >= 1


def test_no_source_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aalearn.service.reader.FIRST_PAUSE_S", 0.01)
    source = Follow(bench.log)
    bench.sources = [source]
    bench.write(1)
    assert bench.serve(None, (bench.stored(100), lambda: setattr(source, "broken", "gone")), (lambda: False, hup)) == 3
    assert "no source is left that can be read" in bench.said
    source.broken = "may not be read"
    assert bench.serve() == 3
    assert "may not be read; next try in 0 s" in bench.said
    assert bench.said[-1].startswith("no source can be read")


def test_a_defect_of_a_source_is_survived(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    class Defect(Follow):
        def read(self, timeout: float) -> list[Chunk]:
            if len(self.opened) == 2:  # the second time that it is open
                raise ZeroDivisionError
            if len(self.opened) == 1 and self.lag().bytes == 0:
                self.opened.append("broken")
                raise ZeroDivisionError
            return super().read(timeout)

    bench.sources = [Defect(bench.log)]
    bench.write(1)
    again = bench.says("ended by a defect")
    assert bench.serve(None, (again, lambda: bench.write(101)), (bench.stored(200), lambda: None)) == 0
    assert bench.events() == 200


def test_once(bench: Bench) -> None:
    bench.write(1, 250)
    assert bench.serve(bench.options(once=True)) == 0
    assert bench.events() == 250
    bench.sources = [Follow(bench.folder / "nothing.log")]
    assert bench.serve(bench.options(once=True)) == 3
    assert any("nothing.log: No such file or directory" in line or "No such file" in line for line in bench.said)


def test_a_second_one_is_told_who_is_first(bench: Bench) -> None:
    with Store.open(bench.db) as first:
        first.claim()
        with pytest.raises(StoreError, match=f"is being written by pid {os.getpid()} on"):
            bench.serve()


def test_a_store_that_moves_away(bench: Bench) -> None:
    """SQLite would write on into a file without a name; better the service ends, and systemd begins it anew."""
    bench.write(1)
    store = bench.folder / "store.db"
    with pytest.raises(StoreError, match="was moved or deleted while the service ran"):
        bench.serve(None, (bench.stored(100), lambda: store.rename(bench.folder / "aside.db")), (lambda: False, hup))


class Counting:
    """A follower; the first call of each kind fails."""

    def __init__(self) -> None:
        self.events = 0
        self.ticks: list[int] = []

    def committed(self, batch: Batch, store: Store) -> None:
        """Count what was committed, and see that it is in the store."""
        self.events += sum(tally.count for tally in batch.tallies.values())
        assert store.counters()["events"] == self.events
        if self.events == 100:
            raise StoreError("the follower is out of order")

    def tick(self, now_ms: int, store: Store) -> None:
        """Note when."""
        self.ticks.append(now_ms)


def test_followers(bench: Bench) -> None:
    follower = Counting()
    bench.followers = [follower]
    bench.write(1)
    ticked = (lambda: len(follower.ticks) >= 2, lambda: bench.write(101))
    assert bench.serve(None, (bench.stored(100), lambda: None), ticked, (bench.stored(200), lambda: None)) == 0
    assert follower.events == 200
    assert "the follower is out of order" in bench.said
    assert bench.figures is not None
    assert bench.figures.follower_failures == 1


def test_the_queue_is_bounded_and_pushes_back() -> None:
    queue = ByteQueue(10_000)
    chunk = Chunk(b"x" * 3000, "s", True, "n", "1")
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.extend(queue.put(Item("s", chunk)) for _ in range(10)))
    thread.start()
    deadline = monotonic() + 5
    while queue.size < 7000 and monotonic() < deadline:
        sleep(0.01)
    sleep(0.1)
    assert len(done) == 2  # two fit, the third waits
    big = Chunk(b"x" * 50_000, "s", True, "n", "1")
    for _ in range(10):
        assert queue.get(1.0) is not None
    thread.join(5)
    assert done == [True] * 10
    assert queue.waited > 0.05
    assert queue.get(0.0) is None
    assert queue.put(Item("s", big))  # larger than the limit, but alone
    assert [item.chunk for item in queue.close()] == [big]
    assert not queue.put(Item("s", chunk))
    assert queue.most <= 51_000


def test_memory_of_a_flood_is_bounded(bench: Bench, tmp_path: Path) -> None:
    """A source that gives much faster than the store takes waits at the queue's limit."""
    bench.write(1, 30_000)
    bench.sources = [Follow(bench.log, piece=1 << 16)]
    assert bench.serve(bench.options(queue_bytes=300_000), (bench.stored(30_000), lambda: None)) == 0
    assert bench.figures is not None
    assert bench.figures.queue.most <= 300_000 + (1 << 16)
    assert bench.figures.queue.waited > 0
