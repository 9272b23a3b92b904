"""Whether a pattern reaches into the sensitive set: asked of automata, so that no pattern is missed.

The set's words stand in `grammars/sensitive.toml`; the proof of the compiled policy reads the same ones.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from aalearn.model.automata import Nfa
from aalearn.model.data import words
from aalearn.model.pattern import Any1, Chars, Deep, Literal, Pattern, Star, Token

_GLOB = re.compile(r"(?P<deep>\*\*)|(?P<star>\*)|(?P<one>\?)|\[(?P<chars>[^\]]+)\]|(?P<literal>[^*?\[\]]+)")
_ANY = "rwamxkl"


@dataclass(frozen=True, slots=True)
class _Guarded:
    """One glob of the sensitive set: its pattern, the letters that matter, its automaton."""

    pattern: Pattern
    letters: frozenset[str]
    nfa: Nfa
    last: int


@cache
def _guarded() -> tuple[_Guarded, ...]:
    return tuple(
        _Guarded(pattern, frozenset(entry.get("bits", _ANY)), *_nfa(pattern))
        for entry in words("sensitive")["set"]
        for pattern in map(_pattern, entry["paths"])
    )


def _pattern(glob: str) -> Pattern:
    tokens: list[Token] = []
    for found in _GLOB.finditer(glob):
        if found["deep"]:
            tokens.append(Deep())
        elif found["star"]:
            tokens.append(Star())
        elif found["one"]:
            tokens.append(Any1())
        elif found["chars"]:
            tokens.append(Chars(found["chars"]))
        else:
            tokens.append(Literal(found["literal"].encode()))
    return Pattern.of(*tokens)


def _nfa(pattern: Pattern) -> tuple[Nfa, int]:
    nfa = Nfa([], [])
    return nfa, nfa.build(pattern.branch(), nfa.state())


@lru_cache(maxsize=65536)
def crosses(pattern: Pattern, letters: frozenset[str]) -> bool:
    """Return whether some path that `pattern` matches is in the sensitive set, for any of `letters`."""
    mine: tuple[Nfa, int] | None = None
    for guarded in _guarded():
        if guarded.letters.isdisjoint(letters):
            continue
        start, other = pattern.literal_bytes, guarded.pattern.literal_bytes
        if not (start.startswith(other) or other.startswith(start)):
            continue
        if not _ends_meet(_end(pattern), _end(guarded.pattern)):
            continue
        mine = mine or _nfa(pattern)
        if _meet(*mine, guarded.nfa, guarded.last):
            return True
    return False


def _end(pattern: Pattern) -> bytes:
    """Return the bytes that every path of `pattern` ends in."""
    last = pattern.tokens[-1] if pattern.tokens else None
    return last.value if isinstance(last, Literal) else b""


def _ends_meet(one: bytes, other: bytes) -> bool:
    return one.endswith(other) or other.endswith(one)


def _meet(one: Nfa, last: int, other: Nfa, end_of_other: int) -> bool:
    """Return whether two automata accept a common word: a walk over pairs of states."""
    todo = [(0, 0)]
    seen = {(0, 0)}
    while todo:
        here, there = todo.pop()
        if here == last and there == end_of_other:
            return True
        following = [(end, there) for end in one.free[here]] + [(here, end) for end in other.free[there]]
        following += [(end, far) for mask, end in one.moves[here] for also, far in other.moves[there] if mask & also]
        for pair in following:
            if pair not in seen:
                seen.add(pair)
                todo.append(pair)
    return False
