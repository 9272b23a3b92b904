"""`aalearn run`: the service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import following
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import count, talk
from aalearn.model.text import shown

if TYPE_CHECKING:
    from aalearn.service import ServiceOptions
    from aalearn.service.figures import Figures
    from aalearn.service.keeper import Keeper
    from aalearn.service.loop import Chosen

EXAMPLE = (
    "Examples: aalearn run  |  aalearn run --source /var/log/audit/audit.log  |  "
    "aalearn run --once --source journal  |  aalearn run --dry-run"
)


def command(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="What to read: auto, journal, journal:FOLDER, netlink, kmsg or an audit.log; may be given again.",
            show_default=False,
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Read what is there, store it and end (for cron).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which sources would be read.")] = False,
) -> int:
    """Run the service: follow the logs, learn, watch what is enforced. SIGTERM ends it, SIGHUP reads the configuration.

    What was read is stored every second together with where it was read to: killed at any moment it goes on exactly
    there. It talks to systemd (Type=notify, watchdog) and writes metrics for Prometheus.
    """
    from aalearn.service import run
    from aalearn.service.notify import Notifier
    from aalearn.sources.cgroup import Origins

    face = face_of(context)
    options = _options(face, source or (), once=once)
    if dry_run:
        _show(face, options)
        return 0
    keeper = _keeper(face)

    def again() -> ServiceOptions:
        fresh = replace(face)  # it has not loaded its settings yet
        found = _options(fresh, source or (), once=once)
        _keep(keeper, fresh)
        return found

    def finished(figures: Figures) -> None:
        if once:
            face.emit(_document(figures), _text(figures))

    watch = None if once else following.watch(face)  # what it begins can't be seen to its end in one pass
    with face.store(readonly=False) as store:
        try:
            return run(
                options,
                again,
                store=store,
                choose=_choose,
                say=_say,
                followers=(watch, keeper) if watch else (),
                rows=(watch.figures.rows, keeper.rows) if watch else (),
                origins=Origins().of,
                notifier=Notifier(),
                finished=finished,
            )
        finally:
            if watch:
                watch.close()


def _say(text: str) -> None:
    """Tell it, --quiet or not: a service has no other way, and says little."""
    talk(f"aalearn: {text}")


def _keeper(face: Face) -> Keeper:
    """Return what keeps the store small."""
    from aalearn.service.keeper import Keeper

    made = Keeper(_say, 0, 0.0)
    _keep(made, face)
    return made


def _keep(keeper: Keeper, face: Face) -> None:
    """Let the settings hold for what keeps the store small."""
    from aalearn.service.options import MIB
    from aalearn.store.retention import Ages

    wanted = face.settings.retention
    keeper.limit_bytes = wanted.store_mib * MIB
    keeper.seconds = wanted.seconds
    keeper.ages = Ages(wanted.detail_days, wanted.ledger_days)


def _options(face: Face, sources: Any, *, once: bool) -> ServiceOptions:
    """Return what the settings say. Raises UsageError."""
    from aalearn.service.options import MIB, ServiceOptions

    settings = face.settings
    gate = settings.promotion
    return ServiceOptions(
        db=settings.db,
        node=settings.node,
        sources=tuple(sources) or settings.run.sources,
        commit_seconds=settings.run.commit_seconds,
        queue_bytes=settings.run.queue_mib * MIB,
        textfile=settings.textfile(),
        metrics_seconds=settings.metrics.seconds,
        listen=settings.metrics.listen,
        anywhere=settings.metrics.anywhere,
        once=once,
        gate=(
            ("coverage", gate.coverage),
            ("new_rules_a_run", gate.new_rules_a_run),
            ("runs", gate.runs),
            ("quiet_days", gate.quiet_days),
            ("nodes", gate.nodes),
        ),
        fixed=(("base", str(settings.base)), ("parser", str(settings.parser)), ("promotion", repr(gate))),
    )


def _choose(options: ServiceOptions) -> Chosen:
    """Return the sources to read and why. Raises UsageError."""
    from aalearn.sources.auto import choose

    found = choose(options.sources, options.node)
    return found.sources, found.told


def _show(face: Face, options: ServiceOptions) -> None:
    """Show the choice of sources; nothing is opened for writing."""
    sources, told = _choose(options)
    names = [source.name for source in sources]
    face.emit({"schema": 1, "sources": names, "notes": list(told)}, "\n".join(map(shown, names)) or "no source")
    for line in told:
        face.say(f"aalearn: {line}")


def _document(figures: Figures) -> dict[str, Any]:
    totals = figures.totals
    return {
        "schema": 1,
        "sources": [reader.name for reader in figures.readers],
        "failed": [reader.name for reader in figures.readers if reader.trouble],
        "lines": totals.get("lines", 0),
        "events": totals.get("events", 0),
        "duplicates": totals.get("duplicates", 0),
        "lost": sum(figures.lost.values()),
        "kinds": {key.removeprefix("kind "): n for key, n in sorted(totals.items()) if key.startswith("kind ")},
    }


def _text(figures: Figures) -> str:
    totals = figures.totals
    text = f"{count(totals.get('events', 0), 'new event')} in {count(totals.get('lines', 0), 'line')}"
    lost = sum(figures.lost.values())
    return f"{text}; {count(lost, 'record')} lost: see `aalearn status`" if lost else text
