"""From many paths to few patterns: typed segments first, then the fan-out of a folder by cost.

What is read (r, m, k) and what is written (w, a) are two trees, because evidence counts for each permission and because
a library may be typed for reading only. Paths of the never-across list stay literal and out of both trees; a pattern
that could match a path of that list is refused. Exec targets never come here: x is not globbed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aalearn.learn.crossing import crosses
from aalearn.learn.fanout import fans
from aalearn.learn.options import Options
from aalearn.learn.places import data_roots, kept_literal, overlong, process_files, share_homes, typed_process
from aalearn.learn.population import Population
from aalearn.learn.recognise import Segment, joined, literal, segments
from aalearn.learn.shapes import Family, Style, families, styles
from aalearn.learn.tree import Need, Node, Seen, Use, name_of
from aalearn.model.pattern import Deep, Literal, Pattern
from aalearn.model.text import shown

READS = frozenset("rmk")
WRITES = frozenset("wa")
_CLASSES = ((READS, False), (WRITES, True))


@dataclass(slots=True)
class Group:
    """One pattern with its evidence by letter.

    `why` says from what it was generalised ("" for a literal path), `opens` how many files of the population it newly
    opens (None: no population), `flood` that one run brought more new names into one folder than is believed.
    `proposed` marks a pattern into the never-across list that only a person may make a rule, `root` a whole data root.
    """

    pattern: Pattern
    need: Need
    why: str = ""
    opens: int | None = None
    flood: bool = False
    proposed: bool = False
    root: bool = False


def generalise(
    uses: Mapping[bytes, Use],
    options: Options,
    *,
    typed: frozenset[bytes] = frozenset(),
    execs: frozenset[bytes] = frozenset(),
    squeeze: bool = False,
) -> tuple[Group, ...]:
    """Return the patterns that stand for the paths of `uses`, sorted; each path is matched for each of its letters.

    `typed` are paths of the never-across list that a person wants typed like any other, `execs` the programs that are
    run. `squeeze` fans out whatever is read and has a common ending, whatever that opens: there are too many rules.
    """
    roots = data_roots(uses, execs, options) if not options.literal else ()
    inside = {path: use for path, use in uses.items() if not path.startswith(roots)} if roots else uses
    maker = _Maker(inside, options, typed)
    if not options.literal:
        maker.merge(squeeze)
    found = [*maker.groups(), *(_root_group(root, uses) for root in roots)]
    _flood(found, options.quorum.names_per_folder)
    return tuple(sorted(found, key=lambda group: group.pattern.sort_key()))


def _root_group(root: bytes, uses: Mapping[bytes, Use]) -> Group:
    """Return the group of a whole data root, `ROOT/**`, with the letters that were seen in it."""
    group = Group(Pattern.of(Literal(root), Deep()), Need(), f"the program's own data root {shown(root)}", root=True)
    for path in sorted(uses):
        if path.startswith(root):
            need = uses[path].need
            for letter, seen in need.letters.items():
                group.need.letters.setdefault(letter, Seen()).take(seen)
            group.need.paths |= need.paths
    return group


def _flood(groups: Iterable[Group], cap: int) -> None:
    """Mark the literal files that one run alone wrote into one folder, beyond the first `cap` in sorted order."""
    brought: dict[tuple[bytes, int], list[Group]] = {}
    for group in groups:
        runs = frozenset().union(*(seen.runs for seen in group.need.letters.values()))
        if group.pattern.is_literal and len(runs) == 1 and WRITES & group.need.letters.keys():
            folder = group.pattern.literal_bytes.rstrip(b"/").rpartition(b"/")[0]
            brought.setdefault((folder, min(runs)), []).append(group)
    for same in brought.values():
        for group in sorted(same, key=lambda group: group.pattern.sort_key())[cap:]:
            group.flood = True


class _Maker:
    """The two trees of one block on their way to groups."""

    def __init__(self, uses: Mapping[bytes, Use], options: Options, typed: frozenset[bytes]) -> None:
        self.uses, self.options, self.typed = uses, options, typed
        self.known = frozenset(uses)
        self.roots = {write: self._tree(letters, write) for letters, write in _CLASSES}

    def _literal(self, path: bytes, write: bool) -> bool:
        return overlong(path) or (path not in self.typed and kept_literal(path, write, self.options.host_agent))

    def _tree(self, letters: frozenset[str], write: bool) -> Node:
        """Return the tree of what may be generalised, for the given letters."""
        root = Node()
        for path in sorted(self.uses):
            need = _part(self.uses[path].need, letters)
            if need.letters and not self._literal(path, write):
                root.insert(segments(path, frozenset(need.letters), free=path in self.typed), need)
        for path, use in self.uses.items():
            if use.made or use.moved:
                _mark(root, path, use)
        return root

    def merge(self, squeeze: bool = False) -> None:
        """Merge what siblings type; a second pass uses what the first one proved of the subject's temporary names."""
        found = [family for write, root in self.roots.items() for family in self._typed(root, (), write)]
        for write, root in self.roots.items():
            self._typed(root, (), write, styles(found))
        share_homes(self.roots, self.options.quorum.owner_events)
        population = Population() if squeeze else self.options.population
        if population is not None:
            self._fan(self.roots[False], (), population, 1 if squeeze else self.options.quorum.runs)

    def _typed(self, node: Node, parts: tuple[Segment, ...], write: bool, style: Style = frozenset()) -> list[Family]:
        """Merge the children of a node that are one thing by their names, from the top down. Return what was merged.

        `parts` lead to this node. A family that could match into the sensitive set stays literal.
        """
        names = {name: child for part, child in node.children.items() if (name := name_of(part)) is not None}
        seen = {name: child.runs() for name, child in names.items()}
        made = frozenset(name for name, child in names.items() if child.made)
        moved = frozenset(name for name, child in names.items() if child.moved)
        found: list[Family] = []
        for family in families(seen, made, moved, self.options.quorum.runs, style):
            merged = Node(why=f"{family.label}: {len(family.names)} seen")
            for name in family.names:
                merged.take(names[name])
            if self._crosses((*parts, family.segment), merged, write):
                continue
            found.append(family)
            for name in family.names:
                del node.children[literal(name)]
            node.children.setdefault(family.segment, Node(why=merged.why)).take(merged)
        for part, child in sorted(node.children.items(), key=lambda item: repr(item[0])):
            if part:
                found.extend(self._typed(child, (*parts, part), write, style))
        return found

    def _fan(self, node: Node, parts: tuple[Segment, ...], population: Population, quorum: int) -> None:
        """Fan out every folder where a pattern costs less than its names."""
        for fan in fans(node, parts, population, quorum, self.known):
            merged = Node(why=f"{len(fan.parts)} names with one ending")
            for part in fan.parts:
                child = node.children.pop(part)
                child.why = ""
                merged.take(child)
            node.children[fan.segment] = merged
        for part, child in sorted(node.children.items(), key=lambda item: repr(item[0])):
            if part and child.children:
                self._fan(child, (*parts, part), population, quorum)

    def _crosses(self, parts: tuple[Segment, ...], merged: Node, write: bool) -> bool:
        """Return whether a path pattern below `parts` could match into the sensitive set without a person's word."""
        letters = WRITES if write else READS
        return any(
            not need.paths <= self.typed and crosses(joined((*parts, *below)), letters)
            for below, need in merged.leaves()
        )

    def groups(self) -> tuple[Group, ...]:
        """Return the groups of both trees and of the literal paths, sorted by pattern."""
        found: dict[Pattern, Group] = {}
        for letters, write in _CLASSES:
            proposed: dict[tuple[Segment, ...], Need] = {}
            for path in sorted(self.uses):
                need = _part(self.uses[path].need, letters)
                if not need.letters or not self._literal(path, write):
                    continue
                if process_files(path):
                    proposed.setdefault(typed_process(path), Need()).take(need)
                else:
                    _add(found, _exact(path), need)
            for parts, need in proposed.items():
                _add(found, joined(parts), need, "a process that is another one in each run").proposed = True
            for parts, need in self.roots[write].leaves():
                group = _add(found, joined(parts), need, _why(self.roots[write], parts))
                self._count(group, parts)
        return tuple(found[pattern] for pattern in sorted(found, key=lambda pattern: pattern.sort_key()))

    def _count(self, group: Group, parts: tuple[Segment, ...]) -> None:
        population = self.options.population
        if population is not None and not group.pattern.is_literal and parts[-1]:
            group.opens = population.opened(population.folders(parts[:-1]), parts[-1], self.known)


