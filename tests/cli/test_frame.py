"""The frame of all commands: help, global options, errors, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aalearn import __version__
from aalearn.cli import commands
from aalearn.cli.main import app
from tests.cli.conftest import Face, clean_environment, program
from tests.conftest import ROOT

COMMANDS = commands.COMMANDS
GROUPS = sorted(
    f"{group} {name}"
    for group, made in commands.Commands().items()
    if group in commands.GROUPS
    for name in made.commands
)
HEAVY = ("sqlalchemy", "alembic", "jinja2", "pyparsing", "pydantic", "ruamel", "rich", "zstandard", "prometheus_client")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_documented_with_an_example(aalearn: Face, command: str) -> None:
    done = aalearn(command, "--help")
    assert done.code == 0
    assert "Usage: aalearn" in done.out
    assert "Example" in done.out
    assert f" {command}" in done.out.partition("Example")[2]
    assert f"`aalearn {command}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_and_argument_says_what_it_does(aalearn: Face, command: str) -> None:
    from typer.main import get_command

    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), f"{command}: {parameter.name}"


@pytest.mark.parametrize("command", GROUPS)
def test_each_command_of_a_group_is_documented(aalearn: Face, command: str) -> None:
    done = aalearn(*command.split(), "--help")
    assert done.code == 0
    assert f"Usage: aalearn {command}" in done.out
    group, name = command.split()
    assert any(f"`aalearn {group} " in line and name in line for line in (ROOT / "README.md").read_text().splitlines())


def test_help_lists_every_command_and_an_example(aalearn: Face) -> None:
    done = aalearn("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.out
    assert "Example" in done.out


def test_without_arguments_help_is_shown(aalearn: Face) -> None:
    assert "Usage: aalearn" in aalearn().out


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom aalearn.cli.main import run\nrun(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"


def test_help_is_quick() -> None:
    best = min(_seconds("--help") for _ in range(5))
    assert best < 0.3


def _seconds(*arguments: str) -> float:
    """Return the CPU seconds of a call: other work on the machine doesn't count."""
    before = os.times()
    assert program(*arguments).code == 0
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["sugest"], "Did you mean 'suggest'"),
        (["--ouput", "json", "version"], "--output"),
        (["--output", "xml", "version"], "'xml' is not one of 'text', 'json', 'yaml'"),
        (["version", "--nonsense"], "No such option: --nonsense"),
        (["version", "--output", "json"], "--output stands before the command"),
        (["suggest"], "Missing argument"),
        (["--db"], "requires an argument"),
        (["-q"], "Missing command"),
        (["version", "\x1b[31mred"], "\\x1b[31mred"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(aalearn: Face, arguments: list[str], hint: str) -> None:
    done = aalearn(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.startswith("aalearn: error: ")
    assert hint in done.err


def test_version_in_every_format(aalearn: Face) -> None:
    from ruamel.yaml import YAML

    assert aalearn("--version").out == f"aalearn {__version__}\n"
    assert aalearn("version").out.startswith(f"aalearn {__version__}\nPython 3.")
    document = json.loads(aalearn("--output", "json", "version").out)
    assert document["schema"] == 1
    assert document["aalearn"] == __version__
    assert YAML(typ="safe").load(aalearn("--output", "yaml", "version").out) == document


def test_output_format_by_environment_and_file(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text('output = "json"\n')
    assert aalearn("--config", file, "version").out.startswith("{")
    monkeypatch.setenv("AALEARN_OUTPUT", "yaml")
    assert aalearn("--config", file, "version").out.startswith("schema: 1")
    assert aalearn("--config", file, "--output", "text", "version").out.startswith("aalearn ")
    monkeypatch.setenv("AALEARN_OUTPUT", "xml")
    done = aalearn("version")
    assert (done.code, done.out) == (2, "")
    assert "AALEARN_OUTPUT" in done.err


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b'ouput = "json"', "there is no setting ouput; did you mean output?"),
        (b"zzzzzz = 1", "known are base, db,"),
        (b"output = ", "is not TOML"),
        (b'output = "xml"', "output: Input should be"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"output = 3", "output: "),
    ],
)
def test_a_wrong_configuration_is_told(aalearn: Face, tmp_path: Path, content: bytes, hint: str) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    done = aalearn("--config", file, "version")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert str(file) in done.err
    assert hint in done.err


