"""The tagged stream: what is written is read again, and what does not fit is refused with its place."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.errors import PolicyError
from aalearn.policy.stream import ROW, PermTable, Reader, Tag, Writer

NAMES = st.binary(min_size=1, max_size=40).filter(lambda value: 0 not in value)
WORDS = st.integers(0, 0xFFFFFFFF)


@given(NAMES, st.lists(WORDS, max_size=20), st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(0, 65535))
def test_what_is_written_is_read(name: bytes, words: list[int], long: int, small: int, short: int) -> None:
    writer = Writer()
    writer.maybe_string("attach", name)
    writer.maybe_u32("kill", None)
    writer.u32(*words)
    writer.u64(long)
    writer.u8(small)
    writer.u16(short)
    writer.struct("data")
    writer.blob(name)
    writer.array(short)
    reader = Reader(bytes(writer.data))
    assert reader.maybe_string("rename") is None
    assert reader.maybe_string("attach") == name
    assert reader.maybe_u32("kill") is None
    assert [reader.u32() for _ in words] == words
    assert (reader.u64(), reader.u8(), reader.u16()) == (long, small, short)
    assert reader.named("data")
    reader.expect(Tag.STRUCT)
    start, value = reader.blob()
    assert value == name == reader.data[start : start + len(name)]
    assert reader.array() == short
    assert reader.done


@given(st.lists(st.lists(WORDS, min_size=ROW, max_size=ROW), max_size=30), st.integers(1, 2))
def test_permissions(rows: list[list[int]], version: int) -> None:
    table = PermTable(version, array("I", [word for row in rows for word in row]))
    writer = Writer()
    writer.permissions(table)
    got = Reader(bytes(writer.data)).permissions(version)
    assert got == table
    assert hash(got) == hash(table)
    assert [*got] == [tuple(row) for row in rows]
    assert len(got) == len(rows)
    assert got[:2] == [tuple(row) for row in rows[:2]]
    with pytest.raises(IndexError):
        got[len(rows)]


@given(st.integers(0, 40), st.binary(min_size=1, max_size=30))
def test_an_aligned_blob_starts_at_a_multiple_of_eight(before: int, value: bytes) -> None:
    writer = Writer()
    writer.data += bytes(before)
    writer.origin = before // 2
    writer.blob(b"\x1b" + value, aligned=True)
    assert (writer.data.index(b"\x1b", before + 5) - writer.origin) % 8 == 0


@pytest.mark.parametrize(
    ("data", "read", "words"),
    [
        (b"", "u32", "byte 0: U32 expected, found the end"),
        (b"\x02\x01\x02", "u32", "byte 1: 4 bytes expected, but 2 are left"),
        (b"\x01\x01\x02", "u32", "byte 0: U32 expected, found U16"),
        (b"\x63", "u32", "byte 0: U32 expected, found the unknown tag 99"),
        (b"\x05\x00\x00", "string", "byte 3: a string does not end in NUL"),
        (b"\x05\x02\x00ab", "string", "byte 3: a string does not end in NUL"),
        (b"\x05\xff\xffab", "string", "byte 3: 65535 bytes expected, but 2 are left"),
        (b"\x05\x01\x00\x00", "text", "byte 0: a name is empty or holds NUL"),
        (b"\x05\x04\x00a\x00b\x00", "text", "byte 0: a name is empty or holds NUL"),
        (b"\x06\xff\xff\xff\xffabc", "blob", "byte 5: 4294967295 bytes expected, but 3 are left"),
        (b"\x04\x05\x00ki\x1b[\x00\x02", "u32", "byte 0: U32 expected, found 'ki\\x1b['"),
        (b"\x04\xff", "u32", "byte 0: U32 expected, found NAME"),
    ],
)
def test_what_does_not_fit_is_told_with_its_byte(data: bytes, read: str, words: str) -> None:
    with pytest.raises(PolicyError) as told:
        getattr(Reader(data), read)()
    assert str(told.value).replace("\\\\", "\\") == f"damaged policy: {words}"
