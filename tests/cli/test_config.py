"""The configuration: sections, where values come from, what is refused; and its page in docs/."""

import json
import os
import tomllib
from pathlib import Path

import pytest

from aalearn.cli.configdoc import PAGE, page
from aalearn.cli.settings import load, names
from aalearn.cli.tomlplaces import line_of
from aalearn.learn.gate import Gate
from aalearn.model.errors import UsageError
from aalearn.model.urls import without_password
from aalearn.store.engine import Place
from tests.cli.conftest import Face

WHOLE = """# all of it
node = "n1"
[run]
sources = [
  "journal",
  "/var/log/audit/audit.log",
]

[ retention ]  # small
store_mib = 64
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good file."""
    made = tmp_path / "config.toml"
    made.write_text(WHOLE)
    return made


def test_sections_are_read(file: Path) -> None:
    settings = load(file, {})
    assert settings.run.sources == ("journal", "/var/log/audit/audit.log")
    assert settings.retention.store_mib == 64
    assert settings.promotion.revert_to == "previous"
    assert settings.run.queue_mib == 4


def test_show_says_where_each_value_comes_from(aalearn: Face, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AALEARN_RUN__COMMIT_SECONDS", "2.5")
    monkeypatch.setenv("AALEARN_NODE", "n2")
    done = aalearn("--config", file, "--db", "sqlite:///x.db", "--output", "json", "config", "show")
    rows = {row["name"]: (row["value"], row["from"]) for row in json.loads(done.out)["settings"]}
    assert list(rows) == list(names())
    assert rows["db"] == ("sqlite:///x.db", "command line")
    assert rows["node"] == ("n2", "AALEARN_NODE")
    assert rows["run.commit_seconds"] == (2.5, "AALEARN_RUN__COMMIT_SECONDS")
    assert rows["run.sources"][1] == f"{file}:4"
    assert rows["retention.store_mib"] == (64, f"{file}:10")
    assert rows["run.queue_mib"] == (4, "default")


def test_what_show_prints_can_be_saved(aalearn: Face, file: Path, tmp_path: Path) -> None:
    shown = aalearn("--config", file, "config", "show").out
    saved = tmp_path / "saved.toml"
    saved.write_text(shown)
    assert aalearn("config", "check", saved).out == f"{saved}: fine\n"
    assert load(saved, {}) == load(file, {})
    assert tomllib.loads(shown)["run"]["sources"] == ["journal", "/var/log/audit/audit.log"]


@pytest.mark.parametrize(
    ("value", "expected"), [("kmsg", ("kmsg",)), (" kmsg, journal ", ("kmsg", "journal")), ('["a,b"]', ("a,b",))]
)
def test_lists_in_the_environment(value: str, expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AALEARN_RUN__SOURCES", value)
    assert load(None, {}).run.sources == expected


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\n[metrics]\nlistn = 'x'\n", 3, "there is no setting listn in [metrics]; did you mean listen?"),
        ("queue_mib = 5\n", 1, "did you mean run.queue_mib?"),
        ("[rum]\nsources = []\n", 1, "there is no setting rum; did you mean run?"),
        ("a = 1\n", 1, "there is no setting a; known are"),
        ("run = 5\n", 1, "write [run]"),
        ("[[run]]\nx = 1\n", 1, "write [run]"),
        ("\nrun = {sorces = 1}\n", 2, "there is no setting sorces in [run]"),
        ("\nrun.sorces = 1\n", 2, "there is no setting sorces in [run]"),
        ("[run]\n\nqueue_mib = 'many'\n", 3, "run.queue_mib: Input should be a valid integer"),
        ("[run]\nsources = []\n", 2, "run.sources: "),
        ("[run]\nsources = ['a', '']\n", 2, "run.sources: "),
        ("[promotion]\ncoverage = 1.5\n", 2, "promotion.coverage: "),
        ("[promotion]\nquiet_days = nan\n", 2, "promotion.quiet_days: "),
        ("[promotion]\nrevert_to = 'x'\n", 2, "promotion.revert_to: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(aalearn: Face, tmp_path: Path, text: str, line: int, words: str) -> None:
    made = tmp_path / "c.toml"
    made.write_text(text)
    done = aalearn("config", "check", made)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"{made}:{line}: " in done.err
    assert words in done.err


@pytest.mark.parametrize("content", [b"[" * 100_000, b"x = " + b"[" * 50_000, b"a" * (2 << 20), b"\xff"])
def test_hostile_files_are_refused(aalearn: Face, tmp_path: Path, content: bytes) -> None:
    made = tmp_path / "c.toml"
    made.write_bytes(content)
    done = aalearn("config", "check", made)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert len(done.err) < 1000


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AALEARN_RUN__QUEUE_MIB", "no", "AALEARN_RUN__QUEUE_MIB: Input should be a valid integer"),
        ("AALEARN_RUN__QUEUE_MB", "1", "AALEARN_RUN__QUEUE_MB: there is no setting queue_mb in [run]"),
        ("AALEARN_RUN", "1", "AALEARN_RUN: run is a section"),
    ],
)
def test_variables_that_are_wrong(
    aalearn: Face, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    done = aalearn("config", "show")
    assert done.code == 2
    assert words in done.err


def test_variables_that_are_none_of_ours_are_told(aalearn: Face, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("AALEARN_RNU__SOURCES", "x")
    monkeypatch.setenv("AALEARN_CONFIG", str(file))
    done = aalearn("config", "check")
    assert done.code == 1
    assert "AALEARN_RNU__SOURCES" in done.err
    assert "AALEARN_CONFIG" not in done.err
    assert aalearn("config", "show").code == 0


def test_passwords_are_not_shown(aalearn: Face) -> None:
    done = aalearn("--db", "postgresql+psycopg://u:geh:eim@h/x?password=auch&a=b", "config", "show")
    assert done.out.startswith('# db = "postgresql+psycopg://u:***@h/x?password=***&a=b"')
    assert without_password("sqlite:///a:b@c") == "sqlite:///a:b@c"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql+psycopg://u:S/S@h/d", "postgresql+psycopg://u:***@h/d"),
        ("postgresql://u:S@S@h:5432/d?a=b", "postgresql://u:***@h:5432/d?a=b"),
        ("postgresql://u:S?S&S@h/d", "postgresql://u:***@h/d"),
        ("postgresql://:S@h/d", "postgresql://:***@h/d"),
        (
            "postgresql://u@h/d?sslpassword=S&sslmode=x&passfile=f",
            "postgresql://u@h/d?sslpassword=***&sslmode=x&passfile=f",
        ),
        (
            "postgresql://u@h/d?%70assword=S&oauth_client_secret=S",
            "postgresql://u@h/d?%70assword=***&oauth_client_secret=***",
        ),
        ("postgresql://h:5432/d?password=S@S&a=b", "postgresql://h:***@&a=b"),
        ("postgresql:u:S@h", "postgresql:u:***@h"),
        ("sqlite+pysqlcipher://:S@/x.db", "sqlite+pysqlcipher://:***@/x.db"),
    ],
)
def test_no_password_is_shown_whatever_is_in_it(aalearn: Face, url: str, text: str) -> None:
    assert without_password(url) == text
    done = aalearn("--db", url.replace("S", "hidden7"), "config", "show")
    assert "hidden7" not in done.out + done.err
    try:
        assert "S" not in Place(url).name
    except UsageError as error:
        assert "S" not in str(error)


def test_the_textfile_is_beside_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(None, {"db": "sqlite:////srv/x.db"}).textfile() == Path("/srv/metrics/aalearn.prom")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/other")
    assert load(None, {"db": "postgresql://h/x"}).textfile() == Path("/var/lib/other/metrics/aalearn.prom")
    monkeypatch.setenv("AALEARN_METRICS__TEXTFILE", "")
    assert load(None, {}).textfile() is None


def test_lines_of_keys() -> None:
    text = '# c\n"a" = 1\n[ x . y ]\nz.w = """\na = 5\n"""\n[b]\n'
    assert line_of(text, "a") == 2
    assert line_of(text, "x.y.z") == 4
    assert line_of(text, "b") == 7
    assert line_of(text, "nowhere") == 1


def test_every_setting_is_documented_on_its_page() -> None:
    assert PAGE.read_text() == page(), "run ./dev docs"
    for name, field in names().items():
        assert field.description, name
        assert f"`AALEARN_{name.upper().replace('.', '__')}`" in page()
    assert os.sep + "home" + os.sep not in page()


def test_what_it_takes_to_be_ready_has_one_place() -> None:
    known, ready = load(None, {}).promotion, Gate()
    for name in ("coverage", "new_rules_a_run", "runs", "quiet_days", "nodes"):
        assert getattr(known, name) == getattr(ready, name)
    assert (ready.runs, ready.coverage, ready.new_rules_a_run) == (20, 0.995, 0.05)
