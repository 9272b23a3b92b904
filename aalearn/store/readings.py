"""What the store tells: frozen values, sorted, independent of the order in which things were ingested.

Times are milliseconds since the epoch (UTC). No value here shows a row id.
"""

from dataclasses import dataclass

from aalearn.model.event import Verdict


@dataclass(frozen=True, slots=True)
class ProfileSummary:
    """What is known of a profile together with its `//null-` children and hats.

    `verdicts` are (verdict, accesses, events) sorted by verdict; `accesses` and `events` their sums. `runs` counts
    joined runs. `trusted` is False as soon as one access has a sighting from a source that programs can forge. `losses`
    is the number of losses on this profile's nodes between first and last: each makes the window incomplete.
    """

    name: bytes
    verdicts: tuple[tuple[Verdict, int, int], ...]
    accesses: int
    events: int
    first: int
    last: int
    runs: int
    nodes: tuple[str, ...]
    trusted: bool
    losses: int


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """One run: a process start on one node, by pid lineage. `id` is what `Access.runs` holds."""

    start: int
    end: int
    node: str
    pid: int
    program: bytes
    id: int


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """Records known to be missing. `time` 0: unknown."""

    time: int
    node: str
    kind: str
    amount: int
    source: str


@dataclass(frozen=True, slots=True, order=True)
class Status:
    """Policy loaded, replaced or removed on a node. `mode` is "" where the record doesn't say."""

    time: int
    node: str
    operation: str
    profile: bytes
    mode: str


@dataclass(frozen=True, slots=True, order=True)
class Decision:
    """What a person decided on a rule: who, when, why. The last one by `when` holds."""

    when: int
    rule: str
    decision: str
    who: str
    why: str


@dataclass(frozen=True, slots=True, order=True)
class Revision:
    """One text of a profile with its proof (JSON). `number` counts from 1 for each profile."""

    number: int
    when: int
    author: str
    reason: str
    text: str
    proof: str
