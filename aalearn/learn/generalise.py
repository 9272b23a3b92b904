"""From many paths to few patterns: typed segments first, then the fan-out of a folder by cost.

What is read (r, m, k) and what is written (w, a) are two trees, because evidence counts for each permission and
because a library may be typed for reading only. Paths of the never-across list stay literal and out of both trees; a
pattern that could match a path of that list is refused. Exec targets never come here: x is not globbed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aalearn.learn.options import Options
from aalearn.learn.recognise import Segment, joined, literal, segments
from aalearn.learn.sensitive import crosses, never
from aalearn.learn.shapes import Family, Style, families, styles
from aalearn.learn.tree import Need, Node, Seen, name_of
from aalearn.model.pattern import Pattern

READS = frozenset("rmk")
WRITES = frozenset("wa")


@dataclass(slots=True)
class Use:
    """What one path was needed for. `made`: the subject itself created it."""

    need: Need = field(default_factory=Need)
    made: bool = False


@dataclass(slots=True)
class Group:
    """One pattern with its evidence by letter. `why` says from what it was generalised ("" for a literal path)."""

    pattern: Pattern
    need: Need
    why: str = ""


def generalise(uses: Mapping[bytes, Use], options: Options) -> tuple[Group, ...]:
    """Return the patterns that stand for the paths of `uses`, sorted; every path is matched for each of its letters."""
    roots = {write: _tree(uses, letters) for letters, write in ((READS, False), (WRITES, True))}
    groups: dict[Pattern, Group] = {}
    if not options.literal:
        found = [family for write, root in roots.items() for family in _merge_typed(root, b"/", write, options)]
        for write, root in roots.items():
            _merge_typed(root, b"/", write, options, styles(found))
    for letters, write in ((READS, False), (WRITES, True)):
        for path in sorted(uses):
            need = _part(uses[path].need, letters)
            if need.letters and never(path, write):
                _add(groups, _exact(path), need, "")
        for parts, need in roots[write].leaves():
            _add(groups, joined(parts), need, _why(roots[write], parts))
    return tuple(groups[pattern] for pattern in sorted(groups, key=lambda pattern: pattern.sort_key()))


def _tree(uses: Mapping[bytes, Use], letters: frozenset[str]) -> Node:
    """Return the tree of what may be generalised, for the given letters."""
    root = Node()
    for path in sorted(uses):
        need = _part(uses[path].need, letters)
        if need.letters and not never(path, write=letters is WRITES):
            root.insert(segments(path, frozenset(need.letters)), need)
    made = sorted(path for path, use in uses.items() if use.made)
    for path in made:
        _mark(root, path)
    return root


def _mark(root: Node, path: bytes) -> None:
    """Mark a file or folder that the subject made, whatever letters made it."""
    node: Node | None = root
    for name in path.rstrip(b"/")[1:].split(b"/"):
        node = node.children.get(literal(name)) if node is not None else None
    if node is not None:
        node.made = True


def _exact(path: bytes) -> Pattern:
    return joined(tuple(literal(name) for name in path[1:].split(b"/")))


def _part(need: Need, letters: frozenset[str]) -> Need:
    kept = {letter: seen for letter, seen in need.letters.items() if letter in letters}
    return Need(kept, set(need.paths)) if kept else Need()


def _add(groups: dict[Pattern, Group], pattern: Pattern, need: Need, why: str) -> None:
    group = groups.setdefault(pattern, Group(pattern, Need()))
    for letter, seen in need.letters.items():
        group.need.letters.setdefault(letter, Seen()).take(seen)
    group.need.paths |= need.paths
    group.why = group.why or why


def _why(root: Node, parts: Iterable[Segment]) -> str:
    words: list[str] = []
    node = root
    for part in parts:
        node = node.children[part]
        if node.why and node.why not in words:
            words.append(node.why)
    return ", ".join(words)


def _merge_typed(node: Node, example: bytes, write: bool, options: Options, style: Style = frozenset()) -> list[Family]:
    """Merge the children of a node that are one thing by their names, from the top down. Return what was merged.

    `example` is one observed folder that leads to this node: families are tried against the never-across list in it.
    """
    names = {name: child for part, child in node.children.items() if (name := name_of(part)) is not None}
    seen = {name: child.runs() for name, child in names.items()}
    made = frozenset(name for name, child in names.items() if child.made)
    found: list[Family] = []
    for family in families(seen, made, options.quorum.runs, style):
        if crosses(example, family.segment, write):
            continue
        found.append(family)
        merged = Node(why=f"{family.label}: {len(family.names)} seen")
        for name in family.names:
            merged.take(names[name])
            del node.children[literal(name)]
        node.children.setdefault(family.segment, Node(why=merged.why)).take(merged)
    for part, child in sorted(node.children.items(), key=lambda item: repr(item[0])):
        if part:
            found.extend(_merge_typed(child, example + _example(part, child) + b"/", write, options, style))
    return found


def _example(part: Segment, child: Node) -> bytes:
    """Return an observed name for a segment: its own when it is literal, else one that its pattern was made from."""
    name = name_of(part)
    if name is not None:
        return name
    return b"0" if child.need is None else sorted(child.need.paths)[0].rstrip(b"/").rsplit(b"/", 1)[-1]
