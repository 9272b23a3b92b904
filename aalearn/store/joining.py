"""Joining: which stretches are one run. Decided when read, from the set of stretches alone, whatever their order.

Two processes are one run unless they prove to be two starts, since forks, double forks and restarts at once all look
alike in a log. Two stretches of one profile on one node are joined when they

- are the same pid's, and less than RUN_GAP_MS apart;
- or overlap in time;
- or begin within START_WINDOW_MS of each other.

A `fresh` stretch (known to begin after a new boot or load of the profile) is not joined to what ended before it, except
to another fresh one of a different pid: both may have been started by the same start.
"""

from collections.abc import Iterable
from typing import NamedTuple

from aalearn.store.batch import RUN_GAP_MS, START_WINDOW_MS


class Stretch(NamedTuple):
    """A part of a run as stored. Times in ms; `id` is what accesses hold."""

    node: int
    pid: int
    start: int
    end: int
    fresh: bool
    program: bytes
    id: int
    container: bytes = b""
    pod: bytes = b""


def together(stretches: Iterable[Stretch]) -> list[list[Stretch]]:
    """Return the stretches run by run, each run's sorted by their beginnings."""
    lines = sorted(stretches, key=lambda one: (one.node, one.start, one.pid, one.end, one.fresh, one.id))
    parents = list(range(len(lines)))
    for at, before in _pairs(lines):
        parents[_root(parents, at)] = _root(parents, before)
    runs: dict[int, list[Stretch]] = {}
    for at, one in enumerate(lines):
        runs.setdefault(_root(parents, at), []).append(one)
    return list(runs.values())


def _root(parents: list[int], at: int) -> int:
    while parents[at] != at:
        parents[at] = at = parents[parents[at]]
    return at


def _pairs(lines: list[Stretch]) -> Iterable[tuple[int, int]]:
    """Yield pairs to join: each stretch with what came before it and is still near. Linear: one step a stretch."""
    longest: dict[bool, int] = {}  # by fresh: the one that ends last
    newest: dict[bool, int] = {}  # by fresh: the one that began last
    own: dict[int, int] = {}  # by pid: the one that ends last
    node: int | None = None
    for at, one in enumerate(lines):
        if one.node != node:
            node = one.node
            longest, newest, own = {}, {}, {}
        if one.pid in own and _goes_on(lines[own[one.pid]], one):
            yield at, own[one.pid]
        for old, before in longest.items():
            if lines[before].end >= one.start:
                yield at, before
            elif (old or not one.fresh) and one.pid != lines[newest[old]].pid and _starts_with(lines[newest[old]], one):
                yield at, newest[old]
        if one.fresh not in longest or lines[longest[one.fresh]].end <= one.end:
            longest[one.fresh] = at
        if one.pid not in own or lines[own[one.pid]].end <= one.end:
            own[one.pid] = at
        newest[one.fresh] = at


def _goes_on(before: Stretch, one: Stretch) -> bool:
    return one.start <= before.end or (not one.fresh and one.start - before.end < RUN_GAP_MS)


def _starts_with(before: Stretch, one: Stretch) -> bool:
    return one.start - before.start <= START_WINDOW_MS
