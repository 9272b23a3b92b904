"""What root refuses the service's user, who may be another's: by root's own records, clock and settings."""

import hashlib
import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aalearn.lifecycle.node import applier, server
from aalearn.lifecycle.node.applier import applied, apply, pending
from aalearn.lifecycle.node.asked import take_back
from aalearn.lifecycle.node.requests import Reverted, complain, revert
from aalearn.lifecycle.node.wire import Request
from aalearn.model.errors import UsageError
from tests.conftest import ROOT
from tests.lifecycle.node.test_applier import NEW, OLD, change
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser

ENFORCED = OLD.replace(" flags=(complain)", "")
NEWER = NEW.replace("/b r,", "/b r,\n  /c r,")


@pytest.fixture
def node(tmp_path: Path) -> Simulated:
    return Simulated(tmp_path)


def asked(node: Simulated, do: str, sha256: str = "", probation: float = 3600.0, **more: bool) -> Reverted:
    return take_back(node.machine, Request(do, "app", sha256), who="uid 99", probation=probation, **more)


def state(node: Simulated) -> Any:
    return node.state("app"), applied(node.machine, b"app")


@pytest.mark.parametrize("do", ["revert", "complain"])
def test_what_was_enforced_before_aalearn_is_gone_back_to_and_never_complain_mode(node: Simulated, do: str) -> None:
    node.load(ENFORCED, "app")
    apply(node.machine, change(node))
    assert asked(node, do).applied.mode == "enforce"
    assert (node.base / "app").read_text() == ENFORCED
    assert set(node.kernel.modes().values()) == {"enforce"}
    before = state(node)
    assert asked(node, do).notes == ("it was taken back already",), "asked again after a crash"
    assert state(node) == before


def test_not_by_way_of_a_person_s_complain_mode_either(node: Simulated) -> None:
    node.load(ENFORCED, "app")
    apply(node.machine, change(node))
    complain(node.machine, b"app", who="anna", reason="", asked=False)
    apply(node.machine, change(node, NEWER, revision=2))
    assert asked(node, "revert").applied.mode == "enforce"
    assert (node.base / "app").read_text() == ENFORCED


@pytest.mark.parametrize("do", ["revert", "complain"])
def test_never_less_than_the_revision_that_was_enforced_before(node: Simulated, do: str) -> None:
    """Found in complain mode, enforced for a year; a person tried revision 2 and took that to complain mode."""
    node.load(OLD, "app")
    apply(node.machine, change(node, NEW, revision=1))
    apply(node.machine, change(node, NEWER, revision=2))
    complain(node.machine, b"app", who="anna", reason="", asked=False)
    apply(node.machine, change(node, NEWER.replace("/c r,", "/d r,"), revision=3))
    done = asked(node, do).applied
    assert (done.mode, done.revision, (node.base / "app").read_text()) == ("enforce", 1, NEW)
    assert asked(node, do).notes == ("it was taken back already",)


def test_complain_mode_where_root_s_configuration_wants_it(node: Simulated) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node, NEW, revision=1))
    apply(node.machine, change(node, NEWER, revision=2))
    done = asked(node, "complain", complain_wanted=True).applied
    assert (done.mode, done.revision) == ("complain", 2)
    assert asked(node, "complain", complain_wanted=True).notes == ("it was taken back already",)


def test_complain_mode_where_nothing_was_enforced_before(node: Simulated) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    done = asked(node, "complain").applied
    assert (done.mode, done.revision) == ("complain", 1)


