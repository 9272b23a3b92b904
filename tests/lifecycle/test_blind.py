"""What must not make the watch blind or rash: noise, a slow compiler, a clock set back, other nodes, old processes."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from aalearn.lifecycle.limits import Limits
from aalearn.lifecycle.units import UnitState
from aalearn.model.event import Verdict
from aalearn.store import Store
from tests.lifecycle.scene import Later, Scene
from tests.lifecycle.watching import SOCKET, T0, batch, reading

RUNS = UnitState("active", "running", "success", 0, "0", 1)
LATE = 1 << 62  # µs of CLOCK_MONOTONIC, after every denial
LONG = Limits(denials=100, seconds=10, probation=3600, unit_seconds=60)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("sqlite://") as opened:
        yield opened


# ── what another revision denies too ──────────────────────────────────────────────────────────────────────────────────


def test_a_burst_while_the_compiler_works_is_not_forgotten(store: Store) -> None:
    later = Later()
    scene = Scene(store, permitted=("open r /srv/new",), worker=later)
    scene.promote(1, 2)
    scene.tick()
    scene.denied(SOCKET)  # tier 1, and no revision permits it
    scene.denied(reading("/srv/new"), count=10)  # once, as at a program's start
    later.work()
    for _ in range(3):
        scene.tick()
        later.work()
    scene.tick()
    assert scene.applier.asked == [("revert", "nginx", store.revisions(b"nginx")[0].sha256)]
    assert scene.states[-1] == ("reverted", 1, "aalearn")
    assert "10 denials within 10 s" in store.steps(b"nginx")[-1].reason


def test_noise_that_no_revision_permits_hides_no_regression(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store, permitted=("open r /srv/new",))
    scene.promote(1, 2)
    scene.tick()
    scene.denied(reading("/root/.x"), count=3)
    assert "would deny all of it too" in caplog.text
    scene.denied(reading("/root/.x"), count=500)  # it goes on
    assert len(scene.asked) == 1, "what is known to be in vain is not asked again"
    scene.tick(2)
    scene.denied(reading("/srv/new"), count=3)
    scene.tick(2)
    assert scene.applier.asked == [("revert", "nginx", store.revisions(b"nginx")[0].sha256)]
    assert [[one.judgement.what for one in asked] for asked in scene.asked] == [
        ["open r /root/.x"],
        ["open r /srv/new"],
    ]


def test_made_up_names_do_not_keep_the_compiler_busy(store: Store) -> None:
    scene = Scene(store, permits=False, limits=Limits(denials=3, seconds=10, probation=3600))
    scene.promote(1, 2)
    scene.tick()
    for at in range(300):
        scene.denied(*(reading(f"/tmp/{at}-{one}") for one in range(3)))
        scene.tick()
    assert 5 <= len(scene.asked) <= 12, "1, 2, 4, … at most 60 s apart"
    scene.denied(SOCKET)
    scene.tick(60)
    scene.tick(1)
    assert SOCKET in {one.event for one in scene.asked[-1]}


# ── units ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def unit_scene(store: Store, state: UnitState = RUNS, limits: Limits = LONG) -> Scene:
    """Return a scene in which nginx.service is known to be the profile's unit."""
    scene = Scene(store, limits=limits)
    scene.unit = state
    store.save_revision(b"nginx", "profile nginx { }\n", "{}", author="x", reason="", when=T0)
    detail = json.dumps({"unit": "nginx.service"})
    store.step(b"nginx", "enforced", revision=1, who="a", reason="", when=scene.now, detail=detail)
    for _ in range(3):
        scene.tick(11)
    return scene


def state(restarts: int = 0, changed: int = LATE, **more: str) -> UnitState:
    values = {"active": "active", "sub": "running", "result": "success", "status": "0", "restart": "on-failure"} | more
    return UnitState(restarts=restarts, changed=changed, **values)


def test_a_crash_long_before_a_denial_is_not_due_to_it(store: Store) -> None:
    scene = unit_scene(store)
    scene.unit = state(1)
    scene.tick(1000)
    scene.tick(11)
    scene.denied(reading("/etc/harmless"))
    for _ in range(5):
        scene.tick(3)
    assert scene.applier.asked == []


