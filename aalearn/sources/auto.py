"""Which live sources to use: found out by looking at this machine, and said in words.

Where records go (measured on Debian 13, kernels 6.1 to 7.2): with auditd to audit.log; with journald's audit socket to
the journal; with both to both, each complete; with neither to the kernel's ring alone, 10 in 5 seconds. One complete
source is used; beside it the kernel's own words, for what it says of the audit system's losses.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from aalearn.model.errors import UsageError
from aalearn.model.text import shown
from aalearn.sources.kmsg import Kmsg
from aalearn.sources.live import LiveSource
from aalearn.sources.live_journal import Hearsay, Journal, check_folder, own_folder
from aalearn.sources.netlink import Netlink
from aalearn.sources.rotated import unreadable
from aalearn.sources.tail import Tail

AUTO = "auto"
FORMS = (AUTO, "/PATH", "audit.log", "audit.log:PATH", "file:PATH", "journal", "journal:FOLDER", "journal:kernel",
         "journal:hearsay", "netlink", "kmsg")  # fmt: skip
"""What a person may name as a source."""

_LOG = Path("/var/log/audit/audit.log")
_LOG_FILE = re.compile(r"^\s*log_file\s*=\s*(\S+)", re.MULTILINE)
_CAP_AUDIT_READ = 37
_FRESH_S = 3600
_RUN_AUDITD = "run auditd, or `systemctl enable --now systemd-journald-audit.socket`"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the machine found. An `…_error` is "" where the source may be used, else why it may not."""

    log: Path
    log_error: str
    auditd: bool
    journal_error: str
    journal_audit: bool
    audit_read: bool
    kmsg_error: str
    grep: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """The sources to use, not opened yet, and a line for each that says why it is used, or why it is not."""

    sources: tuple[LiveSource, ...]
    told: tuple[str, ...]


def choose(wanted: Sequence[str], node: str, look: Look | None = None) -> Choice:
    """Return the sources that these words (see FORMS) mean on this machine; `auto` decides by itself.

    `node` is the machine's name in the store. Raises UsageError for a word that is none, and where `auto` finds no
    source at all.
    """
    look = look if look is not None else look_around()
    sources: dict[str, LiveSource] = {}
    told: list[str] = []
    for word in wanted or (AUTO,):
        if word == AUTO:
            names, why = decide(look)
            told += why
        else:
            names = (word,)
            told.append(f"{shown(word)}: used, because it was asked for")
        for name in names:
            source = make(name, node, look)
            sources.setdefault(source.name, source)
    return Choice(tuple(sources.values()), tuple(told))


