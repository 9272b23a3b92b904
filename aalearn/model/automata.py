"""Small automata over bytes: what a pattern matches, and whether one pattern includes another.

A branch is a sequence of nodes; a node is ("set", mask): one byte of a 256-bit mask, ("star", mask): any number of
them, or ("alt", (branch, …)): one of several branches.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

ALL = (1 << 256) - 2  # every byte but NUL
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

    `last` is the accepting state of the branch that `includes` built; whoever builds several branches from state 0
    keeps the state that each `build` returned.
    """

    moves: list[list[tuple[int, int]]]
    free: list[list[int]]
    last: int = 0

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


@lru_cache(maxsize=4096)
def _nfa(branch: Branch) -> Nfa:
    nfa = Nfa([], [])
    nfa.last = nfa.build(branch, nfa.state())
    return nfa


def _witnesses(*automata: Nfa) -> tuple[int, ...]:
    """One byte for each class of bytes that no set of these automata tells apart."""
    masks = sorted({mask for nfa in automata for moves in nfa.moves for mask, _ in moves})
    classes: dict[tuple[bool, ...], int] = {}
    for byte in range(1, 256):
        classes.setdefault(tuple(bool(mask >> byte & 1) for mask in masks), byte)
    return tuple(classes.values())


@lru_cache(maxsize=65536)
def includes(big: Branch, small: Branch) -> bool:
    """Return whether every byte string of `small` is one of `big` too; exact, by walking both automata together."""
    mine, theirs = _nfa(big), _nfa(small)
    alphabet = _witnesses(mine, theirs)
    start = (theirs.closure(frozenset((0,))), mine.closure(frozenset((0,))))
    todo, seen = [start], {start}
    while todo:
        inner, outer = todo.pop()
        if theirs.last in inner and mine.last not in outer:
            return False
        for byte in alphabet:
            following = theirs.step(inner, byte), mine.step(outer, byte)
            if following[0] and following not in seen:
                seen.add(following)
                todo.append(following)
    return True
