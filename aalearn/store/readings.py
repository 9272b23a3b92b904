"""What the store tells: frozen values, sorted, independent of the order in which things were ingested.

Times are milliseconds since the epoch (UTC). No value here shows a row id.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from aalearn.model.event import Access, Verdict
from aalearn.model.loss import Loss as Loss

IMPORTED: Final = "imported:"
"""Before the name of who made a decision, a revision or a step: an untrusted `db import` brought it."""


@dataclass(frozen=True, slots=True)
class ProfileSummary:
    """What is known of a profile together with its `//null-` children and hats.

    `verdicts` are (verdict, accesses, events) sorted by verdict; `accesses` and `events` their sums. `runs` counts
    joined runs. `trusted` is False as soon as one access has a sighting from a source that programs can forge. `losses`
    is the number of losses on this profile's nodes since first: each makes the window incomplete.
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
    """One run: a process start on one node, by pid lineage. `id` is what `Access.runs` holds.

    `container` (64 hex digits) and `pod` (its uid) are b"" for a run outside of containers, or where it isn't known.
    """

    start: int
    end: int
    node: str
    pid: int
    program: bytes
    id: int
    container: bytes = b""
    pod: bytes = b""


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

    @property
    def imported(self) -> bool:
        """Whether an import brought it that nobody vouched for."""
        return self.who.startswith(IMPORTED)


@dataclass(frozen=True, slots=True, order=True)
class Revision:
    """One text of a profile with its proof (JSON). `number` counts from 1 for each profile.

    `detail` is a JSON object of whoever saved it (the window, flags, blocks, rules).
    """

    number: int
    when: int
    author: str
    reason: str
    text: str
    proof: str
    detail: str = "{}"

    @property
    def imported(self) -> bool:
        """Whether an import brought it that nobody vouched for."""
        return self.author.startswith(IMPORTED)

    @property
    def sha256(self) -> str:
        """The text's SHA-256 in hex, of the bytes that a file of it holds."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One step of a profile's life. `number` counts from 1 for each profile; `revision` is 0 where none is meant.

    `detail` is a JSON object of whoever took the step.
    """

    number: int
    when: int
    state: str
    revision: int
    who: str
    reason: str
    detail: str = "{}"


@dataclass(frozen=True, slots=True)
class Latest:
    """The accesses that were seen last, newest first, without runs; and how many others there are, with their events.

    What began before the time that was asked for counts as one event. `whole`: all there are were looked at.
    """

    accesses: tuple[Access, ...]
    more: int = 0
    more_events: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Retained:
    """What a call of `Store.retain` did. `size` is the database on its disk in bytes, `used` its content (found out
    only where `size` is over the limit; else it is `size`).

    `done` is False when the time was up first: call again soon. `over`: the content is so many bytes larger than the
    limit although all that may go is gone; somebody must be told.
    """

    size: int = 0
    used: int = 0
    over: int = 0
    done: bool = True
    samples: int = 0
    runs: int = 0
    losses: int = 0
    statuses: int = 0
    labels: int = 0
    blocks: int = 0
