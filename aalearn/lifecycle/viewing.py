"""What `aalearn watch` shows: each enforced profile with its denials, read from the store beside the service."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from aalearn.learn.options import Options
from aalearn.lifecycle.denials import REFUSALS, Denial, Memory, Weigher, denials, summed
from aalearn.lifecycle.limits import Limits, Promoted
from aalearn.lifecycle.past import standing_of
from aalearn.lifecycle.weighing import decided, weigher
from aalearn.store import Store
from aalearn.store.readings import Step

_REREAD_S: Final = 10.0  # also where nothing seems to have been committed
_MOST: Final = 5_000  # kinds of denials that are shown, a profile…
_ROOM: Final = 16 << 20  # …in at most so many bytes as the store keeps them; the rest is counted
_MEMORY: Final = 64 << 20  # bytes of judgements


@dataclass(frozen=True, slots=True)
class View:
    """One enforced profile: its promotion, how long its probation still lasts (s, 0: over), its last step, and what was
    denied since, by time. `more` kinds of denials (`more_events`) are older, and too many to be shown.
    """

    promoted: Promoted
    probation: float
    step: Step
    denials: tuple[Denial, ...]
    more: int = 0
    more_events: int = 0
    whole: bool = True  # all that was denied was looked at

    @property
    def events(self) -> int:
        """How many events were denied since the promotion; see `at_least`."""
        return summed(self.denials) + self.more_events

    @property
    def at_least(self) -> bool:
        """Whether there may have been more: how often something was denied that began earlier, nobody knows."""
        return not self.whole or any(one.at_least for one in self.denials)

    @property
    def worst(self) -> int:
        """The worst risk tier of a rule that would be needed, 0 for none of note."""
        return min((one.judgement.tier for one in self.denials if one.judgement.tier), default=0)


class Viewer:
    """Reads the store again and again. Denials are read anew only when something was committed, judged only once.

    `node`: whose promotions are shown, see `past.standing_of`. Denials are shown of all nodes.
    """

    def __init__(self, limits: Limits, options: Options | None = None, node: str = "") -> None:
        self._limits = limits
        self._options = options or Options()
        self._node = node
        self._memory = Memory(_MEMORY)
        self._weighers: dict[bytes, Weigher] = {}
        self._known: dict[bytes, tuple[object, tuple[tuple[Denial, ...], int, int, bool]]] = {}
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
                standing = standing_of(name, store.steps(name), self._node)
                if standing is not None:
                    promoted, step = standing
                    since = min(promoted.since, now)  # the clock may have been set back
                    left = 0.0 if promoted.final else since / 1000 + self._limits.probation - now / 1000
                    found.append(View(promoted, max(0.0, left), step, *self._denials(store, name, since, committed)))
        return tuple(found)

    def _denials(
        self, store: Store, name: bytes, since: int, committed: object
    ) -> tuple[tuple[Denial, ...], int, int, bool]:
        """Return the denials that are shown, how many kinds and events are not, and whether that is all."""
        known = decided(store, name)
        mark = (since, known, committed)
        before = self._known.get(name)
        if before is not None and before[0] == mark:
            return before[1]
        judge = self._weighers.get(name)
        if judge is None or judge.decisions != known:
            judge = self._weighers[name] = weigher(store, name, self._options, self._memory)
        latest = store.latest(name, REFUSALS, since, most=_MOST, room=_ROOM)
        found = denials(judge, latest.accesses, since), latest.more, latest.more_events, latest.whole
        self._known[name] = (mark, found)
        return found


Noted = dict[bytes, tuple[int, int]]
"""By the denial's mark: when it happened last (ms), and how often up to then."""


def news(before: Noted, views: Sequence[View]) -> tuple[Denial, ...]:
    """Return the denials that happened (again) since `before` was noted, by time; see `noted`.

    By the time, for how often something was denied that began before the promotion the store does not tell.
    """
    found = [one for view in views for one in view.denials if (one.last, one.count) > before.get(one.mark, (-1, 0))]
    return tuple(sorted(found, key=lambda one: (one.last, one.label, one.judgement.what)))


def noted(views: Sequence[View]) -> Noted:
    """Return when each denial had happened last, to tell later what is new."""
    found: Noted = {}
    for view in views:
        for one in view.denials:
            found[one.mark] = max(found.get(one.mark, (-1, 0)), (one.last, one.count))
    return found
