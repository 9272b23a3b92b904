"""The watch on a real store: what it tells, counts and takes back; crashes and failures in between."""

import json
import logging
from collections.abc import Iterator

import pytest

from aalearn.lifecycle.units import UnitState
from aalearn.lifecycle.watch import Watch
from aalearn.store import Store
from tests.lifecycle.scene import LIMITS, Later, Scene
from tests.lifecycle.watching import SOCKET, T0, Now, Recorder, batch, reading

LATE = 1 << 62  # µs of CLOCK_MONOTONIC, after every denial


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("sqlite://") as opened:
        yield opened


def test_a_denial_is_told_with_its_rule_and_counted(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/new\x1b[31m\n"))
    (told,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert told.startswith("nginx denied open r /etc/new\\x1b[31m\\x0a by nginx; would be allowed by")
    assert scene.watch.figures.denied == {(b"nginx", 0): 1}
    assert scene.applier.asked == []
    caplog.clear()
    scene.denied(reading("/etc/new\x1b[31m\n"))
    assert not caplog.records, "the same again is counted, not told"
    rows = {figure.name: figure.values for figure in scene.watch.figures.rows()}
    assert rows["aalearn_denied_events"] == (((("profile", "nginx"), ("tier", "0")), 2.0),)
    assert rows["aalearn_enforced_revision"] == (((("profile", "nginx"),), 1.0),)


def test_others_and_complain_mode_are_no_matter(store: Store) -> None:
    scene = Scene(store)
    store.step(b"nginx", "learning", revision=0, who="x", reason="", when=T0)
    scene.denied(reading("/a", b"nginx"), reading("/a", b"redis"), count=50)
    assert not scene.watch.figures.denied
    assert scene.applier.asked == []


def test_the_first_promotion_goes_back_to_complain_mode(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=2)
    assert scene.applier.asked == []
    scene.denied(reading("/etc/b"))
    assert scene.applier.asked == [("complain", "nginx")]
    assert scene.states[-1] == ("reverted", 1, "aalearn")
    step = store.steps(b"nginx")[-1]
    detail = json.loads(step.detail)
    assert (detail["mode"], detail["cause"], detail["from"], detail["automatic"]) == ("complain", "rate", 1, True)
    assert [one["rule"] for one in detail["lacking"]] == ["/etc/a r,", "/etc/b r,"]
    assert "3 denials within 10 s" in step.reason
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert errors[-1].startswith("nginx was taken back to complain mode: 3 denials within 10 s")
    assert scene.watch.figures.reverted == {(b"nginx", "complain"): 1}
    scene.denied(reading("/etc/c"), count=50)
    scene.tick(5)
    assert len(scene.applier.asked) == 1


def test_a_later_promotion_goes_back_to_the_revision_before(store: Store) -> None:
    scene = Scene(store, permits=True)
    scene.promote(1, 2)
    scene.tick()
    scene.denied(SOCKET)
    assert scene.applier.asked == [("revert", "nginx", store.revisions(b"nginx")[0].sha256)]
    assert scene.states[-1] == ("reverted", 1, "aalearn")
    assert json.loads(store.steps(b"nginx")[-1].detail)["mode"] == "enforce"
    scene.tick(3)
    scene.denied(SOCKET, reading("/x"), count=50)  # still enforced, still told, but taken back only once
    assert scene.watch.figures.denied[b"nginx", 1] == 51
    assert len(scene.applier.asked) == 1


def test_a_revision_that_would_deny_it_too_is_no_help(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store, permits=False)
    scene.promote(1, 2)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    assert scene.applier.asked == []
    assert scene.states[-1][0] == "enforced"
    assert "it stays enforced: revision 1, enforced before, would deny all of it too" in caplog.text
    assert [[one.judgement.what for one in basis] for basis in scene.asked] == [["open r /etc/a"]]
    assert not scene.watch.figures.pending


def test_after_the_probation_nothing_is_loosened(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick(101)
    scene.denied(reading("/etc/a"), SOCKET, count=1000)
    scene.tick(10)
    assert scene.applier.asked == []
    assert scene.states[-1][0] == "enforced"
    assert "its probation is over" in caplog.text
    assert scene.watch.figures.tripped == {(b"nginx", "rate"): 1, (b"nginx", "tier1"): 1}


def test_forged_denials_take_nothing_back(store: Store) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), SOCKET, count=1000, trusted=False)
    assert scene.applier.asked == []
    assert scene.watch.figures.denied[b"nginx", 0] == 1000


def test_what_a_person_refused_is_told_as_meant(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    store.decide(b"nginx", "/run/docker.sock rw,", "deny", who="anna", when=T0, why="no")
    scene.denied(SOCKET, count=100)
    assert scene.applier.asked == []
    assert "[refused by anna]" in caplog.text
    assert scene.watch.figures.meant == {b"nginx": 100}


def test_a_unit_that_fails_after_a_denial(store: Store) -> None:
    scene = Scene(store)
    scene.unit = UnitState("active", "running", "success", 0, "0", 1)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"))
    scene.tick()
    scene.tick(2)
    assert scene.applier.asked == []
    scene.unit = UnitState("activating", "auto-restart", "exit-code", 0, "1", LATE)
    scene.tick(2)
    scene.tick(1)
    assert scene.applier.asked == [("complain", "nginx")]
    assert "the unit nginx.service failed (waits for its restart: exit-code, exit status 1)" in (
        store.steps(b"nginx")[-1].reason
    )


def test_an_applier_out_of_reach_is_told_and_tried_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store, failures=3)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    assert "nginx is NOT taken back (try 1): the applier can't be reached; trying again in 1 s" in caplog.text
    assert scene.watch.figures.pending == {b"nginx"}
    assert scene.states[-1][0] == "enforced"
    for _ in range(10):
        scene.tick()
    assert scene.applier.asked == [("complain", "nginx")]
    assert scene.watch.figures.failed == {b"nginx": 3}
    assert scene.states[-1] == ("reverted", 1, "aalearn")
    assert not scene.watch.figures.pending


def test_a_crash_between_commit_and_reaction_is_made_good(store: Store) -> None:
    scene = Scene(store)
    scene.promote(1)
    store.commit(batch((reading("/etc/a"), scene.now, 3)))  # and the service is killed here
    scene.start()
    scene.tick()
    assert scene.applier.asked == [("complain", "nginx")]
    assert scene.states[-1][0] == "reverted"
    scene.start()
    scene.tick()
    assert len(scene.applier.asked) == 1, "nothing is taken back twice"


def test_after_a_long_pause_it_is_told_and_a_person_decides(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    scene.promote(1)
    store.commit(batch((reading("/etc/a"), scene.now, 30)))
    scene.start()
    scene.tick(500)
    assert scene.applier.asked == []
    assert "30 denials (1 kinds) since revision 1 was promoted" in caplog.text
    assert "its probation is over" in caplog.text


def test_a_batch_is_not_counted_twice_when_the_watch_begins_with_it(store: Store) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.denied(reading("/etc/a"), count=2)  # before any tick
    assert scene.watch.figures.denied == {(b"nginx", 0): 2}
    assert scene.applier.asked == []


def test_what_was_denied_to_the_revision_before_does_not_count(store: Store) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=2)
    scene.tick()
    scene.promote(2)
    scene.tick(3)
    scene.denied(reading("/etc/b"))
    assert scene.applier.asked == []


def test_a_person_who_is_faster_wins(store: Store) -> None:
    scene = Scene(store, failures=1)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    store.step(b"nginx", "reverted", revision=1, who="anna", reason="", when=scene.now, detail='{"mode": "complain"}')
    scene.tick(5)
    scene.tick(5)
    assert scene.applier.asked == []
    assert scene.states[-1] == ("reverted", 1, "anna")


def test_a_promotion_that_is_told_again_meanwhile_hides_no_way_back(store: Store) -> None:
    """As `promote --restart` does once the unit runs again; perhaps in the very moment."""
    later = Later()
    scene = Scene(store, worker=later)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    later.work()
    store.step(b"nginx", "enforced", revision=1, who="anna", reason="", when=scene.now, detail='{"mode": "enforce"}')
    scene.tick(1)
    assert scene.applier.asked == [("complain", "nginx")]
    assert scene.states[-1] == ("reverted", 1, "aalearn")
    scene.tick(5)
    assert not scene.watch.figures.watched


def test_what_was_enforced_before_aalearn_comes_back(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    store.save_revision(b"nginx", "profile nginx { }\n", "{}", author="x", reason="", when=T0)
    detail = json.dumps({"mode": "enforce", "found": "enforce"})
    store.step(b"nginx", "enforced", revision=1, who="anna", reason="", when=scene.now, detail=detail)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    assert scene.applier.asked == [("revert", "nginx", "")]
    assert scene.states[-1] == ("reverted", 0, "aalearn")
    assert json.loads(store.steps(b"nginx")[-1].detail)["mode"] == "enforce"
    assert "nginx was taken back to what was enforced here before aalearn" in caplog.text
    scene.tick()
    assert not scene.watch.figures.watched


def test_root_knows_better_what_was_enforced_before(store: Store) -> None:
    """The store may not know it, or be wrong: what root did is what is written down."""
    scene = Scene(store)
    scene.promote(1)
    scene.applier.complains_in = "enforce"
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    assert scene.states[-1] == ("reverted", 0, "aalearn")
    assert json.loads(store.steps(b"nginx")[-1].detail)["mode"] == "enforce"


def test_root_knows_an_enforced_revision_of_which_the_store_does_not(store: Store) -> None:
    scene = Scene(store)
    scene.promote(3)
    scene.applier.complains_in, scene.applier.revision = "enforce", 2
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    assert scene.states[-1] == ("reverted", 2, "aalearn")
    assert json.loads(store.steps(b"nginx")[-1].detail)["mode"] == "enforce"
    assert scene.watch.figures.reverted == {(b"nginx", "previous"): 1}


def test_root_is_not_asked_again_once_the_probation_is_over(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store, failures=1000)
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    scene.tick(200)
    left = scene.applier.failures
    scene.tick(200)
    assert scene.applier.failures == left
    assert "it stays enforced: its probation is over" in caplog.text
    assert not scene.watch.figures.pending


@pytest.mark.parametrize(("node", "count"), [("other", 0), ("a", 3), ("a.example.org", 3), ("", 3), ("ab", 0)])
def test_only_denials_of_this_node_count(store: Store, node: str, count: int) -> None:
    """One that sends its log here, or shares the store, can take back nothing of this one."""
    for begins_before in (False, True):  # seen as they come, and read from the store
        watch = Watch(LIMITS, Recorder(), node=node, worker=Now(), clock=lambda: T0 + 5000, unit_of=lambda _: "")
        name = b"nginx" if begins_before else b"redis"
        store.save_revision(name, "profile x { }\n", "{}", author="x", reason="", when=T0)
        store.step(name, "enforced", revision=1, who="anna", reason="", when=T0)
        if not begins_before:
            watch.tick(T0 + 1, store)
        made = batch((reading("/a", name), T0 + 1000, 3))
        store.commit(made)
        if begins_before:
            watch.tick(T0 + 4000, store)
        else:
            watch.committed(made, store)
        assert sum(watch.figures.denied.values()) == count
        assert store.steps(name)[-1].state == ("reverted" if count else "enforced")


def test_a_denial_of_this_node_and_others_counts_once(store: Store) -> None:
    watch = Watch(LIMITS, Recorder(), node="a", worker=Now(), clock=lambda: T0 + 5000, unit_of=lambda _: "")
    store.step(b"nginx", "enforced", revision=1, who="anna", reason="", when=T0)
    watch.tick(T0 + 1, store)
    made = batch((reading("/a"), T0 + 1000, 1))
    next(iter(made.tallies.values())).see(T0 + 1001, b"x", None, "evil", True, b"")
    next(iter(made.tallies.values())).count += 100
    store.commit(made)
    watch.committed(made, store)
    assert sum(watch.figures.denied.values()) == 1
