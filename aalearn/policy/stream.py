"""The tagged stream in which compiled policy travels: a reader that never guesses, and a writer.

Format (source: kernel security/apparmor/policy_unpack.c, checked against apparmor_parser's output): little-endian
elements, each behind a tag byte. A NAME may stand before an element and says which one it is. NAME and STRING carry a
u16 length that includes the final NUL, BLOB a u32 length, ARRAY a u16 count.
"""

from array import array
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from struct import Struct
from typing import Final, overload

from aalearn.model.errors import PolicyError
from aalearn.model.text import shown


class Tag(IntEnum):
    """The byte before each element."""

    U8 = 0
    U16 = 1
    U32 = 2
    U64 = 3
    NAME = 4
    STRING = 5
    BLOB = 6
    STRUCT = 7
    STRUCTEND = 8
    LIST = 9
    LISTEND = 10
    ARRAY = 11
    ARRAYEND = 12


_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
ROW: Final = 14  # words of a permission


class PermTable(Sequence[tuple[int, ...]]):
    """The permission table beside an automaton: rows of 14 words (see `policy.permissions`), kept as flat words."""

    __slots__ = ("version", "words")

    def __init__(self, version: int, words: "array[int]") -> None:
        self.version = version
        self.words = words

    def __len__(self) -> int:
        return len(self.words) // ROW

    @overload
    def __getitem__(self, index: int) -> tuple[int, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, ...]]: ...

    def __getitem__(self, index: int | slice) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index] * ROW
        return tuple(self.words[position : position + ROW])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PermTable) and self.version == other.version and self.words == other.words

    def __hash__(self) -> int:
        return hash((self.version, self.words.tobytes()))


@cache
def _head(name: str) -> bytes:
    """Return the NAME element that spells `name`."""
    word = name.encode() + b"\0"
    return bytes((Tag.NAME,)) + _U16.pack(len(word)) + word


