"""Small automata over bytes: what a pattern matches, and whether one pattern includes another.

A branch is a sequence of nodes; a node is ("set", mask): one byte of a 256-bit mask, ("star", mask): any number of
them, or ("alt", (branch, …)): one of several branches.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

ALL = (1 << 256) - 2  # every byte but NUL
BUDGET = 20_000  # steps of one comparison, each of some microseconds
NO_SLASH = ALL & ~(1 << 0x2F)
Node: TypeAlias = tuple[str, "int | tuple[Branch, ...]"]
Branch: TypeAlias = tuple[Node, ...]


def expression(branch: Branch) -> bytes:
    """Return the regular expression of `branch` for Python's `re` over bytes."""
    parts: list[bytes] = []
    for kind, what in branch:
        if isinstance(what, tuple):
            parts.append(b"(?:" + b"|".join(expression(choice) for choice in what) + b")")
        else:
            parts.append(_set(what) + (b"*" if kind == "star" else b""))
    return b"".join(parts)


def _set(mask: int) -> bytes:
    if mask == ALL:
        return rb"[^\x00]"
    if mask == NO_SLASH:
        return rb"[^/\x00]"
    members = [byte for byte in range(256) if mask >> byte & 1]
    if len(members) == 1:
        return re.escape(bytes(members))
    return b"[" + b"".join(b"\\x%02x" % byte for byte in members) + b"]"


@dataclass(slots=True)
class Nfa:
    """A nondeterministic automaton, built from branches: moves by byte set, moves without a byte; state 0 is the first.

    Whoever builds branches from state 0 keeps the state that each `build` returned: it accepts.
    """

    moves: list[list[tuple[int, int]]]
    free: list[list[int]]

    def state(self) -> int:
        self.moves.append([])
        self.free.append([])
        return len(self.moves) - 1

    def build(self, branch: Branch, at: int) -> int:
        """Add `branch` from state `at`; return the state after it."""
        for kind, what in branch:
            end = self.state()
            if isinstance(what, tuple):
                for choice in what:
                    start = self.state()
                    self.free[at].append(start)
                    self.free[self.build(choice, start)].append(end)
            elif kind == "star":
                self.free[at].append(end)
                self.moves[end].append((what, end))
            else:
                self.moves[at].append((what, end))
            at = end
        return at

    def closure(self, states: frozenset[int]) -> frozenset[int]:
        todo, seen = list(states), set(states)
        while todo:
            for following in self.free[todo.pop()]:
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
        return frozenset(seen)

    def step(self, states: frozenset[int], byte: int) -> frozenset[int]:
        bit = 1 << byte
        return self.closure(frozenset(end for state in states for mask, end in self.moves[state] if mask & bit))


@dataclass(frozen=True, slots=True)
class _Automaton:
    """For each state its moves (byte set, states after it); a set of states is an int, a bit each. `last` accepts."""

    moves: tuple[tuple[tuple[int, int], ...], ...]
    first: int
    last: int


@lru_cache(maxsize=4096)
def _automaton(branch: Branch) -> _Automaton:
    nfa = Nfa([], [])
    start = nfa.state()
    last = nfa.build(branch, start)
    closures = [sum(1 << state for state in nfa.closure(frozenset((each,)))) for each in range(len(nfa.moves))]
    moves = tuple(tuple((mask, closures[end]) for mask, end in moves) for moves in nfa.moves)
    return _Automaton(moves, closures[start], last)


def _witnesses(*automata: _Automaton) -> tuple[int, ...]:
    """Return one byte (its bit) for each class of bytes that no set of these automata tells apart."""
    classes = [ALL]
    for mask in sorted({mask for automaton in automata for moves in automaton.moves for mask, _ in moves}):
        classes = [part for whole in classes for part in (whole & mask, whole & ~mask) if part]
    return tuple(part & -part for part in classes)


def _members(states: int) -> Iterator[int]:
    while states:
        low = states & -states
        yield low.bit_length() - 1
        states ^= low


def _after(automaton: _Automaton, states: int, bit: int) -> int:
    found = 0
    for state in _members(states):
        for mask, ends in automaton.moves[state]:
            if mask & bit:
                found |= ends
    return found


@lru_cache(maxsize=65536)
def includes(big: Branch, small: Branch) -> bool:
    """Return whether every byte string of `small` is one of `big` too, by walking both automata together.

    Exact but for pairs so entangled that the walk takes more than BUDGET steps: those are answered False.
    """
    mine, theirs = _automaton(big), _automaton(small)
    alphabet = _witnesses(mine, theirs)
    # For each state of `small`, the sets of states of `big` met with it; a set within a new one says it all already.
    met: dict[int, list[int]] = {}
    todo: list[tuple[int, int]] = []
    steps: dict[tuple[int, int], int] = {}
    left = BUDGET

    def meet(states: int, outer: int) -> None:
        for inner in _members(states):
            known = met.setdefault(inner, [])
            if not any(one & ~outer == 0 for one in known):
                known[:] = [one for one in known if outer & ~one]
                known.append(outer)
                todo.append((inner, outer))

    meet(theirs.first, mine.first)
    while todo:
        inner, outer = todo.pop()
        left -= 1
        if left < 0 or (inner == theirs.last and not outer >> mine.last & 1):
            return False
        for bit in alphabet:
            ends = _after(theirs, 1 << inner, bit)
            if not ends:
                continue
            if (outer, bit) not in steps:
                steps[outer, bit] = _after(mine, outer, bit)
            meet(ends, steps[outer, bit])
    return True


@lru_cache(maxsize=65536)
def overlap(one: Branch, other: Branch) -> bool:
    """Return whether some byte string is one of both, by walking both automata together. Exact."""
    mine, theirs = _automaton(one), _automaton(other)
    alphabet = _witnesses(mine, theirs)
    todo = [(here, there) for here in _members(mine.first) for there in _members(theirs.first)]
    seen = set(todo)
    while todo:
        here, there = todo.pop()
        if here == mine.last and there == theirs.last:
            return True
        for bit in alphabet:
            for left in _members(_after(mine, 1 << here, bit)):
                for right in _members(_after(theirs, 1 << there, bit)):
                    if (left, right) not in seen:
                        seen.add((left, right))
                        todo.append((left, right))
    return False
