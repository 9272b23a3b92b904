"""Walks over the file automaton of a compiled policy: what it permits as a whole, each finding with a shortest path.

Only paths that the kernel can spell count: a "/" first, no NUL, no segment that is empty, "." or "..". What was
observed and what an older policy (the baseline) grants can walk along and is then left out of the findings.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from aalearn.model.pattern import Pattern
from aalearn.policy.ask.base import Machine
from aalearn.policy.automaton import TRAP
from aalearn.policy.languages import DEAD, Part, Patterns, Policy, RealPaths, Words
from aalearn.policy.permissions import May
from aalearn.policy.product import States, Walk

# The letters of findings, in the order in which policy text has them.
LETTERS: Final = {
    "r": May.READ,
    "w": May.WRITE,
    "a": May.APPEND,
    "k": May.LOCK,
    "l": May.LINK,
    "m": May.MMAP,
    "x": May.EXEC,
}
WRITE: Final = May.WRITE | May.APPEND
RUN: Final = May.EXEC | May.MMAP
ALL: Final = sum(LETTERS.values())
SIDES: Final = (True, False)  # the subject owns the file, or does not


def letters(bits: int) -> str:
    """Return the letters of `bits`; "w" swallows "a", as in rules."""
    if bits & May.WRITE:
        bits &= ~May.APPEND
    return "".join(letter for letter, bit in LETTERS.items() if bits & bit)


def bits_of(text: str) -> int:
    """Return the bits of rule letters; "w" brings "a", as in the compiler. Raises KeyError for an unknown letter."""
    bits = sum({LETTERS[letter] for letter in text})
    return bits | May.APPEND if bits & May.WRITE else bits


@dataclass(frozen=True, slots=True, order=True)
class Witness:
    """A path that shows a finding: what is permitted on it, and to whom.

    `owner` is True where only the file's owner may, False where only others may, None where both may. `what` names the
    finding's object: a sensitive set, a transition, or "".
    """

    path: bytes
    letters: str
    owner: bool | None = None
    what: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """A set of sensitive paths: its name, its patterns, and the permissions that matter there."""

    name: str
    patterns: tuple[Pattern, ...]
    bits: int = ALL


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen to be needed: literal paths with the bits used on them, and the same of typed patterns."""

    paths: tuple[tuple[bytes, int], ...] = ()
    patterns: tuple[tuple[Pattern, int], ...] = ()
    words: Words = field(init=False, repr=False, compare=False)
    globs: Patterns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", Words(self.paths))
        object.__setattr__(self, "globs", Patterns([pattern for pattern, _ in self.patterns]))

    def within(self, patterns: Sequence[Pattern]) -> "Observed":
        """Return the same with only those literal paths that one of `patterns` matches: fewer places to walk."""
        regex = re.compile(b"|".join(b"(?:%b)" % pattern.regex() for pattern in patterns), re.DOTALL)
        return Observed(tuple(item for item in self.paths if regex.fullmatch(item[0])), self.patterns)

    def parts(self) -> tuple[Part, Part]:
        """Return the two automata that walk along."""
        return self.words, self.globs

    def bits(self, word: int, glob: int) -> int:
        """Return what was used on the path that led to these two states."""
        found = self.words.payload.get(word, 0)
        for number in self.globs.accepted(glob):
            found |= self.patterns[number][1]
        return found


NOTHING_OBSERVED: Final = Observed()
# The order of the parts in each place: policy, observed paths, observed patterns, real paths[, baseline][, watched].
_REAL: Final = 3
_BASE: Final = 4


def _walk(parts: Sequence[Part], live: Callable[[States], bool]) -> tuple[Walk, Iterator[States]]:
    """Return the walk over the kernel's paths and an iterator over the places where one ends."""
    walk = Walk(parts, lambda place: place[_REAL] != DEAD and live(place), without=b"\0")
    return walk, (place for place in walk if place[_REAL] in RealPaths.ends)


