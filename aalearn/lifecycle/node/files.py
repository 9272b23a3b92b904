"""The policy folder: which file a profile's text belongs into, and reading, writing and removing what stands there.

A *place* is a path below the policy folder: `NAME`, or `NAME` in one of the folders that apparmor.d(5) and
apparmor_parser(8) know (`local`, `force-complain`, `disable`). Nothing else is ever touched.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aalearn.lifecycle.node.folder import Folder
from aalearn.model.errors import NotExpressible, UsageError
from aalearn.model.text import plain_name, shown

LOCAL: Final = "local"
COMPLAIN: Final = "force-complain"  # a link of the file's name in it: the parser loads that file in complain mode
DISABLE: Final = "disable"  # a link of the file's name in it: the file is not loaded at boot
_FOLDERS: Final = (LOCAL, COMPLAIN, DISABLE)
_LONGEST: Final = 180  # bytes of a file's name: what we put before it must fit in 255
# What apparmor_parser passes over in a folder (source: its is_blacklisted), and editors' and packages' leftovers.
_PASSED_OVER: Final = (
    *(".dpkg-new", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".dpkg-remove", ".pacsave", ".pacnew", ".rpmnew"),
    *(".rpmsave", ".orig", ".rej", ".bak", "~"),
)
_TAKEN: Final = frozenset(
    {"abi", "abstractions", "apache2.d", "cache", "cache.d", "tunables", "lxc", "libvirt", "README", "program-chunks"}
) | frozenset(_FOLDERS)


def file_name(profile: bytes) -> str:
    """Return the name of the file for a profile's text: the only way from a profile's name to a path.

    `/usr/sbin/nginx` gives `usr.sbin.nginx`, as aa-genprof(8) does. Raises UsageError for a name that is unfit: not
    plain, a child or a namespace, hidden, too long, or what the parser passes over or the policy folder keeps.
    """
    name = shown(profile)
    if b"//" in profile:
        raise UsageError(f"{name} is a child or a hat: name the profile that it belongs to")
    try:
        found = plain_name(profile).strip("/").replace("/", ".")
    except NotExpressible:
        raise UsageError(
            f"no file can be named after the profile {name}: a name is made of letters, digits, . _ - and /, without .."
        ) from None
    if not found or found.startswith(".") or found.endswith(_PASSED_OVER):
        raise UsageError(f"no file can be named after the profile {name}: apparmor_parser would pass over it")
    if found in _TAKEN:
        raise UsageError(f"no file can be named after the profile {name}: the policy folder keeps that name")
    if len(found) > _LONGEST:
        raise UsageError(f"the profile's name {name} is too long for a file: {_LONGEST} characters at most")
    return found


def digest(content: bytes | None) -> str:
    """Return the sha256 of what stands at a place, "" for None (no file)."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


def place_of(base: Path, file: Path) -> str:
    """Return the place of a file of the policy folder. Raises UsageError for a file elsewhere."""
    try:
        parts = file.relative_to(base).parts
    except ValueError:
        raise UsageError(f"{shown(str(file))} is not in {shown(str(base))}") from None
    place = "/".join(parts)
    _split(place)
    return place


def read(base: Path, place: str) -> bytes | None:
    """Return what stands at a place, None for nothing. Raises UsageError for a link or an unfit place."""
    folder, name = _split(place)
    if folder and not (base / folder).is_dir():
        return None
    with _open(base, folder) as held:
        return held.read(name)


def write(base: Path, place: str, content: bytes | None) -> None:
    """Write, or with None remove, the file at a place, as a whole. Raises UsageError as `read`, OSError as it comes."""
    folder, name = _split(place)
    if content is None and folder and not (base / folder).is_dir():
        return
    with _open(base, folder, make=content is not None) as held:
        if content is None:
            held.remove(name)
        elif held.read(name) != content:
            held.write(name, content)


def link_target(base: Path, place: str) -> str:
    """Return where the link at a place leads, "" for none. Raises UsageError for what is no link."""
    folder, name = _split(place)
    if folder and not (base / folder).is_dir():
        return ""
    with _open(base, folder) as held:
        return held.target(name)


def link(base: Path, place: str, target: str) -> None:
    """Make the link at a place lead to `target`, or with "" remove it. Raises UsageError as `link_target`."""
    if link_target(base, place) == target:
        return
    folder, name = _split(place)
    with _open(base, folder, make=bool(target)) as held:
        if target:
            held.link(name, target)
        else:
            held.remove(name)


def sweep(base: Path) -> None:
    """Remove what interrupted writes left in the policy folder and its folder of local files."""
    for folder in ("", *_FOLDERS):
        if (base / folder).is_dir():
            with _open(base, folder) as held:
                held.sweep()


def package_of(file: Path) -> str:
    """Return the name of the package that a file comes from, "" when it comes from none (or no manager says).

    dpkg and rpm are asked.
    """
    for command in (("dpkg-query", "--search"), ("rpm", "-qf", "--queryformat", "%{NAME}: ")):
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run([*command, str(file)], capture_output=True, check=False, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return shown(done.stdout.decode("utf-8", "replace").partition(":")[0].strip())
    return ""


def _split(place: str) -> tuple[str, str]:
    """Return the folder ("" for the policy folder itself) and the name of a place. Raises UsageError."""
    folder, slash, name = place.rpartition("/")
    if folder not in (_FOLDERS if slash else ("",)) or not name or name.startswith(".") or "\0" in name:
        raise UsageError(f"{shown(place)} is no place for a policy file")
    return folder, name


@contextmanager
def _open(base: Path, folder: str, *, make: bool = False) -> Iterator[Folder]:
    with Folder.open(base) as held:
        if not folder:
            yield held
            return
        with held.inside(folder, make=make) as inner:
            yield inner
