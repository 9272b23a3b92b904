"""The path tree: segments, and at each node what was needed there, by which runs."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from aalearn.learn.recognise import Segment
from aalearn.model.pattern import Literal


@dataclass(slots=True)
class Seen:
    """The evidence of one permission letter at one path or pattern: numbers of accesses, runs, events, and the owner.

    `accesses` are positions in the caller's sorted list, `owner` is True while every event was by the file's owner.
    """

    accesses: set[int] = field(default_factory=set)
    runs: set[int] = field(default_factory=set)
    count: int = 0
    owner: bool = True

    def take(self, other: "Seen") -> None:
        """Add the evidence of `other`."""
        self.accesses |= other.accesses
        self.runs |= other.runs
        self.count += other.count
        self.owner = self.owner and other.owner


@dataclass(slots=True)
class Need:
    """What was needed of one file, folder or pattern: a `Seen` a letter, the observed paths, and who made them."""

    letters: dict[str, Seen] = field(default_factory=dict)
    paths: set[bytes] = field(default_factory=set)

    def take(self, other: "Need") -> None:
        """Add the evidence of `other`."""
        for letter, seen in other.letters.items():
            self.letters.setdefault(letter, Seen()).take(seen)
        self.paths |= other.paths

    @property
    def runs(self) -> frozenset[int]:
        """The runs that needed it, by any letter."""
        return frozenset().union(*(seen.runs for seen in self.letters.values()))


@dataclass(slots=True)
class Node:
    """A node of the tree. The empty segment as a child stands for the folder itself (a path that ends in `/`)."""

    children: dict[Segment, "Node"] = field(default_factory=dict)
    need: Need | None = None
    made: bool = False  # the subject itself created it (set by the caller)
    moved: bool = False  # it was renamed or unlinked (set by the caller)
    why: str = ""  # from what it was generalised, in plain words

    def insert(self, parts: tuple[Segment, ...], need: Need) -> None:
        """Add a path's need."""
        node = self
        for part in parts:
            node = node.children.setdefault(part, Node())
        if node.need is None:
            node.need = Need()
        node.need.take(need)

    def take(self, other: "Node") -> None:
        """Merge another subtree into this one."""
        for part, child in other.children.items():
            self.children.setdefault(part, Node()).take(child)
        if other.need is not None:
            if self.need is None:
                self.need = Need()
            self.need.take(other.need)
        self.made = self.made or other.made
        self.moved = self.moved or other.moved
        self.why = self.why or other.why

    def runs(self) -> frozenset[int]:
        """Return the runs that needed anything in this subtree."""
        found: set[int] = set()
        for _, need in self.leaves():
            found |= need.runs
        return frozenset(found)

    def leaves(self) -> Iterator[tuple[tuple[Segment, ...], Need]]:
        """Yield (segments, need) of each needed path below, in no particular order."""
        stack: list[tuple[tuple[Segment, ...], Node]] = [((), self)]
        while stack:
            parts, node = stack.pop()
            if node.need is not None:
                yield parts, node.need
            stack.extend(((*parts, part), child) for part, child in node.children.items())


def name_of(part: Segment) -> bytes | None:
    """Return the name of a segment that is one literal, else None."""
    if len(part) == 1 and isinstance(part[0], Literal):
        return part[0].value
    return None


@dataclass(slots=True)
class Use:
    """What one path was needed for. `made`: the subject itself created it; `moved`: it renamed or unlinked it."""

    need: Need = field(default_factory=Need)
    made: bool = False
    moved: bool = False