def _exact(path: bytes) -> Pattern:
    return joined(tuple(literal(name) for name in path[1:].split(b"/")))


def _part(need: Need, letters: frozenset[str]) -> Need:
    kept = {letter: seen for letter, seen in need.letters.items() if letter in letters}
    return Need(kept, set(need.paths)) if kept else Need()


def _mark(root: Node, path: bytes, use: Use) -> None:
    """Mark a file or folder that the subject made or moved, whatever letters did it."""
    node: Node | None = root
    for name in path.rstrip(b"/")[1:].split(b"/"):
        node = node.children.get(literal(name)) if node is not None else None
    if node is not None:
        node.made = node.made or use.made
        node.moved = node.moved or use.moved


def _add(groups: dict[Pattern, Group], pattern: Pattern, need: Need, why: str = "") -> Group:
    group = groups.setdefault(pattern, Group(pattern, Need()))
    for letter, seen in need.letters.items():
        group.need.letters.setdefault(letter, Seen()).take(seen)
    group.need.paths |= need.paths
    group.why = group.why or why
    return group


def _why(root: Node, parts: Iterable[Segment]) -> str:
    words: list[str] = []
    node = root
    for part in parts:
        node = node.children[part]
        if node.why and node.why not in words:
            words.append(node.why)
    return ", ".join(words)
