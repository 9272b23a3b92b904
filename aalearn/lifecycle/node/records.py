"""Root's own memory of what was applied here: texts and policy by sha256, the list of each profile, open intents.

The folder is root's own (0700). The service that reads hostile logs can't write here, so a text that a revert brings
back is one that a person applied on this node before. An *intent* says what is about to change and what was there; it
is on disk before anything changes and gone once all of it is done or undone, so that whoever comes after a crash can
finish or undo.
"""

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from aalearn.lifecycle.node.folder import Folder
from aalearn.model.errors import AalearnError, PolicyError
from aalearn.model.text import shown

_LOG: Final = logging.getLogger(__name__)
_SCHEMA: Final = 1
_KEPT: Final = 50  # texts that persons applied and that are remembered, a profile
_KEPT_ASKED: Final = 10  # and those that the service asked for, which take no person's place
_WAIT: Final = 30.0  # seconds for another change of this node to end
_T = TypeVar("_T", "Intent", "Applied")


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of the policy folder: its place, where it leads, and where it shall ("": no link)."""

    place: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class File:
    """A further file of a change: its place, and its text before and after by their sha256 ("": no file)."""

    place: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that was begun: what was there and what shall be. Texts and policy are sha256 of backups, "": none.

    `place` is below the policy folder. `stage`, `revision` (0: none), `who`, `reason` are the step's, for the store;
    `when` in ms since the epoch. `origin` is the sha256 of the revision's text as the store has it, which may differ in
    its flags or be a part of the file, "" for none. `asked`: the service asked for it, not a person. `more` are the
    files that belong to it beside the one at `place`. `before` is the number of the entry that a later revert leads to
    (None, as older intents have it: the last one). `probation` is when the probation of this promotion began, in ms
    (0: at `when`, or as long ago as that of the same text which it applies again).
    """

    profile: str
    place: str
    old_text: str
    new_text: str
    old_policy: str
    new_policy: str
    links: tuple[Link, ...]
    stage: str
    revision: int
    who: str
    reason: str
    when: int
    origin: str = ""
    asked: bool = False
    more: tuple[File, ...] = ()
    before: int | None = None
    probation: int = 0

    @property
    def name(self) -> bytes:
        """The profile's name."""
        return self.profile.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Applied:
    """One text that was applied on this node, or found here before the first change (`stage` "" then).

    `text` and `policy` are sha256 of backups ("": no file, not loaded); `mode` the kernel's word for the profile.
    `before` is the number of the entry that a revert leads to, 0 for none. `stage`, `revision`, `who`, `reason`, `when`
    (ms) are those of the step in the store; `origin`, `asked` and `more` are as in `Intent`. `probation` is when the
    probation of the promotion that it tells of began, in ms: when a person typed it (0, as older entries have it:
    `entries.promoted_since` works it out). `replaced` is the sha256 of what stood at `place` right before, whoever
    wrote that, so that its backup stays ("": nothing stood there).
    """

    number: int
    before: int
    place: str
    text: str
    policy: str
    mode: str
    stage: str
    revision: int
    who: str
    reason: str
    when: int
    links: tuple[Link, ...] = ()
    origin: str = ""
    asked: bool = False
    more: tuple[File, ...] = ()
    probation: int = 0
    replaced: str = ""

    def is_of(self, intent: Intent) -> bool:
        """Return whether it tells of that change."""
        return (self.when, self.text, self.stage) == (intent.when, intent.new_text, intent.stage)