class Grants:
    """The file permissions of one compiled profile, ready for walks; `baseline` is one whose grants do not count."""

    __slots__ = ("_base", "_machine", "_observed", "_parts")

    def __init__(
        self, machine: Machine, observed: Observed = NOTHING_OBSERVED, baseline: Machine | None = None
    ) -> None:
        self._machine = machine
        self._base = baseline
        self._observed = observed
        self._parts: tuple[Part, ...] = (Policy(machine.dfa, machine.start), *observed.parts(), RealPaths())
        if baseline is not None:
            self._parts = (*self._parts, Policy(baseline.dfa, baseline.start))

    def new(self, place: States, owner: bool) -> int:
        """Return the bits that are permitted at this place and that neither baseline nor observation account for."""
        bits = self._machine.rights.allow(place[0], owner) & ALL
        if bits and self._base is not None:
            bits &= ~self._base.rights.allow(place[_BASE], owner)
        return bits & ~self._observed.bits(place[1], place[2]) if bits else 0

    def sensitive(self, watched: Sequence[Watch]) -> tuple[Witness, ...]:
        """Return a shortest path for each watched set and each permission on it that nothing accounts for."""
        observed = self._observed.within([pattern for watch in watched for pattern in watch.patterns])
        return Grants(self._machine, observed, self._base)._sensitive(watched)

    def _sensitive(self, watched: Sequence[Watch]) -> tuple[Witness, ...]:
        flat = [(watch, pattern) for watch in watched for pattern in watch.patterns]
        patterns = Patterns([pattern for _, pattern in flat])
        own = len(self._parts)
        walk, places = _walk((*self._parts, patterns), lambda place: place[0] != TRAP and place[own] != DEAD)
        found: dict[tuple[str, int], Witness] = {}
        for place in places:
            numbers = patterns.accepted(place[own])
            if numbers:
                sides = [self.new(place, owner) for owner in SIDES]
                if any(sides):
                    names = {flat[number][0].name: flat[number][0].bits for number in numbers}
                    self._note(found, names, sides, walk, place)
        return tuple(sorted(found.values(), key=lambda witness: (witness.what, witness.letters, witness.path)))

    def _note(
        self,
        found: dict[tuple[str, int], Witness],
        names: dict[str, int],
        sides: Sequence[int],
        walk: Walk,
        place: States,
    ) -> None:
        for name, wanted in sorted(names.items()):
            for bit in LETTERS.values():
                if bit & wanted & (sides[0] | sides[1]) and (name, bit) not in found:
                    if bit == May.APPEND and (name, May.WRITE) in found:
                        continue
                    owner = _who(sides, bit)
                    found[name, bit] = Witness(walk.word(place), letters(bit), owner, name)

    def write_execute(self, limit: int = 20) -> tuple[Witness, ...]:
        """Return paths that may be written and executed (or mapped so) without being observed as both."""
        targets = {state for state in range(self._machine.dfa.size) if self._both(state) is not None}
        if not targets:
            return ()
        ahead = _leading_to(self._machine, targets)
        walk, places = _walk(self._parts, lambda place: place[0] in ahead)
        found = []
        for place in places:
            if place[0] in targets:
                witness = self._written_and_run(walk, place)
                if witness is not None:
                    found.append(witness)
                    if len(found) >= limit:
                        break
        return tuple(found)

    def _both(self, state: int) -> bool | None:
        """Return for which side a state is both writable and executable, None for neither."""
        for owner in SIDES:
            allow = self._machine.rights.allow(state, owner)
            if allow & WRITE and allow & RUN:
                return owner
        return None

    def _written_and_run(self, walk: Walk, place: States) -> Witness | None:
        used = self._observed.bits(place[1], place[2])
        if used & WRITE and used & RUN:
            return None
        sides = []
        for owner in SIDES:
            allow = self._machine.rights.allow(place[0], owner)
            if self._base is not None:
                granted = self._base.rights.allow(place[_BASE], owner)
                allow = 0 if granted & WRITE and granted & RUN else allow
            sides.append(allow if allow & WRITE and allow & RUN else 0)
        if not any(sides):
            return None
        owner_only = None if all(sides) else bool(sides[0])
        return Witness(walk.word(place), letters((sides[0] | sides[1]) & (WRITE | RUN)), owner_only)

    def executables(self, limit: int = 20) -> tuple[Witness, ...]:
        """Return executable paths whose execution nothing accounts for."""
        targets = {
            state
            for state in range(self._machine.dfa.size)
            if any(self._machine.rights.allow(state, owner) & May.EXEC for owner in SIDES)
        }
        ahead = _leading_to(self._machine, targets)
        walk, places = _walk(self._parts, lambda place: place[0] in ahead)
        found = []
        for place in places:
            if place[0] in targets:
                sides = [self.new(place, owner) & May.EXEC for owner in SIDES]
                if any(sides):
                    found.append(Witness(walk.word(place), "x", _who(sides, May.EXEC)))
                    if len(found) >= limit:
                        break
        return tuple(found)


def _who(sides: Sequence[int], bit: int) -> bool | None:
    """Return for whom a bit holds: True the owner only, False others only, None both."""
    if sides[0] & bit and sides[1] & bit:
        return None
    return bool(sides[0] & bit)


def _leading_to(machine: Machine, targets: Iterable[int]) -> frozenset[int]:
    """Return the states from which one of `targets` can be reached, themselves included."""
    came: list[set[int]] = [set() for _ in range(machine.dfa.size)]
    for state in range(machine.dfa.size):
        for following in set(machine.dfa.row(state)):
            came[following].add(state)
    ahead = set(targets)
    todo = list(ahead)
    while todo:
        for earlier in came[todo.pop()]:
            if earlier not in ahead and earlier != TRAP:
                ahead.add(earlier)
                todo.append(earlier)
    return frozenset(ahead)


def permitted_words(machine: Machine, bits: int, owner: bool, limit: int = 2) -> tuple[bytes, ...]:
    """Return all words (any bytes but NUL) on which `bits` are permitted, shortest first, or `limit` if there are more.

    So a rule that should permit one path permits just that one if the answer is that path alone.
    """
    targets = {state for state in range(machine.dfa.size) if machine.rights.allow(state, owner) & bits == bits}
    targets.discard(TRAP)
    ahead = _leading_to(machine, targets)
    moves: dict[int, list[tuple[bytes, int]]] = {}
    frontier = [(machine.start, b"")] if machine.start in ahead else []
    found: list[bytes] = []
    while frontier and len(found) < limit:
        found += [word for state, word in frontier if state in targets]
        following: list[tuple[int, bytes]] = []
        for state, word in frontier:
            if state not in moves:
                row, classes = machine.dfa.row(state), machine.dfa.classes
                pairs = [(bytes((byte,)), row[classes[byte]]) for byte in range(1, 256)]
                moves[state] = [(byte, target) for byte, target in pairs if target in ahead]
            following += [(target, word + byte) for byte, target in moves[state]]
            if len(following) > limit:  # each leads to a word of its own, so these are enough
                break
        frontier = following[: limit + 1]
    return tuple(found[:limit])
