"""`aalearn db`: upkeep of the store: vacuum, check, backup; and its content carried to another store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aalearn.cli.face import face_of
from aalearn.cli.output import count
from aalearn.model.text import shown

EXAMPLE = "Examples: aalearn db check  |  aalearn db backup /srv/aalearn.db  |  aalearn db export node.jsonl.zst"
VACUUM_EXAMPLE = "Example: aalearn db vacuum"
CHECK_EXAMPLE = "Example: aalearn db check || systemctl stop aalearn"
BACKUP_EXAMPLE = "Example: aalearn db backup /srv/backup/aalearn.db"

app = typer.Typer(
    name="db",
    help="Check, back up and shrink the store, or carry its content to another one.",
    epilog=EXAMPLE,
    rich_markup_mode=None,
)
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]
Target = Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)]


@app.command("vacuum", epilog=VACUUM_EXAMPLE)
def vacuum(context: typer.Context) -> None:
    """Rewrite the database small. It needs room for a copy on the disk, and no other writer: stop the service first."""
    face = face_of(context)
    with face.store(readonly=True):
        pass  # a reader never makes a store, so nor does this
    with face.store(readonly=False) as store:
        before, after = store.vacuum()
    face.emit({"schema": 1, "before": before, "after": after}, f"{_mib(before)} before, {_mib(after)} now")


@app.command("check", epilog=CHECK_EXAMPLE)
def check(context: typer.Context) -> int:
    """Check that the database is whole and its sums are right: exit 0 if so, 1 with a line for each finding."""
    face = face_of(context)
    with face.store(readonly=True) as store:
        found = store.findings()
    face.emit({"schema": 1, "findings": found}, "\n".join(found) if found else "the store is sound")
    if found:
        face.say(f"aalearn: {count(len(found), 'finding')}: restore a backup, or move the store away and ingest again")
    return 1 if found else 0


@app.command("backup", epilog=BACKUP_EXAMPLE)
def backup(context: typer.Context, file: Target, force: Force = False) -> None:
    """Copy the store to FILE as it is at one moment, while the service goes on writing."""
    face = face_of(context)
    with face.store(readonly=True) as store:
        size = store.backup(file, force=force)
    face.emit({"schema": 1, "file": shown(str(file)), "bytes": size}, f"{shown(str(file))}: {_mib(size)}")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
