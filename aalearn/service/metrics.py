"""The figures for Prometheus: a file for the node exporter's textfile collector, and if asked an HTTP port.

Names and types follow Prometheus' "Metric and label naming" and the exposition format 0.0.4.
"""

import ipaddress
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from errno import ELOOP
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from aalearn.model.errors import UsageError
from aalearn.model.text import shown
from aalearn.service.figures import Figures
from aalearn.store.owning import foreign_link, give

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from aalearn.lifecycle.figures import Figure

_MOST_ROWS = 1_000
_RESULTS = ("events", "duplicates", "companions", "other", "malformed", "truncated", "forged", "losses")


class _Ours(Collector):
    """Makes families of the figures, whenever somebody asks."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "aalearn_build",
            "Version of aalearn and of its Python.",
            value={"version": self._figures.version, "python": platform.python_version()},
        )
        yield from self._counts()
        yield from self._sources()
        yield from self._storing()
        yield from self._profiles()

    def _counts(self) -> Iterator[Metric]:
        figures = self._figures
        totals = dict(figures.totals)
        yield _counter("aalearn_lines", "Lines read.", totals.get("lines", 0))
        results = CounterMetricFamily("aalearn_records", "Lines by what became of them.", labels=["result"])
        for name in _RESULTS:
            results.add_metric([name], totals.get(name, 0))
        yield results
        events = CounterMetricFamily(
            "aalearn_events", "New events by kind of rule and verdict.", labels=["kind", "verdict"]
        )
        for key, number in sorted(totals.items()):
            if key.startswith("event "):
                events.add_metric(key.split(" ")[1:], number)
        yield events
        unknown = sum(number for key, number in totals.items() if key.startswith("unknown "))
        yield _counter("aalearn_unknown_operations", "Events whose operation no kind of rule knows.", unknown)
        lost = CounterMetricFamily(
            "aalearn_lost_records", "Records known to be lost, at least so many, by how.", labels=["kind"]
        )
        for kind, number in sorted(figures.lost.items()):
            lost.add_metric([kind], number)
        yield lost
        denied = CounterMetricFamily("aalearn_denied", "DENIED events of enforced profiles.", labels=["profile"])
        for name, number in sorted(figures.denied.items()):
            denied.add_metric([name], number)
        yield denied

    def _sources(self) -> Iterator[Metric]:
        figures = self._figures
        up = GaugeMetricFamily("aalearn_source_up", "1 while the source is open.", labels=["source"])
        size = CounterMetricFamily("aalearn_source_bytes", "Bytes of records read.", labels=["source"])
        restarts = CounterMetricFamily(
            "aalearn_source_failures", "Times that the source broke or could not be opened.", labels=["source"]
        )
        lag = GaugeMetricFamily(
            "aalearn_source_lag_bytes", "How far reading is behind the source's end.", labels=["source"]
        )
        late = GaugeMetricFamily(
            "aalearn_source_lag_seconds", "How far reading is behind the source's end.", labels=["source"]
        )
        for reader in figures.readers:
            name = [figures.sources.of(reader.name)]
            up.add_metric(name, float(reader.up))
            size.add_metric(name, reader.bytes)
            restarts.add_metric(name, reader.restarts)
            behind = reader.lag
            if behind.bytes is not None:
                lag.add_metric(name, behind.bytes)
            if behind.seconds is not None:
                late.add_metric(name, behind.seconds)
        yield from (up, size, restarts, lag, late)
        queue = figures.queue
        yield GaugeMetricFamily("aalearn_queue_bytes", "Read and not counted yet.", value=queue.size)
        yield GaugeMetricFamily("aalearn_queue_limit_bytes", "What the queue holds at most.", value=queue.limit)
        yield _counter("aalearn_queue_wait_seconds", "Time that sources had to wait for room.", queue.waited)

    def _storing(self) -> Iterator[Metric]:
        figures = self._figures
        histogram = figures.commits
        commits = HistogramMetricFamily("aalearn_commit_seconds", "Duration of the commits.")
        commits.add_metric([], histogram.buckets(), histogram.sum)
        yield commits
        yield _counter("aalearn_commit_failures", "Commits that failed and were tried again.", figures.commit_failures)
        yield GaugeMetricFamily("aalearn_store_failing", "1 while nothing can be stored.", value=bool(figures.trouble))
        yield GaugeMetricFamily("aalearn_last_commit_timestamp_seconds", "The last commit.", value=figures.last_commit)
        yield GaugeMetricFamily("aalearn_start_timestamp_seconds", "When the service began.", value=figures.started)
        yield GaugeMetricFamily("aalearn_store_bytes", "Size of the store's files.", value=figures.store_bytes)
        yield _counter("aalearn_reloads", "Times that the configuration was read again.", figures.reloads)
        yield _counter("aalearn_reload_failures", "Configurations that were refused.", figures.bad_reloads)
        yield _counter("aalearn_follower_failures", "Errors of what follows the service.", figures.follower_failures)

    def _profiles(self) -> Iterator[Metric]:
        figures = self._figures
        yield GaugeMetricFamily("aalearn_profiles", "Profiles in the store.", value=figures.profiles_known)
        rules = GaugeMetricFamily("aalearn_profile_rules", "Rules learned.", labels=["profile"])
        coverage = GaugeMetricFamily(
            "aalearn_profile_coverage", "Share of what the program does that was seen (0 to 1).", labels=["profile"]
        )
        runs = GaugeMetricFamily("aalearn_profile_runs", "Program starts seen.", labels=["profile"])
        waiting = GaugeMetricFamily(
            "aalearn_profile_waiting", "Rules that wait for a person before a promotion.", labels=["profile"]
        )
        incomplete = GaugeMetricFamily(
            "aalearn_profile_losses", "Losses inside the learning window.", labels=["profile"]
        )
        ready = GaugeMetricFamily("aalearn_profile_ready", "1 when learning is finished.", labels=["profile"])
        for profile in figures.profiles:
            name = [profile.name]
            for family, value in (
                (rules, profile.rules),
                (coverage, profile.coverage),
                (runs, profile.runs),
                (waiting, profile.waiting),
                (incomplete, profile.incomplete),
                (ready, profile.ready),
            ):
                family.add_metric(name, float(value))
        yield from (rules, coverage, runs, waiting, incomplete, ready)
        yield GaugeMetricFamily(
            "aalearn_profiles_seconds", "How long rules and coverage took to work out.", value=figures.profiles_seconds
        )
        yield _counter(
            "aalearn_profiles_failures", "Times that they could not be worked out.", figures.profiles_failures
        )


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


class _Theirs(Collector):
    """Makes families of the rows that a follower keeps."""

    def __init__(self, rows: "Rows") -> None:
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        for row in self._rows():
            labels = [name for name, _ in row.values[0][0]] if row.values else []
            made = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
            family = made(row.name, row.help, labels=labels)
            for pairs, value in row.values[:_MOST_ROWS]:
                family.add_metric([text for _, text in pairs], value)
            yield family


Rows = Callable[[], "Iterable[Figure]"]
"""Gives the metrics that a follower keeps."""


class Metrics:
    """The registry of one service, and where it is shown. `rows` are what followers keep."""

    def __init__(self, figures: Figures, rows: Iterable[Rows] = ()) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Ours(figures))
        for one in rows:
            self.registry.register(_Theirs(one))
        ProcessCollector(namespace="aalearn", registry=self.registry)  # the node exporter has its own process_…
        self._server: WSGIServer | None = None
        self._thread: Thread | None = None

    def text(self) -> bytes:
        """Return all of it in the text format."""
        return generate_latest(self.registry)

    def write(self, path: Path) -> None:
        """Replace the file at once, so that a reader never sees half of it. Raises OSError.

        As root: not in a folder that is another user's link, and a folder made in another user's one is that user's.
        """
        self._folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.text())
                os.fchmod(file.fileno(), 0o644)  # the node exporter is another user
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def _folder(self, folder: Path) -> None:
        """Make the file's folder if it is not there."""
        if foreign_link(folder):
            raise OSError(ELOOP, "a link in another user's folder", str(folder))
        try:
            folder.mkdir(mode=0o755)
        except FileExistsError:
            return
        except FileNotFoundError:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            give(handle, folder)
        finally:
            os.close(handle)

    def listen(self, address: str, *, anywhere: bool) -> int:
        """Serve over HTTP at HOST:PORT from a thread; return the port (of 0: the one that was free).

        Raises UsageError for what is no such address, is not this machine's own (unless `anywhere`) or is taken.
        """
        from prometheus_client import start_http_server

        host, port = endpoint(address, anywhere=anywhere)
        try:
            self._server, self._thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise UsageError(f"metrics can't listen at {shown(address)}: {error.strerror or error}") from error
        return int(self._server.server_port)

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def endpoint(address: str, *, anywhere: bool) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `[IPv6]:PORT` or `PORT` (then 127.0.0.1). Raises UsageError."""
    host, _, number = address.rpartition(":")
    host = (host or "127.0.0.1").removeprefix("[").removesuffix("]")
    host = "127.0.0.1" if host == "localhost" else host
    if not (number.isascii() and number.isdigit() and int(number) < 1 << 16):
        raise UsageError(f"metrics.listen: {shown(address)} is no address: write HOST:PORT, e.g. 127.0.0.1:9746")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UsageError(f"metrics.listen: {shown(host)} is no IP address: write e.g. 127.0.0.1:{number}") from None
    if not (loopback or anywhere):
        raise UsageError(
            f"metrics.listen: {shown(address)} is not this machine's own address, and anybody there could read the"
            " names of profiles: use 127.0.0.1, or set metrics.anywhere = true"
        )
    return host, int(number)
