"""The wheel carries all it needs: installed in an empty environment, run from a folder with words of its own."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("aalearn-*.whl")
    return built


def test_the_wheel_holds_code_words_layouts_and_migrations(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("grammars", "templates"):
        shipped = {name.rsplit("/", 1)[1] for name in names if name.startswith(f"aalearn/_data/{folder}/")}
        assert {path.name for path in (ROOT / folder).iterdir()} <= shipped
    assert any(name.startswith("aalearn/store/migrations/versions/") for name in names)
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


@pytest.mark.slow
def test_installed_in_an_empty_environment_it_works_from_a_hostile_folder(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip: list[str | Path] = [environment / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
    lock = tmp_path / "constraints.txt"
    pins = [line.split()[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if line[:1].isalpha()]
    lock.write_text("\n".join(pins))
    subprocess.run([*pip, "-c", lock, wheel], check=True)

    hostile = tmp_path / "hostile"
    for name in ("grammars", "templates", "aalearn", "systemd"):
        (hostile / name).mkdir(parents=True)
    for name in ("pyparsing.py", "typing.py", "aalearn/__init__.py", "sqlalchemy.py"):
        (hostile / name).write_text("raise SystemExit('the working directory was believed')\n")
    for name in ("operations", "records", "masks"):
        (hostile / "grammars" / f"{name}.toml").write_text("this is not TOML")
    (hostile / "pyproject.toml").write_text("[project]\nname = 'aalearn'\n")
    (hostile / "alembic.ini").write_text("[alembic]\nscript_location = nowhere\n")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [environment / "bin" / "aalearn", "--db", f"sqlite:///{tmp_path}/x.db", *arguments],
            cwd=hostile,
            env={"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(tmp_path), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    log = ROOT / "sample-logs" / "redis" / "audit.log"
    run("ingest", str(log))
    assert "redis" in run("status")
    text = run("suggest", "redis")
    assert "profile redis" in text
    assert run("version").startswith("aalearn ")
