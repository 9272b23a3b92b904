"""The automaton is read as the kernel reads it, and what is damaged is refused."""

import random
import struct
import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.errors import PolicyError
from aalearn.policy.automaton import MAGIC, START, TRAP, Dfa
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import decode

DIFF = 0x80000000
OOB = 0x20000000


def table(number: int, width: int, values: list[int]) -> bytes:
    data = b"".join(value.to_bytes(width, "big") for value in values)
    head = struct.pack(">HHII", number, width, 0, len(values))
    return (head + data).ljust((len(head) + len(data) + 7) // 8 * 8, b"\0")


def blob(flags: int = 0, hsize: int = 16, magic: int = MAGIC, **changes: "list[int] | None") -> bytes:
    """Return an automaton of three states that accepts "a": 1 –a→ 2."""
    tables: dict[str, list[int] | None] = {
        "accept": [0, 0, 4],
        "base": [0, 0, 256],
        "default": [0, 0, 0],
        "next": [0] * 512,
        "check": [0] * 512,
        "accept2": [0, 0, 0],
    }
    following, check = list(tables["next"] or ()), list(tables["check"] or ())
    following[ord("a")], check[ord("a")] = 2, 1
    tables.update(next=following, check=check)
    tables.update(changes)
    numbers = {
        "accept": (1, 4),
        "base": (2, 4),
        "check": (3, 2),
        "default": (4, 2),
        "ec": (5, 1),
        "accept2": (7, 4),
        "next": (8, 2),
    }
    body = b"".join(table(*numbers[name], values) for name, values in tables.items() if values is not None)
    return struct.pack(">IIIH", magic, hsize, hsize + len(body), flags).ljust(16, b"\0") + body


def test_walks() -> None:
    dfa = Dfa.decode(blob())
    assert (dfa.size, dfa.symbols) == (3, 256)
    assert dfa.run(START, b"a") == 2
    assert dfa.run(START, b"") == START
    assert dfa.run(START, b"b") == dfa.run(START, b"aa") == dfa.run(TRAP, b"a") == TRAP
    assert dfa.step(START, ord("a")) == 2
    assert dfa.row(START)[ord("a")] == 2
    assert dfa.out_of_band(2) == TRAP


def test_alignment_before_the_magic_is_skipped() -> None:
    assert Dfa.decode(b"\0" * 7 + blob()).run(START, b"a") == 2
    with pytest.raises(PolicyError, match="without header"):
        Dfa.decode(b"\0" * 8 + blob())


def test_classes_are_applied() -> None:
    following, check = [0] * 512, [0] * 512
    following[1], check[1] = 2, 1
    classes = [1 if byte in b"xyz" else 0 for byte in range(256)]
    dfa = Dfa.decode(blob(ec=classes, next=following, check=check))
    assert [dfa.run(START, word) for word in (b"x", b"y", b"z", b"a")] == [2, 2, 2, 0]
    assert len(set(dfa.partition())) == 2


def test_diff_encoded_states_try_their_default_with_the_same_byte() -> None:
    following, check = [0] * 512, [0] * 512
    following[ord("a")], check[ord("a")] = 2, 1
    following[ord("b") + 1], check[ord("b") + 1] = 3, 3  # state 3 has base 1
    dfa = Dfa.decode(
        blob(
            1,
            accept=[0] * 4,
            accept2=[0] * 4,
            base=[0, 0, 256, 1 | DIFF],
            default=[0, 0, 0, 1],
            next=following,
            check=check,
        )
    )
    assert dfa.step(3, ord("b")) == 3
    assert dfa.step(3, ord("a")) == 2  # by way of state 1
    assert dfa.step(3, ord("c")) == TRAP


def test_out_of_band_transitions_stand_before_the_base() -> None:
    following, check = [0] * 512, [0] * 512
    following[4], check[4] = 2, 1
    dfa = Dfa.decode(blob(2, base=[0, 5 | OOB, 256], next=following, check=check))
    assert dfa.out_of_band(1) == 2
    assert dfa.out_of_band(2) == TRAP


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": 1}, "starts with"),
        ({"hsize": 4}, "header"),
        ({"hsize": 1 << 20}, "header"),
        ({"flags": 4}, "flags"),
        ({"flags": 0, "base": [0, 0, 256 | DIFF]}, "header does not announce"),
        ({"flags": 1, "base": [0, 0, 256 | 0x10000000]}, "header does not announce"),
        ({"flags": 2, "base": [0, OOB, 256]}, "before the transitions"),
        ({"base": None}, "no table base"),
        ({"next": None, "check": None}, "no table check, next"),
        ({"accept": None}, "no table accept"),
        ({"accept": [0, 0]}, "fit together"),
        ({"accept2": [0]}, "fit together"),
        ({"default": [0, 0]}, "fit together"),
        ({"check": [0] * 511}, "fit together"),
        ({"base": [0], "accept": [0], "accept2": [0], "default": [0]}, "fit together"),
        ({"default": [0, 0, 3]}, "does not have"),
        ({"next": [3] + [0] * 511}, "does not have"),
        ({"check": [9] + [0] * 511}, "does not have"),
        ({"base": [0, 0, 257]}, "beyond its transitions"),
        ({"base": [0, 0, 0xFFFFFF]}, "beyond its transitions"),
        ({"ec": [0] * 255}, "alphabet"),
        ({"flags": 1, "base": [0, DIFF, 256], "default": [0, 1, 0]}, "circle"),
        ({"flags": 1, "base": [0, DIFF, 256 | DIFF], "default": [0, 2, 1]}, "circle"),
    ],
)
def test_damaged_tables_are_refused(changes: "dict[str, int | list[int] | None]", message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Dfa.decode(blob(**changes))  # type: ignore[arg-type]  # a table of keyword arguments


def test_foreign_double_and_cut_tables_are_refused() -> None:
    good = blob()
    for bad, message in (
        (good + table(9, 4, [0]), "unknown"),
        (good + table(1, 4, [0, 0, 0]), "wrong header"),
        (good + table(5, 2, [0] * 256), "wrong header"),
        (good[:-8], "cut short"),
        (good + b"\0\1", "cut short"),
        (b"", "without header"),
        (b"\x1b\x5e", "without header"),
    ):
        with pytest.raises(PolicyError, match=message):
            Dfa.decode(bad)


@given(st.integers(0, len(blob()) - 1), st.integers(0, 255), st.binary(max_size=20))
def test_no_mutation_crashes_or_hangs(position: int, value: int, word: bytes) -> None:
    data = bytearray(blob())
    data[position] = value
    try:
        dfa = Dfa.decode(bytes(data))
    except PolicyError:
        return
    for state in range(dfa.size):
        assert 0 <= dfa.run(state, word) < dfa.size
        dfa.out_of_band(state)
    dfa.partition()


def test_memory_stays_near_the_blob() -> None:
    dfa = Dfa.decode(blob(next=[0] * 60000, check=[0] * 60000))
    size = sum(sys.getsizeof(getattr(dfa, name)) for name in ("_base", "_check", "_default", "_next", "_flags"))
    assert size < 2 * 240_000
    assert isinstance(dfa.accept, array)


@pytest.mark.parser
@pytest.mark.parametrize("optimise", [(), ("-O", "no-diff-encode"), ("-O", "equiv"), ("-O", "no-minimize")])
def test_steps_rows_and_runs_agree_on_real_policy(bookworm_parser: Parser, optimise: tuple[str, ...]) -> None:
    text = "#include <tunables/global>\nprofile x { #include <abstractions/base>\n /a/[0-9]*/{b,c}/** rw, }"
    profile = decode(Parser((*bookworm_parser.command, *optimise)).compile(text).blob)[0]
    plain = decode(bookworm_parser.compile(text).blob)[0]
    assert profile.file is not None and plain.file is not None
    dfa, usual = profile.file.dfa, plain.file.dfa
    picked = random.Random(7)
    partition = dfa.partition()
    for state in range(dfa.size):
        row = dfa.row(state)
        steps = [dfa.step(state, byte) for byte in range(256)]
        assert steps == [row[dfa.classes[byte]] for byte in range(256)]
        seen: dict[int, int] = {}
        for byte, target in enumerate(steps):
            assert seen.setdefault(partition[byte], target) == target
    for _ in range(200):
        word = b"/" + bytes(picked.choice(b"abc/0159.*\xff") for _ in range(12))
        accepted = dfa.accept[dfa.run(START, word)]
        assert accepted == usual.accept[usual.run(START, word)]
