"""A change is done wholly or not at all: whatever fails, file, links and kernel are as before."""

import errno
import socket
from pathlib import Path

import pytest

from aalearn.lifecycle.node import files, server
from aalearn.lifecycle.node.applier import Change, applied, apply, finish, pending, undo
from aalearn.lifecycle.node.folder import Folder
from aalearn.lifecycle.node.records import Intent, Records
from aalearn.lifecycle.node.wire import Request, parse_answer
from aalearn.model.errors import PolicyError, UsageError
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser

OLD = (
    "abi <abi/3.0>,\nprofile app /usr/bin/app flags=(complain) {\n  /a r,\n  profile inner flags=(complain) {\n  }\n}\n"
)
NEW = "abi <abi/3.0>,\nprofile app /usr/bin/app {\n  /a r,\n  /b r,\n  profile inner {\n  }\n}\n"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def node(tmp_path: Path) -> Simulated:
    return Simulated(tmp_path)


def change(node: Simulated, text: str = NEW, **more: object) -> Change:
    values: dict[str, object] = {
        "profile": b"app",
        "place": "app",
        "text": text.encode(),
        "policy": node.policy(text),
        "stage": "enforced",
        "who": "alice",
        "reason": "it is ready",
        "revision": 1,
        **more,
    }
    return Change(**values)  # type: ignore[arg-type]


def test_file_and_kernel_follow_and_all_is_remembered(node: Simulated) -> None:
    node.load(OLD, "app")
    (node.base / "app").chmod(0o640)
    assert node.kernel.modes() == {"app": "complain", "app//inner": "complain"}
    done = apply(node.machine, change(node))
    assert (node.base / "app").read_text() == NEW
    assert (node.base / "app").stat().st_mode & 0o777 == 0o640
    assert node.kernel.modes() == {"app": "enforce", "app//inner": "enforce"}
    found, entry = applied(node.machine, b"app")
    assert (found.stage, found.mode, found.number) == ("", "complain", 1)
    assert (entry.stage, entry.mode, entry.before, entry.who, entry.revision) == ("enforced", "enforce", 1, "alice", 1)
    assert done.applied == entry
    assert pending(node.machine) == ()
    with Records.open(node.machine.backups) as records:
        assert records.get(found.text) == OLD.encode()
        assert records.get(entry.text) == NEW.encode()
    assert [name for name in node.base.iterdir() if name.name.startswith(".")] == []


@pytest.mark.parametrize("fault", ["refuse", "lie"])
def test_a_kernel_that_refuses_or_runs_something_else(node: Simulated, fault: str) -> None:
    node.load(OLD, "app")
    before = node.state("app")
    planned = change(node)
    if fault == "refuse":
        node.kernel.refuse = 1
        said = "it was told to refuse; file and kernel are as before"
    else:
        node.kernel.lie = True
        said = "runs another policy for app"
    with pytest.raises(PolicyError, match=said):
        apply(node.machine, planned)
    if fault == "lie":  # what such a kernel runs is unknown: the intent stays
        assert [one.profile for one in pending(node.machine)] == ["app"]
        node.kernel.lie = False
        with pytest.raises(UsageError, match="interrupted: run `aalearn reconcile`"):
            apply(node.machine, planned)
        undo(node.machine, pending(node.machine)[0])
    assert node.state("app") == before
    assert pending(node.machine) == ()
    assert applied(node.machine, b"app") == (), "of a change that was not made nothing is remembered"


def test_a_new_profile_that_fails_leaves_nothing(node: Simulated) -> None:
    node.kernel.refuse = 1
    with pytest.raises(PolicyError):
        apply(node.machine, change(node))
    assert node.state("app") == (None, {}, {})
    assert applied(node.machine, b"app") == ()


def test_links_of_the_policy_folder(node: Simulated) -> None:
    node.load(OLD, "app")
    for folder in ("force-complain", "disable"):
        (node.base / folder).mkdir()
        (node.base / folder / "app").symlink_to("../app")
    links = (("force-complain/app", ""), ("disable/app", ""))
    node.kernel.refuse = 1
    with pytest.raises(PolicyError):
        apply(node.machine, change(node, links=links))
    assert (node.base / "disable/app").readlink() == Path("../app")
    apply(node.machine, change(node, links=links))
    assert list((node.base / "disable").iterdir()) == list((node.base / "force-complain").iterdir()) == []
    apply(node.machine, change(node, links=(("force-complain/app", "../app"),)))
    assert (node.base / "force-complain/app").readlink() == Path("../app")


def test_removal(node: Simulated) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    apply(node.machine, Change(b"app", "app", None, None, "retired", "bob"))
    assert node.state("app") == (None, {}, {})
    assert [one.stage for one in applied(node.machine, b"app")] == ["", "enforced", "retired"], "and all is remembered"


def test_a_child_that_is_no_more_goes_unless_a_task_runs_in_it(node: Simulated) -> None:
    node.load(OLD, "app")
    without = NEW.replace("  profile inner {\n  }\n", "")
    node.task(7, "app//inner (complain)", unit="app.service")
    done = apply(node.machine, change(node, without))
    assert node.kernel.modes() == {"app": "enforce", "app//inner": "complain"}
    assert done.notes == (
        "app//inner is not in the new text and stays loaded, because pid 7 (/usr/bin/app of app.service) runs under "
        "app//inner: restart it",
    )
    node.end(7)
    assert apply(node.machine, change(node, without)).notes == ()
    assert node.kernel.modes() == {"app": "enforce"}


