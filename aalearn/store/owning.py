"""Whose a store's files are: what root makes in another user's folder belongs to that user, so that a command run with
sudo never locks the service out.

The owner is the one of the database, of the folder where there is no database yet. SQLite itself gives -wal and -shm
the database's owner and mode. The mode of a new database is 0600, for log lines may hold secrets; whoever gives it
other bits later (`chmod g+r`, for a group of readers) finds them kept.

The folder may belong to a user that a hostile log has taken over, while we are root. So nothing that is there already
changes hands, links are refused, and what is no ordinary file with one name is refused too.
"""

import os
from pathlib import Path
from stat import S_ISLNK, S_ISREG

from aalearn.model.errors import StoreError
from aalearn.model.text import shown

_BESIDE = ("-wal", "-shm", "-journal", ".lock")


def open_own(path: Path, flags: int = os.O_RDWR) -> int:
    """Open a file beside the database, or make it (0600) for the one that the place belongs to.

    Raises StoreError where it is no ordinary file of one name; OSError.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        handle = os.open(path, flags)
        known = os.fstat(handle)
        if not S_ISREG(known.st_mode) or known.st_nlink != 1:
            os.close(handle)
            raise StoreError(f"{shown(str(path))} is no ordinary file of its own: remove it") from None
        return handle
    try:
        give(handle, path)
    except OSError:
        os.close(handle)
        path.unlink(missing_ok=True)
        raise
    return handle


def give(handle: int, path: Path) -> None:
    """Give a file that we just made to whom its place belongs; only root can and need do so."""
    if os.geteuid() != 0:
        return
    base = path.with_name(path.name.removesuffix(".lock"))
    try:
        place = base.stat() if base != path else path.parent.stat()
    except FileNotFoundError:
        place = path.parent.stat()
    if place.st_uid != 0:
        os.fchown(handle, place.st_uid, place.st_gid)


def foreign_link(path: Path) -> bool:
    """Is it a link (or a file of several names) that another user may have laid for us, who are root?"""
    if os.geteuid() != 0:
        return False
    try:
        known = path.lstat()
    except FileNotFoundError:
        return False
    linked = S_ISLNK(known.st_mode) or (S_ISREG(known.st_mode) and known.st_nlink != 1)
    return linked and (path.parent.stat().st_uid != 0 or (S_ISLNK(known.st_mode) and known.st_uid != 0))


def refuse_tricks(file: Path) -> None:
    """Refuse links and odd files that SQLite would follow or overwrite when we are root. Raises StoreError."""
    if os.geteuid() != 0:
        return
    if foreign_link(file):
        raise StoreError(
            f"{shown(str(file))} is a link that its folder's user may have laid: name the file it leads to"
        )
    for end in _BESIDE:
        beside = file.with_name(file.name + end)
        try:
            known = beside.lstat()
        except FileNotFoundError:
            continue
        if not S_ISREG(known.st_mode) or known.st_nlink != 1:
            raise StoreError(f"{shown(str(beside))} is no ordinary file of its own: remove it")
