"""The files that there are: what a generalised rule would newly open is counted against them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


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

    def paths(self) -> Iterator[bytes]:
        """Yield every file's path, in no particular order."""
        stack = [(b"/", self._root)]
        while stack:
            prefix, node = stack.pop()
            for name in node.files:
                yield prefix + name
            for name, inner in node.folders.items():
                stack.append((prefix + name + b"/", inner))
