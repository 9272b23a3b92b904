"""The count of what is newly opened, against each file asked one by one."""

import random

import pytest

from aalearn.learn.population import Population
from aalearn.lifecycle.opened import Opened, opened
from aalearn.policy.ask.base import Machine
from aalearn.policy.compiler import Parser
from aalearn.policy.features import Features
from aalearn.policy.gate import Target
from aalearn.policy.walks import ALL, SIDES, WRITE

pytestmark = pytest.mark.parser

RULES = (
    "/srv/** r,",
    "owner /srv/a/* rw,",
    "/srv/*/b w,",
    "/srv/a/b k,",
    "/[ab]/** m,",
    "/a/b/c a,",
    "/** r,",
    "/srv/c/ r,",
)


@pytest.fixture(scope="module")
def machines() -> dict[int, Machine | None]:
    """Compiled file rules by the set of their numbers, one bit each."""
    target = Target(Parser.find(), Features.of_abi("3.0", None))
    chosen = [0, *(1 << at for at in range(len(RULES))), *random.Random(1).sample(range(1, 1 << len(RULES)), 20)]
    found = {}
    for bits in chosen:
        text = "\n".join(rule for at, rule in enumerate(RULES) if bits >> at & 1)
        found[bits] = target.subjects(f"abi <abi/3.0>,\nprofile x {{\n{text}\n}}\n")[b"x"].file
    return found


def slowly(machine: Machine, before: Machine | None, paths: list[bytes]) -> Opened:
    read, write = [], []
    for path in paths:
        bits = 0
        for owner in SIDES:
            own = machine.rights.allow(machine.dfa.run(machine.start, path), owner)
            old = before.rights.allow(before.dfa.run(before.start, path), owner) if before else 0
            bits |= own & ~old & ALL
        read += [path] if bits & ~WRITE else []
        write += [path] if bits & WRITE else []
    return Opened(len(read), len(write), min(write) if write else min(read, default=b""))


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_asking_each_file(machines: dict[int, Machine | None], seed: int) -> None:
    chance = random.Random(seed)
    words = (b"srv", b"a", b"b", b"c", b"d e", b"\xff")
    paths = sorted({b"/" + b"/".join(chance.choices(words, k=chance.randint(1, 4))) for _ in range(300)})
    population = Population(paths)
    for machine in machines.values():
        if machine is not None:
            before = chance.choice(list(machines.values()))
            assert opened(machine, before, population) == slowly(machine, before, paths)
            assert opened(machine, machine, population) == Opened()
