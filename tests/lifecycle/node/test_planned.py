"""What a person wrote is not lost: what a change was planned on is compared, and what it replaced is kept."""

from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import Change, applied, apply, finish, open_change, pending, undo
from aalearn.lifecycle.node.entries import found_of, promoted_since, stood_before
from aalearn.lifecycle.node.records import Intent, Records
from aalearn.lifecycle.node.requests import complain, revert
from aalearn.model.errors import PolicyError, UsageError
from tests.lifecycle.node.test_applier import NEW, OLD, change
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser

EDITED = OLD + "# by hand\n"
NEWER = NEW.replace("/b r,", "/b r,\n  /c r,")
PACKAGED = NEW.replace("/b r,", "include if exists <local/app>")


@pytest.fixture
def node(tmp_path: Path) -> Simulated:
    return Simulated(tmp_path)


class Killed(BaseException):
    """What a process that is killed does not come back from."""


def killed_at_the_load(node: Simulated, wanted: Change, monkeypatch: pytest.MonkeyPatch) -> Intent:
    """Begin a change and be killed when the file is written and the kernel has nothing yet (or when it is unloaded)."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(node.kernel, "load", die)
        if wanted.policy is None:
            patch.setattr(files, "write", die)
        with pytest.raises(Killed):
            apply(node.machine, wanted)
    (intent,) = pending(node.machine)
    return intent


def test_an_edit_since_the_plan_is_refused_under_the_lock(node: Simulated) -> None:
    node.load(OLD, "app")
    (node.base / "local").mkdir()
    seen = (("app", files.digest(OLD.encode())), ("local/app", ""))
    apply(node.machine, change(node, expected=seen))
    before = node.state("app")
    for place, text in (("app", EDITED), ("local/app", "")):
        seen = (("app", files.digest((node.base / "app").read_bytes())), ("local/app", ""))
        (node.base / place).write_text(text)
        with pytest.raises(UsageError, match=rf"{place} was changed by somebody else meanwhile, so nothing was done"):
            apply(node.machine, change(node, NEWER, expected=seen))
        assert (node.base / place).read_text() == text
        (node.base / "app").write_text(NEW)
    (node.base / "local/app").unlink()
    (node.base / "app").unlink()
    with pytest.raises(UsageError, match="was changed by somebody else"):
        apply(node.machine, change(node, NEWER, expected=seen))
    assert pending(node.machine) == ()
    assert node.state("app")[1:] == before[1:]


def test_another_change_since_the_plan_is_refused_under_the_lock(node: Simulated) -> None:
    node.load(OLD, "app")
    done = apply(node.machine, change(node, last=0)).applied
    assert done is not None
    complain(node.machine, b"app", who="uid 99", reason="")  # the service was quicker
    for last in (0, done.number):
        with pytest.raises(UsageError, match="app was changed by another aalearn meanwhile"):
            apply(node.machine, change(node, last=last))
    assert set(node.kernel.modes().values()) == {"complain"}
    apply(node.machine, change(node, last=done.number + 1))


@pytest.mark.parametrize("take_back", [revert, complain])
def test_a_way_back_does_not_overwrite_an_edit_of_its_last_moment(
    node: Simulated, take_back: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    judge = type(node.machine).judge

    def slow(machine: object) -> object:
        (node.base / "app").write_text(EDITED)
        return judge(machine)  # type: ignore[arg-type]

    monkeypatch.setattr(type(node.machine), "judge", slow)
    with pytest.raises(UsageError, match="app was changed by somebody else meanwhile"):
        take_back(node.machine, b"app", who="bob", reason="")  # type: ignore[operator]
    assert (node.base / "app").read_text() == EDITED


def test_what_was_replaced_is_kept(node: Simulated) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    (node.base / "app").write_text(EDITED)
    apply(node.machine, change(node, NEWER))
    apply(node.machine, change(node, NEW))
    entry = applied(node.machine, b"app")[-2]
    with Records.open(node.machine.backups) as records:
        assert records.get(entry.replaced) == EDITED.encode()


def test_a_file_that_was_there_and_not_loaded_is_remembered(node: Simulated) -> None:
    (node.base / "app").write_text(EDITED)
    apply(node.machine, change(node))
    apply(node.machine, change(node, NEWER, revision=2))
    entries = applied(node.machine, b"app")
    found = found_of(entries)
    assert found is not None
    assert (found.mode, found.policy, found.number, entries[1].before) == ("", "", 1, 1)
    with Records.open(node.machine.backups) as records:
        assert records.get(found.text) == EDITED.encode()
    revert(node.machine, b"app", who="bob", reason="")
    assert stood_before(applied(node.machine, b"app")) is None, "nothing was in force, so nothing is gone back to"
    with pytest.raises(UsageError, match="ask for complain mode"):
        revert(node.machine, b"app", who="bob", reason="")
    assert set(node.kernel.modes().values()) == {"enforce"}


@pytest.mark.parametrize("end", [finish, undo])
def test_an_edit_after_the_crash_is_not_overwritten(
    node: Simulated, end: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.load(OLD, "app")
    (node.base / "more").write_text("# old\n")
    intent = killed_at_the_load(node, change(node, more=(("more", b"# new\n"),)), monkeypatch)
    for place in ("app", "more"):
        was = (node.base / place).read_bytes()
        (node.base / place).write_text(EDITED)
        with pytest.raises(UsageError, match=rf"{place} was edited after the change of app was interrupted: move it"):
            end(node.machine, intent)  # type: ignore[operator]
        assert (node.base / place).read_text() == EDITED
        assert pending(node.machine) == (intent,)
        (node.base / place).write_bytes(was)
    (node.base / "app").rename(node.base / "app.mine")
    end(node.machine, intent)  # type: ignore[operator]
    assert (node.base / "app").read_text() == (NEW if end is finish else OLD)
    assert pending(node.machine) == ()


def test_a_retirement_that_was_interrupted_is_remembered(node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(node.machine, change(node))
    retired = Change(b"app", "app", None, None, "retired", "bob")
    finish(node.machine, killed_at_the_load(node, retired, monkeypatch))
    assert node.state("app") == (None, {}, {})
    enforced, last = applied(node.machine, b"app")
    assert (enforced.stage, last.stage, last.who, last.text, last.policy) == ("enforced", "retired", "bob", "", "")
    with Records.open(node.machine.backups) as records:
        assert records.get(enforced.text) == NEW.encode()


def test_a_way_back_that_removes_a_local_file_is_remembered(node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    node.load(PACKAGED, "app")
    whole = node.policy(PACKAGED.replace("include if exists <local/app>", "/x r,"))
    apply(node.machine, replace(change(node), place="local/app", text=b"  /x r,\n", policy=whole))
    back = replace(change(node, PACKAGED, stage="reverted", revision=0, before=0), place="local/app", text=None)
    finish(node.machine, killed_at_the_load(node, back, monkeypatch))
    assert not (node.base / "local/app").exists()
    assert [one.stage for one in applied(node.machine, b"app")] == ["", "enforced", "reverted"]
    assert applied(node.machine, b"app")[-1].before == 0


def test_a_way_back_that_was_interrupted_leads_on_to_where_it_would_have(
    node: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node, NEW, revision=1))
    apply(node.machine, change(node, NEWER, revision=2))
    back = change(node, NEW, stage="reverted", revision=1, before=1)
    done = finish(node.machine, killed_at_the_load(node, back, monkeypatch)).applied
    assert done is not None
    assert done.before == 1
    assert revert(node.machine, b"app", who="bob", reason="").applied.mode == "complain"
    assert (node.base / "app").read_text() == OLD


def test_a_change_that_was_written_down_and_is_undone_is_struck_out(
    node: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.load(OLD, "app")
    before = node.state("app")
    for entries in range(2):

        def die(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Records, "end", die)
            with pytest.raises(Killed):
                apply(node.machine, change(node, NEWER, revision=2))
        (intent,) = pending(node.machine)
        assert applied(node.machine, b"app")[-1].revision == 2
        undo(node.machine, intent)
        assert node.state("app") == before
        assert len(applied(node.machine, b"app")) == 2 * entries, "what was found goes with the first change"
        apply(node.machine, change(node, NEW))
        before = node.state("app")


def test_an_open_change_is_named_before_an_edit_is(node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    killed_at_the_load(node, change(node, NEWER), monkeypatch)
    for take_back in (revert, complain):
        with pytest.raises(UsageError, match="the change of app to enforced was interrupted: run `aalearn reconcile"):
            take_back(node.machine, b"app", who="bob", reason="")


def test_a_damaged_intent_of_another_profile_stops_nobody(node: Simulated) -> None:
    apply(node.machine, change(node))
    (node.machine.backups / "intent.0.json").write_text("{")
    assert open_change(node.machine, b"app") is None
    assert apply(node.machine, change(node, NEWER)).applied is not None


class TestProbation:
    """When the probation of a promotion began, by root's record."""

    def since(self, node: Simulated) -> int:
        found = promoted_since(applied(node.machine, b"app"))
        assert found is not None
        return found

    def test_a_person_s_promotion_begins_it_anew(self, node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
        moment = [1_000.0]
        monkeypatch.setattr("aalearn.lifecycle.node.applier.time.time", lambda: moment[0])
        apply(node.machine, change(node, anew=True))
        moment[0] = 2_000.0
        apply(node.machine, change(node))  # `reconcile --fix`: the same goes on
        assert self.since(node) == 1_000_000
        moment[0] = 3_000.0
        apply(node.machine, change(node, anew=True))
        assert self.since(node) == 3_000_000
        moment[0] = 4_000.0
        apply(node.machine, change(node))
        assert self.since(node) == 3_000_000
        moment[0] = 5_000.0
        intent = killed_at_the_load(node, change(node, NEWER, anew=True), monkeypatch)
        moment[0] = 6_000.0
        finish(node.machine, intent)
        assert self.since(node) == 5_000_000, "it began when the person typed it"

    def test_what_an_older_aalearn_wrote(self, node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
        moment = [1_000.0]
        monkeypatch.setattr("aalearn.lifecycle.node.applier.time.time", lambda: moment[0])
        apply(node.machine, change(node))
        (record,) = node.machine.backups.glob("applied.*")
        record.write_text(record.read_text().replace('"probation": 1000000', '"probation": 0'))
        moment[0] = 2_000.0
        apply(node.machine, change(node))
        assert self.since(node) == 1_000_000


@pytest.mark.parametrize("flag", ["unconfined", "kill", "complain"])
def test_what_is_promoted_is_enforced_by_the_kernel(node: Simulated, flag: str) -> None:
    node.load(OLD, "app")
    before = node.state("app")
    texts = [NEW.replace("/usr/bin/app {", f"/usr/bin/app flags=({flag}) {{")]
    texts.append(NEW.replace("profile inner {", f"profile inner flags=({flag}) {{"))
    for text, name in zip(texts, ("app", "app//inner"), strict=True):
        with pytest.raises(PolicyError, match=rf"the kernel has {name} in .* mode by its text, and it should be"):
            apply(node.machine, change(node, text))
        assert node.state("app") == before
        apply(node.machine, change(node, text, stage="learning"))
        node.load(OLD, "app")