@pytest.mark.parametrize("moment", ["load", "_recorded"])
def test_the_way_back_of_an_applier_that_was_killed_is_ended(
    node: Simulated, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(node.machine, change(node, NEW, revision=1))
    apply(node.machine, change(node, NEWER, revision=2))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(node.kernel if moment == "load" else applier, moment, die)
        patch.setattr(applier, "_undone", die)
        with pytest.raises(KeyboardInterrupt):
            asked(node, "revert")
    assert (node.base / "app").read_text() == NEW
    done = asked(node, "revert")
    assert (done.applied.mode, done.applied.revision, done.notes) == ("enforce", 1, ("it was taken back already",))
    assert set(node.kernel.modes().values()) == {"enforce"}
    assert pending(node.machine) == ()


def test_a_person_s_change_is_a_person_s_to_end(node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(node.machine, change(node, NEW, revision=1))
    apply(node.machine, change(node, NEWER, revision=2))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(node.kernel, "load", die)
        patch.setattr(applier, "_undone", die)
        with pytest.raises(KeyboardInterrupt):
            revert(node.machine, b"app", who="anna", reason="", asked=False)
    with pytest.raises(UsageError, match="the change of app to reverted was interrupted: run `aalearn reconcile"):
        asked(node, "revert")


def test_an_enforced_profile_without_a_local_file_gets_that_state_back(node: Simulated) -> None:
    (node.base / "local").mkdir()
    packaged = NEW.replace("/b r,", "include if exists <local/usr.app>")
    node.load(packaged, "usr.app")
    local = change(node, NEW.replace("/b r,", "/x r,"), place="local/usr.app")
    apply(node.machine, replace(local, text=b"  /x r,\n"))
    assert asked(node, "complain").applied.mode == "enforce"
    assert not (node.base / "local/usr.app").exists()
    assert (node.base / "usr.app").read_text() == packaged
    assert set(node.kernel.modes().values()) == {"enforce"}


@pytest.mark.parametrize("do", ["revert", "complain"])
def test_only_within_the_probation_by_root_s_clock(node: Simulated, do: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    before = state(node)
    with pytest.raises(UsageError, match="the probation of app is over"):
        asked(node, do, probation=0.0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 30)
    apply(node.machine, change(node))  # told again: the probation goes on
    with pytest.raises(UsageError, match="the probation of app is over"):
        asked(node, do, probation=20.0)
    assert node.state("app") == before[0]
    assert asked(node, do, probation=60.0).applied.asked


def test_only_after_a_promotion(node: Simulated) -> None:
    node.load(ENFORCED, "app")
    apply(node.machine, change(node, OLD, stage="learning"))
    for do in ("revert", "complain"):
        with pytest.raises(UsageError, match="app is at no promotion here"):
            asked(node, do)
    apply(node.machine, change(node))
    revert(node.machine, b"app", who="anna", reason="", asked=False)
    with pytest.raises(UsageError, match="app was taken back already"):
        asked(node, "revert")


def test_only_the_revision_before_and_none_that_was_given_up_long_ago(node: Simulated) -> None:
    texts = [NEW, NEWER, NEWER.replace("/c r,", "/d r,")]
    for revision, text in enumerate(texts, 1):
        apply(node.machine, change(node, text, revision=revision))
    first, second = (hashlib.sha256(text.encode()).hexdigest() for text in texts[:2])
    with pytest.raises(UsageError, match="is not what stood before the promotion of app"):
        asked(node, "revert", first)
    assert asked(node, "revert", second).applied.revision == 2


def test_the_revision_before_one_that_was_taken_back(node: Simulated) -> None:
    """As the store's steps tell it: revision 2 was taken back to complain mode, so 3 comes after 1."""
    apply(node.machine, change(node, NEW, revision=1))
    apply(node.machine, change(node, NEWER, revision=2))
    for _ in range(2):  # and once more by `reconcile --fix`
        complain(node.machine, b"app", who="anna", reason="", asked=False)
    apply(node.machine, change(node, NEWER.replace("/c r,", "/d r,"), revision=3))
    assert asked(node, "revert", hashlib.sha256(NEW.encode()).hexdigest()).applied.revision == 1


def test_requests_push_no_person_s_entry_out(node: Simulated) -> None:
    node.load(OLD, "app")
    for revision, text in enumerate((NEW, NEWER, NEW), 1):
        apply(node.machine, change(node, text, revision=revision))
    persons = applied(node.machine, b"app")
    for _ in range(30):
        complain(node.machine, b"app", who="uid 99", reason="")
        revert(node.machine, b"app", number=persons[-1].number, who="uid 99", reason="")
    entries = applied(node.machine, b"app")
    assert entries[: len(persons)] == persons
    assert len(entries) == len(persons) + 10
    for one in persons:  # and their texts are there
        revert(node.machine, b"app", number=one.number, who="anna", reason="", asked=False)


def test_what_was_found_outlives_many_promotions(node: Simulated) -> None:
    node.load(ENFORCED, "app")
    planned = [change(node, NEW), change(node, NEWER)]
    for at in range(60):
        apply(node.machine, planned[at % 2])
    entries = applied(node.machine, b"app")
    assert (entries[0].stage, entries[0].mode) == ("", "enforce")
    assert len(entries) == 51


def test_another_uid_is_refused_before_a_word_is_read(node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(node.machine, change(node))
    monkeypatch.setattr(server, "_peer", lambda _: (4242, "uid 4242 (pid 7)"))
    told: list[str] = []
    for service, code in (((), 2), ((4241,), 2), ((4242,), 0)):
        near, far = socket.socketpair()
        with near, far:
            near.sendall(Request("complain", "app").line())
            near.shutdown(socket.SHUT_WR)
            here = far.fileno()
            assert server.serve(lambda: node.machine, here, here, told.append, service=service) == code
    assert told[:2] == ["uid 4242 (pid 7) was refused: only root and the service's user may ask"] * 2


def test_the_kernel_says_who_asks() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert server._peer(near.fileno()) == (os.getuid(), f"uid {os.getuid()} (pid {os.getpid()})")


def test_the_socket_has_a_group_of_its_own() -> None:
    lines = {name: (ROOT / "systemd" / name).read_text().splitlines() for name in (
        "aalearn-apply.socket", "aalearn.service", "aalearn.sysusers",
    )}  # fmt: skip
    assert "SocketGroup=aalearn-apply" in lines["aalearn-apply.socket"]
    assert "SupplementaryGroups=adm systemd-journal aalearn-apply" in lines["aalearn.service"]
    assert "m aalearn aalearn-apply" in lines["aalearn.sysusers"]
