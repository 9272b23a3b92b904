"""From what a person names (files, folders, `-`) to checked sources in the order of time."""

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aalearn.model.errors import BadInput, UsageError
from aalearn.model.text import shown
from aalearn.sources.base import Origin, Source
from aalearn.sources.files import FileSource, StreamSource
from aalearn.sources.journal import JournalFiles
from aalearn.sources.sniff import Kind

STDIN = "-"
_ROTATION = re.compile(r"[.-](\d{1,8})(?:\.(?:gz|xz|bz2|zst))?$")
_OPEN_LIMIT = 512  # files kept open at once; a process may have 1,024


@dataclass(frozen=True, slots=True)
class Plan:
    """The sources to read, oldest first, and the names of files in given folders that are no logs."""

    sources: tuple[Source, ...]
    skipped: tuple[str, ...]

    @property
    def size(self) -> int | None:
        """Raw bytes of all sources together, None if one of them can't tell."""
        sizes = [source.size for source in self.sources]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def close(self) -> None:
        """Close every source."""
        for source in self.sources:
            source.close()


def plan(paths: Sequence[Path], origin: Origin, stdin: BinaryIO | None = None) -> Plan:
    """Open and check everything that `paths` name, before a record of it is read.

    A path may be a file (plain, gzip, bzip2, xz, zstd; log lines, a journal export, `journalctl -o json`, a journal
    file), a folder of such files (with its sub-folders; rotated files in any order), a pipe, or `-` for standard input.
    Files are told by content, not by name. Raises UsageError for what is missing or may not be read and BadInput for
    what is damaged or no log; in a folder, files that are no logs are skipped and named in the plan.
    """
    found: list[tuple[tuple[int, int, str], Source]] = []
    skipped: list[str] = []
    journals: list[Path] = []
    try:
        for path in dict.fromkeys(paths):
            if str(path) == STDIN:
                found.append(((_LAST, 0, STDIN), StreamSource(STDIN, stdin or _stdin(), origin)))
            elif _is_folder(path):
                _folder(path, origin, found, skipped, journals)
            else:
                _single(path, origin, found, journals)
        if journals:
            name = str(journals[0] if len(journals) == 1 else Path(os.path.commonpath(journals)))
            found.append(((_LAST, 0, name), JournalFiles(name, journals, origin)))
        found.sort(key=lambda item: item[0])
        _check([source for _, source in found])
    except BaseException:
        for _, source in found:
            source.close()
        raise
    return Plan(tuple(source for _, source in found), tuple(sorted(skipped)))


_LAST = 1 << 62


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise UsageError("standard input is closed: there is nothing to read at -")
    return sys.stdin.buffer


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise UsageError(f"{shown(str(path))}: can't be read: {error.strerror}{_mend(error)}") from error


def _check(sources: Sequence[Source]) -> None:
    for source in sources:
        if not source.check():
            raise BadInput(f"{shown(source.name)}: not a log: no line of it starts like a log record")


def _single(path: Path, origin: Origin, found: list[tuple[tuple[int, int, str], Source]], journals: list[Path]) -> None:
    name = str(path.absolute())
    file, mode = _open(path)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and file.isatty()):
        found.append(((_LAST, 0, name), StreamSource(name, file, origin, owned=True)))
        return
    if not stat.S_ISREG(mode):
        file.close()
        raise UsageError(f"{shown(name)}: neither a file, a folder nor a pipe")
    source = FileSource(name, file, origin)
    if source.kind is Kind.JOURNAL:
        source.close()
        journals.append(path)
    else:
        found.append((_order(source), source))


def _folder(
    folder: Path,
    origin: Origin,
    found: list[tuple[tuple[int, int, str], Source]],
    skipped: list[str],
    journals: list[Path],
) -> None:
    before = len(found) + len(journals)
    for path in _walk(folder):
        name = str(path.absolute())
        file, _ = _open(path)
        if len(found) > _OPEN_LIMIT:
            file.close()
            raise UsageError(f"{shown(str(folder))}: more than {_OPEN_LIMIT} logs: name fewer at a time")
        source = FileSource(name, file, origin)
        if source.kind is Kind.JOURNAL:
            journals.append(path)
        elif source.kind is not Kind.OTHER or source.check():
            found.append((_order(source), source))
            continue
        else:
            skipped.append(name)
        source.close()
    if len(found) + len(journals) == before:
        raise BadInput(f"{shown(str(folder))}: no log in this folder")


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the regular files below `folder`, sorted; links to folders are not followed."""
    try:
        inside = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{shown(str(folder))}: can't be read: {error.strerror}{_mend(error)}") from error
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def _open(path: Path) -> tuple[BinaryIO, int]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISBLK(mode) or stat.S_ISDIR(mode):
            raise UsageError(f"{shown(str(path))}: neither a file, a folder nor a pipe")
        return path.open("rb"), mode
    except OSError as error:
        raise UsageError(f"{shown(str(path))}: can't be read: {error.strerror}{_mend(error)}") from error
    except ValueError as error:  # a NUL in the name
        raise UsageError(f"{shown(str(path))}: {error}") from error


def _mend(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return " (run as root, or join the group that may read logs, adm)"
    if isinstance(error, FileNotFoundError):
        return " (it does not exist, or it disappeared meanwhile)"
    return ""


def _order(source: FileSource) -> tuple[int, int, str]:
    """Sort by the first record's time, else by when the file was last changed; equal ones by rotation, oldest first."""
    number = _ROTATION.search(source.name)
    moment = source.begin if source.begin is not None else source.changed
    return (moment, -int(number[1]) if number else 1, source.name)
