"""Which tasks a profile does not reach until they are restarted: labels of real kernels, in a folder and in our own."""

import os
from pathlib import Path

import pytest

from aalearn.lifecycle.node.tasks import Task, astray, tasks, under
from tests.lifecycle.simulated import Simulated


@pytest.fixture
def node(tmp_path: Path) -> Simulated:
    return Simulated(tmp_path)


LABELS = {
    1: ("unconfined", False),
    2: ("app (enforce)", False),
    3: ("app (complain)", True),
    4: ("app//null-/usr/bin/bash (complain)", True),
    5: ("app//null-/a//null-/b (complain)", True),
    6: ("app//inner (enforce)", False),
    7: ("app//inner (complain)", True),
    8: ("app//inner//null-1f (complain)", True),
    9: ("other//null-/usr/bin/app (complain)", False),
    10: ("application (complain)", False),
    11: ("app//&runc (enforce)", False),
    12: ("runc//&app//null-/x (mixed)", True),
    13: (":ns:app (complain)", False),
    14: ("app (kill)", False),
    15: ("a b\\c (enforce)", False),
}


def test_labels(node: Simulated) -> None:
    for pid, (label, _) in LABELS.items():
        node.task(pid, label, "/usr/bin/other")
    found = tasks(node.proc)
    assert [task.pid for task in found] == sorted(LABELS)
    left = astray(found, b"app", lambda path: path == b"/usr/bin/app")
    assert {task.pid for task in left} == {pid for pid, (_, out) in LABELS.items() if out}


def test_unconfined_ones_of_its_program(node: Simulated) -> None:
    node.task(1, "unconfined", "/usr/bin/app (deleted)", "app.service")
    node.task(2, "unconfined", "/usr/bin/app2")
    (left,) = astray(tasks(node.proc), b"app", lambda path: path == b"/usr/bin/app")
    assert left == Task(1, 1, b"unconfined", "", b"/usr/bin/app", b"app (deleted)", "app.service")
    assert str(left) == "pid 1 (/usr/bin/app of app.service) runs under unconfined"


def test_each_thread_has_its_label(node: Simulated) -> None:
    node.task(7, "app (enforce)")
    node.task(7, "app//hat\x1b (complain)", tid=9)
    found = tasks(node.proc)
    assert [(task.pid, task.tid) for task in found] == [(7, 7), (7, 9)]
    (left,) = astray(found, b"app", lambda _: False)
    assert str(left) == r"pid 7 thread 9 (/usr/bin/app) runs under app//hat\x1b"
    assert under(found, b"app") == found
    assert under(found, b"app", inner=False) == found[:1]


def test_tasks_that_end_meanwhile_or_show_nothing(node: Simulated) -> None:
    (node.proc / "12").mkdir()
    (node.proc / "13/task/13").mkdir(parents=True)
    (node.proc / "self").symlink_to("13")
    node.task(14, "app (enforce)")
    (node.proc / "14/exe").unlink()
    (node.proc / "14/cgroup").unlink()
    (found,) = tasks(node.proc)
    assert (found.pid, found.exe, found.unit) == (14, b"", "")


def test_older_kernels_and_this_one(node: Simulated) -> None:
    node.task(7, "app (enforce)")
    (node.proc / "7/task/7/attr/apparmor/current").rename(node.proc / "7/task/7/attr/current")
    assert [task.label for task in tasks(node.proc)] == [b"app"]
    own = [task for task in tasks() if task.pid == os.getpid()]
    assert all(task.exe for task in own)


SCRIPTS = [
    # exe, arguments, comm, what it interprets below the folder of the test ("": nothing of it)
    ("/usr/bin/dash", ("{}/report.sh",), "report.sh", "report.sh"),
    ("/usr/bin/bash", ("-e", "{}/report.sh", "--all"), "report.sh", "report.sh"),
    ("/usr/bin/dash", ("./report.sh",), "report.sh", "report.sh"),
    ("/usr/bin/dash", ("{}/link",), "link", "report.sh"),
    ("/usr/bin/python3.11", ("{}/a-rather-long-name.py", "x"), "a-rather-long-n", "a-rather-long-name.py"),
    ("/usr/bin/python3.11", ("-u", "{}/report.sh"), "python3", "report.sh"),  # by env
    ("/opt/own/interp", ("-x", "{}/report.sh"), "report.sh", "report.sh"),
    ("/usr/bin/bash", ("-c", "{}/report.sh"), "bash", ""),
    ("/usr/bin/bash", ("-lc", "{}/report.sh"), "bash", ""),
    ("/usr/bin/python3.11", ("-m", "{}/report.sh"), "python3", ""),
    ("/usr/bin/vim", ("{}/report.sh",), "vim", ""),
    ("/usr/sbin/report.sh", ("{}/report.sh",), "report.sh", ""),
    ("/usr/bin/bash", (), "bash", ""),
]


@pytest.mark.parametrize(("exe", "arguments", "comm", "script"), SCRIPTS)
def test_what_an_interpreter_interprets(
    node: Simulated, tmp_path: Path, exe: str, arguments: tuple[str, ...], comm: str, script: str
) -> None:
    folder = tmp_path.resolve() / "bin"
    folder.mkdir()
    (folder / "report.sh").touch()
    (folder / "link").symlink_to("report.sh")
    node.task(7, "unconfined", exe, "report.service")
    node.script(7, *(word.format(folder) for word in arguments), comm=comm, cwd=str(folder))
    wanted = os.fsencode(folder / script) if script else b""
    (found,) = tasks(node.proc, scripts=True)
    assert found.script == wanted
    assert tasks(node.proc)[0].script == b""
    left = astray((found,), b"app", lambda path: path == wanted)
    assert bool(left) == bool(script)
    if script:
        assert str(found) == f"pid 7 ({exe} {folder / script} of report.service) runs under unconfined"


def test_a_script_of_another_root_is_not_followed(node: Simulated, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("report.sh")
    node.task(7, "unconfined", "/usr/bin/dash")
    node.script(7, f"{tmp_path}/x/../link", comm="link", root="/var/lib/container")
    assert tasks(node.proc, scripts=True)[0].script == os.fsencode(tmp_path / "link")
    node.task(8, "app (enforce)", "/usr/bin/dash")
    node.script(8, f"{tmp_path}/link", comm="link")
    assert tasks(node.proc, scripts=True)[1].script == b""


def test_a_unit_that_shall_start_under_the_profile(node: Simulated) -> None:
    node.task(7, "unconfined", "/usr/bin/app", "web.service")
    node.task(8, "unconfined", "/usr/bin/app", "other.service")
    node.task(9, "other (enforce)", "/usr/bin/app", "web.service")
    left = astray(tasks(node.proc), b"app", lambda _: False, units=("web.service",))
    assert [task.pid for task in left] == [7]
