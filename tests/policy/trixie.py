"""Debian 13's apparmor_parser beside Debian 12: packages fetched by apt into a cache and unpacked, never installed.

    python -m tests.policy.trixie          # fetch what is missing; print the command that runs the parser
    python -m tests.policy.trixie --source # the folder of AppArmor's source, with its parser test tree

apt runs with a private configuration (state, cache and sources of its own); the sources are the machine's, with the
release's name replaced, so whatever mirror the machine uses is used here too. The cache folder is `$AALEARN_CACHE` or
`~/.cache/aalearn`, in it `trixie/`. Raises TrixieError when something can't be had.
"""

import fcntl
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RELEASE = "trixie"
PACKAGES = ("apparmor", "libc6", "libstdc++6", "libgcc-s1", "libapparmor1")
TIMEOUT = 240  # seconds for one call of apt


class TrixieError(Exception):
    """Debian 13's parser or source can't be had on this machine; the text says why."""


def cache() -> Path:
    """Return the folder for everything that is fetched; made when missing."""
    given = os.environ.get("AALEARN_CACHE")
    folder = (Path(given) if given else Path.home() / ".cache" / "aalearn") / RELEASE
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def parser() -> tuple[str, ...]:
    """Return the command that runs Debian 13's apparmor_parser, fetched first if it is missing."""
    with _locked(cache() / "lock") as folder:
        root = folder / "root"
        if not (root / "complete").is_file():
            shutil.rmtree(root, ignore_errors=True)
            _fetch_packages(folder, root)
        return _command(root)


def base() -> Path:
    """Return Debian 13's own `/etc/apparmor.d` (abstractions, tunables, abi), unpacked."""
    parser()
    return cache() / "root" / "etc" / "apparmor.d"


def source() -> Path:
    """Return the folder of AppArmor's source as in Debian 13, fetched first if it is missing."""
    with _locked(cache() / "lock") as folder:
        tree = folder / "source"
        if not (tree / "complete").is_file():
            shutil.rmtree(tree, ignore_errors=True)
            _fetch_source(folder, tree)
        return tree


def _command(root: Path) -> tuple[str, ...]:
    loaders = sorted(root.glob("**/ld-linux-*.so.*"))
    parsers = sorted(root.glob("**/sbin/apparmor_parser"))
    libraries = sorted({str(path.parent) for path in root.glob("**/libc.so.6")})
    if not (loaders and parsers and libraries):
        raise TrixieError("the unpacked packages lack a loader, a C library or the parser")
    return str(loaders[0]), "--library-path", ":".join(libraries), str(parsers[0])


def _fetch_packages(folder: Path, root: Path) -> None:
    downloads = folder / "packages"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    options = _apt(folder)
    _run(["apt-get", *options, "download", *PACKAGES], downloads)
    root.mkdir()
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], downloads)
    _run([*_command(root), "--version"], downloads)
    (root / "complete").touch()


def _fetch_source(folder: Path, tree: Path) -> None:
    downloads = folder / "sources"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    options = _apt(folder)
    _run(["apt-get", *options, "source", "--download-only", "apparmor"], downloads)
    archives = sorted(downloads.glob("apparmor_*.orig.tar.*"))
    archives = [archive for archive in archives if not archive.name.endswith(".asc")]
    if len(archives) != 1:
        raise TrixieError(f"apt-get source gave {len(archives)} archives of AppArmor's source and not one")
    unpacking = folder / "unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    with tarfile.open(archives[0]) as archive:
        archive.extractall(unpacking, filter="data")
    inner = [entry for entry in unpacking.iterdir() if (entry / "parser").is_dir()]
    if len(inner) != 1:
        raise TrixieError("AppArmor's source archive is not laid out as expected: one folder with parser/ in it")
    inner[0].rename(tree)
    shutil.rmtree(unpacking)
    (tree / "complete").touch()


def _apt(folder: Path) -> list[str]:
    """Return apt's options for the private configuration, its lists fetched."""
    state = folder / "apt"
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (state / name).mkdir(parents=True, exist_ok=True)
    status = state / "state" / "status"
    status.touch()
    sources = state / "etc" / f"{RELEASE}.sources"
    sources.write_text("\n\n".join(_stanzas()) + "\n")
    options = {
        "Dir::State": state / "state",
        "Dir::State::status": status,
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": state / "etc" / "none",
        "Dir::Etc::preferences": state / "etc" / "none",
        "Dir::Etc::preferencesparts": state / "etc" / "none",
        "APT::Architecture": "",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::PDiffs": "false",
    }
    flags = ["-q", *(part for key, value in options.items() if str(value) for part in ("-o", f"{key}={value}"))]
    if not (state / "fresh").is_file():
        _run(["apt-get", *flags, "update"], folder)
        (state / "fresh").touch()
    return flags


def _stanzas() -> list[str]:
    """Return the machine's sources of its own release as deb822 stanzas of Debian 13."""
    try:
        codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError) as error:
        raise TrixieError("this machine does not say which Debian release it is") from error
    stanzas = []
    parts = sorted(Path("/etc/apt/sources.list.d").glob("*"))
    for path in (Path("/etc/apt/sources.list"), *parts):
        if path.suffix == ".sources":
            stanzas += [_stanza(block, codename) for block in re.split(r"\n\s*\n", path.read_text())]
        elif path.suffix == ".list" and path.is_file():
            stanzas += [_one_line(line, codename) for line in path.read_text().splitlines()]
    found = [stanza for stanza in dict.fromkeys(stanzas) if stanza]
    if not found:
        raise TrixieError(f"apt's sources of this machine name no suite {codename!r}")
    return found


def _stanza(block: str, codename: str) -> str:
    fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", block, re.MULTILINE))
    if "deb" not in fields.get("Types", "").split() or codename not in fields.get("Suites", "").split():
        return ""
    return _spelled(fields["URIs"], fields.get("Signed-By", ""))


def _one_line(line: str, codename: str) -> str:
    match = re.match(rf"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+{re.escape(codename)}\s+(?=.*\bmain\b)", line)
    if not match:
        return ""
    signed = re.search(r"signed-by=(\S+)", match[1] or "")
    return _spelled(match[2], signed[1] if signed else "")


def _spelled(addresses: str, keyring: str) -> str:
    lines = ["Types: deb deb-src", f"URIs: {addresses}", f"Suites: {RELEASE}", "Components: main"]
    return "\n".join([*lines, f"Signed-By: {keyring}"] if keyring else lines)


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrixieError(f"{command[0]} failed: {error}") from error
    if result.returncode:
        last = (result.stderr or result.stdout).strip().splitlines()[-3:]
        raise TrixieError(f"{command[0]} failed: {' / '.join(last)}")


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Hold the lock, so that test workers do not fetch the same thing at once; yield the lock's folder."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path.parent


def main() -> int:
    """Print the parser's command, or with --source the source's folder."""
    try:
        print(source() if "--source" in sys.argv[1:] else shlex.join(parser()))
    except TrixieError as error:
        print(f"trixie: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
