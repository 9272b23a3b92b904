"""Files that define several profiles, and changes of several files: all of it is one change, and one way back."""

import hashlib
import json
from pathlib import Path

import pytest

from aalearn.lifecycle import observing, retire, rollback
from aalearn.lifecycle.mending import end
from aalearn.lifecycle.node.applier import applied, apply, pending
from aalearn.lifecycle.node.asked import take_back
from aalearn.lifecycle.node.requests import complain
from aalearn.lifecycle.node.wire import Request
from aalearn.lifecycle.promote import carry_out, plan
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import PolicyError, UsageError
from aalearn.store.readings import Revision
from tests.lifecycle.node.test_applier import change
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser

OWN = (
    "abi <abi/3.0>,\nprofile app /usr/bin/app flags=(complain) {\n  /a r,\n"
    "  profile inner {\n  }\n  include if exists <local/usr.app>\n}\n"
)
ENFORCED = OWN.replace(" flags=(complain)", "")
ONE, TWO = "  /srv/a r,\n", "  /srv/a r,\n  /srv/b r,\n"
MAN = (
    "abi <abi/3.0>,\nprofile app /usr/bin/app {\n  /a r,\n  include if exists <local/usr.app>\n}\n"
    "profile groff {\n  /g r,\n}\n"
)


@pytest.fixture
def node(tmp_path: Path) -> Simulated:
    made = Simulated(tmp_path)
    (made.base / "local").mkdir()
    return made


def promote(node: Simulated, number: int, text: str, based: str = "") -> None:
    digest = hashlib.sha256(based.encode()).hexdigest() if based else ""
    detail = json.dumps({"form": "local", "file": "usr.app", "based_on": digest})
    revision = Revision(number, number, "anna", "", text, "{}", detail)
    judge = node.machine.judge()
    carry_out(node.machine, plan(node.machine, judge, b"app", revision), Stage.ENFORCED, who="anna", reason="")


def digests(node: Simulated) -> dict[str, str]:
    return {one.name.decode(): one.sha256 for one in node.kernel.loaded()}


def there(node: Simulated) -> tuple[str, str | None, dict[str, str]]:
    local = node.base / "local/usr.app"
    return (node.base / "usr.app").read_text(), local.read_text() if local.exists() else None, node.kernel.modes()


def agrees(node: Simulated) -> bool:
    """Whether the kernel runs what the files give at the next boot."""
    compiled = node.machine.judge().compile(node.base / "usr.app", strict=False).compiled
    assert compiled is not None
    return all(one.is_made_of(compiled.blob) for one in node.machine.loaded(b"app"))


@pytest.fixture
def twice(node: Simulated) -> Simulated:
    """An administrator's own profile in complain mode, with two promotions of its local file."""
    node.load(OWN, "usr.app")
    promote(node, 1, ONE)
    assert there(node) == (ENFORCED, ONE, {"app": "enforce", "app//inner": "enforce"})
    promote(node, 2, TWO, ONE)
    return node


def test_two_files_are_one_entry_and_each_way_back_is_open(twice: Simulated) -> None:
    entries = applied(twice.machine, b"app")
    assert [(one.place, one.mode, one.revision, len(one.more)) for one in entries] == [
        ("local/usr.app", "complain", 0, 1),
        ("local/usr.app", "enforce", 1, 1),
        ("local/usr.app", "enforce", 2, 0),
    ]
    for to, state in ((None, (ENFORCED, ONE)), (2, (ENFORCED, TWO)), (1, (ENFORCED, ONE)), (None, (OWN, None))):
        wanted = rollback.plan(twice.machine, b"app", to=to)
        rollback.carry_out(twice.machine, wanted, who="anna", reason="")
        assert there(twice)[:2] == state
        assert there(twice)[2]["app"] == ("complain" if state[0] == OWN else "enforce")
        assert agrees(twice)
    promote(twice, 3, ONE)
    assert there(twice)[:2] == (ENFORCED, ONE)


def test_the_service_gets_the_revision_before_too(twice: Simulated) -> None:
    digest = hashlib.sha256(ONE.encode()).hexdigest()
    done = take_back(twice.machine, Request("revert", "app", digest), who="uid 9", probation=3600)
    assert (done.applied.revision, there(twice)[:2]) == (1, (ENFORCED, ONE))


