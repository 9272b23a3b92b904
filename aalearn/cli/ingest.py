"""`aalearn ingest`: read logs into the store."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli.face import Face, face_of
from aalearn.cli.output import count, table
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aalearn.intake.summary import Progress as Report
    from aalearn.intake.summary import Reporter, Summary

EXAMPLE = (
    "Examples: aalearn ingest /var/log/audit  |  journalctl -o export _TRANSPORT=audit | aalearn ingest -  |  "
    "aalearn --db sqlite:///x.db ingest audit.log.1.gz audit.log"
)


def command(
    context: typer.Context,
    logs: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG...",
            help="Files, folders of rotated and compressed logs, journal folders or exports, or - for standard input.",
            show_default=False,
            readable=False,  # the source itself says better what is wrong
        ),
    ],
    trusted: Annotated[
        bool,
        typer.Option("--trusted", help="No program could write these files (only root could): believe them fully."),
    ] = False,
    node: Annotated[
        str | None,
        typer.Option(
            "--node", metavar="NAME", help="The machine that logged these (default: this one, or node= in a line)."
        ),
    ] = None,
) -> None:
    """Read logs into the store. Each event counts once, however often and in whatever order its log is read.

    Formats are recognised by content: audit.log, syslog, dmesg, journal export and json, container logs, also
    compressed (.gz .xz .bz2 .zst). The summary says what was read and what is known to be lost.
    """
    from aalearn.intake import Options, ingest

    face = face_of(context)
    options = Options(node=node or face.settings.node, trusted=trusted)
    with face.store(readonly=False) as store, _progress(face) as report:
        summary = ingest(logs, store, options, report)
    face.emit(_document(summary), _text(summary))
    for name in summary.skipped:
        face.say(f"aalearn: note: {shown(name)} is no log and was left out")


@contextmanager
def _progress(face: Face) -> Iterator[Reporter | None]:
    """Give a function that draws a progress bar, or None where stderr is no terminal."""
    if face.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None, speed="", left="")

        def report(progress: Report) -> None:
            left = progress.left
            bar.update(
                task,
                description=shown(progress.source)[-40:],
                total=progress.total,
                completed=progress.consumed,
                speed=f"{progress.rate:,.0f} lines/s",
                left="" if left is None else f"{left:,.0f} s left",
            )

        yield report


def _document(summary: Summary) -> dict[str, Any]:
    return {
        "schema": 1,
        "sources": list(summary.sources),
        "skipped": list(summary.skipped),
        "lines": summary.lines,
        "bytes": summary.size,
        "events": summary.events,
        "duplicates": summary.duplicates,
        "companions": summary.companions,
        "other": summary.other,
        "malformed": summary.malformed,
        "truncated": summary.truncated,
        "forged": summary.forged,
        "loss_records": summary.losses,
        "lost": summary.lost,
        "incomplete": summary.incomplete,
        "kinds": dict(sorted(summary.kinds.items())),
        "verdicts": dict(sorted(summary.verdicts.items())),
        "unknown_operations": dict(sorted(summary.unknown.items())),
        "seconds": round(summary.seconds, 3),
        "lines_per_second": round(summary.rate),
    }


def _text(summary: Summary) -> str:
    rows: list[tuple[str, str, str]] = [("events", f"{summary.events:,}", _parts(summary.verdicts))]
    rows += [(f"  {kind}", f"{number:,}", "") for kind, number in sorted(summary.kinds.items()) if number]
    rows += [
        (word, f"{number:,}", told)
        for word, number, told in (
            ("duplicates", summary.duplicates, "the same record again"),
            ("companions", summary.companions, "SYSCALL, PROCTITLE and the like"),
            ("other", summary.other, "not AppArmor's"),
            ("malformed", summary.malformed, "AppArmor's, but not to be read"),
            ("truncated", summary.truncated, "cut off: lost"),
            ("forged", summary.forged, "look like AppArmor's, but the kernel did not write them"),
            ("losses", summary.losses, f"at least {count(summary.lost, 'record')} lost"),
        )
        if number
    ]
    if summary.unknown:
        rows.append(("unknown", f"{sum(summary.unknown.values()):,}", f"operations: {_parts(summary.unknown)}"))
    speed = f", {summary.rate:,.0f} lines/s" if summary.seconds else ""
    head = f"{count(summary.lines, 'line')} of {count(len(summary.sources), 'source')}{speed}"
    text = f"{head}\n{table(('RECORDS', 'NUMBER', ''), rows, right=(1,))}"
    if summary.incomplete:
        text += "\nRecords are missing, so what was learned in this time is incomplete: see `aalearn status`."
    return text


def _parts(counts: Any) -> str:
    return ", ".join(f"{shown(str(word))} {number:,}" for word, number in sorted(counts.items()) if number)
