"""The automaton of a compiled policy: its tables, refused when damaged, and the walk that the kernel does.

Format (source: kernel security/apparmor/match.c and include/match.h, checked against apparmor_parser's output): a
big-endian header (magic, header size, set size, flags, version text) and tables of u16 id, u16 width, u32 zero,
u32 length, each aligned to 8 bytes. A step compares `check[base + class]` with the state; a miss goes to the default
state, where a diff-encoded state tries the same byte again. State 0 is the trap, 1 the start.
"""

import sys
from array import array
from collections.abc import Callable
from struct import Struct
from typing import Final

from aalearn.model.errors import PolicyError

MAGIC: Final = 0x1B5E783D
TRAP: Final = 0
START: Final = 1

_DIFF_ENCODE: Final = 1  # header flags
_OUT_OF_BAND: Final = 2
_STATE_DIFF: Final = 0x80000000  # flags of a state, in the high byte of its base
_STATE_OOB: Final = 0x20000000
_STATE_FLAGS: Final = 0xFF000000
_BASE: Final = 0x00FFFFFF
_ALPHABET: Final = 256

_HEADER: Final = Struct(">IIIH")
_TABLE: Final = Struct(">HHII")
_TYPES: Final = {1: "B", 2: "H", 4: "I"}
_NAMES: Final = {1: "accept", 2: "base", 3: "check", 4: "default", 5: "ec", 7: "accept2", 8: "next"}
# Widths in bytes that each table may have. 32-bit states came with newer parsers; kernels widen the others on load.
_WIDTHS: Final = {
    "accept": (4,),
    "accept2": (4,),
    "base": (4,),
    "check": (2, 4),
    "default": (2, 4),
    "next": (2, 4),
    "ec": (1,),
}


class Node(dict[int, "Node"]):
    """A state with the successors that were asked for so far: a walked path costs one dict look-up a byte."""

    __slots__ = ("follow", "state")

    def __init__(self, state: int, follow: "Callable[[int, int], Node]") -> None:
        super().__init__()
        self.state = state
        self.follow = follow

    def __missing__(self, byte: int) -> "Node":
        node = self.follow(self.state, byte)
        self[byte] = node
        return node


class Dfa:
    """One automaton. Immutable but for its caches; two decodes of the same blob are equal in all they answer.

    `accept` and `accept2` hold each state's raw words (what they mean: `policy.permissions`); `accept2` may be None
    where the policy has a permission table. `classes` maps a byte to its equivalence class (the identity where there
    are none).
    """

    __slots__ = (
        "_base",
        "_check",
        "_default",
        "_flags",
        "_next",
        "_nodes",
        "_partition",
        "_rows",
        "accept",
        "accept2",
        "classes",
        "size",
        "symbols",
    )

    def __init__(self, flags: int, tables: "dict[str, array[int]]") -> None:
        _verify(flags, tables)
        self.size = len(tables["base"])
        self.accept = tables["accept"]
        self.accept2 = tables.get("accept2")
        self.classes = tables["ec"].tobytes() if "ec" in tables else bytes(range(_ALPHABET))
        self.symbols = max(self.classes) + 1
        self._base = array("I", (word & _BASE for word in tables["base"]))
        self._flags = bytes(word >> 24 for word in tables["base"])
        self._default, self._check, self._next = tables["default"], tables["check"], tables["next"]
        self._nodes: dict[int, Node] = {}
        self._rows: dict[int, tuple[int, ...]] = {}
        self._partition: bytes | None = None

    @classmethod
    def decode(cls, blob: bytes) -> "Dfa":
        """Return the automaton in `blob` (from its magic on; up to 7 zero bytes of alignment may stand before it).

        Raises PolicyError when the blob is not a whole, sound automaton: what is returned can be walked from any state
        with any bytes.
        """
        start = len(blob) - len(blob.lstrip(b"\0"))
        if start > 7 or len(blob) - start < _HEADER.size:
            raise PolicyError("damaged policy: an automaton without header")
        magic, header, _, flags = _HEADER.unpack_from(blob, start)
        if magic != MAGIC:
            raise PolicyError(f"damaged policy: an automaton starts with {magic:#010x} and not {MAGIC:#010x}")
        if header < _HEADER.size or start + header > len(blob):
            raise PolicyError("damaged policy: the header of an automaton is longer than the automaton")
        if flags & ~(_DIFF_ENCODE | _OUT_OF_BAND):
            raise PolicyError(f"unknown policy: an automaton has flags {flags:#x} that this aalearn does not know")
        return cls(flags, _tables(blob, start + header))

    def step(self, state: int, byte: int) -> int:
        """Return the state after `byte` (0–255) in `state`."""
        return self._move(state, self.classes[byte])

    def run(self, state: int, data: bytes) -> int:
        """Return the state after all of `data`, from `state` on."""
        node = self._nodes.get(state)
        if node is None:
            node = self.node(state)
        for byte in data:
            node = node[byte]
        return node.state

    def out_of_band(self, state: int) -> int:
        """Return the state after the out-of-band symbol (that no byte can spell), TRAP where the state has none."""
        if not self._flags[state] & _STATE_OOB >> 24:
            return TRAP
        return self._move(state, -1)

    def row(self, state: int) -> tuple[int, ...]:
        """Return the successors of `state`, one an equivalence class (`symbols` of them)."""
        row = self._rows.get(state)
        if row is None:
            chain = [state]  # of diff-encoded states, each of which changes some successors of the next one
            while self._flags[chain[-1]] & _STATE_DIFF >> 24 and self._default[chain[-1]] not in self._rows:
                chain.append(self._default[chain[-1]])
            for link in reversed(chain):
                row = self._rows[link] = self._row(link)
        assert row is not None
        return row

    def _row(self, state: int) -> tuple[int, ...]:
        """Return the successors of `state`; where it is diff-encoded, those of its default state are known."""
        default, base = self._default[state], self._base[state]
        end = base + self.symbols
        pairs = zip(self._check[base:end], self._next[base:end], strict=True)
        if self._flags[state] & _STATE_DIFF >> 24:
            known = self._rows[default]
            return tuple([to if owner == state else other for (owner, to), other in zip(pairs, known, strict=True)])
        return tuple([to if owner == state else default for owner, to in pairs])

    def partition(self) -> bytes:
        """Return a number for each byte, so that bytes with the same number lead to the same state everywhere.

        Numbers run from 0 in the order of their least byte. Coarser than `classes` where a policy was compiled without
        equivalence classes; walks over pairs of states look at one byte a number.
        """
        if self._partition is None:
            signs: list[list[int]] = [[] for _ in range(self.symbols)]
            for position, state in enumerate(self._check):
                symbol = position - self._base[state]
                if 0 <= symbol < self.symbols:
                    target = self._next[position]
                    if self._flags[state] or target != self._default[state]:
                        signs[symbol] += (state, target)
            numbers: dict[tuple[int, ...], int] = {}
            self._partition = bytes(numbers.setdefault(tuple(signs[symbol]), len(numbers)) for symbol in self.classes)
        return self._partition

    def _move(self, state: int, symbol: int) -> int:
        while True:
            position = self._base[state] + symbol
            if self._check[position] == state:
                return self._next[position]
            diff = self._flags[state] & _STATE_DIFF >> 24
            state = self._default[state]
            if not diff:
                return state

    def _follow(self, state: int, byte: int) -> Node:
        return self.node(self._move(state, self.classes[byte]))

    def node(self, state: int) -> Node:
        """Return `state` as a node, which walks by look-ups of bytes; the same node each time."""
        node = self._nodes.get(state)
        if node is None:
            if not 0 <= state < self.size:
                raise ValueError(f"state {state} is outside of an automaton of {self.size} states")
            node = self._nodes[state] = Node(state, self._follow)
        return node


