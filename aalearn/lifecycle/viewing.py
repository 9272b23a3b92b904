"""What `aalearn watch` shows: each enforced profile with its denials, read from the store beside the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from aalearn.learn.options import Options
from aalearn.lifecycle.decided import decisions
from aalearn.lifecycle.denials import REFUSALS, Denial, Weigher, denials, summed
from aalearn.lifecycle.limits import Limits, Promoted, promoted_of
from aalearn.lifecycle.past import pasts
from aalearn.store import Store
from aalearn.store.readings import Step

_REREAD_S: Final = 10.0  # also where nothing seems to have been committed


@dataclass(frozen=True, slots=True)
class View:
    """One enforced profile: its promotion, how long its probation still lasts (s, 0: over), its last step, and what was
    denied since, by time.
    """

    promoted: Promoted
    probation: float
    step: Step
    denials: tuple[Denial, ...]

    @property
    def events(self) -> int:
        """How many events were denied since the promotion."""
        return summed(self.denials)

    @property
    def worst(self) -> int:
        """The worst risk tier of a rule that would be needed, 0 for none of note."""
        return min((one.judgement.tier for one in self.denials if one.judgement.tier), default=0)


class Viewer:
    """Reads the store again and again. Denials are read anew only when something was committed, judged only once."""

    def __init__(self, limits: Limits, options: Options | None = None) -> None:
        self._limits = limits
        self._options = options or Options()
        self._weighers: dict[bytes, Weigher] = {}
        self._known: dict[bytes, tuple[object, tuple[Denial, ...]]] = {}
        self._reread = 0.0

    def views(self, store: Store, now: int, only: bytes | None = None) -> tuple[View, ...]:
        """Return a view of each enforced profile by name, or of one; `now` in ms."""
        if monotonic() - self._reread > _REREAD_S:
            self._known.clear()
            self._reread = monotonic()
        committed = (dict(store.positions()), dict(store.counters()))
        found = []
        for name in sorted(store.stages()):
            if only is None or name == only:
                steps = store.steps(name)
                promoted = promoted_of(name, pasts(steps))
                if promoted is not None:
                    left = 0.0 if promoted.final else promoted.since / 1000 + self._limits.probation - now / 1000
                    denied = self._denials(store, promoted, committed)
                    found.append(View(promoted, max(0.0, left), steps[-1], denied))
        return tuple(found)

    def _denials(self, store: Store, promoted: Promoted, committed: object) -> tuple[Denial, ...]:
        name = promoted.profile
        decided = decisions(store.decisions(name))[0]
        mark = (promoted, decided, committed)
        before = self._known.get(name)
        if before is not None and before[0] == mark:
            return before[1]
        weigher = self._weighers.get(name)
        if weigher is None or weigher.decisions != decided:
            weigher = self._weighers[name] = Weigher(name, self._options, decided)
        found = denials(weigher, store.accesses(name, verdicts=REFUSALS), promoted.since)
        self._known[name] = (mark, found)
        return found


def news(before: Mapping[tuple[bytes, str], int], views: Sequence[View]) -> tuple[Denial, ...]:
    """Return the denials that happened (again) since `before` was noted, by time; see `noted`."""
    found = [one for view in views for one in view.denials if one.count > before.get(one.key, 0)]
    return tuple(sorted(found, key=lambda one: (one.last, one.label, one.judgement.what)))


def noted(views: Sequence[View]) -> dict[tuple[bytes, str], int]:
    """Return how often each denial had happened, to tell later what is new."""
    found: dict[tuple[bytes, str], int] = {}
    for view in views:
        for one in view.denials:
            found[one.key] = max(found.get(one.key, 0), one.count)
    return found
