"""Base folders with abstractions of a test's own beside Debian's abi and tunables, and accesses to try them with."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aalearn.learn.options import Options
from aalearn.learn.population import Population
from aalearn.lifecycle.abstractions import Measure
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.proposal import Proposal, whole
from aalearn.model.event import Access
from tests.learn.accesses import Made

DEBIAN = Path("/etc/apparmor.d")
# Names that no recogniser types and no fan-out joins: each gives one literal rule.
NAMES = ("alpha.conf", "bravo.list", "charlie", "delta.db", "echo.txt", "foxtrot.ini", "golf.xml")


def base_of(folder: Path, **abstractions: str) -> Path:
    """Return a base folder that holds these abstractions alone (a `__` in a name is a folder)."""
    base = folder / "apparmor.d"
    for name in ("abi", "tunables"):
        shutil.copytree(DEBIAN / name, base / name)
    (base / "abstractions").mkdir()
    for name, text in abstractions.items():
        file = base / "abstractions" / name.replace("__", "/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return base


def needs(*paths: str, mask: str = "r") -> Made:
    """Return accesses of the profile `app` to these paths."""
    made = Made(b"app")
    for path in paths:
        made.file(path, mask)
    return made


def several(folder: str = "/opt/app", count: int = len(NAMES), mask: str = "r") -> Made:
    """Return accesses to `count` files that give a rule each."""
    return needs(*(f"{folder}/{name}" for name in NAMES[:count]), mask=mask)


def rules(folder: str = "/opt/app", count: int = len(NAMES), mask: str = "r") -> str:
    """Return the text of an abstraction that permits just what `several` needs."""
    return "".join(f"{folder}/{name} {mask},\n" for name in NAMES[:count])


def propose(base: Path, accesses: Sequence[Access], files: Sequence[str] = (), **options: Any) -> Proposal:
    """Return the proposal with measured abstractions; `files` are the population."""
    population = Population(file.encode() for file in files)
    judge = Judge.find(base=base)
    return whole(b"app", accesses, Options(population=population, **options), judge, measured=True)


def measure(proposal: Proposal, name: str, block: str = "app") -> Measure:
    """Return how one abstraction did."""
    (found,) = (one for one in proposal.abstractions if (one.name, one.block) == (name, block))
    return found