def _tables(blob: bytes, offset: int) -> "dict[str, array[int]]":
    """Return the tables that stand in `blob` from `offset` to its end, in the machine's byte order."""
    tables: dict[str, array[int]] = {}
    while offset < len(blob):
        if offset + _TABLE.size > len(blob):
            raise PolicyError("damaged policy: a table of an automaton is cut short")
        number, width, _, length = _TABLE.unpack_from(blob, offset)
        name = _NAMES.get(number)
        if name is None:
            raise PolicyError(f"unknown policy: an automaton has a table {number} that this aalearn does not know")
        if width not in _WIDTHS[name] or length == 0 or name in tables:
            raise PolicyError(f"damaged policy: the table {name!r} of an automaton has a wrong header")
        end = offset + _TABLE.size + width * length
        if end > len(blob):
            raise PolicyError(f"damaged policy: the table {name!r} of an automaton is cut short")
        table = array(_TYPES[width], blob[offset + _TABLE.size : end])
        if sys.byteorder == "little":
            table.byteswap()
        tables[name] = table
        offset = offset + (end - offset + 7) // 8 * 8
    return tables


def _verify(flags: int, tables: "dict[str, array[int]]") -> None:
    """Raise PolicyError unless every walk through the tables stays inside of them and ends (the kernel's checks)."""
    missing = {"accept", "base", "check", "default", "next"} - tables.keys()
    if missing:
        raise PolicyError(f"damaged policy: an automaton has no table {', '.join(sorted(missing))}")
    base, default, check, following = tables["base"], tables["default"], tables["check"], tables["next"]
    states, transitions = len(base), len(following)
    lengths = [len(tables[name]) for name in ("accept", "accept2", "default") if name in tables]
    if states <= START or any(length != states for length in lengths) or len(check) != transitions:
        raise PolicyError("damaged policy: the tables of an automaton do not fit together")
    if "ec" in tables and len(tables["ec"]) != _ALPHABET:
        raise PolicyError("damaged policy: the classes of an automaton do not cover the alphabet")
    if max(default) >= states or max(check) >= states or max(following) >= states:
        raise PolicyError("damaged policy: an automaton leads to a state that it does not have")
    if max(word & _BASE for word in base) + _ALPHABET > transitions:
        raise PolicyError("damaged policy: a state of an automaton points beyond its transitions")
    used = 0
    for word in base:
        used |= word & _STATE_FLAGS
    allowed = (_STATE_DIFF if flags & _DIFF_ENCODE else 0) | (_STATE_OOB if flags & _OUT_OF_BAND else 0)
    if used & ~allowed:
        raise PolicyError("damaged policy: a state of an automaton has flags that its header does not announce")
    if used & _STATE_OOB and any(word & _STATE_OOB and not word & _BASE for word in base):
        raise PolicyError("damaged policy: an out-of-band transition points before the transitions")
    if used & _STATE_DIFF:
        _verify_chains(base, default)


def _verify_chains(base: "array[int]", default: "array[int]") -> None:
    """Raise PolicyError when a chain of diff-encoded states runs in a circle."""
    sound = bytearray(len(base))
    for first in range(len(base)):
        chain = []
        state = first
        while base[state] & _STATE_DIFF and not sound[state]:
            sound[state] = 2  # on the present chain
            chain.append(state)
            state = default[state]
            if sound[state] == 2:
                raise PolicyError("damaged policy: diff-encoded states of an automaton run in a circle")
        for state in chain:
            sound[state] = 1
