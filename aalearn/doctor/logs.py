"""Checks of the way of a record: auditd, the journal's audit socket, rate limits, and who may read."""

import re
from collections.abc import Iterator
from typing import Final

from aalearn.doctor.finding import Ask, Finding, Level, check
from aalearn.doctor.host import Host
from aalearn.model.text import shown

AUDIT_LOG: Final = "/var/log/audit/audit.log"
_AUDITD_CONF: Final = "/etc/audit/auditd.conf"
_SOCKET: Final = "systemd-journald-audit.socket"
_JOURNALS: Final = ("/var/log/journal", "/run/log/journal")
_SMALL_BACKLOG: Final = 1024
_SMALL_LOG_MB: Final = 32
_SETTING: Final = re.compile(r"^\s*([A-Za-z_]+)\s*[=\s]\s*(\S+)", re.M)
_BOOT: Final = "add audit=1 audit_backlog_limit=8192 to GRUB_CMDLINE_LINUX in /etc/default/grub, then: sudo update-grub"


@check("audit")
def audit(host: Host, _: Ask) -> Iterator[Finding]:
    """Where do records go: to auditd, to the journal, or (rate limited) to the kernel ring alone."""
    line = (host.text("/proc/cmdline") or "").split()
    if "audit=0" in line or "audit=off" in line:
        mend = "take audit=0 from the kernel's command line and reboot"
        yield Finding("audit", Level.PROBLEM, "auditing is switched off at boot: no record is written", mend)
        return
    auditd = "auditd" in host.programs()
    socket = host.unit_active(_SOCKET)
    if auditd:
        yield Finding(
            "audit", Level.OK, f"auditd runs; records go to {AUDIT_LOG}" + (" and the journal" * bool(socket))
        )
        yield from _auditd(host)
    elif socket:
        yield Finding("audit", Level.OK, "the journal takes audit records (no auditd)")
    elif socket is None and not host.exists("/run/systemd/system"):
        text = "no auditd runs, and there is no systemd: records go to the kernel ring only, 10 in 5 seconds"
        yield Finding("audit", Level.PROBLEM, text, "sudo apt-get install auditd")
    else:
        yield Finding(
            "audit",
            Level.PROBLEM,
            "neither auditd nor the journal takes records: the kernel ring gets 10 in 5 seconds, the rest is lost",
            f"sudo apt-get install auditd   (or: sudo systemctl enable --now {_SOCKET})",
        )
    yield from _status(host)


def _auditd(host: Host) -> Iterator[Finding]:
    """Look at auditd.conf: how much is kept before the oldest is thrown away."""
    text = host.text(_AUDITD_CONF)
    if text is None:
        return
    found = {name.lower(): value.lower() for name, value in _SETTING.findall(text)}
    size, number = _whole(found.get("max_log_file", "8")), _whole(found.get("num_logs", "5"))
    if found.get("max_log_file_action", "keep_logs") == "rotate" and size * number < _SMALL_LOG_MB:
        yield Finding(
            "audit",
            Level.NOTE,
            f"auditd keeps {size * number} MB (about {1250 * size * number:,} opens) before it throws records away",
            f"set max_log_file and num_logs higher in {_AUDITD_CONF}, then: sudo systemctl kill -s HUP auditd",
        )
    for name in ("disk_full_action", "disk_error_action"):
        if found.get(name) in {"suspend", "ignore"}:
            text = f"auditd goes on without writing when its disk fails ({name} = {found[name]})"
            yield Finding("audit", Level.NOTE, text, f"keep an eye on the space of {AUDIT_LOG}")


