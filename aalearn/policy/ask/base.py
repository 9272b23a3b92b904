"""What all questions share: the answer, and the compiled profile in the form that questions need."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from aalearn.model.data import words
from aalearn.model.event import Event
from aalearn.policy.automaton import TRAP, Dfa
from aalearn.policy.permissions import May, Rights


class Verdict(StrEnum):
    """What the kernel would say in enforce mode; UNPROVED where the compiled policy alone can't tell."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNPROVED = "unproved"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict with its reason in plain words.

    `mediated` is False where the policy does not mediate the class at all: the kernel would then let everything
    through, which is no proof. `transition` names what an execution does: "ix", "Px", "Cx -> child", "ux", …
    """

    verdict: Verdict
    why: str = ""
    mediated: bool = True
    transition: str = ""

    @property
    def allowed(self) -> bool:
        """True only for a proved permission."""
        return self.verdict is Verdict.ALLOWED


ALLOWED: Final = Answer(Verdict.ALLOWED)


def denied(why: str) -> Answer:
    """Return a denial."""
    return Answer(Verdict.DENIED, why)


def unproved(why: str) -> Answer:
    """Return that the compiled policy can't tell."""
    return Answer(Verdict.UNPROVED, why)


def unmediated(what: str) -> Answer:
    """Return that the policy does not mediate this class."""
    return Answer(Verdict.UNPROVED, f"this policy does not mediate {what}", mediated=False)


def decide(allow: int, request: int, why: str) -> Answer:
    """Return ALLOWED when `allow` holds each bit of `request`, else a denial for `why`."""
    return ALLOWED if allow & request == request else denied(why)


@dataclass(frozen=True, slots=True)
class Machine:
    """An automaton with its permissions and the state that its walks start in."""

    rights: Rights
    start: int

    @property
    def dfa(self) -> Dfa:
        """The automaton alone."""
        return self.rights.dfa


@dataclass(frozen=True, slots=True)
class Subject:
    """A compiled profile as questions see it.

    `names` are the names of all profiles, children and hats of the policy that it came in, so that transitions and
    hats can be looked up. `capabilities` has a bit a permitted capability; `rlimits` are hard limits by number;
    `transitions` the transition table of exec rules; `fine_unix` says whether the node's kernel mediates unix sockets
    by address and label through this policy (None: unknown, then both readings must agree).
    """

    name: bytes
    names: frozenset[bytes]
    file: Machine | None
    policy: Machine | None
    xmatch: Machine | None
    capabilities: int
    attach_disconnected: bool
    transitions: tuple[bytes, ...]
    rlimits: Mapping[int, int]
    fine_unix: bool | None = None
    starts: dict[int, int] = field(default_factory=dict, compare=False)

    def start(self, number: int) -> int:
        """Return the state in which questions of the class `number` start, TRAP where it is not mediated."""
        state = self.starts.get(number)
        if state is None:
            state = TRAP if self.policy is None else self.policy.dfa.step(self.policy.start, number)
            self.starts[number] = state
        return state

    def attaches(self, path: bytes) -> bool:
        """Return whether an unconfined process that executes `path` may come under the profile (see `Oracle`)."""
        if self.xmatch is None:
            return self.name == path
        return bool(self.xmatch.rights.allow(self.xmatch.dfa.run(self.xmatch.start, path)) & May.EXEC)

    @property
    def attaches_to_any(self) -> bool:
        """Whether it attaches to any program by itself."""
        return self.xmatch is not None or self.name.startswith(b"/")


def numbers(table: str) -> dict[str, int]:
    """Return a table of `grammars/encodings.toml`: the numbers of words in the compiled policy."""
    found: dict[str, int] = words("encodings")[table]
    return found


CLASSES: Final = numbers("classes")


def mask(event: Event) -> str:
    """Return the permissions that a record says were missing, or were asked for where it has no such field.

    Kernels write them as `denied_mask`, newer classes as `denied`, the bus daemons as `mask`.
    """
    for key in ("denied_mask", "denied", "requested_mask", "requested", "mask"):
        text = event.text(key)
        if text:
            return text
    return ""


def request(text: str, table: Mapping[str, int]) -> int | None:
    """Return the bits of the words in `text` (blanks or commas between); None for an unknown word or for none."""
    bits = 0
    for word in text.replace(",", " ").split():
        bit = table.get(word)
        if bit is None:
            return None
        bits |= bit
    return bits or None
