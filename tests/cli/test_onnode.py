"""The applier's short way to its settings is the long way's, where nothing is unusual."""

from pathlib import Path

import pytest

from aalearn.cli import onnode, settings
from aalearn.cli.face import Face
from aalearn.lifecycle.node.machine import Machine

pytestmark = pytest.mark.parser


def test_the_same_file_is_read() -> None:
    assert str(settings.SYSTEM_FILE) == onnode.SYSTEM_FILE


@pytest.mark.parametrize(
    "text", [None, "", 'base = "/srv/policy"\n[run]\ncommit_seconds = 2\n', "parser = '/usr/sbin/apparmor_parser'\n"]
)
def test_both_ways_give_the_same_machine(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apparmor_parser: str
) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(onnode, "SYSTEM_FILE", str(file))
    monkeypatch.setattr(settings, "SYSTEM_FILE", file)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))

    def told(machine: Machine) -> tuple[object, ...]:
        return machine.profiles, machine.parser, machine.securityfs, machine.backups

    assert told(onnode.machine_in_haste(Face())) == told(onnode.machine(Face()))


@pytest.mark.parametrize("text", ["", "[promotion]\nprobation_seconds = 12\n", "[promotion]\nruns = 2\n"])
def test_both_ways_give_the_same_probation(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    monkeypatch.setattr(onnode, "SYSTEM_FILE", str(file))
    monkeypatch.setattr(settings, "SYSTEM_FILE", file)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert onnode.probation_in_haste(Face()) == Face().settings.promotion.probation_seconds


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", False), ("[promotion]\nrevert_to = 'complain'\n", True), ("[promotion]\nrevert_to = 'previous'\n", False)],
)
def test_both_ways_lead_back_to_the_same(
    text: str, wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    monkeypatch.setattr(onnode, "SYSTEM_FILE", str(file))
    monkeypatch.setattr(settings, "SYSTEM_FILE", file)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert onnode.complain_wanted_in_haste(Face()) is (Face().settings.promotion.revert_to == "complain") is wanted


@pytest.mark.parametrize("text", ["promotion = 3\n", "[promotion]\nrevert_to = 'x'\n"])
def test_a_way_back_that_is_none_is_told(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aalearn.model.errors import UsageError

    file = tmp_path / "config.toml"
    file.write_text(text)
    monkeypatch.setattr(onnode, "SYSTEM_FILE", str(file))
    monkeypatch.setattr(settings, "SYSTEM_FILE", file)
    with pytest.raises(UsageError):
        onnode.complain_wanted_in_haste(Face())


@pytest.mark.parametrize("text", ["promotion = 3\n", "[promotion]\nprobation_seconds = 'x'\n"])
def test_a_probation_that_is_none_is_told(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aalearn.model.errors import UsageError

    file = tmp_path / "config.toml"
    file.write_text(text)
    monkeypatch.setattr(onnode, "SYSTEM_FILE", str(file))
    monkeypatch.setattr(settings, "SYSTEM_FILE", file)
    with pytest.raises(UsageError):
        onnode.probation_in_haste(Face())


def test_what_is_unusual_is_read_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apparmor_parser: str) -> None:
    from aalearn.model.errors import UsageError

    file = tmp_path / "config.toml"
    monkeypatch.setattr(onnode, "SYSTEM_FILE", str(file))
    monkeypatch.setattr(settings, "SYSTEM_FILE", file)
    for text in ("base = 3\n", "base = \n"):
        file.write_text(text)
        with pytest.raises(UsageError):
            onnode.machine_in_haste(Face())
    file.unlink()
    monkeypatch.setenv("AALEARN_BASE", "/srv/other")
    assert onnode.machine_in_haste(Face()).profiles == Path("/srv/other")
