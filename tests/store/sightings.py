"""Events as intake sees them, made up; and batches made of them."""

import random
from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from hypothesis import strategies as st

from aalearn.model.event import Event, Verdict
from aalearn.store import Store
from aalearn.store.batch import Batch, RunKey, Tally
from aalearn.store.codec import group
from aalearn.store.ledger import mark_of

START = 1_700_000_000_000


class Sighting(NamedTuple):
    """One event with all that intake knows of it."""

    time: int
    serial: int
    pid: int
    label: bytes
    name: bytes
    verdict: Verdict = Verdict.ALLOWED
    owner: bool | None = None
    program: bytes = b"cat"
    node: str = "n1"
    trusted: bool = True

    def need(self) -> Event:
        """The need behind it."""
        fields = (("class", b"file"), ("denied_mask", b"r"), ("name", self.name))
        return Event(self.verdict, "open", self.label, fields)

    def line(self) -> bytes:
        """A raw record of it."""
        return b"type=AVC msg=audit(%d:%d): pid=%d name=%s" % (self.time, self.serial, self.pid, self.name)


def tally(batch: Batch, seen: Sighting) -> None:
    """Do with a sighting what intake does."""
    run = RunKey(seen.node, group(seen.label), seen.pid, START)
    key = (seen.label, seen.need(), seen.owner)
    found = batch.tallies.setdefault(key, Tally())
    found.see(seen.time, seen.program, run, seen.node, seen.trusted, seen.line())
    batch.run(run, seen.time, seen.program)


def take(store: Store, batch: Batch, seen: Sighting) -> bool:
    """Tally the sighting if the ledger has not seen it."""
    mark = mark_of(crc32(seen.name), seen.pid, seen.time)
    if not store.ledger(seen.node).add(seen.serial, mark):
        return False
    tally(batch, seen)
    return True


def commit(store: Store, sightings: Iterable[Sighting]) -> None:
    """Commit them in one batch."""
    batch = Batch()
    for seen in sightings:
        tally(batch, seen)
    store.commit(batch)


def many(count: int, seed: int = 1, names: int = 50) -> list[Sighting]:
    """Return `count` sightings of a few profiles and about `names` names."""
    draw = random.Random(seed)
    labels = [b"web", b"web//null-/bin/sh", b"web//hat", b"db"]
    return [
        Sighting(
            START + number * 10,
            1000 + number,
            draw.randrange(100, 110),
            draw.choice(labels),
            b"/etc/%d" % draw.randrange(names),
            draw.choice([Verdict.ALLOWED, Verdict.ALLOWED, Verdict.AUDIT]),
            draw.choice([True, False, None]),
            draw.choice([b"cat", b"sh", b"\xff\x00"]),
            draw.choice(["n1", "n2"]),
            draw.random() > 0.1,
        )
        for number in range(count)
    ]


sightings = st.builds(
    Sighting,
    time=st.integers(START, START + 10**6),
    serial=st.integers(1, 10**5),
    pid=st.integers(1, 40),
    label=st.sampled_from([b"web", b"web//null-/bin/sh", b"web//hat", b"db", b"a//&b", b":ns:web"]),
    name=st.one_of(st.binary(max_size=20), st.sampled_from([b"/a", b"/b", b"/c"])),
    verdict=st.sampled_from(list(Verdict)),
    owner=st.sampled_from([True, False, None]),
    program=st.one_of(st.binary(max_size=16), st.sampled_from([b"cat", b"sh"])),
    node=st.sampled_from(["n1", "n2", "\udcff'; DROP TABLE accesses; --"]),
    trusted=st.booleans(),
)
