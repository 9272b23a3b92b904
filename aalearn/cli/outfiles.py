"""Results as files in a folder: all of them or none, and nothing of a person's overwritten unasked."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aalearn.model.errors import UsageError
from aalearn.model.text import shown

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def conflicts(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return the names that the folder has already with another content, sorted. Raises UsageError for no folder."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise UsageError(f"--output-dir {shown(str(folder))} is no folder")
    found = []
    for name, content in sorted(files.items()):
        path = folder / name
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or path.read_bytes() != content.encode()):
            found.append(name)
    return found


def write_all(folder: Path, files: Mapping[str, str], *, force: bool) -> None:
    """Write the files into the folder (made if need be), each by one rename, a new folder as a whole.

    Raises UsageError, before anything is written, where a file of another content is there and not `force`, or where
    the folder can't be written.
    """
    for name in files:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a file name: {name!r}")
    there = conflicts(folder, files)
    if there and not force:
        names = ", ".join(there[:4]) + (f" and {len(there) - 4} more" if len(there) > 4 else "")
        raise UsageError(f"{shown(str(folder))} holds {names} already: --force overwrites")
    try:
        fresh = not folder.exists()
        above = folder.absolute().parent if fresh else folder
        above.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".aalearn-", dir=above) as made:
            _write(Path(made) / "new", files)
            if fresh:
                (Path(made) / "new").rename(folder)
                return
            for name in sorted(files):
                if (folder / name).is_dir() and not (folder / name).is_symlink():
                    raise UsageError(f"{shown(str(folder / name))} is a folder")
            for name in sorted(files):
                (Path(made) / "new" / name).replace(folder / name)
    except OSError as error:
        raise UsageError(f"can't write to {shown(str(folder))}: {error.strerror}") from None


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, content in sorted(files.items()):
        with (folder / name).open("xb") as file:
            file.write(content.encode())
            file.flush()
            os.fsync(file.fileno())
