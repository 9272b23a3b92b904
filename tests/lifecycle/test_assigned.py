"""Which units start under a profile of their own choice, as systemctl prints it."""

from pathlib import Path

import pytest

from aalearn.lifecycle.assigned import assigned, read
from aalearn.lifecycle.node.tasks import Task


def task(unit: str, label: bytes = b"unconfined") -> Task:
    return Task(7, 7, label, "", b"/usr/bin/app", b"app", unit)


PRINTED = """\
Id=web.service
AppArmorProfile=app

Id=cron.service
AppArmorProfile=

AppArmorProfile=-shop
Id=shop@1.service

Id=old.service
"""


def test_what_systemctl_prints() -> None:
    assert read(PRINTED) == {"web.service": b"app", "shop@1.service": b"shop"}
    assert read("") == {}


def test_only_units_of_unconfined_tasks_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    systemctl = tools / "systemctl"
    systemctl.write_text(
        f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\nprintf 'Id=web.service\\nAppArmorProfile=app\\n'\n"
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    assert assigned(()) == {}
    assert assigned((task("web.service", b"app"), task("user.slice"), task(""), task("-x"))) == {}
    assert not (tmp_path / "asked").exists()
    assert assigned((task("web.service"), task("web.service"), task("a.service"))) == {"web.service": b"app"}
    assert (tmp_path / "asked").read_text() == "show --property=Id,AppArmorProfile -- a.service web.service\n"
    systemctl.chmod(0)
    monkeypatch.setenv("PATH", str(tools))
    assert assigned((task("web.service"),)) == {}
