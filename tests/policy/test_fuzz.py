"""Damaged policy is refused or sound: never a crash, a hang, or more memory than four times the blob."""

import struct
import tracemalloc
from collections.abc import Callable
from random import Random

import pytest

from aalearn.model.errors import PolicyError
from aalearn.policy.automaton import Dfa
from aalearn.policy.decoder import decode, pieces
from aalearn.policy.stream import Tag, Writer
from tests.policy import fuzz

pytestmark = [pytest.mark.parser, pytest.mark.real]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_fifty_thousand_damaged_blobs(blobs: dict[str, bytes], number: int) -> None:
    tally = fuzz.fuzz(list(blobs.values()), 10_000, number)
    assert tally.count == 10_000
    assert tally.sound > 1000, "too few got past the checks to say anything of soundness"
    assert len(tally.refused) > 50, "too few ways of damage"


def test_every_prefix_is_refused(blobs: dict[str, bytes]) -> None:
    whole = min(blobs.values(), key=len)
    for blob in [*[part for _, part in pieces(whole)], whole]:
        ends = {0} | {sum(len(part) for _, part in pieces(blob)[:count]) for count in range(1, len(pieces(blob)) + 1)}
        for size in range(len(blob) + 1):
            if size in ends and size:
                assert decode(blob[:size])
            else:
                with pytest.raises(PolicyError):
                    decode(blob[:size])


def test_every_single_byte_lost_or_changed(blobs: dict[str, bytes]) -> None:
    """No byte, whatever it becomes, brings out anything but a refusal or a sound policy."""
    random, tally = Random(7), fuzz.Tally()
    blob = min((part for whole in blobs.values() for _, part in pieces(whole) if fuzz.MAGIC in part), key=len)
    for at in range(len(blob)):
        fuzz.examine(random, blob[:at] + blob[at + 1 :], tally)
        for value in (blob[at] ^ 1, blob[at] ^ 0x80, 0 if blob[at] else 0xFF):
            fuzz.examine(random, blob[:at] + bytes((value,)) + blob[at + 1 :], tally)
    assert tally.count == 4 * len(blob)


def _headed(fill: Callable[[Writer], None]) -> bytes:
    """Return a blob whose one profile, up to its capabilities, is sound; `fill` writes what follows."""
    writer = Writer()
    writer.maybe_u32("version", 0x202007)
    writer.struct("profile")
    writer.string(b"p")
    writer.struct("flags")
    writer.u32(0, 0, 0)
    writer.tag(Tag.STRUCTEND)
    writer.u32(0, 0, 0, 0)
    fill(writer)
    writer.tag(Tag.STRUCTEND)
    return bytes(writer.data)


def _many_names(writer: Writer) -> None:
    writer.struct("xattrs")
    writer.array(65535)
    for number in range(65535):
        writer.string(b"%x" % number)
    writer.tag(Tag.ARRAYEND)
    writer.tag(Tag.STRUCTEND)


def _many_keys(writer: Writer) -> None:
    writer.struct("data")
    for number in range(100_000):
        writer.string(b"%x" % number)
        writer.blob(b"")
    writer.tag(Tag.STRUCTEND)


def _long_array_without_elements(writer: Writer) -> None:
    writer.struct("perms")
    writer.maybe_u32("version", 1)
    writer.array(65535)


def _huge_table(writer: Writer) -> None:
    header = struct.pack(">IIIH", 0x1B5E783D, 24, 64, 0) + b"notflex\0\0\0"
    writer.name("aadfa")
    writer.blob(header + struct.pack(">HHII", 1, 4, 0, 0xFFFFFFFF), aligned=True)


@pytest.mark.parametrize("fill", [_many_names, _many_keys, _long_array_without_elements, _huge_table])
def test_made_to_eat_memory(fill: Callable[[Writer], None]) -> None:
    blob = _headed(fill)
    tracemalloc.start()
    try:
        with pytest.raises(PolicyError):
            decode(blob)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= fuzz.TIMES * len(blob) + fuzz.SLACK


def test_many_small_profiles_within_the_memory() -> None:
    blob = _headed(lambda writer: None) * 20_000
    tracemalloc.start()
    try:
        try:
            assert len(decode(blob)) == 20_000
        except PolicyError as error:
            assert "more" in str(error)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= fuzz.TIMES * len(blob) + fuzz.SLACK, peak / len(blob)


def test_memory_of_real_policy(blobs: dict[str, bytes]) -> None:
    for name, blob in blobs.items():
        tracemalloc.start()
        try:
            kept = decode(blob)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept
        assert peak <= fuzz.TIMES * len(blob) + fuzz.SLACK, name


def test_a_circle_of_diff_encoded_states_ends(blobs: dict[str, bytes]) -> None:
    """Walking a circle would never end; the decoder refuses it before anyone walks."""
    whole = next(blob for name, blob in blobs.items() if "diff-inline plain" in name)
    blob = bytearray(next(part for name, part in pieces(whole) if name == b"one"))
    heads = [at for at, size in fuzz.seed(bytes(blob)).words if size == 4 and blob[at : at + 4] == fuzz.MAGIC]
    coded = [head for head in heads if blob[head + 13] & 1]
    assert coded
    tables = [table for table in fuzz.seed(bytes(blob)).tables if table[0] > coded[0]]
    base = next(first for first, width, _ in tables if blob[first - 11] == 2)
    default, width, _ = next(table for table in tables if blob[table[0] - 11] == 4)
    for state in (1, 2):
        blob[base + 4 * state] |= 0x80
        blob[default + width * state : default + width * (state + 1)] = (3 - state).to_bytes(width, "big")
    with pytest.raises(PolicyError, match="circle"):
        decode(bytes(blob))


def test_random_bytes() -> None:
    random = Random(1)
    for _ in range(2000):
        noise = random.randbytes(random.randint(0, 300))
        for decoder in (decode, Dfa.decode):
            with pytest.raises(PolicyError):
                decoder(noise)
