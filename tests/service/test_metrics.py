"""What is shown to Prometheus, and that the dashboard and the alerts rest on nothing else."""

import json
import os
import stat
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from aalearn.lifecycle.figures import Figures as Watched
from aalearn.model.errors import UsageError
from aalearn.service.figures import OTHERS, Figures, Names, ProfileFigures, amount
from aalearn.service.keeper import Keeper
from aalearn.service.metrics import Metrics, endpoint
from aalearn.service.profiles import Profiles
from aalearn.service.queue import ByteQueue
from aalearn.service.reader import Reader
from aalearn.sources.live import Lag
from aalearn.store import Store
from aalearn.store.batch import Batch
from tests.conftest import ROOT
from tests.intake.conftest import record
from tests.service.conftest import Bench
from tests.service.following import Follow
from tests.service.promql import Query

DASHBOARD = ROOT / "deploy/grafana/aalearn.json"
ALERTS = ROOT / "deploy/alerts/aalearn.yaml"
NOT_OURS = {"node_textfile_mtime_seconds"}
EVERYWHERE = {"instance", "job", "file", "le"}


@pytest.fixture
def figures(tmp_path: Path) -> Figures:
    """Figures of everything, with hostile names."""
    totals = Counter({"lines": 9, "events": 5, "event file ALLOWED": 4, "event capability DENIED": 1, "unknown x": 2})
    queue = ByteQueue(100)
    made = Figures("0.1", 1.7e9, totals, queue)
    source = Follow(tmp_path / 'a"b\n.log')
    reader = Reader(source, None, queue, print, once=True)
    reader.lag = Lag(7, 1.5)
    made.readers = (reader,)
    made.lost["backlog"] = 3
    made.denied[made.names.of(b'evil"} 1\nx')] = 2
    made.commits.see(0.2)
    made.commits.see(99.0)
    made.profiles = (ProfileFigures("nginx", 12, 0.98, 4, 1, 2, True),)
    return made


@pytest.fixture
def metrics(figures: Figures) -> Iterator[Metrics]:
    """Metrics with all that may be there."""
    watched = Watched()
    watched.denied[b"nginx", 1] = 2
    watched.tripped[b"nginx", "denials"] = 1
    watched.reverted[b"nginx", "previous"] = 1
    watched.failed[b"nginx"] = 1
    watched.watched[b"nginx"] = 3
    made = Metrics(figures, (watched.rows, Keeper(print, 1 << 20, 60.0).rows))
    yield made
    made.close()


def samples(text: str) -> dict[str, set[str]]:
    """All names of samples with their labels."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_all_that_is_asked_for_is_there(metrics: Metrics) -> None:
    text = metrics.text().decode()
    known = samples(text)
    assert all(name.startswith("aalearn_") for name in known)  # the node exporter has names of its own
    for line in (
        'aalearn_events_total{kind="capability",verdict="DENIED"} 1.0',
        "aalearn_unknown_operations_total 2.0",
        'aalearn_lost_records_total{kind="backlog"} 3.0',
        'aalearn_denied_total{profile="evil\\"} 1\\\\x0ax"} 2.0',
        'aalearn_commit_seconds_bucket{le="0.25"} 1.0',
        'aalearn_commit_seconds_bucket{le="+Inf"} 2.0',
        "aalearn_commit_seconds_count 2.0",
        'aalearn_profile_coverage{profile="nginx"} 0.98',
        'aalearn_reverts_total{profile="nginx",to="previous"} 1.0',
        "aalearn_store_limit_bytes 1.048576e+06",
    ):
        assert line in text.splitlines()


def queries() -> Iterator[tuple[str, str]]:
    """Every expression that we ship, with where it stands."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for group in YAML(typ="safe").load(ALERTS)["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(("where", "expression"), [pytest.param(*one, id=one[0]) for one in queries()])
def test_dashboard_and_alerts_ask_for_what_there_is(metrics: Metrics, where: str, expression: str) -> None:
    known = samples(metrics.text().decode())
    query = Query(expression)
    assert query.metrics
    labels: set[str] = set(EVERYWHERE)
    for name, asked in query.metrics.items():
        if name not in NOT_OURS:
            assert name in known, name
            assert asked <= known[name] | EVERYWHERE, name
            labels |= known[name]
    assert query.kept <= labels


@pytest.mark.parametrize(
    "bad", ["rate(x_total)", "sum by (a x", "x{a=b}", "x >", "sum(x))", "nofunction(x)", "x{a='1'}"]
)
def test_no_promql(bad: str) -> None:
    with pytest.raises(AssertionError):
        Query(bad)


def test_the_dashboard_is_whole() -> None:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    names = {one["name"] for one in board["templating"]["list"]}
    assert {"datasource", "instance", "job"} == names