def test_a_counter_that_begins_anew(store: Store) -> None:
    """A manual restart sets NRestarts to 0; the crashes that follow count from there."""
    scene = unit_scene(store, state(5))
    scene.denied(reading("/etc/needed"))
    scene.tick(3)
    scene.unit = state(0)  # `promote --restart`
    scene.tick(3)
    scene.tick(3)
    scene.unit = state(1)
    scene.tick(3)
    scene.tick(1)
    assert scene.applier.asked == [("complain", "nginx")]
    assert "was restarted by systemd 1 times" in store.steps(b"nginx")[-1].reason


def test_a_unit_that_ends_well_and_is_started_again_has_not_failed(store: Store) -> None:
    scene = unit_scene(store, state(restart="always"))
    scene.denied(reading("/etc/harmless"))
    scene.unit = state(0, restart="always", active="activating", sub="auto-restart")
    scene.tick(3)
    scene.tick(3)
    scene.unit = state(1, restart="always")
    scene.tick(3)
    scene.tick(3)
    assert scene.applier.asked == []
    scene.unit = state(3, restart="always")
    scene.tick(3)
    scene.tick(3)
    assert scene.applier.asked == [("complain", "nginx")], "again and again is no good end"


def test_a_unit_that_is_always_restarted_tells_nothing(store: Store) -> None:
    scene = unit_scene(store)
    for restarts in range(1, 4):  # without any denial
        scene.unit = state(restarts)
        scene.tick(11)
        scene.tick(11)
    scene.denied(reading("/etc/harmless"))
    scene.unit = state(9)
    for _ in range(4):
        scene.tick(3)
    assert scene.applier.asked == []


def test_the_process_of_an_old_record_is_not_looked_up(store: Store) -> None:
    """Its number may be another's by now."""
    scene = Scene(store)
    scene.unit = state(active="failed", sub="failed", result="exit-code", status="1")
    day = 86_400_000
    store.commit(batch((reading("/x"), T0 - 10 * day, 1)))  # of pid 77
    scene.promote(1)
    store.commit(batch((reading("/x"), scene.now, 1), sample=b" pid=99 comm=x"))
    for _ in range(3):
        scene.tick(3)
    assert scene.applier.asked == []
    store.commit(batch((reading("/y"), scene.now, 1)))
    scene.start()
    for _ in range(3):
        scene.tick(3)
    assert scene.applier.asked == [("complain", "nginx")], "a fresh one is"


def test_the_process_of_another_node_is_not_looked_up(store: Store) -> None:
    scene = Scene(store, node="a")
    scene.unit = state(active="failed", sub="failed", result="exit-code", status="1")
    scene.promote(1)
    scene.tick()
    made = batch((reading("/x"), scene.now, 1), node="b")  # pid 77 there
    (tally,) = made.tallies.values()
    tally.see(scene.now, b"nginx", None, "a.example.org", True, b" pid=99 comm=x")
    store.commit(made)
    scene.watch.committed(made, store)
    for _ in range(3):
        scene.tick(3)
    assert scene.watch.figures.denied == {(b"nginx", 0): 1}
    assert scene.applier.asked == []


@pytest.mark.parametrize("anew", [False, True])
def test_a_forged_record_names_no_unit(store: Store, anew: bool) -> None:
    scene = Scene(store)
    scene.unit = state(active="failed", sub="failed", result="exit-code", status="1")
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/x"), trusted=False)  # of pid 77
    if anew:
        scene.start()
        scene.tick()
    made = batch((reading("/y"), scene.now, 1), sample=b" pid=99 comm=x")
    for run in made.runs:
        made.tallies[(b"nginx", reading("/y"), None)].runs = {run._replace(pid=99)}
    store.commit(made)
    scene.watch.committed(made, store)
    for _ in range(3):
        scene.tick(3)
    assert scene.applier.asked == []


def test_a_forged_record_besides_hides_no_denial(store: Store) -> None:
    """Once is certain of a batch with both; the rest may be forged."""
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    for at in range(3):
        assert scene.applier.asked == []
        made = batch((reading("/x"), scene.now + at, 50))
        next(iter(made.tallies.values())).see(scene.now + at, b"x", None, "a", False, b"")
        store.commit(made)
        scene.watch.committed(made, store)
    assert scene.applier.asked == [("complain", "nginx")]
    assert scene.watch.figures.denied == {(b"nginx", 0): 153}


