"""Stores to test with: SQLite files, and schemas in a private PostgreSQL cluster that lives as long as the session."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.conftest import require

_numbers = itertools.count()


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    return Path(other).parent if other else None


def _as_postgres(*command: str | Path) -> None:
    """Run as the user postgres when we are root (the server refuses root)."""
    front = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run([*front, *map(str, command)], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The URL of a private server on a unix socket."""
    binaries = _binaries()
    require("PostgreSQL's server", binaries)
    assert binaries is not None
    folder = Path(tempfile.mkdtemp(prefix="aa-pg-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    data = folder / "data"
    _as_postgres(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=30"
    _as_postgres(binaries / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        _as_postgres(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgresql(cluster: str) -> Iterator[Callable[[], str]]:
    """Give a URL of a fresh, empty schema, as often as asked."""
    engine = create_engine(cluster, poolclass=NullPool)
    made: list[str] = []

    def fresh() -> str:
        name = f"t{next(_numbers)}"
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
        made.append(name)
        return f"{cluster}&options=-csearch_path%3D{name}"

    yield fresh
    with engine.begin() as connection:
        for name in made:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Give a URL of a new store, as often as asked; each test runs on both engines."""
    if request.param == "postgresql":
        made: Callable[[], str] = request.getfixturevalue("postgresql")
        return made
    return lambda: f"sqlite:///{tmp_path / f'store{next(_numbers)}.db'}"


@pytest.fixture
def url(fresh: Callable[[], str]) -> str:
    """The URL of one new store."""
    return fresh()
