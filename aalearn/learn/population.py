"""The files that there are: what a generalised rule would newly open is counted against them."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aalearn.model.pattern import Literal, Pattern, Token, Var

Segment = tuple[Token, ...]


@dataclass(slots=True)
class Folder:
    """One folder of the population: its entries' names; a sub-folder's entries stand in its own `Folder`."""

    files: set[bytes] = field(default_factory=set)
    folders: dict[bytes, "Folder"] = field(default_factory=dict)


class Population:
    """An immutable tree of absolute paths; those that end in `/` are folders. Built once, asked often."""

    __slots__ = ("_root", "_size")

    def __init__(self, paths: Iterable[bytes] = ()) -> None:
        """Build the tree. Paths without a leading `/` are ignored: AppArmor knows none."""
        self._root = Folder()
        self._size = 0
        for path in paths:
            self._add(path)

    def _add(self, path: bytes) -> None:
        if not path.startswith(b"/"):
            return
        *parents, leaf = path[1:].split(b"/")
        node = self._root
        for name in parents:
            node = node.folders.setdefault(name, Folder())
        if leaf and leaf not in node.files:
            node.files.add(leaf)
            self._size += 1

    def __len__(self) -> int:
        """Return the number of distinct files."""
        return self._size

    @property
    def root(self) -> Folder:
        """The folder `/`. Callers must not change it."""
        return self._root

    def folders(self, parts: Sequence[Segment]) -> list[tuple[bytes, Folder]]:
        """Return the (path, folder) pairs that the segments of a folder's pattern match; the path ends in `/`."""
        found = [(b"/", self._root)]
        for part in parts:
            name = _fixed(part)
            pattern = None if name is not None else Pattern.of(*part)
            deeper: list[tuple[bytes, Folder]] = []
            for path, node in found:
                if name is not None:
                    names: Iterable[bytes] = (name,) if name in node.folders else ()
                else:
                    assert pattern is not None
                    names = [entry for entry in node.folders if pattern.matches(entry)]
                deeper += [(path + entry + b"/", node.folders[entry]) for entry in names]
            found = deeper
        return found

    def opened(self, folders: Iterable[tuple[bytes, Folder]], leaf: Segment, known: Container[bytes]) -> int:
        """Return how many files of `folders` the segment `leaf` matches that are not among the `known` paths."""
        pattern = Pattern.of(*leaf)
        return sum(path + name not in known for path, node in folders for name in node.files if pattern.matches(name))

    def paths(self) -> Iterator[bytes]:
        """Yield every file's path, in no particular order."""
        stack = [(b"/", self._root)]
        while stack:
            prefix, node = stack.pop()
            for name in node.files:
                yield prefix + name
            for name, inner in node.folders.items():
                stack.append((prefix + name + b"/", inner))


_FIXED = {"PROC": b"proc", "run": b"run", "sys": b"sys"}


def _fixed(part: Segment) -> bytes | None:
    """Return the one name of a segment, or None where it is a pattern. Folder variables stand for their first value."""
    if len(part) == 1:
        token = part[0]
        if isinstance(token, Literal):
            return token.value
        if isinstance(token, Var):
            return _FIXED.get(token.name)
    return None