# ── the clock ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_set_back_makes_nobody_blind(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    scene.now -= 3_600_000
    scene.tick()
    scene.denied(reading("/srv/needed"))
    assert "nginx denied open r /srv/needed" in caplog.text
    scene.denied(reading("/srv/needed"), count=2)
    scene.tick()
    assert scene.applier.asked == [("complain", "nginx")]


def test_a_clock_set_back_while_nobody_watched(store: Store) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.now -= 3_600_000
    scene.start()
    scene.denied(reading("/srv/needed"), count=3)  # the first that the new watch hears of
    assert scene.applier.asked == [("complain", "nginx")]


def test_what_is_tried_again_does_not_wait_for_the_old_time(store: Store) -> None:
    scene = Scene(store, failures=1, limits=Limits(denials=3, seconds=10, probation=3600))
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    scene.now -= 300_000
    scene.tick(1)
    for _ in range(61):
        scene.tick(1)
    assert scene.applier.asked == [("complain", "nginx")]


def test_the_unit_is_asked_for_by_the_new_time(store: Store) -> None:
    scene = unit_scene(store)
    scene.now -= 600_000
    scene.tick(1)
    scene.unit = state(active="failed", sub="failed", result="exit-code", status="1")
    scene.denied(reading("/etc/needed"))
    scene.tick(3)
    scene.tick(3)
    assert scene.applier.asked == [("complain", "nginx")]


# ── a store that nodes share ──────────────────────────────────────────────────────────────────────────────────────────


def test_another_nodes_way_back_is_not_ours(store: Store) -> None:
    store.save_revision(b"nginx", "profile nginx { }\n", "{}", author="x", reason="", when=T0)
    for at, node in enumerate(("a", "b.example.org")):
        detail = json.dumps({"mode": "enforce", "node": node})
        store.step(b"nginx", "ready", revision=1, who="x", reason="", when=T0 + at, detail=json.dumps({"node": node}))
        store.step(b"nginx", "enforced", revision=1, who="x", reason="", when=T0 + at, detail=detail)
    one, other = Scene(store, node="a"), Scene(store, node="b")
    one.tick()
    other.tick()
    made = batch((reading("/x"), one.now, 3), node="a")
    store.commit(made)
    for scene in (one, other):
        scene.watch.committed(made, store)
    assert one.applier.asked == [("complain", "nginx")]
    assert json.loads(store.steps(b"nginx")[-1].detail)["node"] == "a"
    other.tick(3)
    assert other.watch.figures.watched == {b"nginx": 1}
    made = batch((reading("/x"), other.now, 300), node="b")
    store.commit(made)
    other.watch.committed(made, store)
    assert other.applier.asked == [("complain", "nginx")]
    assert other.watch.figures.denied == {(b"nginx", 0): 300}
    assert [json.loads(step.detail)["node"] for step in store.steps(b"nginx")[-2:]] == ["a", "b"]
    one.tick(9)
    other.tick(3)
    assert not one.watch.figures.watched
    assert not other.watch.figures.watched


def test_another_nodes_step_holds_up_no_way_back(store: Store) -> None:
    scene = Scene(store, failures=1, node="a")
    scene.promote(1)
    scene.tick()
    scene.denied(reading("/etc/a"), count=3)
    store.step(b"nginx", "enforced", revision=1, who="x", reason="", when=scene.now, detail='{"node": "b"}')
    scene.tick(1.5)
    assert scene.states[-1] == ("reverted", 1, "aalearn")


# ── what a person and a container say ─────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_that_was_imported_excuses_nothing(store: Store) -> None:
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    store.decide(b"nginx", "/etc/a r,", "deny", who="imported:mallory", when=T0, why="")
    scene.denied(reading("/etc/a"), count=3)
    assert scene.applier.asked == [("complain", "nginx")]
    assert not scene.watch.figures.meant


def test_a_containers_profile_is_judged_as_one(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """All that a container runs stays in its profile, whatever it is: as `aalearn promote` would have it."""
    made = batch((replace(reading("/x"), verdict=Verdict.ALLOWED), T0, 1))
    next(iter(made.tallies.values())).programs = {b"runc:[2:INIT]": 1}
    store.commit(made)
    scene = Scene(store)
    scene.promote(1)
    scene.tick()
    tree = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/12/fs/etc/app.conf"
    with caplog.at_level(logging.WARNING):
        scene.denied(reading(tree))
    assert "would be allowed by /etc/app.conf r," in caplog.text