class Reader:
    """A position in a stream. What does not fit raises PolicyError, which names the byte; nothing is skipped.

    A method with `name` takes the named element or, when the next one is another, gives None and stays; without a
    name the element must stand there, unnamed.
    """

    __slots__ = ("at", "budget", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        # Each short string costs Python far more than its bytes. Real policy has few beside its automata, so a
        # stream with more of them than this is not real, and refusing it keeps memory within a few times its size.
        self.budget = 16 + len(data) // 32

    @property
    def done(self) -> bool:
        """Whether the stream is at its end."""
        return self.at == len(self.data)

    def fail(self, what: str, at: int | None = None) -> PolicyError:
        """Return (to be raised) the error that says what is wrong at the present byte."""
        return PolicyError(f"damaged policy: byte {self.at if at is None else at}: {what}")

    def charge(self, count: int) -> None:
        """Count `count` small values against what a stream of this size can have of them."""
        self.budget -= count
        if self.budget < 0:
            raise self.fail("more names or profiles than a policy of this size can have")

    def named(self, name: str) -> bool:
        """Return whether the next element carries `name`; if so, step over the name."""
        head = _head(name)
        if not self.data.startswith(head, self.at):
            return False
        self.at += len(head)
        return True

    def peek(self) -> str:
        """Return what stands next, for error texts."""
        if self.done:
            return "the end"
        tag = self.data[self.at]
        if tag == Tag.NAME and self.at + 3 <= len(self.data):
            (length,) = _U16.unpack_from(self.data, self.at + 1)
            return f"{shown(self.data[self.at + 3 : self.at + 3 + min(length, 64)].rstrip(bytes(1)))!r}"
        return Tag(tag).name if tag in Tag._value2member_map_ else f"the unknown tag {tag}"

    def next_is(self, tag: Tag) -> bool:
        """Return whether the next element has `tag`; the position stays."""
        return self.at < len(self.data) and self.data[self.at] == tag

    def expect(self, tag: Tag) -> None:
        """Step over a tag that must stand here."""
        if not self.next_is(tag):
            raise self.fail(f"{tag.name} expected, found {self.peek()}")
        self.at += 1

    def _take(self, size: int) -> int:
        """Step over `size` bytes and return where they start."""
        start = self.at
        if size > len(self.data) - start:
            raise self.fail(f"{size} bytes expected, but {len(self.data) - start} are left")
        self.at += size
        return start

    def u8(self) -> int:
        """Return an unnamed U8."""
        self.expect(Tag.U8)
        return self.data[self._take(1)]

    def u16(self) -> int:
        """Return an unnamed U16."""
        self.expect(Tag.U16)
        word: int = _U16.unpack_from(self.data, self._take(2))[0]
        return word

    def u32(self) -> int:
        """Return an unnamed U32."""
        self.expect(Tag.U32)
        word: int = _U32.unpack_from(self.data, self._take(4))[0]
        return word

    def u64(self) -> int:
        """Return an unnamed U64."""
        self.expect(Tag.U64)
        word: int = _U64.unpack_from(self.data, self._take(8))[0]
        return word

    def maybe_u32(self, name: str) -> int | None:
        """Return the U32 named `name`, None when the next element is another."""
        return self.u32() if self.named(name) else None

    def string(self) -> bytes:
        """Return an unnamed STRING without its final NUL."""
        self.charge(1)
        self.expect(Tag.STRING)
        (length,) = _U16.unpack_from(self.data, self._take(2))
        start = self._take(length)
        if length == 0 or self.data[self.at - 1] != 0:
            raise self.fail("a string does not end in NUL", start)
        return self.data[start : self.at - 1]

    def text(self) -> bytes:
        """Return an unnamed STRING that must be a name: not empty, no NUL within."""
        start = self.at
        value = self.string()
        if not value or 0 in value:
            raise self.fail("a name is empty or holds NUL", start)
        return value

    def maybe_string(self, name: str) -> bytes | None:
        """Return the STRING named `name`, None when the next element is another."""
        return self.text() if self.named(name) else None

    def blob(self) -> tuple[int, bytes]:
        """Return where the bytes of an unnamed BLOB start, and the bytes."""
        self.expect(Tag.BLOB)
        (length,) = _U32.unpack_from(self.data, self._take(4))
        start = self._take(length)
        return start, self.data[start : self.at]

    def array(self) -> int:
        """Return the count of an ARRAY that starts here."""
        self.expect(Tag.ARRAY)
        count: int = _U16.unpack_from(self.data, self._take(2))[0]
        return count

    def permissions(self, version: int) -> PermTable:
        """Return an ARRAY of permissions, 14 U32 each, with its end."""
        count = self.array()
        start = self._take(count * ROW * 5)
        region = memoryview(self.data)[start : self.at]
        if bytes(region[::5]).strip(bytes((Tag.U32,))):
            raise self.fail("the permission table holds something else than U32", start)
        words = array("I", bytes(4 * count * ROW))
        plain = memoryview(words).cast("B")
        for byte in range(4):  # the stream is little-endian
            plain[_place(byte) :: 4] = region[byte + 1 :: 5]
        self.expect(Tag.ARRAYEND)
        return PermTable(version, words)


@cache
def _place(byte: int) -> int:
    """Return where the `byte`-th byte of a little-endian word stands in a word of this machine."""
    return array("I", [0xFF << 8 * byte]).tobytes().index(0xFF)


class Writer:
    """Builds a stream element by element; the mirror of `Reader`."""

    __slots__ = ("data", "origin")

    def __init__(self) -> None:
        self.data = bytearray()
        self.origin = 0  # where the present profile starts; alignment counts from there

    def tag(self, tag: Tag) -> None:
        """Write a tag alone: the start or end of a structure."""
        self.data.append(tag)

    def name(self, name: str) -> None:
        """Write the name of the next element."""
        self.data += _head(name)

    def struct(self, name: str) -> None:
        """Open a named STRUCT."""
        self.name(name)
        self.tag(Tag.STRUCT)

    def u8(self, value: int) -> None:
        """Write an unnamed U8."""
        self.data += bytes((Tag.U8, value))

    def u16(self, value: int) -> None:
        """Write an unnamed U16."""
        self.data += bytes((Tag.U16,)) + _U16.pack(value)

    def u32(self, *values: int) -> None:
        """Write unnamed U32 elements."""
        start = len(self.data)
        self.data += bytes(5 * len(values))
        self.data[start::5] = bytes((Tag.U32,)) * len(values)
        words = memoryview(array("I", values)).cast("B")
        for byte in range(4):
            self.data[start + 1 + byte :: 5] = words[_place(byte) :: 4]

    def u64(self, value: int) -> None:
        """Write an unnamed U64."""
        self.data += bytes((Tag.U64,)) + _U64.pack(value)

    def string(self, value: bytes) -> None:
        """Write an unnamed STRING."""
        self._text(Tag.STRING, value)

    def maybe_u32(self, name: str, value: int | None) -> None:
        """Write a named U32 unless it is None."""
        if value is not None:
            self.name(name)
            self.u32(value)

    def maybe_string(self, name: str, value: bytes | None) -> None:
        """Write a named STRING unless it is None."""
        if value is not None:
            self.name(name)
            self.string(value)

    def array(self, count: int) -> None:
        """Open an ARRAY of `count` elements."""
        self.data += bytes((Tag.ARRAY,)) + _U16.pack(count)

    def blob(self, value: bytes, aligned: bool = False) -> None:
        """Write a BLOB; `aligned` puts zero bytes before the value so that it starts at a multiple of 8."""
        padding = bytes(-(len(self.data) - self.origin + 5) % 8 if aligned else 0)
        self.data += bytes((Tag.BLOB,)) + _U32.pack(len(padding) + len(value)) + padding + value

    def permissions(self, table: PermTable) -> None:
        """Write an ARRAY of permissions with its end."""
        self.array(len(table))
        self.u32(*table.words)
        self.tag(Tag.ARRAYEND)

    def _text(self, tag: Tag, value: bytes) -> None:
        self.data += bytes((tag,)) + _U16.pack(len(value) + 1) + value + b"\0"
