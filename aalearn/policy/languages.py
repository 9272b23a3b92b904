"""Sets of words as automata that walk beside a compiled policy: literal words, patterns, the policy itself.

All are deterministic and lazy, and all speak the same protocol: a start, a partition of the bytes, a row of successors.
State 0 means, for each of them, that no further word can be in the set.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from aalearn.model.automata import Nfa
from aalearn.model.pattern import Pattern
from aalearn.policy.automaton import Dfa

DEAD = 0


class Part(Protocol):
    """One automaton of a walk."""

    start: int

    def partition(self) -> bytes:
        """Return a number for each byte; bytes with the same number lead to the same state everywhere."""

    def row(self, state: int, symbols: bytes) -> Sequence[int]:
        """Return the successors of `state` by each of `symbols`."""


class Policy:
    """A compiled policy's automaton from one of its states on."""

    __slots__ = ("_classes", "_known", "dfa", "start")

    def __init__(self, dfa: Dfa, start: int) -> None:
        self.dfa = dfa
        self.start = start
        self._known: bytes = b""
        self._classes: tuple[int, ...] = ()

    def partition(self) -> bytes:
        """See `Part`."""
        return self.dfa.partition()

    def row(self, state: int, symbols: bytes) -> Sequence[int]:
        """See `Part`."""
        if symbols is not self._known:
            self._known, self._classes = symbols, tuple(self.dfa.classes[byte] for byte in symbols)
        row = self.dfa.row(state)
        return [row[symbol] for symbol in self._classes]


class Words:
    """A set of literal words, each with a payload (permission bits); words that come twice have theirs joined."""

    __slots__ = ("_moves", "_partition", "payload", "start")

    def __init__(self, words: Iterable[tuple[bytes, int]]) -> None:
        self.start = 1
        self.payload: dict[int, int] = {}
        self._moves: list[dict[int, int]] = [{}, {}]
        used: set[int] = set()
        for word, bits in words:
            state = self.start
            for byte in word:
                following = self._moves[state].get(byte)
                if following is None:
                    following = self._moves[state][byte] = len(self._moves)
                    self._moves.append({})
                state = following
            self.payload[state] = self.payload.get(state, 0) | bits
            used.update(word)
        numbers = {byte: number for number, byte in enumerate(sorted(used), 1)}
        self._partition = [numbers.get(byte, 0) for byte in range(256)]

    def partition(self) -> bytes:
        """See `Part`. With every byte in use there are 256 numbers and no byte without one."""
        return bytes(number % 256 for number in self._partition)

    def row(self, state: int, symbols: bytes) -> Sequence[int]:
        """See `Part`."""
        moves = self._moves[state]
        if not moves:
            return [DEAD] * len(symbols)
        return [moves.get(byte, DEAD) for byte in symbols]


class RealPaths:
    """The paths that the kernel can spell: a "/" first, no empty, "." or ".." segment; `ends` are whole ones."""

    start = 5
    ends = frozenset((1, 4))
    # state → the states after "/", after "." and after any other byte; 1: behind a slash, 2: ".", 3: "..", 4: a name
    _MOVES = ((0, 0, 0), (0, 2, 4), (0, 3, 4), (0, 4, 4), (1, 4, 4), (1, 0, 0))

    def partition(self) -> bytes:
        """See `Part`."""
        return bytes(0 if byte == 0x2F else 1 if byte == 0x2E else 2 for byte in range(256))

    def row(self, state: int, symbols: bytes) -> Sequence[int]:
        """See `Part`."""
        moves = self._MOVES[state]
        return [moves[0 if byte == 0x2F else 1 if byte == 0x2E else 2] for byte in symbols]


class Patterns:
    """A sequence of patterns. `accepted(state)` tells which of them match the word that led to the state."""

    __slots__ = ("_accepting", "_ends", "_nfa", "_partition", "_rows", "_sets", "_states", "start")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._nfa = Nfa([], [])
        first = self._nfa.state()
        self._ends = {self._nfa.build(pattern.branch(), self._entry(first)): at for at, pattern in enumerate(patterns)}
        self._partition = _partition({mask for moves in self._nfa.moves for mask, _ in moves})
        self._sets: list[frozenset[int]] = []
        self._states: dict[frozenset[int], int] = {}
        self._accepting: list[frozenset[int]] = []
        self._rows: dict[tuple[int, bytes], Sequence[int]] = {}
        self._state(frozenset())
        self.start = self._state(self._nfa.closure(frozenset((first,))))

    def _entry(self, first: int) -> int:
        """Return a state of its own for a pattern to begin in, so that one pattern's loops are not another's."""
        entry = self._nfa.state()
        self._nfa.free[first].append(entry)
        return entry

    def accepted(self, state: int) -> frozenset[int]:
        """Return the numbers of the patterns that match the whole word up to here."""
        return self._accepting[state]

    def partition(self) -> bytes:
        """See `Part`."""
        return self._partition

    def row(self, state: int, symbols: bytes) -> Sequence[int]:
        """See `Part`."""
        key = (state, symbols)
        row = self._rows.get(key)
        if row is None:
            found: dict[int, int] = {}
            numbers = [self._partition[byte] for byte in symbols]
            for byte, number in zip(symbols, numbers, strict=True):
                if number not in found:
                    found[number] = self._state(self._nfa.step(self._sets[state], byte))
            row = self._rows[key] = [found[number] for number in numbers]
        return row

    def _state(self, states: frozenset[int]) -> int:
        number = self._states.get(states)
        if number is None:
            number = self._states[states] = len(self._sets)
            self._sets.append(states)
            self._accepting.append(frozenset(self._ends[state] for state in states if state in self._ends))
        return number


def _partition(masks: Iterable[int]) -> bytes:
    ordered = sorted(masks)
    numbers: dict[tuple[bool, ...], int] = {}
    signs = (tuple(bool(mask >> byte & 1) for mask in ordered) for byte in range(256))
    return bytes(numbers.setdefault(sign, len(numbers)) for sign in signs)
