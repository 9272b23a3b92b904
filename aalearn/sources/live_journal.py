"""journald's journal as a live source, resumed by the cursor of the last entry.

Only entries of the transports that the kernel and journald themselves feed are asked for. Where the entry of a cursor
is gone, the journal was vacuumed (or its file damaged) past it: a loss. Source: systemd.journal-fields(7).
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from aalearn.model.errors import BadInput, UsageError
from aalearn.model.text import shown
from aalearn.sources.base import Chunk, Missing
from aalearn.sources.journal_feeds import CURSOR, Feed, Followed, Library, Program, has_library
from aalearn.sources.live import POLL_S, Lag
from aalearn.sources.rotated import closed, unreadable

KERNELS = ("audit", "kernel", "driver")
"""The transports that no program can write to as another: the kernel's audit and its ring, and journald's own words."""

PROGRAMS = ("syslog", "stdout", "journal")
"""The transports of programs: whatever AppArmor text comes by them is forged."""

_PATIENCE_S = 10.0  # after so long without news an entry that should be there is gone
_FAILURES = 6
_FIRST_S = 1.0  # how long the first entries may take
_TRIES = 20
_LONGEST_PAUSE_S = 5.0


class Journal:
    """A live source of a journal.

    `folder`: of journal files; None is this machine's own journal. `transports` are asked for; where the audit
    transport is `complete`, what the kernel's ring leaves out is no loss. A folder is trusted where it and its files
    belong to `owner` (a user id) and nobody else may write them. `library`: systemd-python is used (None: if there).
    """

    resumable = True

    def __init__(
        self,
        node: str,
        folder: Path | None = None,
        *,
        transports: Sequence[str] = KERNELS,
        complete: bool = True,
        owner: int = 0,
        library: bool | None = None,
    ) -> None:
        self.name = "journal" if folder is None else f"journal:{folder}"
        if "audit" not in transports:
            self.name += ":kernel"
        self._node = node
        self._folder = folder
        self._own = folder is None
        self._owner = owner
        self._matches = [f"_TRANSPORT={transport}" for transport in transports]
        self._complete = complete
        self._library = has_library() if library is None else library
        self._feed: Feed | None = None
        self._entries = Followed(complete=complete)
        self._position = ""
        self._losses: list[Missing] = []
        self._quiet_since = self._pause_until = 0.0
        self._begun_at = self._early = 0
        self._failures = 0
        self._behind = False

    def open(self, position: str | None) -> None:
        """See LiveSource."""
        self.close()
        matches = list(self._matches)
        folder, machine = (self._folder, "") if self._folder is not None else own_folder()
        check_folder(folder)
        if machine:
            matches.append(f"_MACHINE_ID={machine}")
        feed: Feed
        if self._library:
            feed = Library(self._folder, matches)
        else:
            feed = Program([f"--directory={folder}", "--merge", "--no-tail", *matches])
        self._position = position or ""
        if position and not CURSOR.fullmatch(position):
            self._lose("position", 0)
            position = None
        self._feed = feed
        self._begin(position or "")
        self._early = feed.pump(self._entries, _FIRST_S)  # a process needs a moment to begin

    def _begin(self, cursor: str) -> None:
        self._entries = Followed(complete=self._complete)
        self._entries.awaited = cursor
        if self._feed is not None:
            self._feed.start(cursor)
        self._quiet_since = time.monotonic()
        self._begun_at = int(time.time() * 1e6)

    def read(self, timeout: float) -> list[Chunk]:
        """See LiveSource."""
        feed, entries = self._feed, self._entries
        if feed is None:
            raise BadInput(f"{shown(self.name)}: it was closed")
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if self._pause_until > time.monotonic():
                if left <= 0:
                    return []
                time.sleep(min(POLL_S, left))
                continue
            try:
                taken, self._early = self._early or feed.pump(entries, max(0.0, left)), 0
            except OSError as error:
                raise BadInput(f"{shown(self.name)}: can't be read: {error.strerror or error}") from error
            self._judge(taken)
            if entries is not self._entries:
                entries = self._entries  # it was begun anew
                continue
            if chunks := self._told(taken):
                return chunks
            if time.monotonic() >= deadline:
                return []

    def _judge(self, taken: int) -> None:
        """Look whether the awaited entry is gone, and whether the feed has ended."""
        entries, feed = self._entries, self._feed
        now = time.monotonic()
        self._behind = bool(taken)
        if taken:
            self._quiet_since, self._failures = now, 0
        if entries.awaited and entries.passed:
            self._lose("journal-vacuumed", entries.micros // 1000)
            entries.awaited = ""
        elif entries.awaited and (entries.micros > self._begun_at or now - self._quiet_since > _PATIENCE_S):
            # All that was there is read, and it is nowhere: it is another journal now, to be read from its oldest.
            self._lose("journal-vacuumed", 0)
            self._begin("")
            return
        if taken or feed is None or (why := feed.ended()) is None:
            return
        self._failures += 1
        if self._failures > _FAILURES:
            raise BadInput(f"{shown(self.name)}: {why} (tried {_FAILURES} times)")
        self._pause_until = now + min(_LONGEST_PAUSE_S, 0.05 * 2**self._failures)
        self._begin(entries.cursor or entries.awaited)

    def _told(self, taken: int) -> list[Chunk]:
        entries = self._entries
        if not (taken or self._losses):
            return []
        if entries.cursor:
            self._position = entries.cursor
        cut, losses = entries.cut(taken), tuple(self._losses)
        self._losses.clear()
        trusted = self._own or (self._folder is not None and _safe(self._folder, self._owner))
        chunk = Chunk(
            cut.data, self.name, trusted, self._node, self._position, taken, cut.truncated, cut.counts, losses
        )
        return [chunk]

    def _lose(self, kind: str, moment: int) -> None:
        self._losses.append(Missing(kind, 1, moment or int(time.time() * 1000)))

    def lag(self) -> Lag:
        """See LiveSource. How many bytes are left a journal does not tell."""
        micros = self._entries.micros
        if not self._behind:
            return Lag(None, 0.0)
        return Lag(None, max(0.0, time.time() - micros / 1e6) if micros else None)

    def close(self) -> None:
        """End the process, or close the files."""
        if self._feed is not None:
            self._feed.stop()
            self._feed = None
        self._losses.clear()
        self._failures, self._pause_until, self._behind, self._early = 0, 0.0, False, 0


class Hearsay:
    """Counts the AppArmor text that programs write into the journal, from now on. None of it is ever an event."""

    resumable = False

    def __init__(self, node: str) -> None:
        self.name = "journal:hearsay"
        self._node = node
        self._feed: Program | None = None
        self._entries = Followed(complete=False)

    def open(self, position: str | None) -> None:  # noqa: ARG002 - what was said before is of no interest
        """See LiveSource. It always begins now."""
        self.close()
        folder, _ = own_folder()
        matches = [f"_TRANSPORT={transport}" for transport in PROGRAMS]
        self._feed = Program([f"--directory={folder}", "--lines=0", "--grep=apparmor=", *matches])
        self._feed.start("")

    def read(self, timeout: float) -> list[Chunk]:
        """See LiveSource."""
        feed, entries = self._feed, self._entries
        if feed is None:
            raise BadInput(f"{self.name}: it was closed")
        taken = feed.pump(entries, max(0.0, timeout))
        if not taken and (why := feed.ended()) is not None:
            raise BadInput(f"{self.name}: {why}")
        cut = entries.cut(taken)
        return [Chunk(b"", self.name, False, self._node, "", taken, (), cut.counts)] if taken else []

    def lag(self) -> Lag:
        """See LiveSource."""
        return Lag(None, 0.0)

    def close(self) -> None:
        """End the process."""
        if self._feed is not None:
            self._feed.stop()
            self._feed = None


def own_folder(root: Path = Path("/")) -> tuple[Path, str]:
    """Return the folder of this machine's journal, the persistent one if there is one, and the machine's id.

    Raises UsageError where there is none.
    """
    try:
        machine = (root / "etc/machine-id").read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise UsageError("/etc/machine-id can't be read, so that this machine's journal can't be told") from error
    for parent in ("var/log/journal", "run/log/journal"):
        folder = root / parent / machine
        if machine and folder.is_dir():
            return folder, machine
    raise UsageError("this machine has no journal: neither /var/log/journal nor /run/log/journal holds its id")


def check_folder(folder: Path) -> None:
    """Raise UsageError if there is a journal file here that may not be read, or no folder at all."""
    try:
        files = [entry.path for entry in os.scandir(folder) if entry.name.endswith(".journal")]
    except OSError as error:
        raise UsageError(unreadable(str(folder), error)) from error
    closed_files = [path for path in files if not os.access(path, os.R_OK)]
    if closed_files and len(closed_files) == len(files):
        mend = "(run as root, or join the group systemd-journal)"
        raise UsageError(f"{shown(closed_files[0])}: can't be read: Permission denied {mend}")


def _safe(folder: Path, owner: int) -> bool:
    """Could nobody but the owner have written these journals?"""
    for _ in range(_TRIES):
        try:
            statuses = [entry.stat(follow_symlinks=False) for entry in os.scandir(folder) if ".journal" in entry.name]
            return closed(folder.stat(), owner) and all(closed(status, owner) for status in statuses)
        except FileNotFoundError:
            continue  # rotated or vacuumed while it was looked at
    return False
