"""A folder of compiled policy, by a digest of everything that the policy depends on.

An entry is one file: a line with the sha256 of what follows, a line of JSON (warnings), the policy. It is written under
another name and renamed, so readers see whole entries only; one whose digest is wrong counts as absent. The folder must
be this user's own: whoever can write in it can choose what proofs are about.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Final

from aalearn.model.text import shown

_SUFFIX: Final = ".policy"
_MOST: Final = 1024  # entries; the oldest go
_LOG: Final = logging.getLogger(__name__)


def default_folder() -> Path | None:
    """Return `$XDG_CACHE_HOME/aalearn` or `~/.cache/aalearn`; None for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given.startswith("/"):
        return Path(given) / "aalearn"
    try:
        return Path.home() / ".cache" / "aalearn"
    except RuntimeError:
        return None


class Cache:
    """Compiled policy in `folder`/policy. A folder that can't be used is told once in the log; then nothing is kept."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else _prepared(folder / "policy")

    def load(self, key: str) -> tuple[bytes, tuple[str, ...]] | None:
        """Return the policy and warnings kept for `key`, None when there is none or it is damaged."""
        if self._folder is None:
            return None
        try:
            content = (self._folder / (key + _SUFFIX)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOG.warning("a cached policy can't be read, so it is compiled again: %s", _told(error, self._folder))
            return None
        digest, _, rest = content.partition(b"\n")
        head, _, blob = rest.partition(b"\n")
        if digest != hashlib.sha256(rest).hexdigest().encode():
            return None
        return blob, tuple(json.loads(head))

    def save(self, key: str, blob: bytes, warnings: tuple[str, ...]) -> None:
        """Keep `blob` and `warnings` for `key`."""
        if self._folder is None:
            return
        rest = json.dumps(warnings).encode() + b"\n" + blob
        try:
            self._write(key, hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        except OSError as error:
            _LOG.warning("compiled policy can't be kept in the cache: %s", _told(error, self._folder))

    def _write(self, key: str, content: bytes) -> None:
        assert self._folder is not None
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(self._folder / (key + _SUFFIX))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._prune()

    def _prune(self) -> None:
        """Remove the oldest eighth when there are too many entries."""
        assert self._folder is not None
        with os.scandir(self._folder) as entries:
            names = [entry.path for entry in entries if entry.name.endswith(_SUFFIX)]
        if len(names) <= _MOST:
            return
        ages = []
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process prunes too
                ages.append((Path(name).stat().st_mtime_ns, name))
        for _, name in sorted(ages)[: _MOST // 8]:
            Path(name).unlink(missing_ok=True)


def _prepared(folder: Path) -> Path | None:
    """Return the folder, made when missing; None (and a line in the log) when it is not fit."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError as error:
        _LOG.warning("no compiled policy is cached: %s", _told(error, folder))
        return None
    if about.st_uid != os.geteuid() or about.st_mode & 0o022:
        _LOG.warning(
            "no compiled policy is cached: %s must be this user's own and writable by nobody else", shown(str(folder))
        )
        return None
    return folder


def _told(error: OSError, folder: Path) -> str:
    """Return the file and what is wrong with it, in words for a person."""
    return f"{shown(str(error.filename or folder))}: {error.strerror or 'it failed'}"
