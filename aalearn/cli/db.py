"""`aalearn db`: upkeep of the store: vacuum, check, backup; and its content carried to another store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from aalearn.cli.face import face_of
from aalearn.cli.output import count
from aalearn.model.errors import BadInput, UsageError
from aalearn.model.text import shown

EXAMPLE = "Examples: aalearn db check  |  aalearn db backup /srv/aalearn.db  |  aalearn db export node.jsonl.zst"
VACUUM_EXAMPLE = "Example: aalearn db vacuum"
CHECK_EXAMPLE = "Example: aalearn db check || systemctl stop aalearn"
BACKUP_EXAMPLE = "Example: aalearn db backup /srv/backup/aalearn.db"
EXPORT_EXAMPLE = "Example: aalearn db export node7.jsonl.zst"
IMPORT_EXAMPLE = "Example: aalearn --db postgresql+psycopg://aalearn@db/fleet db import node7.jsonl.zst"

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


@app.command("export", epilog=EXPORT_EXAMPLE)
def export(context: typer.Context, file: Target, force: Force = False) -> None:
    """Write all that the store knows (also decisions, revisions and the ledger) to FILE: JSON lines, zstd."""
    from zstandard import ZstdCompressor

    from aalearn.store.upkeep import written

    face = face_of(context)
    lines = 0
    with (
        face.store(readonly=True) as store,
        written(file, force=force) as stream,
        ZstdCompressor(level=9).stream_writer(stream, closefd=False) as out,
    ):
        for line in store.export_lines():
            out.write(line)
            lines += 1
    size = file.stat().st_size
    document = {"schema": 1, "file": shown(str(file)), "lines": lines, "bytes": size}
    face.emit(document, f"{shown(str(file))}: {count(lines, 'line')}, {_mib(size)}")


@app.command("import", epilog=IMPORT_EXAMPLE)
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export of aalearn.", show_default=False)],
    trusted: Annotated[
        bool,
        typer.Option(
            "--trusted", help="Believe it: nobody whom you do not trust could write the file or the store it is of."
        ),
    ] = False,
) -> None:
    """Merge an export into the store, all of it or nothing; importing it again changes nothing.

    Without --trusted what it brings is no ground to promote a profile: its accesses count as untrusted, decisions,
    revisions and steps are marked as imported, and where sources were read to is left out.

    Many nodes' exports can be merged into one store, on SQLite or PostgreSQL. A file is refused where its records may
    count twice: when a node of it was counted by another store here.
    """
    from zstandard import ZstdError

    face = face_of(context)
    name = shown(str(file))
    try:
        with face.store(readonly=False) as store:
            lines, skipped = store.import_lines(lambda: _opened(file), name, trusted=trusted)
    except OSError as error:
        raise UsageError(f"can't read {name}: {error.strerror}") from None
    except ZstdError:
        raise BadInput(f"{name} is damaged or cut off; nothing was imported") from None
    face.emit({"schema": 1, "file": name, "lines": lines, "other_histories": skipped}, f"{count(lines, 'line')} merged")
    if skipped:
        face.say(f"aalearn: the states of {count(skipped, 'profile')} stay as they are here: their histories differ")


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open an export, compressed or not. Raises OSError, UsageError."""
    from zstandard import ZstdDecompressor

    if not file.is_file():
        file.open("rb").close()  # says what is wrong with it, if anything is
        raise UsageError(f"{shown(str(file))} is no ordinary file, which could be read twice")
    with file.open("rb") as stream:
        compressed = stream.read(4) == b"\x28\xb5\x2f\xfd"
        stream.seek(0)
        if not compressed:
            yield stream
            return
        inner = ZstdDecompressor(max_window_size=1 << 27).stream_reader(stream, read_across_frames=True, closefd=False)
        with BufferedReader(inner, 1 << 20) as lines:
            yield lines


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
