"""Opening: what is no store is told in one line and left as it was; schemas come from the package."""

import os
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from aalearn.model.errors import StoreError, UsageError
from aalearn.store import Store, migrate, schema
from tests.conftest import ROOT
from tests.store.sightings import START, Sighting, commit

SEEN = Sighting(START, 1, 7, b"web", b"/x")


def refused(url: str, *, readonly: bool = False) -> str:
    """Open it, which must fail with one line; return that."""
    with pytest.raises(StoreError) as caught:
        Store.open(url, readonly=readonly)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 200 + 2 * len(url)
    assert caught.value.exit_code == 3
    return message


def test_a_new_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    old = os.umask(0)
    try:
        with Store.open(f"sqlite:///{file}") as store:
            commit(store, [SEEN])
            for name in os.listdir(tmp_path):
                assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
    finally:
        os.umask(old)
    assert file.read_bytes()[68:72] == b"aaln"


@pytest.mark.parametrize("name", ["a ?#%41.db", "?mode=memory", "\udcff\n.db", "%00", ";x"])
def test_a_name_with_the_signs_of_an_url(tmp_path: Path, name: str) -> None:
    with Store.open(f"sqlite:///{tmp_path / name}") as store:
        commit(store, [SEEN])
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}.lock"])
    with Store.open(f"sqlite:///{tmp_path / name}", readonly=True) as store:
        assert len(store.accesses(b"web")) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://x/y",
        "sqlite+aiosqlite:///x",
        "sqlite://x.db",
        "sqlite:///x\0",
        "postgresql://u@h:port/x",
        "postgresql+nope://x/y",
    ],
)
def test_no_store_at_all(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        Store.open(url)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refused(f"sqlite:///{tmp_path}")


def test_a_socket_and_a_missing_folder(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        assert "not an ordinary file" in refused(f"sqlite:///{tmp_path / 's'}")
    assert "folder does not exist" in refused(f"sqlite:///{tmp_path / 'no' / 'x.db'}")


@pytest.mark.parametrize(
    "content", [b"type=AVC msg=audit(1.2:3): x\n" * 9, b"SQLite format 4\0" + bytes(9000), b"\x1b[2J"]
)
@pytest.mark.parametrize("readonly", [True, False])
def test_not_a_database(tmp_path: Path, content: bytes, readonly: bool) -> None:
    file = tmp_path / "x.db"
    file.write_bytes(content)
    assert "is not an SQLite database" in refused(f"sqlite:///{file}", readonly=readonly)
    assert file.read_bytes() == content
    assert os.listdir(file.parent) == ["x.db"]


def test_another_programs_database(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE cookies (a)")
    other.close()
    before = file.read_bytes()
    assert "another program's" in refused(f"sqlite:///{file}")
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("cookies",)]
    other.close()
    assert len(file.read_bytes()) == len(before)


def test_a_newer_schema(url: str) -> None:
    with Store.open(url) as store:
        commit(store, [SEEN])
        with store._writing() as connection:
            connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    for readonly in (True, False):
        message = refused(url, readonly=readonly)
        assert "newer aalearn (schema 9999)" in message


def test_readers_make_nothing(tmp_path: Path) -> None:
    assert "there is no store" in refused(f"sqlite:///{tmp_path / 'x.db'}", readonly=True)
    assert os.listdir(tmp_path) == []
    (tmp_path / "y.db").touch()
    assert "is empty" in refused(f"sqlite:///{tmp_path / 'y.db'}", readonly=True)
    assert (tmp_path / "y.db").stat().st_size == 0


def test_readers_make_nothing_on_postgresql(postgresql: Callable[[], str]) -> None:
    url = postgresql()
    assert "is empty" in refused(url, readonly=True)
    with Store.open(url):
        pass
    with Store.open(url, readonly=True) as store:
        assert store.profiles() == ()


def test_readers_can_t_write(url: str) -> None:
    with Store.open(url) as store:
        commit(store, [SEEN])
    with Store.open(url, readonly=True) as store, pytest.raises(StoreError):
        store.decide(b"web", "x", "deny", who="", when=0, why="")


@pytest.mark.parametrize("place", [100, 2000, 8192 + 10, 3 * 8192])
def test_damage_is_told(tmp_path: Path, place: int) -> None:
    file = tmp_path / "x.db"
    with Store.open(f"sqlite:///{file}") as store:
        commit(store, [SEEN._replace(name=b"/x%d" % number) for number in range(2000)])
    data = bytearray(file.read_bytes())
    data[place : place + 6000] = b"\xa5" * 6000
    file.write_bytes(data)
    try:
        with Store.open(f"sqlite:///{file}", readonly=True) as store:
            store.profiles()
            store.accesses(b"web")
            store.counters()
    except StoreError as error:
        assert "damaged" in str(error)
        assert "\n" not in str(error)


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    with Store.open(f"sqlite:///{file}") as store:
        commit(store, [SEEN._replace(name=b"/x%d" % number) for number in range(2000)])
    size = file.stat().st_size
    os.truncate(file, size // 2)
    with pytest.raises(StoreError, match="damaged"), Store.open(f"sqlite:///{file}") as store:
        store.accesses(b"web")


def test_a_missing_table_is_told(url: str) -> None:
    with Store.open(url) as store:
        with store._writing() as connection:
            connection.execute(text("DROP TABLE accesses"))
        with pytest.raises(StoreError, match="table is missing"):
            store.accesses(b"web")


def test_a_missing_server_is_told(tmp_path: Path) -> None:
    message = refused(f"postgresql+psycopg://someone:secret@/db?host={tmp_path}")
    assert "secret" not in message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent != Path("/tmp") and parent.is_relative_to("/tmp"):
            parent.chmod(0o755)
    with Store.open(f"sqlite:///{tmp_path / 'x.db'}") as store:
        commit(store, [SEEN])
    code = (
        "import os, sys\n"
        "from aalearn.store import Store\n"
        "from aalearn.model.errors import StoreError\n"
        "import aalearn.store.store, sqlalchemy.dialects.sqlite\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "for readonly in (True, False):\n"
        "    try: Store.open(sys.argv[1], readonly=readonly).profiles()\n"
        "    except StoreError as error: print(error)\n"
        "    else: print('opened')\n"
    )

    def lines(url: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    closed = lines(f"sqlite:///{tmp_path / 'x.db'}")
    assert len(closed) == 2
    assert all("ermission denied" in line for line in closed)
    (tmp_path / "x.db").chmod(0o644)
    assert lines(f"sqlite:///{tmp_path / 'x.db'}")[0] == "opened"
    assert "may not be written" in lines(f"sqlite:///{tmp_path / 'x.db'}")[1]
    assert all("there is no store" in line or "denied" in line for line in lines(f"sqlite:///{tmp_path / 'new.db'}"))


def test_the_migrations_make_the_tables(url: str) -> None:
    with Store.open(url) as store, store._writing() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []
    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_current_head() == schema.HEAD
    assert {script.revision for script in ScriptDirectory(str(migrate.MIGRATIONS)).walk_revisions()} == schema.KNOWN


def test_the_working_directory_has_no_say(tmp_path: Path) -> None:
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic" / "__init__.py").write_text("raise SystemExit('hijacked')")
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = /nowhere\n")
    code = (
        "import sys; sys.path = [p for p in sys.path if p]\n"
        "from aalearn.store import Store\n"
        "with Store.open('sqlite:///x.db') as store: print(store.profiles())\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "()\n"), done.stderr


def test_values_don_t_load_sqlalchemy() -> None:
    modules = ", ".join(f"aalearn.store.{name}" for name in ("batch", "ledger", "readings", "codec", "state"))
    code = f"import sys, {modules}; assert 'sqlalchemy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_opening_again_needs_no_alembic(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'x.db'}"):
        pass
    code = (
        "import sys; from aalearn.store import Store; Store.open(sys.argv[1]).close()\n"
        "assert 'alembic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, f"sqlite:///{tmp_path / 'x.db'}"], cwd=ROOT, check=False)
    assert done.returncode == 0
