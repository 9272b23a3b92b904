"""`aalearn run` as a person types it, and as systemd starts it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from aalearn.store import Store
from tests.cli.conftest import Face, clean_environment, program
from tests.conftest import ROOT
from tests.intake.conftest import record
from tests.service.conftest import Systemd


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An audit.log of 50 records."""
    path = tmp_path / "log/audit.log"
    path.parent.mkdir()
    path.write_bytes(b"".join(record(serial, name=f"/f/{serial % 9}") for serial in range(1, 51)))
    return path


def events(db: str) -> int:
    """How many events the store holds."""
    with Store.open(db, readonly=True) as store:
        return store.counters().get("events", 0)


def wait(condition: object, what: str, seconds: float = 30.0) -> None:
    """Wait until it holds."""
    assert callable(condition)
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, what
        sleep(0.05)


@contextmanager
def service(*arguments: str | Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """A running `aalearn`."""
    command = [sys.executable, "-m", "aalearn", *map(str, arguments)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(**environment),
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_once(aalearn: Face, tmp_path: Path, log: Path) -> None:
    db = f"sqlite:///{tmp_path / 'x.db'}"
    done = aalearn("--db", db, "run", "--once", "--source", log)
    assert (done.code, done.out) == (0, "50 new events in 50 lines\n")
    assert "used, because it was asked for" in done.err
    with log.open("ab") as file:
        file.write(record(51))
    done = aalearn("--db", db, "--output", "json", "run", "--once", "--source", log)
    told = json.loads(done.out)
    assert (told["schema"], told["events"], told["lines"], told["kinds"]) == (1, 1, 1, {"file": 1})
    assert told["sources"] == [f"audit.log:{log}"]
    assert told["failed"] == []


def test_dry_run(aalearn: Face, tmp_path: Path, log: Path) -> None:
    db = tmp_path / "x.db"
    done = aalearn("--db", f"sqlite:///{db}", "--output", "json", "run", "--dry-run", "--source", log)
    assert json.loads(done.out)["sources"] == [f"audit.log:{log}"]
    assert not db.exists()


@pytest.mark.parametrize(
    ("source", "code", "told"),
    [
        ("jurnal", 2, "did you mean journal?"),
        ("/no/such/folder/audit.log", 3, "/no/such/folder"),
    ],
)
def test_wrong_sources(aalearn: Face, tmp_path: Path, source: str, code: int, told: str) -> None:
    done = aalearn("--db", f"sqlite:///{tmp_path / 'x.db'}", "run", "--source", source)
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err


def test_metrics_must_stay_here(aalearn: Face, tmp_path: Path, log: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[metrics]\nlisten = "0.0.0.0:9746"\n')
    done = aalearn("--config", config, "--db", f"sqlite:///{tmp_path / 'x.db'}", "run", "--source", log)
    assert done.code == 2
    assert "metrics.anywhere" in done.err


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """A socket like systemd's."""
    made = Systemd(tmp_path / "notify")
    yield made
    made.socket.close()


def test_as_systemd_starts_it(tmp_path: Path, log: Path, systemd: Systemd) -> None:
    """Ready, with figures; a second one is told who is there, readers are not in the way; TERM ends it."""
    db, config = f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "c.toml"
    config.write_text("[metrics]\nseconds = 1\n")
    arguments = ("--config", config, "--db", db, "run", "--source", log)
    with service(*arguments, NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="3000000") as process:
        wait(lambda: "READY=1" in systemd.words(), "not ready")
        wait(lambda: events(db) == 50, "not stored")
        for command in (("run", "--source", log), ("ingest", log)):
            second = program("--db", db, *command)
            assert second.code == 3
            assert f"is being written by pid {process.pid} on" in second.err
            assert second.err.count("\n") <= 2
        assert program("--db", db, "status", "p").code == 0
        config.write_text("[metrics]\nsecond = 1\n")
        process.send_signal(signal.SIGHUP)
        wait(lambda: systemd.words().count("READY=1") == 2, "not reloaded")
        config.write_text("[run]\ncommit_seconds = 0.5\n[metrics]\nseconds = 1\n")
        process.send_signal(signal.SIGHUP)
        wait(lambda: systemd.words().count("READY=1") == 3, "not reloaded")
        with log.open("ab") as file:
            file.write(record(51))
        wait(lambda: events(db) == 51, "not stored after the reload")
        metrics = tmp_path / "metrics/aalearn.prom"
        wait(lambda: metrics.exists() and "aalearn_lines_total 51.0" in metrics.read_text(), "no metrics")
        wait(lambda: "WATCHDOG=1" in systemd.words(), "the watchdog starves")
        begun = monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
        assert monotonic() - begun < 5
        assert process.returncode == 0
    assert "there is no setting second in [metrics]" in err
    assert "the old one stays" in err
    assert "the configuration was read again" in err
    assert "Traceback" not in err
    assert systemd.words()[-1] == "STOPPING=1"


def test_losses_are_told_with_their_mend(aalearn: Face, tmp_path: Path, log: Path) -> None:
    db = f"sqlite:///{tmp_path / 'x.db'}"
    with log.open("ab") as file:
        file.write(b"type=AVC msg=audit(1700000000.000:52): audit_backlog=65 audit: backlog limit exceeded\n")
    assert aalearn("--db", db, "ingest", log).code == 0
    done = aalearn("--db", db, "status")
    assert "Records are known to be lost:" in done.out
    assert "How to avoid it:" in done.out
    assert "audit_backlog_limit" in done.out or "auditctl -b" in done.out
    document = json.loads(aalearn("--db", db, "--output", "json", "status").out)
    assert all(loss["remedy"] for loss in document["losses"])