def test_the_file_is_replaced_at_once(metrics: Metrics, tmp_path: Path) -> None:
    path = tmp_path / "sub/aalearn.prom"
    metrics.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_bytes().startswith(b"# HELP aalearn_build_info")
    before = path.stat().st_ino
    metrics.write(path)
    assert path.stat().st_ino != before
    assert [one.name for one in path.parent.iterdir()] == ["aalearn.prom"]
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        metrics.write(path / "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_in_another_users_folder_no_link_is_followed_and_a_new_folder_is_theirs(
    metrics: Metrics, tmp_path: Path
) -> None:
    theirs, victim = tmp_path / "theirs", tmp_path / "victim"
    theirs.mkdir()
    victim.mkdir()
    os.chown(theirs, 61234, 61235)
    metrics.write(theirs / "metrics/aalearn.prom")
    assert (theirs / "metrics").stat().st_uid == 61234
    (theirs / "laid").symlink_to(victim)
    with pytest.raises(OSError, match="a link in another user's folder"):
        metrics.write(theirs / "laid/aalearn.prom")
    assert list(victim.iterdir()) == []
    (tmp_path / "mine").symlink_to(victim)
    metrics.write(tmp_path / "mine/aalearn.prom")
    (theirs / "metrics/aalearn.prom").unlink()
    (theirs / "metrics/aalearn.prom").symlink_to(victim / "aalearn.prom")
    before = (victim / "aalearn.prom").stat().st_ino
    metrics.write(theirs / "metrics/aalearn.prom")
    assert not (theirs / "metrics/aalearn.prom").is_symlink()
    assert (victim / "aalearn.prom").stat().st_ino == before


def test_http(metrics: Metrics) -> None:
    port = metrics.listen("127.0.0.1:0", anywhere=False)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert b"aalearn_lines_total 9.0" in answer.read()
    other = Metrics(Figures("0", 0.0, {}, ByteQueue(1)))
    with pytest.raises(UsageError, match="can't listen"):
        other.listen(f"127.0.0.1:{port}", anywhere=False)


@pytest.mark.parametrize(
    ("address", "host"), [("9746", "127.0.0.1"), ("localhost:9746", "127.0.0.1"), ("[::1]:9746", "::1")]
)
def test_addresses(address: str, host: str) -> None:
    assert endpoint(address, anywhere=False) == (host, 9746)


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9746", "[::]:9746", "10.0.0.1:9746", "host:9746", "127.0.0.1", ":x", "1:99999"]
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"^metrics\.listen: "):
        endpoint(address, anywhere=False)


def test_anywhere() -> None:
    assert endpoint("0.0.0.0:9746", anywhere=True) == ("0.0.0.0", 9746)


def test_names() -> None:
    names = Names(4)
    assert names.of(b"a\xff") == "a\\xff"
    assert names.of("a\\xff") == "a\\xff~"
    assert len(names.of(b"x" * 5000)) == 100
    assert names.of(OTHERS) == OTHERS + "~"
    assert names.of(b"one too many") == OTHERS
    assert names.of(b"a\xff") == "a\\xff"
    assert amount(5 << 20) == "5.0 MiB"


def test_rules_and_coverage_by_another_process(bench: Bench) -> None:
    """Worked out beside the service, from its store; nothing new is worked out twice; a broken store is told."""
    bench.write(1)
    assert bench.serve(bench.options(once=True)) == 0
    figures = Figures("0", 0.0, {}, ByteQueue(1))
    said: list[str] = []
    options = bench.options(profiles_seconds=0.01, gate=(("coverage", 0.5), ("runs", 1)))
    profiles = Profiles(figures, options, said.append)

    def rounds(number: int) -> None:
        end = monotonic() + 60
        while number and monotonic() < end:
            before = figures.profiles_seconds, figures.profiles_failures
            profiles._next = 0.0  # what follows a round is a pause
            while (figures.profiles_seconds, figures.profiles_failures) == before and monotonic() < end:
                profiles.tick()
                sleep(0.02)
            number -= 1

    rounds(1)
    (made,) = figures.profiles
    assert (made.name, made.runs, figures.profiles_known) == ("p", 1, 1)
    assert made.rules > 0
    rounds(1)
    assert figures.profiles == (made,)
    assert said == []
    profiles.options = replace(options, db="sqlite:////nowhere/x.db")
    rounds(1)
    assert figures.profiles_failures >= 1
    assert "there is no store at" in said[0]
    assert figures.profiles == (made,)  # the last that is known
    profiles.stop()


def test_denied_and_lost_come_from_commits(bench: Bench) -> None:
    bench.log.write_bytes(
        record(1, verdict="DENIED", profile="q") + record(2) + b"audit: audit_lost=5 audit_rate_limit=0\n"
    )
    path = bench.folder / "m.prom"
    options = bench.options(textfile=path, metrics_seconds=0.1)
    written = (lambda: path.exists() and 'aalearn_denied_total{profile="q"} 1.0' in path.read_text(), lambda: None)
    assert bench.serve(options, written) == 0
    text = path.read_text()
    assert "aalearn_lost_records_total{" in text
    assert "aalearn_store_bytes 0.0" not in text


def test_the_keeper(bench: Bench) -> None:
    """The store is kept small a piece at a time; what can't be helped is said once."""
    said: list[str] = []
    now = [0.0]
    with Store.open(bench.db) as store:
        keeper = Keeper(said.append, 1, 60.0, clock=lambda: now[0])
        keeper.tick(1000, store)
        assert said == []
        keeper.committed(Batch(), store)
        for _ in range(50):
            now[0] += 61.0
            keeper.tick(1000, store)
        assert len(said) == 1
        assert "retention.store_mib" in said[0]
        over = next(row for row in keeper.rows() if row.name == "aalearn_store_over_bytes")
        assert over.values[0][1] > 0
