"""What a check of the doctor says, and the register of checks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from aalearn.doctor.host import Host


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing has to be done
    PROBLEM = "problem"  # learning or enforcing will fail or be incomplete


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: which check, how bad, what is so, and the command or setting that mends it ("" for none)."""

    check: str
    level: Level
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What the person's settings bring to the checks: the parser's command, the folder of profiles, the store's file
    (None for PostgreSQL or memory), and the sources that the service was told to use.
    """

    parser: str | None = None
    base: Path = Path("/etc/apparmor.d")
    store: Path | None = None
    sources: tuple[str, ...] = ("auto",)


Check = Callable[[Host, Ask], Iterator[Finding]]
CHECKS: Final[dict[str, Check]] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Register a check under its name; a name that is taken is refused."""

    def register(made: Check) -> Check:
        if name in CHECKS:
            raise ValueError(f"there are two checks {name}")
        CHECKS[name] = made
        return made

    return register
