"""A profile that shall be taken back: why, where to, on what grounds, and the words for it."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from aalearn.lifecycle.denials import Denial
from aalearn.lifecycle.limits import Back, Promoted, Trip, Way
from aalearn.lifecycle.node.wire import Answer

_MOST: Final = 200  # denials that are kept to ask whether another revision would permit them…
_ROOM: Final = 1 << 20  # …and about how many bytes they may hold
_VAIN: Final = 5_000  # kinds of denials that are known to be denied by it as well


class Reverter(Protocol):
    """What may be asked of the privileged side. Both return what was done, and raise AalearnError where nothing was."""

    def revert(self, profile: bytes, sha256: str) -> Answer:
        """Enforce again the text with this digest, which was applied here before; with "" what stood before."""

    def complain(self, profile: bytes) -> Answer:
        """Put the profile's own applied text into complain mode; or enforce again what was enforced before."""


@dataclass(slots=True)
class Pending:
    """A profile that shall be taken back: why, where to, what runs for it, and when it is tried (again, ms)."""

    trip: Trip
    way: Way
    text: str  # of the revision to go back to, "" for complain mode
    sha256: str
    asks: bool  # whether that revision is asked first if it helps
    at: int = 0
    basis: tuple[Denial, ...] = ()
    tries: int = 0
    running: "Future[Way] | None" = None
    done: Way | None = None


@dataclass(slots=True)
class Basis:
    """The denials that count, to ask another revision about; and which of them it was found to deny as well."""

    _held: dict[bytes, Denial] = field(default_factory=dict)
    _size: int = 0
    _vain: set[bytes] = field(default_factory=set)

    def add(self, denial: Denial) -> bool:
        """Keep a denial while there is room. Return False for one that counts no more, as going back is no help."""
        mark = denial.mark
        if mark in self._vain:
            return False
        if mark not in self._held and len(self._held) < _MOST and self._size < _ROOM:
            self._held[mark] = replace(denial, sample=b"", programs=())
            self._size += denial.size
        return True

    def held(self) -> tuple[Denial, ...]:
        """Return what is kept, the oldest first."""
        return tuple(self._held.values())

    def no_help(self, asked: tuple[Denial, ...]) -> None:
        """Note that going back helps with none of these; what came since they were asked about stays."""
        for denial in asked:
            mark = denial.mark
            self._held.pop(mark, None)
            if len(self._vain) < _VAIN:
                self._vain.add(mark)
        self._size = sum(one.size for one in self._held.values())


def as_root_did(way: Way, answer: Answer) -> Way:
    """Return where a profile went back to in fact: what was enforced before root knows best, and never opens more."""
    if answer.mode == "complain":
        return replace(way, back=Back.COMPLAIN)
    if answer.revision:
        return Way(Back.PREVIOUS, answer.revision, "it was enforced before, by root's own record")
    return Way(Back.FOUND, 0, "it was enforced before aalearn's first promotion")


def where(way: Way) -> str:
    """Return where to a way leads, in words."""
    if way.back is Back.FOUND:
        return "what was enforced here before aalearn"
    return f"revision {way.revision}" if way.back is Back.PREVIOUS else "complain mode"


def detail(promoted: Promoted, pending: Pending, way: Way, node: str) -> Mapping[str, object]:
    """Return what the step keeps: on which node, from where to where, why, and the rules that were lacking."""
    lacking = [
        {"rule": one.rule, "block": one.block, "tier": one.tier, "what": denial.judgement.what, "events": denial.count}
        for denial in pending.basis
        for one in denial.judgement.wanted
    ]
    return {
        "from": promoted.revision,
        "mode": "complain" if way.back is Back.COMPLAIN else "enforce",
        "cause": str(pending.trip.cause),
        "automatic": True,
        "lacking": lacking[:50],
        **({"node": node} if node else {}),
    }
