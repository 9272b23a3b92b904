"""What root itself said on this machine: decisions on rules, and the texts that it kept. And whether a store is root's.

The store belongs to the service, which reads hostile logs; whatever stands there may be forged. What root decides is
therefore written down a second time, in a folder of root's own backups, one file a profile. It is only ever added to,
and written as a whole.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from aalearn.lifecycle.node.folder import Folder
from aalearn.lifecycle.past import detail_of
from aalearn.model.errors import PolicyError
from aalearn.model.text import shown
from aalearn.store.readings import Decision, Revision

FOLDER: Final = "vouched"
_SCHEMA: Final = 1
_DECISIONS: Final = 10_000  # kept a profile; the oldest go, so that none outlives a later one on the same rule
_REVISIONS: Final = 500
_PLACED_BY: Final = ("form", "file", "based_on", "include_denied")  # what of a revision's detail says where it belongs
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
_T = TypeVar("_T", Decision, "Kept")


@dataclass(frozen=True, slots=True)
class Kept:
    """A revision that root kept: the sha256 of `digest`, and who (behind sudo) kept it when (ms since the epoch)."""

    sha256: str
    number: int
    who: str
    when: int


@dataclass(frozen=True, slots=True)
class Vouched:
    """What root said of one profile, oldest first."""

    decisions: tuple[Decision, ...] = ()
    revisions: tuple[Kept, ...] = ()

    def holds(self, profile: bytes, revision: Revision) -> bool:
        """Return whether root kept just this text for just this use."""
        wanted = digest(profile, revision)
        return any(one.sha256 == wanted for one in self.revisions)


def digest(profile: bytes, revision: Revision) -> str:
    """Return the sha256 over a profile's name, a revision's text, and what says where that text belongs."""
    detail = detail_of(revision.detail)
    placed = json.dumps({key: detail.get(key) for key in _PLACED_BY}, sort_keys=True)
    parts = (profile, revision.text.encode("utf-8", "surrogateescape"), placed.encode())
    return hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).hexdigest()


def read(backups: Path, profile: bytes) -> Vouched:
    """Return what root said of a profile. Raises UsageError where the folder is not this user's own, PolicyError."""
    if not os.path.lexists(backups / FOLDER):
        return Vouched()
    with _open(backups) as folder:
        return _read(folder, profile)


def add(backups: Path, profile: bytes, decisions: Sequence[Decision] = (), revisions: Sequence[Kept] = ()) -> None:
    """Write down what root says. Raises UsageError or PolicyError as `read`, OSError as it comes."""
    with _open(backups) as folder:
        before = _read(folder, profile)
        known = {one.sha256 for one in before.revisions}
        kept = (*before.revisions, *(one for one in revisions if one.sha256 not in known))
        document = {
            "schema": _SCHEMA,
            "profile": profile.decode("utf-8", "surrogateescape"),
            "decisions": [asdict(one) for one in (*before.decisions, *decisions)[-_DECISIONS:]],
            "revisions": [asdict(one) for one in kept[-_REVISIONS:]],
        }
        folder.write(_name(profile), json.dumps(document, indent=1, sort_keys=True).encode(), 0o600)


def roots_own(file: Path, owners: frozenset[int] = frozenset({0})) -> bool:
    """Return whether only root (the uids `owners`) can change a file, make it, or put another in its place."""
    place = file.absolute()
    try:
        chains = {place, place.resolve()}
        files = [one.with_name(one.name + end) for one in chains for end in _BESIDE]
        strict = [*(one.parent for one in chains), *(one for one in files if os.path.lexists(one))]
        above = [folder for one in chains for folder in one.parent.parents]
        return all(_safe(one, owners, sticky=False) for one in strict) and all(_safe(one, owners) for one in above)
    except (OSError, RuntimeError):
        return False


def _safe(place: Path, owners: frozenset[int], *, sticky: bool = True) -> bool:
    """Return whether nobody else can change a file, or what a folder holds. `sticky`: others may add to it."""
    about = place.lstat()
    if about.st_uid not in owners:
        return False
    if stat.S_ISLNK(about.st_mode):
        return True  # where it leads is looked at as well
    return not about.st_mode & 0o022 or (sticky and bool(about.st_mode & stat.S_ISVTX))


@contextmanager
def _open(backups: Path) -> Iterator[Folder]:
    with Folder.open(backups, private=True, make=True) as above, above.inside(FOLDER, make=True) as folder:
        lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder.fd)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(lock)


def _read(folder: Folder, profile: bytes) -> Vouched:
    name = _name(profile)
    content = folder.read(name)
    if content is None:
        return Vouched()
    found = None
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        document = json.loads(content)
        if document["schema"] == _SCHEMA and document["profile"].encode("utf-8", "surrogateescape") == profile:
            found = Vouched(
                tuple(_made(Decision, one) for one in document["decisions"]),
                tuple(_made(Kept, one) for one in document["revisions"]),
            )
    if found is None:
        where = shown(str(folder.path / name))
        raise PolicyError(f"{where} is damaged, or a newer aalearn wrote it: what root decided is not known")
    return found


def _made(kind: type[_T], entry: dict[str, Any]) -> _T:
    return kind(**{one.name: entry[one.name] for one in fields(kind)})


def _name(profile: bytes) -> str:
    """Return the name of a profile's file: by a digest, so that no name can reach another file."""
    return f"{hashlib.sha256(profile).hexdigest()[:32]}.json"
