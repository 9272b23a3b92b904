"""The house is in order: linters, types and layers are tests, so that one command tells everything."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = {
    "ruff check": ["ruff", "check", "--no-cache", "."],
    "ruff format": ["ruff", "format", "--no-cache", "--check", "."],
    "mypy --strict": ["mypy"],
    "layers (import-linter)": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_tree_passes(name: str, root: Path) -> None:
    command = CHECKS[name]
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:]], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("script", ["dev", ".ci/run"])
def test_scripts_are_sound_bash(script: str, root: Path) -> None:
    done = subprocess.run(["bash", "-n", root / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_dev_help_names_every_command(root: Path) -> None:
    text = subprocess.run([root / "dev", "help"], capture_output=True, text=True, check=True).stdout
    cases = (root / "dev").read_text().split("case ${1:-help} in", 1)[1]
    for command in ("demo", "test", "check", "format", "bench", "docs", "lock", "shell", "help"):
        assert f"  {command} " in text
        assert command in cases


def test_dev_refuses_a_typo_in_one_line_and_shows_the_commands(root: Path) -> None:
    done = subprocess.run([root / "dev", "tset"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("dev: there is no command tset")
