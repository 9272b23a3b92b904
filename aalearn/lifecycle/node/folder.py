"""One folder held open, and files in it that are whole at any moment: written beside, synced, renamed.

Everything goes by the folder's descriptor, so nobody can put another folder or a symbolic link into the way between
a check and a use.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from aalearn.model.errors import UsageError
from aalearn.model.text import shown

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_LARGEST: Final = 64 << 20  # bytes: what the kernel takes as policy, and more than any text
_NEW: Final = ".aalearn-new."  # how a file begins that is being written; apparmor_parser skips names with a dot


@dataclass(slots=True)
class Folder:
    """A folder held open by its descriptor. Use as a context manager. Each file of a private one must be the user's."""

    path: Path
    fd: int
    private: bool = False

    @classmethod
    def open(cls, path: Path, *, private: bool = False, make: bool = False) -> Self:
        """Open a folder that only this user or root may write in.

        `private`: it must be this user's own and closed to all others, and nobody but root and this user may exchange
        any folder on the way to it, which is gone without links. `make`: it is made (0700 where private) when it is
        missing. Raises UsageError where it is missing, no folder, or open to others.
        """
        if private:
            return cls(path, _walked(path, make=make), private=True)
        try:
            if make:
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
            fd = os.open(path, _FOLDER)
        except OSError as error:
            raise UsageError(f"can't open the folder {shown(str(path))}: {error.strerror}") from None
        return cls(path, _checked(fd, path, private=False))

    def inside(self, name: str, *, make: bool = False) -> "Folder":
        """Open a folder of this one, never through a symbolic link. Raises as `open` does."""
        path, made = self.path / name, False
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=self.fd)
                    made = True
            fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.fd)
            if made:  # what the umask took away, and to disk
                os.fchmod(fd, 0o755)
                os.fsync(self.fd)
        except OSError as error:
            raise UsageError(f"can't open the folder {shown(str(path))}: {error.strerror}") from None
        return Folder(path, _checked(fd, path, private=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def read(self, name: str) -> bytes | None:
        """Return what a file holds, None when it is missing. Raises UsageError for a link or what is no plain file."""
        try:
            fd = os.open(name, os.O_RDONLY | _FILE | os.O_NONBLOCK, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unfit(name, error) from None
        try:
            self._plain(name, os.fstat(fd))
        except UsageError:
            os.close(fd)
            raise
        with os.fdopen(fd, "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise UsageError(f"{shown(str(self.path / name))} is larger than {_LARGEST >> 20} MiB")
        return content

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file: another sees the old one or the new one, whole, and after a power cut it is one of the two.

        A file that is there keeps its mode, owner and extended attributes; a new one gets `mode`. Raises UsageError for
        a link or what is no plain file, OSError as it comes (then the old one is as it was).
        """
        about = self._about(name)
        new = _NEW + name
        with contextlib.suppress(FileNotFoundError):  # left by an interrupted write; its reader was never told of it
            os.unlink(new, dir_fd=self.fd)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=self.fd)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                if about is None:
                    os.fchmod(fd, mode)
                else:  # its owner last: to change the mode of another's file takes one capability more
                    os.fchmod(fd, stat.S_IMODE(about.st_mode))
                    self._attributes(name, fd)
                    _owned(fd, about)
                os.fsync(fd)
            os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=self.fd)
            raise
        os.fsync(self.fd)

    def remove(self, name: str) -> None:
        """Remove a file or link; one that is missing is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)
            os.fsync(self.fd)

    def target(self, name: str) -> str:
        """Return where a symbolic link leads, "" when there is none. Raises UsageError for what is no link."""
        try:
            return os.readlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return ""
        except OSError:
            raise UsageError(f"{shown(str(self.path / name))} is no symbolic link, so it stays as it is") from None

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link, or lead one elsewhere, at once."""
        new = _NEW + name
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=self.fd)
        os.symlink(target, new, dir_fd=self.fd)
        os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        os.fsync(self.fd)

    def names(self) -> list[str]:
        """Return the names of all entries, sorted."""
        with os.scandir(self.fd) as entries:
            return sorted(entry.name for entry in entries)

    def sweep(self) -> None:
        """Remove what interrupted writes left behind."""
        for name in self.names():
            if name.startswith(_NEW):
                self.remove(name)

    def _about(self, name: str) -> os.stat_result | None:
        try:
            about = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        self._plain(name, about)
        return about

    def _plain(self, name: str, about: os.stat_result) -> None:
        if stat.S_ISLNK(about.st_mode):
            raise UsageError(f"{shown(str(self.path / name))} is a symbolic link: it is neither followed nor replaced")
        if not stat.S_ISREG(about.st_mode):
            raise UsageError(f"{shown(str(self.path / name))} is no plain file")
        if self.private and (about.st_uid != os.geteuid() or about.st_mode & 0o022):
            raise UsageError(f"{shown(str(self.path / name))} must be owned and writable by uid {os.geteuid()} alone")

    def _unfit(self, name: str, error: OSError) -> UsageError:
        with contextlib.suppress(OSError):
            self._plain(name, os.stat(name, dir_fd=self.fd, follow_symlinks=False))
        return UsageError(f"can't read {shown(str(self.path / name))}: {error.strerror}")

    def _attributes(self, name: str, fd: int) -> None:
        """Give the new file the old one's extended attributes (access lists, security labels)."""
        try:
            old = os.open(name, os.O_RDONLY | _FILE, dir_fd=self.fd)
        except FileNotFoundError:
            return
        try:
            for attribute in os.listxattr(old):
                if os.getxattr(old, attribute) not in _present(fd, attribute):
                    os.setxattr(fd, attribute, os.getxattr(old, attribute))
        finally:
            os.close(old)


def _owned(fd: int, about: os.stat_result) -> None:
    """Give a file the owner of another; who may not do that needs not, where it has it already."""
    own = os.fstat(fd)
    if (own.st_uid, own.st_gid) != (about.st_uid, about.st_gid):
        os.fchown(fd, about.st_uid, about.st_gid)


def _present(fd: int, attribute: str) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        yield os.getxattr(fd, attribute)


def _walked(path: Path, *, make: bool) -> int:
    """Return the descriptor of a private folder, gone to from / one folder at a time, each of them checked."""
    fd, there = _checked(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), Path("/"), private=False), Path("/")
    parts = path.absolute().parts[1:]
    for at, name in enumerate(parts):
        there, last = there / name, at == len(parts) - 1
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700 if last else 0o755, dir_fd=fd)
            inner = os.open(name, (_FOLDER if last else os.O_PATH | _FOLDER) | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            raise UsageError(f"can't open the folder {shown(str(there))}: {error.strerror}") from None
        finally:
            os.close(fd)
        fd = _checked(inner, there, private=last)
    return fd


def _checked(fd: int, path: Path, *, private: bool) -> int:
    """Return the descriptor of a folder in which nobody else can change anything; close it and refuse another.

    In a folder like /tmp (root's, sticky) others can make what is missing, and change nothing that is there.
    """
    about = os.fstat(fd)
    own = about.st_uid == os.geteuid()
    open_to_others = about.st_mode & 0o022 and not (about.st_uid == 0 and about.st_mode & stat.S_ISVTX)
    fit = own and not about.st_mode & 0o077 if private else (own or about.st_uid == 0) and not open_to_others
    if not fit:
        os.close(fd)
        wanted = (
            f"owned by uid {os.geteuid()} and closed to all others (mode 0700)" if private else "writable by root alone"
        )
        raise UsageError(f"the folder {shown(str(path))} must be {wanted}")
    return fd
