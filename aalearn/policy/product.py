"""The walk of several automata over one word: breadth first, so the first word to a place is a shortest one."""

from collections.abc import Callable, Iterator, Sequence
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
        rows = [part.row(state, self._symbols) for part, state in zip(self._parts, place, strict=True)]
        found = []
        # turned round: of the symbols that lead to one place the dict keeps the last, and the most readable come first
        targets = zip(*[row[::-1] for row in rows], strict=True)
        for target, symbol in dict(zip(targets, self._symbols[::-1], strict=True)).items():
            if target not in self._came:
                self._came[target] = (place, symbol)
                if self._live(target):
                    found.append(target)
        found.reverse()
        return found

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


def _symbols(parts: Sequence[Part], without: bytes) -> bytes:
    """Return one byte for each class of bytes that no part tells apart, the most readable ones, by rank."""
    partitions = [part.partition() for part in parts]
    classes: dict[tuple[int, ...], int] = {}
    for byte in sorted(range(256), key=_RANK.__getitem__):
        if byte not in without:
            classes.setdefault(tuple(partition[byte] for partition in partitions), byte)
    return bytes(classes.values())
