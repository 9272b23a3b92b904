"""From a denial to the kernel and back: the watch, the socket's client, the applier and a simulated kernel together."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aalearn.lifecycle.limits import Limits
from aalearn.lifecycle.node.client import Client
from aalearn.lifecycle.node.server import serve
from aalearn.lifecycle.permits import permits_by
from aalearn.lifecycle.watch import Watch
from aalearn.model.event import Event
from aalearn.store import Store
from tests.cli.promoted import DRAFT, ONE, TWO, promote, text_of
from tests.lifecycle.simulated import Simulated
from tests.lifecycle.watching import Now, batch, reading

pytestmark = pytest.mark.parser

LIMITS = Limits(denials=3, seconds=10)
WIDE = "abi <abi/3.0>,\nprofile app /usr/bin/app {\n  /a r,\n  /b r,\n  /c r,\n}\n"


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def node(tmp_path: Path, apparmor_parser: str) -> Simulated:
    return Simulated(tmp_path / "node")


@pytest.fixture
def path(node: Simulated, tmp_path: Path) -> Iterator[Path]:
    """The applier's socket; each connection is served as aalearn-apply@.service does."""
    where = tmp_path / "apply.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(where))
    listening.listen()

    def work() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                serve(lambda: node.machine, connection.fileno(), connection.fileno(), lambda _: None)

    thread = threading.Thread(target=work)
    thread.start()
    yield where
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(20)


def deny(store: Store, watch: Watch, event: Event, count: int = 3) -> None:
    made = batch((event, now(), count))
    store.commit(made)
    watch.committed(made, store)
    watch.tick(now(), store)


def watching(node: Simulated, where: Path) -> Watch:
    return Watch(LIMITS, Client(where), permits=permits_by(node.machine.judge()), unit_of=lambda _: "", worker=Now())


def test_a_first_promotion_goes_back_to_complain_mode(node: Simulated, path: Path, tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, DRAFT, "learning", 0)
    promote(node, db, ONE, "enforced", 1)
    with Store.open(db) as store:
        watch = watching(node, path)
        watch.tick(now(), store)
        deny(store, watch, reading("/new", b"app"))
        assert node.kernel.modes() == {"app": "complain"}
        assert text_of(node) == ONE.replace("/usr/bin/app {", "/usr/bin/app flags=(complain) {")
        assert store.steps(b"app")[-1].state == "reverted"


def test_a_narrower_revision_goes_back_to_the_wider_one(node: Simulated, path: Path, tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, WIDE, "enforced", 1)
    promote(node, db, TWO, "enforced", 2)
    with Store.open(db) as store:
        watch = watching(node, path)
        watch.tick(now(), store)
        deny(store, watch, reading("/c", b"app"))
        assert node.kernel.modes() == {"app": "enforce"}
        assert text_of(node) == WIDE
        assert [(one.state, one.revision) for one in store.steps(b"app")][-1] == ("reverted", 1)


def test_a_revision_that_denies_it_too_is_left(
    node: Simulated, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, ONE, "enforced", 1)
    promote(node, db, TWO, "enforced", 2)
    with Store.open(db) as store:
        watch = watching(node, path)
        watch.tick(now(), store)
        deny(store, watch, reading("/etc/shadow", b"app"))
        assert text_of(node) == TWO
        assert "revision 1, enforced before, would deny all of it too" in caplog.text


def test_noise_that_both_deny_hides_no_regression(node: Simulated, path: Path, tmp_path: Path) -> None:
    """By the automata: /c is denied by the second revision alone."""
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, WIDE, "enforced", 1)
    promote(node, db, TWO, "enforced", 2)
    with Store.open(db) as store:
        watch = watching(node, path)
        watch.tick(now(), store)
        deny(store, watch, reading("/etc/shadow", b"app"), 30)
        deny(store, watch, reading("/c", b"app"))
        assert text_of(node) == TWO
        watch.tick(now() + 1_500, store)
        assert text_of(node) == WIDE
        assert store.steps(b"app")[-1].state == "reverted"
        assert watch.figures.tripped == {(b"app", "rate"): 2}


def test_no_applier_is_told_and_it_is_tried_again(
    node: Simulated, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, ONE, "enforced", 1)
    moved = tmp_path / "moved.sock"
    path.rename(moved)
    with Store.open(db) as store:
        watch = watching(node, path)
        watch.tick(now(), store)
        deny(store, watch, reading("/new", b"app"))
        told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert "app is NOT taken back (try 1): can't ask aalearn-apply" in told[-1]
        assert node.kernel.modes() == {"app": "enforce"}
        moved.rename(path)
        watch.tick(now() + 5_000, store)
        assert node.kernel.modes() == {"app": "complain"}


def test_a_person_s_edit_is_not_overwritten(
    node: Simulated, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = f"sqlite:///{tmp_path}/x.db"
    promote(node, db, ONE, "enforced", 1)
    (node.base / "app").write_text(ONE + "# mine\n")
    with Store.open(db) as store:
        watch = watching(node, path)
        watch.tick(now(), store)
        deny(store, watch, reading("/new", b"app"))
        assert text_of(node) == ONE + "# mine\n"
        assert "was changed since aalearn applied it" in caplog.text
        assert watch.figures.pending == {b"app"}


@pytest.mark.parametrize("known", [True, False])
def test_what_was_enforced_without_aalearn_is_never_put_into_complain_mode(
    node: Simulated, path: Path, tmp_path: Path, known: bool
) -> None:
    """Whether the store knows it or not: root does."""
    db = f"sqlite:///{tmp_path}/x.db"
    node.load(WIDE, "app")
    promote(node, db, TWO, "enforced", 1)
    with Store.open(db) as store:
        if known:
            detail = '{"mode": "enforce", "found": "enforce"}'
            store.step(b"app", "enforced", revision=1, who="anna", reason="", when=now(), detail=detail)
        watch = watching(node, path)
        watch.tick(now(), store)
        deny(store, watch, reading("/c", b"app"))
        assert node.kernel.modes() == {"app": "enforce"}
        assert text_of(node) == WIDE
        step = store.steps(b"app")[-1]
        assert (step.state, step.revision) == ("reverted", 0)
        assert json.loads(step.detail)["mode"] == "enforce"
        assert not watch.figures.failed
