"""The support archive: what a person who helps needs to know of a node, and none of what its programs did.

No log record, no file name out of one, no password and no environment goes in. Each member is listed in README.txt
with what was left out.
"""

import gzip
import io
import json
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aalearn import __version__
from aalearn.doctor.finding import Ask, Finding
from aalearn.doctor.host import Host
from aalearn.model.errors import AalearnError, UsageError
from aalearn.model.text import shown
from aalearn.policy.features import Features
from aalearn.policy.loaded import loaded
from aalearn.store import Store

_README: Final = """\
A support archive of aalearn. It was made to be read by strangers:

doctor.json    what `aalearn doctor` found
system.json    versions of the kernel, the distribution, Python and aalearn
settings.json  the settings in force; passwords in the store's URL are replaced
store.json     counters, losses and sizes; no record, no rule and no path of one
features.txt   what the kernel's AppArmor mediates
loaded.json    the names and modes of loaded profiles (empty unless made as root)
units.txt      the state of aalearn's systemd units
{journal}
"""
_UNITS: Final = ("aalearn.service", "aalearn-apply.socket")
_PROPERTIES: Final = "Id,LoadState,ActiveState,SubState,Result,NRestarts,StatusText,MemoryPeak,ExecMainStatus"
_LINES: Final = "500"


def bundle(
    file: Path, host: Host, ask: Ask, findings: Sequence[Finding], settings: Mapping[str, Any], *, journal: bool = False
) -> tuple[str, ...]:
    """Write the archive (.tar.gz, mode 0600) and return the names of its members.

    `settings` must be free of secrets already. `journal`: the last lines of the service too, which may name files.
    Raises UsageError when the file exists or can't be made.
    """
    parts = {
        "doctor.json": _json([finding_document(finding) for finding in findings]),
        "system.json": _json(_system(host)),
        "settings.json": _json(settings),
        "store.json": _json(_store(ask)),
        "features.txt": _features(host),
        "loaded.json": _json(_loaded(host)),
        "units.txt": _said(host, "systemctl", "show", f"--property={_PROPERTIES}", *_UNITS),
    }
    note = "journal.txt is left out: ask for it with --journal"
    if journal:
        note = f"journal.txt    the service's last {_LINES} lines, which may name files"
        units = [part for unit in _UNITS for part in ("--unit", unit)]
        parts["journal.txt"] = _said(host, "journalctl", "--no-pager", "--lines", _LINES, *units)
    parts["README.txt"] = _README.format(journal=note)
    _write(file, parts)
    return tuple(sorted(parts))


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain values."""
    return {"check": finding.check, "level": str(finding.level), "text": finding.text, "mend": finding.mend}


def _write(file: Path, parts: Mapping[str, str]) -> None:
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in sorted(parts.items()):
            data = text.encode("utf-8", "backslashreplace")
            member = tarfile.TarInfo(f"aalearn-support/{name}")
            member.size, member.mode = len(data), 0o600
            archive.addfile(member, io.BytesIO(data))
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(raw.getvalue())
        except OSError:
            file.unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise UsageError(f"{shown(str(file))} exists already: name another file") from None
    except OSError as error:
        raise UsageError(f"can't write {shown(str(file))}: {error.strerror}") from None


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _system(host: Host) -> dict[str, Any]:
    release = host.text("/etc/os-release") or ""
    pretty = next((line for line in release.splitlines() if line.startswith("PRETTY_NAME=")), "")
    return {
        "aalearn": __version__,
        "distribution": pretty.removeprefix("PRETTY_NAME=").strip('"'),
        "kernel": host.text("/proc/sys/kernel/osrelease"),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "security_modules": host.text("/sys/kernel/security/lsm"),
    }


def _store(ask: Ask) -> dict[str, Any]:
    if ask.store is None or not ask.store.exists():
        return {"there": False}
    try:
        with Store.open(f"sqlite:///{ask.store}", readonly=True) as store:
            profiles = store.profiles()
            return {
                "there": True,
                "bytes": ask.store.stat().st_size,
                "profiles": len(profiles),
                "accesses": sum(profile.accesses for profile in profiles),
                "events": sum(profile.events for profile in profiles),
                "counters": dict(store.counters()),
                "losses": [
                    {"time": loss.time, "kind": loss.kind, "amount": loss.amount} for loss in store.losses()[-1000:]
                ],
                "sources": len(store.positions()),
            }
    except (AalearnError, OSError) as error:
        return {"there": True, "error": shown(str(error))}


def _features(host: Host) -> str:
    try:
        return Features.of_node(host.path("/sys/kernel/security/apparmor/features")).text
    except AalearnError as error:
        return f"{error}\n"


def _loaded(host: Host) -> list[dict[str, str]] | str:
    try:
        found = loaded(host.path("/sys/kernel/security/apparmor"))
    except AalearnError as error:
        return str(error)
    return [{"name": shown(one.name), "namespace": one.namespace, "mode": one.mode} for one in found]


def _said(host: Host, *command: str) -> str:
    said = host.run(*command)
    if said is None:
        return f"{command[0]} can't be asked\n"
    return "\n".join(shown(line) for line in (said.out or said.err).splitlines()) + "\n"
