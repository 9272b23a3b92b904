"""Bytes on disk: exact both ways, one form each, damage refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.errors import StoreError
from aalearn.model.event import Event, Verdict
from aalearn.store import codec, state
from aalearn.store.batch import NODES_KEPT, PROGRAMS_KEPT, RUNS_KEPT
from aalearn.store.state import State

_words = st.one_of(st.sampled_from(["name", "class", "a\nb", "", "\0"]), st.text(max_size=8))
_values = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"\0", b"/etc/passwd", b"a\nb"]))
_events = st.builds(
    Event,
    st.sampled_from(list(Verdict)),
    st.one_of(st.sampled_from(["open", "a\0", "a\nb", ""]), st.text(max_size=8)),
    st.just(b"label"),
    st.lists(st.tuples(_words, _values), max_size=5).map(tuple),
)
LOW = codec.low(1)
_owners = st.sampled_from([True, False, None])


@given(_events, _owners)
def test_needs_come_back(event: Event, owner: bool | None) -> None:
    assert codec.decode_need(b"label", codec.encode_need(event, owner)) == (event, owner)


@given(_events, _owners, _events, _owners)
def test_different_needs_have_different_bytes(one: Event, mine: bool | None, other: Event, its: bool | None) -> None:
    same = (one, mine) == (other, its)
    first, second = codec.encode_need(one, mine), codec.encode_need(other, its)
    assert (first == second) is same
    assert (codec.identity(LOW, first) == codec.identity(LOW, second)) is same
    assert codec.identity(LOW, first) != codec.identity(codec.low(2), first)


def test_the_bytes_stay() -> None:
    """They stand on disk in people's stores: a change here needs a migration."""
    event = Event(Verdict.DENIED, "open", b"p", (("class", b"file"), ("name", b"/a\xff")))
    blob = codec.encode_need(event, None)
    assert blob == b"\x01\x01\x02open\nclass\nname\0file\0/a\xff"
    assert codec.identity(codec.low(5), blob).hex() == "0000000000000005a0d41d726f49cbda6a0d1e1f969b6b3c"
    assert codec.name_id(b"label", b"web") == 8693461310008666366


@given(st.binary(max_size=40))
def test_rubbish_is_refused(blob: bytes) -> None:
    for read in (lambda: codec.decode_need(b"l", blob), lambda: state.decode(blob)):
        try:
            read()
        except StoreError as error:
            assert "\n" not in str(error)
        except UnicodeDecodeError:
            pytest.fail("a damaged row must be told in one line")


@given(st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs"])))
def test_any_text_comes_back(text: str) -> None:
    assert codec.to_str(codec.to_bytes(text)) == text


@pytest.mark.parametrize(
    ("label", "base"),
    [
        (b"web", b"web"),
        (b"/usr/bin/web", b"/usr/bin/web"),
        (b"web//null-/bin/sh", b"web"),
        (b"web//null-/bin/sh//null-/bin/cat", b"web"),
        (b"web//hat", b"web"),
        (b"web//hat//null-/x", b"web"),
        (b":ns:web//hat", b":ns:web"),
        (b":ns://web", b":ns:web"),
        (b":a//b:web//null-1f", b":a//b:web"),
        (b"web//hat//&db//null-/x", b"web//&db"),
        (b"web//a//&web//b", b"web"),
        (b"", b""),
    ],
)
def test_groups(label: bytes, base: bytes) -> None:
    assert codec.group(label) == base
    assert codec.group(base) == base


@given(st.binary(max_size=30))
def test_group_takes_anything_and_is_stable(label: bytes) -> None:
    once = codec.group(label)
    assert codec.group(once) == once


def _whole(programs: dict[bytes, int], nodes: set[int], runs: set[int]) -> State:
    made = State()
    made.add(1, 5, 5, True)
    made.add_who(programs, nodes, runs)
    return made


_ids = st.integers(0, 2**63 - 1)


@given(
    st.dictionaries(st.binary(max_size=300), st.integers(1, 2**40), max_size=40),
    st.sets(_ids, max_size=70),
    st.sets(_ids, max_size=70),
)
def test_states_come_back(programs: dict[bytes, int], nodes: set[int], runs: set[int]) -> None:
    made = _whole(programs, nodes, runs)
    assert state.decode(made.encode()) == made


@given(st.binary(max_size=255), _ids, _ids, st.integers(0, 2**62), st.booleans())
def test_the_quick_way_gives_the_same(program: bytes, node: int, run: int, time: int, trusted: bool) -> None:
    made = State()
    made.add(3, time, time + 1, trusted)
    made.add_who({program: 3}, [node], [run])
    assert state.encode_one(3, time, time + 1, trusted, program, node, run) == made.encode()


def test_bounds_hold_in_any_order() -> None:
    draw = random.Random(3)
    whos = [({b"p%d" % draw.randrange(90): 1}, [draw.getrandbits(60)], [draw.getrandbits(63)]) for _ in range(400)]
    results = set()
    for _ in range(5):
        draw.shuffle(whos)
        made = State()
        for who in whos:
            made.add_who(*who)
            made = state.decode(made.encode())
        assert len(made.programs) <= PROGRAMS_KEPT
        assert len(made.nodes) <= NODES_KEPT
        assert len(made.runs) <= RUNS_KEPT
        results.add(made.encode())
    assert len(results) == 1
    assert len(results.pop()) < 2500


@pytest.mark.parametrize("count", [1, 63, 64, 65, 80, 200, 1000, 5000])
def test_runs_are_counted_beyond_those_kept(count: int) -> None:
    draw = random.Random(count)
    made = State()
    for run in [draw.getrandbits(63) for _ in range(count)] * 2:
        made.add_who({}, (), [run])
    exact = count <= RUNS_KEPT
    assert made.run_count() == count if exact else abs(made.run_count() - count) <= max(3, count * 0.04)