def _status(host: Host) -> Iterator[Finding]:
    """Ask the kernel by auditctl (root only) for its limits and what it has lost."""
    said = host.run("auditctl", "-s")
    if said is None or said.code:
        return
    found = dict(_SETTING.findall(said.out))
    lost, backlog, rate = (_whole(found.get(name, "0")) for name in ("lost", "backlog_limit", "rate_limit"))
    if lost:
        text = f"the kernel has lost {lost:,} audit records since boot"
        yield Finding("audit", Level.PROBLEM, text, f"sudo auditctl -b 8192 --reset-lost; {_BOOT}")
    if 0 < backlog < _SMALL_BACKLOG:
        mend = f"sudo auditctl -b 8192; to keep it: -b 8192 in /etc/audit/rules.d/, or {_BOOT}"
        yield Finding("audit", Level.PROBLEM, f"the audit backlog holds {backlog:,} records only", mend)
    if rate:
        mend = "sudo auditctl -r 0; and take -r from /etc/audit/rules.d/"
        yield Finding("audit", Level.PROBLEM, f"audit records are limited to {rate:,} a second", mend)


@check("rate limits")
def rate_limits(host: Host, _: Ask) -> Iterator[Finding]:
    """Limits of the journal and of the kernel ring."""
    said = host.run("systemd-analyze", "cat-config", "systemd/journald.conf")
    text = said.out if said is not None and not said.code else host.text("/etc/systemd/journald.conf") or ""
    found = dict(_SETTING.findall("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))))
    if found.get("Storage") == "none":
        mend = "set Storage=auto in /etc/systemd/journald.conf.d/, then: sudo systemctl restart systemd-journald"
        yield Finding("rate limits", Level.PROBLEM, "the journal stores nothing (Storage=none)", mend)
    elif found.get("Storage") == "volatile" or not host.exists(_JOURNALS[0]):
        text = "the journal is kept in memory: what is not read before a reboot is lost"
        yield Finding(
            "rate limits", Level.NOTE, text, "sudo mkdir -p /var/log/journal && sudo systemctl restart systemd-journald"
        )
    if found.get("Audit", "").lower() in {"no", "false", "0", "off"}:
        mend = "take Audit=no from journald.conf, then: sudo systemctl restart systemd-journald"
        yield Finding("rate limits", Level.NOTE, "the journal switches auditing off when it starts (Audit=no)", mend)
    if "auditd" not in host.programs() and not host.unit_active(_SOCKET):
        burst = host.text("/proc/sys/kernel/printk_ratelimit_burst")
        seconds = host.text("/proc/sys/kernel/printk_ratelimit")
        if seconds not in (None, "0"):
            yield Finding(
                "rate limits",
                Level.PROBLEM,
                f"the kernel ring takes {burst} records in {seconds} seconds, and nothing else takes them",
                "sudo apt-get install auditd   (or: sudo sysctl kernel.printk_ratelimit=0, which may flood the ring)",
            )


@check("permissions")
def permissions(host: Host, _: Ask) -> Iterator[Finding]:
    """May this user read the logs."""
    if host.exists("/var/log/audit"):
        if host.readable("/var/log/audit") and (not host.exists(AUDIT_LOG) or host.readable(AUDIT_LOG)):
            yield Finding("permissions", Level.OK, f"{AUDIT_LOG} may be read")
        else:
            mend = "run as root, or give the service's user the group: sudo usermod -aG adm aalearn"
            yield Finding("permissions", Level.PROBLEM, f"{AUDIT_LOG} may not be read by this user", mend)
    journals = [path for path in _JOURNALS if host.exists(path)]
    if not journals:
        return
    inner = [path for name in journals for path in sorted(host.path(name).glob("*/system*.journal"))[:1]]
    if inner and not any(host.readable(str(path.relative_to(host.root))) for path in inner):
        mend = "run as root, or give the service's user the group: sudo usermod -aG systemd-journal aalearn"
        yield Finding("permissions", Level.PROBLEM, "the system's journal may not be read by this user", mend)
    elif inner:
        yield Finding("permissions", Level.OK, f"the journal {shown(', '.join(journals))} may be read")


def _whole(word: str) -> int:
    return int(word) if word.isdigit() and len(word) < 12 else 0