def test_a_missing_configuration_is_told(aalearn: Face, tmp_path: Path) -> None:
    done = aalearn("--config", tmp_path / "none.toml", "version")
    assert done.code == 2
    assert "No such file" in done.err


def test_every_setting_is_documented() -> None:
    from aalearn.cli.settings import Settings

    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_default_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from aalearn.cli.settings import default_db

    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/service:/var/lib/other")
    assert default_db() == "sqlite:////var/lib/service/aalearn.db"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_db() == "sqlite:////var/lib/aalearn/aalearn.db"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_db() == f"sqlite:///{tmp_path}/aalearn/aalearn.db"


def test_a_reader_that_leaves_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "aalearn", "version"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        cwd=ROOT,
        env=clean_environment(),
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def closing(stream: str) -> tuple[str, ...]:
    return ("sh", "-c", f'exec "$@" {stream}', "sh")


def test_closed_streams_are_told(tmp_path: Path) -> None:
    log = next((ROOT / "sample-logs/redis").glob("audit.log*"))
    store = ("--db", f"sqlite:///{tmp_path}/x.db")
    assert program(*store, "--quiet", "ingest", log, prefix=closing("2>&-")).code == 0
    done = program(*store, "status", prefix=closing(">&-"))
    assert done.code == 3
    assert done.err.splitlines() == [
        "aalearn: error: standard output is closed: there is nowhere to write the result to"
    ]
    done = program(*store, "ingest", "-", prefix=closing("<&-"))
    assert done.code == 2
    assert done.err == "aalearn: error: standard input is closed: there is nothing to read at -\n"
    done = program(*store, "status", prefix=closing("2>&- <&-"))
    assert done.code == 0
    assert "redis" in done.out
    assert program(*store, "review", "redis", prefix=closing("2>&- <&-")).code == 1


@pytest.mark.parser
def test_a_closed_stderr_is_no_failure_of_suggest(tmp_path: Path, apparmor_parser: str) -> None:
    log = next((ROOT / "sample-logs/redis").glob("audit.log*"))
    store = ("--db", f"sqlite:///{tmp_path}/x.db")
    assert program(*store, "--quiet", "ingest", log).code == 0
    done = program(*store, "suggest", "redis", prefix=closing("2>&-"))
    assert done.code == 0
    assert "profile redis {" in done.out


def test_a_full_disk_behind_stdout_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aalearn", "version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
            env=clean_environment(),
        )
    assert done.returncode == 3
    assert done.stderr == "aalearn: error: No space left on device\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = program(environment=clean_environment(_AALEARN_COMPLETE=f"source_{shell}"))
    assert done.code == 0
    assert "aalearn" in done.out


def test_each_module_with_a_command_is_one_of_them() -> None:
    """A new command's module is not forgotten in the list, and a call loads no other command's module."""
    modules = {path.stem.replace("_", "-") for path in (ROOT / "aalearn/cli").glob("*.py")}
    having = {name for name in modules if "\ndef command(" in _source(name) or "\napp = typer" in _source(name)}
    assert having - {"main"} == {*commands.COMMANDS, *commands.GROUPS, *commands.HIDDEN}
    script = (
        "import sys\nfrom aalearn.cli.main import run\nrun(['version'])\n"
        "print(*(name for name in sys.modules if name.startswith('aalearn.cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.rpartition(".")[2] for name in done.stderr.split()}
    assert loaded & {name.replace("-", "_") for name in commands.COMMANDS} == {"version"}


def _source(name: str) -> str:
    return (ROOT / "aalearn/cli" / f"{name.replace('-', '_')}.py").read_text("utf-8")
