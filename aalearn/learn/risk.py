"""What each rule risks: a tier and one sentence for a person (generalise-and-risk §5 and §6).

Tier 1 needs a person's approval by name, tier 2 is red, tier 3 amber, tier 4 common; 0 is none of note. The tables of
capabilities and of paths stand in `grammars/risk.toml`; a rule kind's own risks stand in one function each, by kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from re import DOTALL, VERBOSE
from re import Pattern as RegularExpression
from re import compile as regex

from aalearn.learn.sensitive import bin_or_lib, credential, never
from aalearn.model.data import words
from aalearn.model.pattern import Pattern
from aalearn.rules.base import Rule
from aalearn.rules.capability import CapabilityRule
from aalearn.rules.change_profile import ChangeProfileRule
from aalearn.rules.dbus import DbusRule
from aalearn.rules.file import FileRule
from aalearn.rules.io_uring import IoUringRule
from aalearn.rules.link import LinkRule
from aalearn.rules.mount import MountRule, acts
from aalearn.rules.network import NetworkRule
from aalearn.rules.ptrace import PtraceRule
from aalearn.rules.signal import SignalRule
from aalearn.rules.unix import UnixRule


@dataclass(frozen=True, slots=True, order=True)
class Risk:
    """How bad (1 worst … 4, 0 none) and why, one sentence without a final stop."""

    tier: int = 0
    why: str = ""


NONE = Risk()
# On the never list, but every program may read them: the loader's list, public certificates, the kernel's tunables.
_PUBLIC = regex(
    rb"/etc/ld\.so\.preload|/etc/ssl/certs/.*|/etc/pki/.*/certs/.*|/usr/.*|/proc/sys/.*|.*/(?:ca|cacert|cert|chain|fullchain|ca-bundle)\.pem",
    DOTALL,
)
# Reading these tells nothing about a program: what every dynamically linked program needs.
_SYSTEM_READ = regex(
    rb"""/(?:usr/)?(?:local/)?(?:lib|lib32|lib64|libx32)(?:/.*)? | /usr/(?:local/)?share/(?:.*)?
    | /etc/ld\.so\.(?:cache|preload)
    | /etc/(?:localtime|locale\.alias|nsswitch\.conf|passwd|group|terminfo/.*) | /dev/(?:null|zero|full|urandom|random)
    | /proc/(?:filesystems|meminfo|cpuinfo|stat|uptime|mounts|self/.*)
    | /proc/[0-9]+/(?:stat|status|mounts|mountinfo|attr/.*)
    | /sys/devices/system/cpu/.* | (?:/usr)?/s?bin/[^/]*""",
    VERBOSE | DOTALL,
)
_HARMLESS_WRITE = regex(rb"/dev/(?:null|zero|full|tty|pts/[0-9]+|ptmx|stdout|stderr)", DOTALL)


def assess(rule: Rule, paths: tuple[bytes, ...] = ()) -> Risk:
    """Return the worst risk of one rule. `paths` are observed paths behind a pattern (else the pattern's own bytes)."""
    if isinstance(rule, FileRule):
        return file_risk(rule, paths or ((rule.pattern.literal_bytes,) if rule.pattern.is_literal else ()))
    assessor = _KINDS.get(rule.kind)
    return assessor(rule) if assessor is not None else NONE


def file_risk(rule: FileRule, paths: tuple[bytes, ...]) -> Risk:
    """Return the worst risk of a file rule over the paths that it rests on."""
    found = [risk for path in paths for risk in _file_risks(rule, path)]
    if rule.exec and rule.exec.strip("i").lower() in ("ux", "pux", "cux"):
        found.append(Risk(1, "it runs a program without confinement: an escape"))
    return min(found, default=NONE, key=lambda risk: (risk.tier or 9, risk.why))


def _file_risks(rule: FileRule, path: bytes) -> list[Risk]:
    writes = bool(rule.perms & {"w", "a"})
    uses = {"any", *(["write"] if writes else []), *(["run"] if rule.exec or "m" in rule.perms else [])}
    found = _named(path, frozenset(uses))
    if writes and bin_or_lib(path):
        found.append(Risk(1, "it writes into a folder of programs or libraries: drop and run"))
    if credential(path):
        found.append(Risk(2, "it reaches credentials (password hashes, private keys)"))
    if not found and never(path) and (writes or not _PUBLIC.fullmatch(path)):
        what = "a socket, key, device or setting that reaches beyond the program"
        found.append(Risk(2, f"it writes {what}") if writes else Risk(3, f"it reads {what}"))
    return [min(found, key=lambda risk: risk.tier)] if found else []


def _named(path: bytes, uses: frozenset[str]) -> list[Risk]:
    """Return the table's risks of one path for those uses ("any", "write", "run"), in its order."""
    spelled = path.removeprefix(b"/var") if path.startswith(b"/var/run/") else path
    return [risk for when, pattern, risk in _table() if when in uses and pattern.fullmatch(spelled)]


@cache
def _table() -> tuple[tuple[str, RegularExpression[bytes], Risk], ...]:
    """Return the rows of `path` in `grammars/risk.toml`."""
    return tuple(
        (row["when"], regex(row["path"].encode(), VERBOSE | DOTALL), Risk(row["tier"], row["why"]))
        for row in words("risk")["path"]
    )


def written_folder(rule: Rule) -> bytes | None:
    """Return the folder in which a rule writes or makes a file, or None."""
    if not isinstance(rule, FileRule) or not rule.perms & {"w", "a"}:
        return None
    return rule.pattern.literal_bytes.rpartition(b"/")[0]


def needs_child(rule: Rule, shared: frozenset[bytes] = frozenset()) -> str:
    """Return why a program that needs `rule` should have a child profile, as a verb phrase, or "" if it need not.

    `shared` are the folders in which the profile that runs it writes too.
    """
    if rule.kind == "capability":
        return f"needs {rule.text().rstrip(',')}"
    if isinstance(rule, FileRule):
        paths = (rule.pattern.literal_bytes,)
        if rule.exec:
            return ""
        risk = file_risk(rule, paths)
        if 0 < risk.tier <= 2 or (never(paths[0]) and not paths[0].startswith(b"/proc/sys/")):
            return f"needs {rule.pattern.text()}, a sensitive path"
        if written_folder(rule) not in (None, *shared) and not _HARMLESS_WRITE.fullmatch(paths[0]):
            return f"writes {rule.pattern.text()}"
        return ""
    if rule.kind == "link":
        return "makes hard links"
    risk = assess(rule)
    return f"needs {rule.text().rstrip(',')}" if 0 < risk.tier <= 2 else ""


def for_all(path: bytes) -> bool:
    """Return whether a file is there for every user's reading, so that `owner` would only do harm."""
    if _FOR_ALL.match(path) or _HARMLESS_WRITE.fullmatch(path):
        return True
    return _SYSTEM_READ.fullmatch(path) is not None and not path.startswith(b"/proc/")


_FOR_ALL = regex(rb"/(?:usr|lib|lib32|lib64|libx32|bin|sbin|opt)/")


def system_read(rule: Rule, program: bytes) -> bool:
    """Return whether a rule is what every program needs (libraries, locale, its own binary): it tells nothing apart."""
    if not isinstance(rule, FileRule) or rule.exec or rule.perms & {"w", "a", "k"}:
        return False
    path = rule.pattern.literal_bytes
    return path == program or (_SYSTEM_READ.fullmatch(path) is not None and not credential(path))


# ── the other kinds ──────────────────────────────────────────────────────────────────────────────────────────────────


def capability_risk(name: str) -> Risk:
    """Return the risk of one capability; one that the table lacks is new and counts as tier 2."""
    tiers: dict[str, dict[str, str]] = words("risk")["capability"]
    for tier, names in tiers.items():
        if name in names:
            return Risk(int(tier), f"a process with {name} {names[name]}")
    return Risk(3, f"{name} is a capability that aalearn has no judgement on")


def _capability(rule: Rule) -> Risk:
    assert isinstance(rule, CapabilityRule)
    return min((capability_risk(name) for name in rule.names), key=lambda risk: (risk.tier, risk.why))


def _network(rule: Rule) -> Risk:
    assert isinstance(rule, NetworkRule)
    if rule.family in ("netlink", "alg", "vsock"):
        return Risk(2, f"it opens {rule.family} sockets: kernel surface")
    if rule.family == "packet" or rule.type == "raw":
        return Risk(2, "it opens raw packets: traffic of others, and the kernel's parsers")
    return NONE


def _unix(rule: Rule) -> Risk:
    assert isinstance(rule, UnixRule)
    if rule.access & {"connect", "send", "receive"} and rule.peer is None and rule.peer_addr is None:
        return Risk(1, "it talks over unix sockets to any address and label: the record names none (CVE-2020-15257)")
    return NONE


def _ptrace(rule: Rule) -> Risk:
    assert isinstance(rule, PtraceRule)
    what = "it reads or traces" if rule.access & {"read", "trace"} else "it may be read or traced by"
    if rule.peer is None:
        return Risk(1, f"{what} any process: the record names none")
    if _is(rule.peer, b"unconfined"):
        return Risk(2, f"{what} unconfined processes")
    return NONE


def _signal(rule: Rule) -> Risk:
    assert isinstance(rule, SignalRule)
    if rule.peer is None:
        return Risk(1, "it exchanges signals with any process: the record names none")
    return NONE


def _dbus(rule: Rule) -> Risk:
    assert isinstance(rule, DbusRule)
    if "send" in rule.access and rule.member is None and (rule.bus is None or _is(rule.bus, b"system")):
        return Risk(2, "it sends any message on the system bus: which one is not known")
    if "eavesdrop" in rule.access:
        return Risk(2, "it reads the messages of others on the bus")
    return NONE


def _mount(rule: Rule) -> Risk:
    assert isinstance(rule, MountRule)
    if rule.fstype is not None and any(_is(rule.fstype, name) for name in (b"cgroup", b"cgroup2")):
        return Risk(1, "it mounts control groups, which can run a program on the host (CVE-2022-0492)")
    _, propagation = acts(rule.options)
    if propagation and rule.target is not None:
        return Risk(2, "it changes how mounts spread between namespaces")
    if rule.source is None or rule.target is None:
        return Risk(1, "it mounts without a known source and target (as in CVE-2021-30465)")
    return Risk(2, "it changes what stands where in the file system")


def _remount(_: Rule) -> Risk:
    return Risk(2, "it changes the options of a mount, among them read-only and nosuid")


def _umount(_: Rule) -> Risk:
    return Risk(2, "it takes away what hides or protects a folder")


def _pivot_root(_: Rule) -> Risk:
    return Risk(1, "it changes the root of the file system (CVE-2021-30465)")


_LAST = regex(rb"(?:^|[:/&])([^:/&]*)(?=//&|$)")  # the last part of each stacked member: `:ns:p//hat` gives `hat`


def _change_profile(rule: Rule) -> Risk:
    assert isinstance(rule, ChangeProfileRule)
    if not rule.target.is_literal or b"unconfined" in _LAST.findall(rule.target.literal_bytes):
        return Risk(1, "it may leave its confinement: an escape")
    return Risk(3, "it may change to another profile")


def _userns(_: Rule) -> Risk:
    return Risk(1, "it makes user namespaces, which open much of the kernel (as in CVE-2022-0185)")


def _io_uring(rule: Rule) -> Risk:
    assert isinstance(rule, IoUringRule)
    return (
        Risk(2, f"io_uring {rule.access}: kernel surface")
        if rule.access == "override_creds"
        else Risk(3, "io_uring sqpoll: a kernel thread works for it")
    )


def _link(rule: Rule) -> Risk:
    assert isinstance(rule, LinkRule)
    if rule.name.is_literal:
        named = min(_named(rule.name.literal_bytes, frozenset({"write"})), default=NONE, key=lambda risk: risk.tier)
        if named.tier == 1:
            return named
    for path in (rule.name, rule.target):
        if path.is_literal and (credential(path.literal_bytes) or bin_or_lib(path.literal_bytes)):
            return Risk(2, "it makes a second name for a credential or a program")
    return NONE


def _is(pattern: Pattern, value: bytes) -> bool:
    return pattern.is_literal and pattern.literal_bytes == value


_KINDS: dict[str, Callable[[Rule], Risk]] = {
    "capability": _capability,
    "change_profile": _change_profile,
    "dbus": _dbus,
    "io_uring": _io_uring,
    "link": _link,
    "mount": _mount,
    "network": _network,
    "pivot_root": _pivot_root,
    "ptrace": _ptrace,
    "remount": _remount,
    "signal": _signal,
    "umount": _umount,
    "unix": _unix,
    "userns": _userns,
}