def test_a_person_s_edit_of_the_second_file_is_not_overwritten(twice: Simulated) -> None:
    edited = ENFORCED.replace("/a r,", "/a rw,")
    (twice.base / "usr.app").write_text(edited)
    rollback.carry_out(twice.machine, rollback.plan(twice.machine, b"app", to=1), who="anna", reason="")
    assert there(twice)[:2] == (edited, ONE), "that file need not change"
    with pytest.raises(UsageError, match=r"usr\.app was changed since"):
        rollback.carry_out(twice.machine, rollback.plan(twice.machine, b"app"), who="anna", reason="")
    assert there(twice)[:2] == (edited, ONE)


def test_retired_both_are_as_they_were_found(twice: Simulated) -> None:
    retire.carry_out(twice.machine, retire.plan(twice.machine, b"app"), who="anna", reason="", force=False)
    assert there(twice)[:2] == (OWN, None)
    assert twice.kernel.modes()["app"] == "complain"
    assert agrees(twice)


@pytest.mark.parametrize("crash", [False, True])
def test_both_or_none(node: Simulated, monkeypatch: pytest.MonkeyPatch, crash: bool) -> None:
    node.load(OWN, "usr.app")
    before = there(node)

    def dies(_: bytes) -> None:
        raise SystemExit if crash else PolicyError("no")  # what no handler catches stands for kill -9

    with monkeypatch.context() as patched:
        patched.setattr(node.kernel, "load", dies if crash else node.kernel.load)
        node.kernel.refuse = 1
        with pytest.raises((SystemExit, PolicyError)):
            promote(node, 1, ONE)
    node.kernel.refuse = 0
    for intent in pending(node.machine):
        assert there(node)[:2] == (ENFORCED, ONE)
        assert "was taken back" in end(node.machine, intent)
    assert there(node) == before


def test_all_profiles_of_a_file_are_verified_and_brought_back(node: Simulated) -> None:
    node.load(MAN, "usr.app")
    before = digests(node)
    node.kernel.refuse = 1
    with pytest.raises(PolicyError, match="file and kernel are as before"):
        promote(node, 1, ONE)
    assert digests(node) == before
    promote(node, 1, ONE)
    assert node.kernel.modes() == {"app": "enforce", "groff": "enforce"}
    assert agrees(node)
    seen = observing.observe(node.machine, observing.look(node.machine), b"app")
    assert {one.name: one.same for one in seen.running} == {b"app": True, b"groff": True}
    with pytest.raises(UsageError, match="would open groff too"):
        complain(node.machine, b"app", who="anna", reason="")
    rollback.carry_out(node.machine, rollback.plan(node.machine, b"app"), who="anna", reason="")
    assert node.kernel.modes() == {"app": "enforce", "groff": "enforce"}
    assert agrees(node)


def test_a_text_with_another_s_profile_is_refused(node: Simulated) -> None:
    node.load("abi <abi/3.0>,\nprofile sshd /usr/sbin/sshd {\n  /** r,\n}\n", "sshd")
    before = digests(node)
    evil = "abi <abi/3.0>,\nprofile app /usr/bin/app {\n}\nprofile sshd /usr/sbin/sshd {\n}\n"
    with pytest.raises(UsageError, match="the text for app defines sshd too, which its file did not before"):
        apply(node.machine, change(node, evil))
    assert digests(node) == before
    assert not (node.base / "app").exists()
    assert pending(node.machine) == ()


def test_what_came_with_others_is_brought_back_alone(node: Simulated) -> None:
    """The kernel keeps raw data of a whole load; a part of it may have been replaced since."""
    node.load(MAN, "usr.app")
    node.load("abi <abi/3.0>,\nprofile groff {\n  /newer r,\n}\n")
    before = node.machine.loaded(b"groff")
    (node.base / "app").write_text("")
    node.kernel.refuse = 1
    with pytest.raises(PolicyError, match="file and kernel are as before"):
        apply(node.machine, change(node, "abi <abi/3.0>,\nprofile app /usr/bin/app {\n}\n"))
    assert node.machine.loaded(b"groff") == before
