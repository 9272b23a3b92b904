"""What one compiled profile newly opens of the files that there are. Pure.

The folders of the population carry the states of both automata, and a folder that the newer one permits nothing of is
not entered, so a narrow profile costs little even on a large machine.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from aalearn.learn.population import Folder, Population
from aalearn.policy.ask.base import Machine
from aalearn.policy.automaton import TRAP, Node
from aalearn.policy.walks import ALL, SIDES, WRITE

_READ: Final = ALL & ~WRITE  # mapping, locking and running a file tell of its content too


@dataclass(frozen=True, slots=True)
class Opened:
    """Numbers of files: `read` may be read now (or mapped, locked, run), `write` may be written, and neither before.

    `example` is the first path of these in the order of bytes, those for writing first, b"" without any.
    """

    read: int = 0
    write: int = 0
    example: bytes = b""


def opened(machine: Machine, before: Machine | None, population: Population) -> Opened:
    """Return what `machine` permits of the population and `before` does not (None: nothing was permitted)."""

    @cache
    def new(state: int, old: int) -> int:
        """Return the bits that are new to owners or to others."""
        bits = 0
        for owner in SIDES:
            more = machine.rights.allow(state, owner) & ALL
            if more and before is not None:
                more &= ~before.rights.allow(old, owner)
            bits |= more
        return bits

    read = write = 0
    first: dict[bool, bytes] = {}
    start = before if before is not None else machine
    todo: list[tuple[Folder, bytes, Node, Node]] = [
        (
            population.root,
            b"/",
            _after(machine.dfa.node(machine.start), b"/"),
            _after(start.dfa.node(start.start), b"/"),
        )
    ]
    while todo:
        folder, path, node, old = todo.pop()
        for name in folder.files:
            here = _after(node, name)
            bits = new(here.state, _after(old, name).state) if here.state != TRAP else 0
            if bits:
                read += bool(bits & _READ)
                write += bool(bits & WRITE)
                kind = bool(bits & WRITE)
                first[kind] = min(first.get(kind, path + name), path + name)
        for name, inner in folder.folders.items():
            below = _after(node, name + b"/")
            if below.state != TRAP:
                todo.append((inner, path + name + b"/", below, _after(old, name + b"/")))
    return Opened(read, write, first.get(True, first.get(False, b"")))


def _after(node: Node, name: bytes) -> Node:
    for byte in name:
        node = node[byte]
    return node
