"""The census of a real tree: what a compiled profile lets a program read, write and execute of all that is there.

Paths carry the automaton's state from folder to folder, so each entry costs only the bytes of its own name. A
folder's path ends in "/", as the kernel spells it. Symbolic links are not followed and not counted: the kernel sees
what they lead to.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from pathlib import Path
from typing import Final

from aalearn.model.errors import UsageError
from aalearn.model.text import shown
from aalearn.policy.ask.base import Machine
from aalearn.policy.permissions import May
from aalearn.policy.walks import RUN, WRITE

EXAMPLES: Final = 50  # example paths that a census keeps of each sort


@dataclass(frozen=True, slots=True)
class Census:
    """Counts over a tree. A permission counts when the file's owner or others may.

    `unread` and `unwritten` are what may be read and written and was never accessed so: the over-grant. Their examples
    are the first in the order of bytes. `skipped` are folders that could not be read.
    """

    paths: int
    readable: int
    writable: int
    executable: int
    unread: int
    unwritten: int
    unread_examples: tuple[bytes, ...] = ()
    unwritten_examples: tuple[bytes, ...] = ()
    skipped: int = 0

    @property
    def over_read(self) -> float:
        """The share of the tree that may be read and never was, 0 to 1."""
        return self.unread / self.paths if self.paths else 0.0

    @property
    def over_written(self) -> float:
        """The share of the tree that may be written and never was, 0 to 1."""
        return self.unwritten / self.paths if self.paths else 0.0


class _First:
    """Keeps the first few of many paths, in the order of bytes."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[_Backwards] = []

    def add(self, path: bytes) -> None:
        if len(self._heap) < EXAMPLES:
            heappush(self._heap, _Backwards(path))
        elif path < self._heap[0].path:
            heapreplace(self._heap, _Backwards(path))

    def sorted(self) -> tuple[bytes, ...]:
        return tuple(sorted(entry.path for entry in self._heap))


@dataclass(frozen=True, slots=True)
class _Backwards:
    path: bytes

    def __lt__(self, other: "_Backwards") -> bool:
        return self.path > other.path


@dataclass(slots=True)
class _Tally:
    accessed: Mapping[bytes, int]
    counts: dict[int, int] = field(default_factory=dict)
    paths: int = 0
    used_read: int = 0
    used_written: int = 0
    unread: _First = field(default_factory=_First)
    unwritten: _First = field(default_factory=_First)
    skipped: int = 0

    def finish(self) -> Census:
        def total(bits: int) -> int:
            return sum(count for allow, count in self.counts.items() if allow & bits)

        readable, writable = total(May.READ), total(WRITE)
        return Census(
            self.paths,
            readable,
            writable,
            total(RUN & May.EXEC),
            readable - self.used_read,
            writable - self.used_written,
            self.unread.sorted(),
            self.unwritten.sorted(),
            self.skipped,
        )


def census_of_tree(machine: Machine, root: Path, accessed: Mapping[bytes, int]) -> Census:
    """Return the census of all below `root`, as if `root` were "/".

    `accessed` maps paths to the `May` bits that were used on them. Folders that can't be read are counted in `skipped`.
    Raises UsageError when `root` itself can't be read.
    """
    top = os.fsencode(root)
    tally = _Tally(accessed)
    count = _counter(machine, tally)
    node = machine.dfa.node(machine.start)[0x2F]
    count(node.state, b"/")
    todo = [(top, b"/", node)]
    while todo:
        folder, path, node = todo.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        continue
                    name: bytes = entry.name
                    after = node
                    for byte in name:
                        after = after[byte]
                    if entry.is_dir(follow_symlinks=False):
                        after = after[0x2F]
                        inner = path + name + b"/"
                        count(after.state, inner)
                        todo.append((entry.path, inner, after))
                    else:
                        count(after.state, path + name)
        except OSError as error:
            if folder == top:
                raise UsageError(f"{shown(top)} can't be read: {error.strerror}") from error
            tally.skipped += 1
    return tally.finish()


def census_of_paths(machine: Machine, paths: Iterable[bytes], accessed: Mapping[bytes, int]) -> Census:
    """Return the census of a list of absolute paths, folders with a "/" at the end (such as a saved list of an image).

    Paths of one folder that follow each other share its state.
    """
    tally = _Tally(accessed)
    count = _counter(machine, tally)
    start = machine.dfa.node(machine.start)
    before, node = b"", start
    for path in paths:
        cut = path.rfind(b"/", 0, len(path) - 1) + 1
        folder = path[:cut]
        if folder != before:
            node = start
            for byte in folder:
                node = node[byte]
            before = folder
        after = node
        for byte in path[cut:]:
            after = after[byte]
        count(after.state, path)
    return tally.finish()


def _counter(machine: Machine, tally: _Tally) -> Callable[[int, bytes], None]:
    """Return the function that counts one path in the state that it leads to."""
    allowed: dict[int, int] = {}
    counts, accessed = tally.counts, tally.accessed

    def count(state: int, path: bytes) -> None:
        allow = allowed.get(state)
        if allow is None:
            rights = machine.rights
            allow = allowed[state] = (rights.allow(state, True) | rights.allow(state, False)) & _COUNTED
            counts.setdefault(allow, 0)
        counts[allow] += 1
        tally.paths += 1
        if allow & _OPEN:
            used = accessed.get(path, 0)
            if allow & May.READ:
                if used & May.READ:
                    tally.used_read += 1
                else:
                    tally.unread.add(path)
            if allow & WRITE:
                if used & WRITE:
                    tally.used_written += 1
                else:
                    tally.unwritten.add(path)

    return count


_COUNTED: Final = May.READ | WRITE | May.EXEC
_OPEN: Final = May.READ | WRITE


def paths_of(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the paths of a saved list, one a line (`find / -type d -printf '%p/\\n' -o -print`, or with NUL)."""
    for line in lines:
        for path in line.rstrip(b"\n").split(b"\0"):
            if path.startswith(b"/"):
                yield path
