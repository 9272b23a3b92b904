"""The walk of several automata over one word: breadth first, so the first word to a place is a shortest one."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from aalearn.policy.languages import Part

States = tuple[int, ...]

# Which byte stands for its class in a witness: what reads best.
_READABLE: Final = b"abcdefghijklmnopqrstuvwxyz/0123456789_-.ABCDEFGHIJKLMNOPQRSTUVWXYZ+=:,@~%#$&!^*()[]{}<>?|;`'\" \\"
_RANK: Final = {byte: rank for rank, byte in enumerate((*_READABLE, *(b for b in range(256) if b not in _READABLE)))}


class Walk:
    """All places that the automata reach together. Iterate once; `word` then gives a shortest word to a place seen.

    `live` prunes: places for which it is false are neither yielded nor walked on from. `without` are bytes that no word
    may hold. The order is the same on each run: by length, then by the rank of the bytes.
    """

    __slots__ = ("_came", "_live", "_parts", "_start", "_symbols")

    def __init__(
        self,
        parts: Sequence[Part],
        live: Callable[[States], bool],
        *,
        without: bytes = b"",
        starts: States | None = None,
    ) -> None:
        self._parts = tuple(parts)
        self._live = live
        self._symbols = _symbols(self._parts, without)
        self._start = tuple(part.start for part in self._parts) if starts is None else starts
        self._came: dict[States, tuple[States, int] | None] = {self._start: None}

    def __iter__(self) -> Iterator[States]:
        if not self._live(self._start):
            return
        frontier = [self._start]
        while frontier:
            yield from frontier
            following: list[States] = []
            for place in frontier:
                following += self._step(place)
            frontier = following

    def _step(self, place: States) -> list[States]:
        """Return the live places one byte further that nothing reached before."""
        found = []
        for target, symbol in self._moves(place):
            if target not in self._came:
                self._came[target] = (place, symbol)
                if self._live(target):
                    found.append(target)
        return found

    def _moves(self, place: States) -> list[tuple[States, int]]:
        """Return the places one byte further, each once, with the most readable byte that leads there."""
        rows = [part.row(state, self._symbols) for part, state in zip(self._parts, place, strict=True)]
        # turned round: of the symbols that lead to one place the dict keeps the last, and the most readable come first
        targets = zip(*[row[::-1] for row in rows], strict=True)
        return list(dict(zip(targets, self._symbols[::-1], strict=True)).items())[::-1]

    def word(self, place: States) -> bytes:
        """Return a shortest word that leads to `place`, which must have been yielded."""
        word = bytearray()
        came = self._came[place]
        while came is not None:
            place, symbol = came
            word.append(symbol)
            came = self._came[place]
        word.reverse()
        return bytes(word)

    def words(self, wanted: Collection[States], each: int) -> Iterator[tuple[States, bytes]]:
        """Yield up to `each` words to each of the `wanted` places, shorter ones first; none of them goes in circles.

        Words that differ only in bytes that no part tells apart are one word. To be called after the iteration.
        """
        moves = {place: self._moves(place) for place in self._came if self._live(place)}
        ahead = _leading_to(moves, wanted)
        frontier: list[_Step] = [(self._start, None, 0)] if self._start in ahead else []
        visits = dict.fromkeys(ahead, 0)
        while frontier:
            following: list[_Step] = []
            for step in frontier:
                if step[0] in wanted:
                    yield step[0], _spelled(step)
                for target, symbol in moves[step[0]]:
                    if target in ahead and visits[target] < each and not _visited(step, target):
                        visits[target] += 1
                        following.append((target, step, symbol))
            frontier = following


_Step = tuple[States, "_Step | None", int]


def _leading_to(moves: Mapping[States, Sequence[tuple[States, int]]], wanted: Iterable[States]) -> set[States]:
    """Return the places from which a wanted one can be reached, themselves included."""
    came: dict[States, list[States]] = {}
    for place, targets in moves.items():
        for target, _ in targets:
            came.setdefault(target, []).append(place)
    ahead = {place for place in wanted if place in moves}
    todo = list(ahead)
    while todo:
        for earlier in came.get(todo.pop(), ()):
            if earlier not in ahead:
                ahead.add(earlier)
                todo.append(earlier)
    return ahead


def _visited(step: "_Step | None", place: States) -> bool:
    while step is not None:
        if step[0] == place:
            return True
        step = step[1]
    return False


def _spelled(step: "_Step") -> bytes:
    word = bytearray()
    before = step[1]
    while before is not None:
        word.append(step[2])
        step, before = before, before[1]
    word.reverse()
    return bytes(word)


def _symbols(parts: Sequence[Part], without: bytes) -> bytes:
    """Return one byte for each class of bytes that no part tells apart, the most readable ones, by rank."""
    partitions = [part.partition() for part in parts]
    classes: dict[tuple[int, ...], int] = {}
    for byte in sorted(range(256), key=_RANK.__getitem__):
        if byte not in without:
            classes.setdefault(tuple(partition[byte] for partition in partitions), byte)
    return bytes(classes.values())
