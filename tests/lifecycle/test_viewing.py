"""What `aalearn watch` reads beside the service: news, what is certain of old denials, and other nodes' promotions."""

from collections.abc import Iterator

import pytest

from aalearn.lifecycle import viewing
from aalearn.lifecycle.limits import Limits
from aalearn.lifecycle.viewing import Noted, View, Viewer, news, noted
from aalearn.store import Store
from tests.lifecycle.watching import T0, batch, reading


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("sqlite://") as opened:
        yield opened


def enforced(store: Store, revision: int, when: int, node: str = "") -> None:
    detail = f'{{"node": "{node}"}}' if node else "{}"
    store.step(b"nginx", "ready", revision=revision, who="x", reason="", when=when, detail=detail)
    store.step(b"nginx", "enforced", revision=revision, who="x", reason="", when=when, detail=detail)


def deny(store: Store, path: str, when: int, count: int = 1) -> None:
    made = batch((reading(path), when, count))
    made.positions["a:log"] = str(when)
    store.commit(made)


class Looking:
    """Somebody who looks again and again, as `aalearn watch` does."""

    def __init__(self, store: Store) -> None:
        self.store, self.viewer = store, Viewer(Limits())
        self.before: Noted = {}

    def look(self, now: int) -> tuple[list[tuple[str, int]], View | None]:
        """Return what is new, and the view of the profile."""
        views = self.viewer.views(self.store, now)
        found = news(self.before, views)
        self.before |= noted(views)
        return [(one.judgement.what, one.count) for one in found], views[0] if views else None


def test_what_was_denied_before_a_promotion_is_news_each_time_again(store: Store) -> None:
    looking = Looking(store)
    enforced(store, 1, T0)
    deny(store, "/srv/new", T0 + 1000, 20)
    assert looking.look(T0 + 2000)[0] == [("open r /srv/new", 20)]
    store.step(
        b"nginx", "reverted", revision=1, who="aalearn", reason="", when=T0 + 2500, detail='{"mode": "complain"}'
    )
    assert looking.look(T0 + 2600) == ([], None)
    enforced(store, 2, T0 + 3000)
    for at in range(3):
        deny(store, "/srv/new", T0 + 4000 + at * 1000, 100)
        found, view = looking.look(T0 + 4500 + at * 1000)
        assert found == [("open r /srv/new", 1)]
        assert view is not None
        assert view.at_least
        assert view.denials[0].line().startswith("nginx denied open r /srv/new by nginx, at least once; would be")
    assert looking.look(T0 + 9000)[0] == []


def test_more_kinds_than_can_be_shown_are_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "_MOST", 3)
    enforced(store, 1, T0)
    for at in range(5):
        deny(store, f"/{at}", T0 + at, 2)
    (view,) = Viewer(Limits()).views(store, T0 + 100)
    assert ([one.judgement.what[-1] for one in view.denials], view.more, view.more_events) == (["2", "3", "4"], 2, 4)
    assert view.events == 10
    assert not view.at_least


def test_the_promotion_of_this_node_is_shown(store: Store) -> None:
    enforced(store, 1, T0, "a")
    enforced(store, 2, T0 + 1000, "b.example.org")

    def shown(node: str) -> list[int]:
        return [view.promoted.revision for view in Viewer(Limits(), node=node).views(store, T0 + 2000)]

    assert [shown(node) for node in ("a", "b", "other")] == [[1], [2], [2]]
    reverted = '{"mode": "complain", "node": "a"}'
    store.step(b"nginx", "reverted", revision=1, who="x", reason="", when=T0 + 2000, detail=reverted)
    assert [shown(node) for node in ("a", "b", "other")] == [[], [2], [2]]


def test_a_clock_set_back_hides_nothing(store: Store) -> None:
    enforced(store, 1, T0)
    deny(store, "/srv/new", T0 - 3_500_000)
    (view,) = Viewer(Limits()).views(store, T0 - 3_600_000)
    assert [one.judgement.what for one in view.denials] == ["open r /srv/new"]
    assert view.probation == 3600
