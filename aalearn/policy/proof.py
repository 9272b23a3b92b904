"""A proof as a value: what was asked of the compiled policy, and what it answered."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

SCHEMA: Final = 1

TITLES: Final = {
    1: "every learned event replays as allowed",
    2: "an empty profile denies each of them",
    3: "what is allowed of the sensitive set was observed",
    4: "no unobserved path is both writable and executable",
    5: "capabilities, network families and executions were observed",
    6: "every used class is mediated on the target",
    7: "the difference from the previous profile is shown",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One counter-example, or one thing that can't be proved: the block, what it is, why, and how often it was seen.

    `sample` is one raw record, made safe to show, "" where there is none.
    """

    block: str
    what: str
    why: str = ""
    count: int = 0
    sample: str = ""

    def __str__(self) -> str:
        return f"{self.block}: {self.what}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, slots=True)
class Invariant:
    """One of the seven invariants: whether it holds, with all counter-examples that were kept."""

    number: int
    holds: bool
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The invariant in plain words."""
        return TITLES[self.number]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much was asked. Accesses are distinct needs, events all the records behind them."""

    accesses: int = 0
    events: int = 0
    allowed: int = 0
    denied: int = 0
    unproved: int = 0
    excused: int = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What the compiled policy was asked and answered. Holds no times, so the same input gives the same proof.

    `proved` says that each invariant holds; `unproved` lists what the policy alone can't tell, with its reason, and
    `excused` what the caller could not put into a rule. `difference` is what the previous profile did not permit ("+")
    or what is no more permitted ("-"). `vouched` are sensitive patterns that a person or a typed recogniser accounts
    for. `sha256` is of the compiled policy, `features` the identity of the target's features.
    """

    proved: bool
    parser: str
    abi: str
    features: str
    features_source: str
    sha256: str
    text_sha256: str
    blocks: tuple[str, ...]
    counts: Counts
    invariants: tuple[Invariant, ...]
    unproved: tuple[Finding, ...] = ()
    excused: tuple[Finding, ...] = ()
    difference: tuple[str, ...] = ()
    vouched: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    blob: bytes = field(default=b"", repr=False, compare=False)

    @property
    def failures(self) -> tuple[Invariant, ...]:
        """The invariants that do not hold."""
        return tuple(invariant for invariant in self.invariants if not invariant.holds)

    def to_json(self) -> dict[str, Any]:
        """Return the proof as plain JSON values, with a `schema` number; the compiled policy itself is left out."""
        plain = {key: value for key, value in asdict(self).items() if key != "blob"}
        plain["invariants"] = [
            {
                "number": one.number,
                "title": one.title,
                "holds": one.holds,
                "findings": [asdict(f) for f in one.findings],
            }
            for one in self.invariants
        ]
        return {"schema": SCHEMA, **plain}
