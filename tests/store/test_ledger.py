"""The ledger is a plain set of (serial, mark), however it is asked, stored and loaded."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aalearn.model.errors import StoreError
from aalearn.store import ledger as module
from aalearn.store.ledger import Ledger, decode, encode, fold, mark_of
from tests.store.sightings import START

_serials = st.one_of(
    st.integers(1, 50),  # several marks a serial
    st.integers(4090, 4100),  # over the border of a block
    st.integers(1, 10**6),  # jumps
    st.integers(2**32 - 5, 2**32 + 5),
    st.integers(2**63 - 5, 2**64 + 5),  # forged
)
_marks = st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1))


@settings(max_examples=200)
@given(st.lists(st.lists(st.tuples(_serials, _marks), max_size=8), max_size=12))
def test_many_at_once_are_the_same_as_one_by_one(parts: list[list[tuple[int, int]]]) -> None:
    one_by_one, at_once = Ledger(lambda number: None), Ledger(lambda number: None)
    for part in parts:
        expected = [one_by_one.add(serial, mark) for serial, mark in part]
        got = at_once.add_all([serial for serial, _ in part], [mark for _, mark in part])
        assert ([True] * len(part) if got is None else got) == expected
    assert at_once.news() == one_by_one.news()


@settings(max_examples=300)
@given(st.lists(st.tuples(_serials, _marks, st.sampled_from(["", "", "", "save", "reload", "lose"])), max_size=60))
def test_it_is_a_set(steps: list[tuple[int, int, str]]) -> None:
    disk: dict[int, bytes] = {}
    ledger = Ledger(disk.get)
    seen: set[tuple[int, int]] = set()
    saved: set[tuple[int, int]] = set()
    for serial, mark, then in steps:
        assert ledger.add(serial, mark) is ((serial, mark) not in seen)
        seen.add((serial, mark))
        if then == "save" or then == "reload":
            disk.update(ledger.news())
            ledger.settle()
            assert ledger.news() == {}
            saved = set(seen)
        if then == "reload":
            ledger = Ledger(disk.get)
        elif then == "lose":  # the process died: what was not committed is new again
            ledger = Ledger(disk.get)
            seen = set(saved)


@settings(max_examples=200)
@given(st.lists(st.tuples(_serials, _marks, st.sampled_from(["add", "lend", "lend", "save"])), max_size=60))
def test_lent_blocks_are_the_ledger_too(steps: list[tuple[int, int, str]]) -> None:
    disk: dict[int, bytes] = {}
    ledger = Ledger(disk.get)
    seen: set[tuple[int, int]] = set()
    for serial, mark, how in steps:
        if how == "lend":
            block = ledger.block(serial >> module.BLOCK_BITS)
            key = (serial & module.OFFSET_MASK) << 32 | mark
            assert (key not in block) is ((serial, mark) not in seen)
            block.add(key)
        else:
            assert ledger.add(serial, mark) is ((serial, mark) not in seen)
        seen.add((serial, mark))
        if how == "save":
            disk.update(ledger.news())
            ledger.settle()
    disk.update(ledger.news())
    again = Ledger(disk.get)
    assert not any(again.add(serial, mark) for serial, mark in seen)
    assert sum(len(decode(blob)) for blob in disk.values()) == len(seen)


def test_unchanged_blocks_leave_memory_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MARKS", 1000)
    disk: dict[int, bytes] = {}
    loads: list[int] = []

    def load(number: int) -> bytes | None:
        loads.append(number)
        return disk.get(number)

    ledger = Ledger(load)
    serials = range(1, 300 * 4096, 256)
    for serial in serials:
        assert ledger.add(serial, 7)
    assert len(ledger.news()) == 300  # news stay whatever the bound
    disk.update(ledger.news())
    ledger.settle()
    assert sum(map(len, ledger._blocks.values())) <= 1000
    before = len(loads)
    assert not any(ledger.add(serial, 7) for serial in serials)
    assert len(loads) > before
    assert ledger.news() == {}


def test_a_flood_of_marks_is_counted_but_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_MARKS", 100)
    ledger = Ledger(lambda number: None)
    assert all(ledger.add(5, mark) for mark in range(150))
    assert ledger.unmarked == 50
    assert len(decode(ledger.news()[0])) == 100
    assert not ledger.add(5, 99)
    assert ledger.add(5, 149)


@given(st.sets(st.tuples(st.integers(0, 4095), st.integers(0, 2**32 - 1)), max_size=50))
def test_blocks_come_back(pairs: set[tuple[int, int]]) -> None:
    block = {offset << 32 | mark for offset, mark in pairs}
    assert decode(encode(block)) == block


@given(st.binary(max_size=60))
def test_rubbish_is_refused(blob: bytes) -> None:
    try:
        found = decode(blob)
    except StoreError as error:
        assert "\n" not in str(error)
    else:
        assert decode(encode(found)) == found


def test_damage_is_refused() -> None:
    blob = encode({number << 32 | number for number in range(0, 4096, 3)})
    for cut in range(0, len(blob), 97):
        with pytest.raises(StoreError):
            decode(blob[:cut])


@pytest.mark.parametrize(
    ("serials", "most"),
    [
        (range(1, 40_001), 4.05),
        ([1 + number // 3 for number in range(40_000)], 4.05),
        (sorted(random.Random(1).sample(range(160_000), 40_000)), 4.9),
        (range(1, 4_000_001, 100), 4.9),
    ],
    ids=["runs", "three a serial", "one in four", "one in a hundred"],
)
def test_it_is_compact(serials: list[int], most: float) -> None:
    draw = random.Random(2)
    ledger = Ledger(lambda number: None)
    for serial in serials:
        ledger.add(serial, draw.getrandbits(32))
    assert sum(map(len, ledger.news().values())) / len(serials) <= most


def test_marks_are_spread_and_stay() -> None:
    assert mark_of(fold(0x0123456789ABCDEF), 4242, 1_700_000_000_123) == 0xB3C49EA7
    draw = random.Random(4)
    digests = [fold(draw.getrandbits(64)) for _ in range(20)]
    marks = {mark_of(digest, pid, START + ms) for digest in digests for pid in range(50) for ms in range(50)}
    assert len(marks) > 49_990  # 50,000 of 2**32: about 0.3 collisions expected
    assert all(0 <= mark < 2**32 for mark in marks)


def test_adding_is_quick() -> None:
    """The promise is 0.5 µs; the bound here leaves room for a loaded machine."""
    ledger = Ledger(lambda number: None)
    work = [(5000 + number, number * 2654435761 & 0xFFFFFFFF) for number in range(100_000)]
    add = ledger.add
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        for serial, mark in work:
            add(serial, mark)
        best = min(best, time.process_time() - start)
    assert best / len(work) < 1.5e-6