def test_an_interrupted_change_is_finished_or_undone(node: Simulated) -> None:
    node.load(OLD, "app")
    before = node.state("app")
    planned = change(node)
    with Records.open(node.machine.backups) as records:
        intent = Intent(
            profile="app",
            place="app",
            old_text=records.keep(OLD.encode()),
            new_text=records.keep(NEW.encode()),
            old_policy=records.keep(node.machine.running(b"app")),
            new_policy=records.keep(planned.policy),
            links=(),
            stage="enforced",
            revision=3,
            who="alice",
            reason="",
            when=5,
        )
        records.begin(intent)
    files.write(node.base, "app", NEW.encode())  # here it was killed
    assert pending(node.machine) == (intent,)
    undo(node.machine, intent)
    assert node.state("app") == before
    assert pending(node.machine) == ()
    with Records.open(node.machine.backups) as records:
        for text in (OLD, NEW):
            records.keep(text.encode())
        records.keep(node.machine.running(b"app"))
        records.keep(planned.policy)
        records.begin(intent)
    done = finish(node.machine, intent)
    assert node.kernel.modes() == {"app": "enforce", "app//inner": "enforce"}
    assert (node.base / "app").read_text() == NEW
    assert done.applied is not None
    assert (done.applied.revision, done.applied.stage) == (3, "enforced")
    with pytest.raises(UsageError, match="not open any more"):
        finish(node.machine, intent)


def test_policy_that_was_loaded_in_parts_comes_back_as_it_was(node: Simulated) -> None:
    """apparmor_parser loads text one profile at a time, so that each has raw data of its own."""
    from aalearn.policy.decoder import pieces

    (node.base / "app").write_text(OLD)
    for _, part in pieces(node.policy(OLD)):
        node.kernel.load(part)
    node.kernel.refuse = 1
    before = node.kernel.modes()
    with pytest.raises(PolicyError, match="file and kernel are as before"):
        apply(node.machine, change(node))
    assert node.kernel.modes() == before
    assert node.kernel.loads[-1] == b"".join(part for _, part in pieces(node.policy(OLD)))


def test_what_can_not_be_begun(node: Simulated, tmp_path: Path) -> None:
    (node.base / "app").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a symbolic link: it is neither followed nor replaced"):
        apply(node.machine, change(node))
    assert not (tmp_path / "elsewhere").exists()
    (node.base / "app").unlink()
    node.base.chmod(0o777)
    with pytest.raises(UsageError, match="must be writable by root alone"):
        apply(node.machine, change(node))
    node.base.chmod(0o755)
    node.machine.backups.chmod(0o755)
    with pytest.raises(UsageError, match="closed to all others"):
        apply(node.machine, change(node))


def test_a_change_that_can_not_be_begun_says_so(node: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    node.load(OLD, "app")
    before = node.state("app")
    monkeypatch.setattr(Folder, "write", full)
    with pytest.raises(PolicyError, match="can't be begun: No space left on device; file and kernel are as before"):
        apply(node.machine, change(node))
    assert node.state("app") == before


def test_what_fails_after_the_load_is_not_told_as_if_nothing_had_happened(
    node: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    told: list[str] = []
    near, far = socket.socketpair()
    with monkeypatch.context() as patch, near, far:
        patch.setattr(Records, "record", full)
        near.sendall(Request("revert", "app").line())
        near.shutdown(socket.SHUT_WR)
        assert server.serve(lambda: node.machine, far.fileno(), far.fileno(), told.append) == 3
        with pytest.raises(PolicyError) as error:
            parse_answer(near.recv(65_536))
    assert str(error.value) == (
        "the change of app to reverted is in force, in file and kernel, and could not be written down "
        "(No space left on device): `aalearn reconcile --fix` does"
    )
    assert told[0].endswith(f"asked to revert app: {error.value}")
    assert node.kernel.modes() == {"app": "complain", "app//inner": "complain"}
    (intent,) = pending(node.machine)
    finish(node.machine, intent)
    assert applied(node.machine, b"app")[-1].stage == "reverted"


def test_another_profile_s_damaged_record_stops_nothing_and_no_backup_goes(node: Simulated) -> None:
    apply(node.machine, change(node))
    (node.machine.backups / "applied.0.json").write_text("{")
    (node.machine.backups / f"blob.{'0' * 64}").write_text("of the other one, perhaps")
    assert apply(node.machine, change(node, OLD, stage="reverted")).applied is not None
    assert (node.machine.backups / f"blob.{'0' * 64}").exists()
    (node.machine.backups / "applied.0.json").unlink()
    apply(node.machine, change(node))
    assert not (node.machine.backups / f"blob.{'0' * 64}").exists()


def test_damaged_backups_are_noticed(node: Simulated) -> None:
    node.load(OLD, "app")
    apply(node.machine, change(node))
    found = applied(node.machine, b"app")[0]
    (node.machine.backups / f"blob.{found.text}").write_bytes(b"profile app { /** rwix, }")
    with Records.open(node.machine.backups) as records, pytest.raises(PolicyError, match="missing or damaged"):
        records.get(found.text)
    (record,) = node.machine.backups.glob("applied.*")
    record.write_text('{"schema": 2}')
    with pytest.raises(PolicyError, match=r"applied\.[0-9a-f]+\.json is damaged, or a newer aalearn wrote it"):
        applied(node.machine, b"app")
