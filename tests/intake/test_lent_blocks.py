"""The ledger's lent blocks: adding to them is what `add` does, and what was added is written."""

from hypothesis import given
from hypothesis import strategies as st

from aalearn.store.ledger import BLOCK_BITS, BLOCK_MARKS, OFFSET_MASK, Ledger, decode

EVENTS = st.lists(st.tuples(st.integers(1, 20_000), st.integers(0, 5), st.booleans()), max_size=60)


@given(EVENTS)
def test_lent_or_called(events: list[tuple[int, int, bool]]) -> None:
    plain, mixed = Ledger(lambda number: None), Ledger(lambda number: None)
    for serial, mark, lent in events:
        new = plain.add(serial, mark)
        if lent:
            marks = mixed.block(serial >> BLOCK_BITS)
            key = (serial & OFFSET_MASK) << 32 | mark
            assert (key not in marks) == new
            marks.add(key)
        else:
            assert mixed.add(serial, mark) == new
    assert mixed.news() == plain.news()


def test_only_what_changed_is_written() -> None:
    ledger = Ledger(lambda number: None)
    ledger.block(0).add(5)
    ledger.block(1)
    assert list(ledger.news()) == [0]
    ledger.settle()
    assert 5 in ledger.block(0)
    assert ledger.news() == {}


def test_a_full_block_stays_readable() -> None:
    ledger = Ledger(lambda number: None)
    for start in range(0, BLOCK_MARKS + 100_000, 10_000):
        ledger.block(0).update(range(start, start + 10_000))
    assert len(decode(ledger.news()[0])) <= BLOCK_MARKS
