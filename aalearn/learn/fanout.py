"""The fan-out of a folder by cost: many literal names there, or one pattern by what their ends have in common.

    cost = rules + λ · |files of the population that match and were never accessed| + κ · P_new · sqrt(uncovered)

P_new = Q1/n estimates how likely the next access brings a new name (names seen in one run over all incidences),
uncovered is the number of names left literal. Only what is read may fan out, only with a population, and only over a
common ending (`.html`, `.cpython-[0-9]*.pyc`): a bare `*` would match keys and dot files. What is written stays typed
or literal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from aalearn.learn.crossing import crosses
from aalearn.learn.population import Population
from aalearn.learn.recognise import Segment, joined
from aalearn.learn.tree import Node
from aalearn.model.pattern import Chars, Literal, Pattern, Star

# λ: one file that is opened without need weighs as much as one rule (the measured comparison of the facts used 0.15,
# which opened more of a standard library than it saved; tests/bench/synthesis.py measures it). κ as there.
LAMBDA_READ = 1.0
KAPPA = 6.0
LEAST = 3  # names that a pattern must stand for
_HEAD = Chars("A-Za-z0-9_")


@dataclass(frozen=True, slots=True)
class Fan:
    """A pattern for several children of a folder; `opens` is the number of files that it newly opens."""

    segment: Segment
    parts: tuple[Segment, ...]
    opens: int


def fans(
    node: Node,
    parts: Sequence[Segment],
    population: Population,
    quorum: int,
    known: frozenset[bytes],
    weight: float = LAMBDA_READ,
) -> tuple[Fan, ...]:
    """Return the patterns that cost less than the names that they stand for, in the folder `parts`.

    `known` are all paths that were accessed. `weight` is λ.
    """
    folders = population.folders(parts)
    found: list[Fan] = []
    for ending, children in sorted(_endings(node).items(), key=lambda item: repr(item[0])):
        runs = {part: child.runs() for part, child in children.items()}
        if len(children) < LEAST or not _witnessed(runs, quorum):
            continue
        segment = Pattern.of(_HEAD, Star(), *ending).tokens
        if crosses(joined((*parts, segment)), frozenset("rmk")):
            continue
        opens = population.opened(folders, segment, known)
        singles = sum(len(seen) == 1 for seen in runs.values())
        fresh = singles / sum(len(seen) for seen in runs.values())
        if 1 + weight * opens < len(children) + KAPPA * fresh * sqrt(len(children)):
            found.append(Fan(segment, tuple(sorted(children, key=repr)), opens))
    return tuple(found)


def _endings(node: Node) -> dict[Segment, dict[Segment, Node]]:
    """Return the file children of a node by what follows the first dot of their names."""
    found: dict[Segment, dict[Segment, Node]] = {}
    for part, child in node.children.items():
        if not part or child.children or child.need is None or not isinstance(part[0], Literal):
            continue
        stem, dot, tail = part[0].value.partition(b".")
        if dot and tail + b"".join(b"x" for _ in part[1:]) and _HEAD_BYTES.issuperset(stem[:1]) and stem:
            found.setdefault((Literal(dot + tail), *part[1:]), {})[part] = child
    return found


_HEAD_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def _witnessed(runs: Mapping[Segment, frozenset[int]], quorum: int) -> bool:
    """Return whether enough runs each needed several of the names, so that no one run makes the pattern."""
    counts: dict[int, int] = {}
    for seen in runs.values():
        for run in seen:
            counts[run] = counts.get(run, 0) + 1
    return sum(count >= LEAST for count in counts.values()) >= quorum