@dataclass(slots=True)
class Records:
    """The folder of backups, held open and locked: one change of a node at a time."""

    _folder: Folder

    @classmethod
    @contextmanager
    def open(cls, path: Path, wait: float = _WAIT) -> Iterator["Records"]:
        """Open (and make) the folder and take its lock. Raises UsageError when it is unfit, PolicyError when another
        process changes this node for longer than `wait` seconds.
        """
        with Folder.open(path, private=True, make=True) as folder:
            fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder.fd)
            try:
                _locked(fd, path, wait)
                folder.sweep()
                yield cls(folder)
            finally:
                os.close(fd)

    def keep(self, content: bytes | None) -> str:
        """Keep a text or policy; return its sha256, "" for None."""
        if content is None:
            return ""
        digest = hashlib.sha256(content).hexdigest()
        if self._content(digest) is None:
            self._folder.write(f"blob.{digest}", content, 0o600)
        return digest

    def get(self, digest: str) -> bytes | None:
        """Return what was kept, None for "". Raises PolicyError when it is missing or damaged."""
        if not digest:
            return None
        content = self._content(digest)
        if content is None:
            raise PolicyError(f"the backup {shown(digest)} in {shown(str(self._folder.path))} is missing or damaged")
        return content

    def _content(self, digest: str) -> bytes | None:
        content = self._folder.read(f"blob.{digest}") if digest.isalnum() else None
        return content if content is not None and hashlib.sha256(content).hexdigest() == digest else None

    def begin(self, intent: Intent) -> None:
        """Write an intent; from now on a crash is noticed."""
        self._write(_file("intent", intent.profile), [asdict(intent)])

    def end(self, intent: Intent) -> None:
        """Forget an intent: all of it is done, or undone. Backups that nothing refers to any more go too."""
        self._folder.remove(_file("intent", intent.profile))
        try:
            self._forget()
        except (AalearnError, OSError) as error:  # they cost a bit of disk, and the change is done
            _LOG.warning("backups that nothing refers to stay in %s: %s", shown(str(self._folder.path)), error)

    def pending(self) -> tuple[Intent, ...]:
        """Return all open intents by profile. Raises PolicyError for a damaged one."""
        found = []
        for name in self._folder.names():
            if name.startswith("intent."):
                found += self._read(name, Intent)
        return tuple(sorted(found, key=lambda one: one.profile))

    def intent(self, profile: bytes) -> Intent | None:
        """Return the open intent of a profile, None where there is none. Raises PolicyError for a damaged one."""
        return next(iter(self._read(_file("intent", _text(profile)), Intent)), None)

    def applied(self, profile: bytes) -> tuple[Applied, ...]:
        """Return what was applied to a profile, oldest first."""
        return tuple(self._read(_file("applied", _text(profile)), Applied))

    def profiles(self) -> tuple[bytes, ...]:
        """Return the names of all profiles of which something was applied, sorted."""
        found = set()
        for name in self._folder.names():
            if name.startswith("applied."):
                found.add(str(self._document(name)["profile"]).encode("utf-8", "surrogateescape"))
        return tuple(sorted(found))

    def readable(self) -> tuple[dict[bytes, tuple[Applied, ...]], tuple[Intent, ...], tuple[PolicyError, ...]]:
        """Return what was applied to each profile, all open intents, and why a file of them can't be read."""
        entries: dict[bytes, tuple[Applied, ...]] = {}
        intents: list[Intent] = []
        damaged = []
        for name in self._folder.names():
            try:
                if name.startswith("applied."):
                    profile = str(self._document(name)["profile"]).encode("utf-8", "surrogateescape")
                    entries[profile] = self.applied(profile)
                elif name.startswith("intent."):
                    intents += self._read(name, Intent)
            except PolicyError as error:
                damaged.append(error)
        return entries, tuple(intents), tuple(damaged)

    def record(self, profile: bytes, *new: Applied) -> Applied:
        """Add entries (numbers are given here) at once, and forget the oldest beyond those that are kept; return the
        last of them.

        What was found here first always stays.
        """
        entries = list(self.applied(profile))
        for entry in new:
            entries.append(replace(entry, number=entries[-1].number + 1 if entries else 1))
        self._write(_file("applied", _text(profile)), [asdict(one) for one in _kept(entries)], profile)
        return entries[-1]

    def strike(self, intent: Intent) -> None:
        """Take out again what was recorded of a change, and what was found by it, for it is undone."""
        entries = self.applied(intent.name)
        left = [one for one in entries if not one.is_of(intent) and (one.stage or one.when != intent.when)]
        if not left:
            self._folder.remove(_file("applied", intent.profile))
        elif len(left) < len(entries):
            self._write(_file("applied", intent.profile), [asdict(one) for one in left], intent.name)

    def _forget(self) -> None:
        """Remove the backups that nothing refers to; none where not all of the records can be read."""
        used: set[str] = set()
        for intent in self.pending():
            used |= {intent.old_text, intent.new_text, intent.old_policy, intent.new_policy}
            used |= {digest for file in intent.more for digest in (file.old, file.new)}
        for profile in self.profiles():
            for entry in self.applied(profile):
                used |= {entry.text, entry.policy, entry.replaced}
                used |= {digest for file in entry.more for digest in (file.old, file.new)}
        for name in self._folder.names():
            if name.startswith("blob.") and name.removeprefix("blob.") not in used:
                self._folder.remove(name)

    def _write(self, name: str, entries: Sequence[dict[str, Any]], profile: bytes | None = None) -> None:
        document = {"schema": _SCHEMA, "profile": _text(profile or b""), "entries": entries}
        self._folder.write(name, json.dumps(document, indent=1, sort_keys=True).encode(), 0o600)

    def _read(self, name: str, kind: type[_T]) -> list[_T]:
        return [self._made(name, kind, entry) for entry in self._document(name)["entries"]]

    def _made(self, name: str, kind: type[_T], entry: dict[str, Any]) -> _T:
        known = {one.name for one in fields(kind)}
        try:
            links = tuple(Link(**link) for link in entry.get("links", ()))
            more = tuple(File(**file) for file in entry.get("more", ()))
            values = {key: value for key, value in entry.items() if key in known}
            return kind(**{**values, "links": links, "more": more})
        except TypeError as error:
            raise self._damaged(name) from error

    def _document(self, name: str) -> dict[str, Any]:
        content = self._folder.read(name)
        if content is None:
            return {"entries": []}
        try:
            document = json.loads(content)
        except ValueError as error:
            raise self._damaged(name) from error
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            raise self._damaged(name)
        entries = document.get("entries")
        listed = isinstance(entries, list) and all(isinstance(one, dict) for one in entries)
        if not listed or not isinstance(document.get("profile"), str):
            raise self._damaged(name)
        return document

    def _damaged(self, name: str) -> PolicyError:
        return PolicyError(f"{shown(str(self._folder.path / name))} is damaged, or a newer aalearn wrote it")


def _kept(entries: Sequence[Applied]) -> list[Applied]:
    """Return the entries that are remembered: those of persons and those that were asked for each in their measure."""
    found = [one.number for one in entries if not one.stage]
    persons = [one.number for one in entries if one.stage and not one.asked]
    asked = [one.number for one in entries if one.stage and one.asked]
    wanted = {*found, *persons[-_KEPT:], *asked[-_KEPT_ASKED:]}
    return [one for one in entries if one.number in wanted]


def _locked(fd: int, path: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                who = shown(os.pread(fd, 32, 0)) or "another process"
                raise PolicyError(f"{who} is changing this node's policy ({shown(str(path / 'lock'))})") from None
            time.sleep(0.02)
        else:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"pid {os.getpid()}".encode(), 0)
            return


def _text(profile: bytes) -> str:
    return profile.decode("utf-8", "surrogateescape")


def _file(kind: str, profile: str) -> str:
    """Return the name of a profile's record: by a digest, so that no name can reach another file."""
    return f"{kind}.{hashlib.sha256(profile.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"