def make(word: str, node: str, look: Look) -> LiveSource:
    """Return the source that one word names. `+` at its end: beside a complete source. Raises UsageError for others."""
    name, beside = word.removesuffix("+"), word.endswith("+")
    if word.startswith("/"):
        name = f"{_kind_of(Path(word))}:{word}"
    kind, _, where = name.partition(":")
    match kind, where:
        case "audit.log", _:
            return Tail(_absolute(where, word) if where else look.log, node)
        case "file", _ if where:
            return Tail(_absolute(where, word), node, kind="file")
        case "journal", "":
            return Journal(node, complete=look.journal_audit)
        case "journal", "kernel":
            return Journal(node, transports=("kernel", "driver"), complete=beside)
        case "journal", "hearsay":
            return Hearsay(node)
        case "journal", _:
            return Journal(node, _absolute(where, word))
        case "netlink", "":
            return Netlink(node)
        case "kmsg", "":
            return Kmsg(node, complete=beside)
    near = get_close_matches(kind, [form.partition(":")[0] for form in FORMS], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{shown(word)}: no source of this name{hint} There are: {', '.join(FORMS)}")


def _kind_of(path: Path) -> str:
    """Return the kind of source that a bare path means."""
    return "journal" if path.is_dir() else "audit.log" if path.name.startswith("audit.log") else "file"


def _absolute(where: str, word: str) -> Path:
    path = Path(where)
    if not path.is_absolute() or "\0" in where:
        raise UsageError(f"{shown(word)}: the path after the colon must be absolute")
    return path


def decide(look: Look) -> tuple[tuple[str, ...], list[str]]:
    """Return the words of the sources that `auto` means, and what to say of each. Raises UsageError without any."""
    told: list[str] = []
    main = ""
    if look.auditd and not look.log_error:
        main = "audit.log"
        told.append(f"audit.log: used, {look.log}: auditd writes every record there")
        if look.journal_audit and not look.journal_error:
            told.append("journal: not used: it holds the same records as audit.log")
    elif look.auditd:
        told.append(f"audit.log: not used, though auditd writes it: {look.log_error}")
    else:
        told.append("audit.log: not used: auditd does not run")
    if not main and look.journal_audit and not look.journal_error:
        main = "journal"
        told.append("journal: used: journald's audit socket takes every record")
    elif not main:
        told.append(f"journal: not used: {look.journal_error or 'journald takes no audit records'}")
    if not main and look.audit_read:
        main = "netlink"
        told.append(
            "netlink: used: the kernel's audit multicast brings every record, but only while this service runs "
            f"({_RUN_AUDITD}, and nothing is missed while it is down)"
        )
    elif not main:
        told.append("netlink: not used: it needs CAP_AUDIT_READ")
    if not main:
        return _in_part(look, told)
    names = [main]
    if main == "journal":
        if look.grep:
            names.append("journal:hearsay")
            told.append("journal:hearsay: used: forged AppArmor text of programs is counted, and never believed")
        return tuple(names), told
    if not look.kmsg_error:
        names.append("kmsg+")
        told.append("kmsg: used for what the kernel says of lost audit records")
    elif not look.journal_error:
        names.append("journal:kernel+")
        told.append("journal:kernel: used for what the kernel says of lost audit records")
    else:
        told.append(f"kmsg: not used: {look.kmsg_error}; what the kernel says of lost audit records goes unheard")
    return tuple(names), told


def _in_part(look: Look, told: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """No source is complete: take what there is, and say so."""
    partly = f"only a part of the records: the kernel prints 10 in 5 seconds; {_RUN_AUDITD}"
    if not look.kmsg_error:
        return ("kmsg",), [*told, f"kmsg: used, but it brings {partly}"]
    if not look.journal_error:
        return ("journal:kernel",), [*told, f"journal:kernel: used, but it brings {partly}"]
    told.append(f"kmsg: not used: {look.kmsg_error}")
    raise UsageError(f"there is no source of records that may be read ({'; '.join(told)}): {_RUN_AUDITD}")


def look_around(root: Path = Path("/")) -> Look:
    """Look at this machine. `root` stands for / in tests."""
    log = _log_of(root)
    log_error = _try(log)
    journal_error = ""
    try:
        folder, _ = own_folder(root)
        check_folder(folder)
    except UsageError as error:
        journal_error = str(error)
    return Look(
        log=log,
        log_error=log_error,
        auditd=_auditd(root) or (not log_error and _in_container(root) and _fresh(log)),
        journal_error=journal_error,
        journal_audit=_multicast(root) or (not journal_error and _audit_entry(folder)),
        audit_read=_capable(root),
        kmsg_error=_try(root / "dev/kmsg"),
        grep=_can_grep(),
    )


def _log_of(root: Path) -> Path:
    """Return the path of audit.log, from auditd.conf(5) if that may be read."""
    try:
        found = _LOG_FILE.search((root / "etc/audit/auditd.conf").read_text("utf-8", "replace"))
    except OSError:
        found = None
    return root / (found[1] if found else str(_LOG)).lstrip("/")


def _try(path: Path) -> str:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return unreadable(str(path), error)
    return ""


def _in_container(root: Path) -> bool:
    """Are other processes of the machine out of sight?"""
    return _comm(root, "1") not in ("systemd", "init")


def _comm(root: Path, pid: str) -> str:
    """Return the name of a process, "" if there is none or it is hidden."""
    try:
        return (root / "proc" / pid / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _fresh(log: Path) -> bool:
    """Was it written lately? Then auditd runs somewhere, though out of sight."""
    try:
        return time.time() - log.stat().st_mtime < _FRESH_S
    except OSError:
        return False


def _auditd(root: Path) -> bool:
    """Does auditd run? Its pid file tells, and whether that process is there (it may be hidden from us)."""
    for name in ("run/auditd.pid", "var/run/auditd.pid"):
        try:
            pid = int((root / name).read_text("ascii").strip())
        except (OSError, ValueError):
            continue
        comm = _comm(root, str(pid))
        return comm == "auditd" if comm else _alive(pid)
    return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0


def _multicast(root: Path) -> bool:
    """Is journald member of the audit multicast? systemd makes the socket for it, or (before 246) it makes its own."""
    try:
        lines = (root / "proc/net/netlink").read_text("ascii", "replace").splitlines()
    except OSError:
        return False
    members = [
        words[2] for line in lines[1:] if len(words := line.split()) > 3 and words[1] == "9" and _bit(words[3], 0)
    ]
    return any(pid == "1" or _comm(root, pid) == "systemd-journal" for pid in members if pid.isdigit())


def _audit_entry(folder: Path) -> bool:
    """Did journald take an audit record since this boot? It notes at least the start of each service."""
    program = shutil.which("journalctl")
    if program is None:
        return False
    command = [program, f"--directory={folder}", "--boot", "--lines=1", "--quiet", "--output=cat", "_TRANSPORT=audit"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def _can_grep() -> bool:
    """Can journalctl search? Not every build can."""
    program = shutil.which("journalctl")
    if program is None:
        return False
    try:
        done = subprocess.run([program, "--version"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"+PCRE2" in done.stdout


def _capable(root: Path) -> bool:
    """Has this process CAP_AUDIT_READ?"""
    try:
        status = (root / "proc/self/status").read_text("ascii", "replace")
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return found is not None and _bit(found[1], _CAP_AUDIT_READ)


def _bit(digits: str, number: int) -> bool:
    try:
        return bool(int(digits, 16) >> number & 1)
    except ValueError:
        return False
