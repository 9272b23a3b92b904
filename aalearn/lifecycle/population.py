"""The files of a real tree: a root file system (a node's, an image's) or a saved list of its paths."""

import os
from collections.abc import Iterator
from pathlib import Path

from aalearn.learn.population import Population
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

# Kernel file systems: their entries come and go, so they say nothing about over-grant.
_SKIPPED = frozenset({b"/proc", b"/sys"})


def read_population(path: Path) -> tuple[Population, int]:
    """Return the population of a folder or list, and how many folders could not be read.

    A list has one absolute path a line (as `find / -xdev` prints them), or NUL between them (`find -print0`). Symbolic
    links are neither followed nor counted: the kernel sees what they lead to. Raises UsageError when there is neither
    folder nor list.
    """
    try:
        if path.is_dir():
            walk = _Walk(os.fsencode(path.resolve()))
            return Population(walk.paths()), walk.unread
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read the files of {shown(str(path))}: {error.strerror}") from None
    paths = [line for line in data.split(b"\0" if b"\0" in data else b"\n") if line]
    if not any(line.startswith(b"/") for line in paths):
        raise UsageError(f"{shown(str(path))} is no list of paths: no line begins with /")
    return Population(paths), 0


class _Walk:
    """One walk of a tree, as paths below its root."""

    def __init__(self, root: bytes) -> None:
        self.root = root.rstrip(b"/")
        self.unread = 0

    def paths(self) -> Iterator[bytes]:
        stack = [b""]
        while stack:
            inner = stack.pop()
            try:
                with os.scandir(self.root + inner + b"/") as entries:
                    for entry in entries:
                        path = inner + b"/" + entry.name
                        if entry.is_symlink():
                            continue
                        if not entry.is_dir(follow_symlinks=False):
                            yield path
                        elif path not in _SKIPPED:
                            stack.append(path)
            except OSError:
                if not inner:
                    raise
                self.unread += 1
