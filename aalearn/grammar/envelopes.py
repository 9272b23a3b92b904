"""The envelopes: what stands before `apparmor="`. Auditd, kernel ring, syslog, journald, bus daemons, container logs.

    envelope = [cri] [priority] [header] core
    header   = rfc5424 | when host tag [printk] | when facility [printk] | [facility] printk
    core     = [node] "type=AVC msg=audit(stamp): " | [node] "type=USER_AVC msg=audit(stamp): pid=… msg='"
             | ["audit: "] "type=1400 audit(stamp): " | ["audit: "] "type=1107 audit(stamp): pid=… msg='"
             | "AVC " | "USER_AVC pid=… msg='" | nothing

Formats: auditd-log formats (audit-userspace), printk and dmesg(1), RFC 3164, RFC 5424, `journalctl -o short-*`, the
Kubernetes CRI log format, systemd's journald-audit.c.
"""

import re
from calendar import timegm
from collections.abc import Sequence
from datetime import UTC, datetime

import pyparsing as pp

from aalearn.grammar.terminals import Terminal, Token, words_pattern
from aalearn.grammar.words import record_words

_WORDS = record_words()
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_ZONE = "Z|[+-][0-9]{2}:?[0-9]{2}"
_ISO = rf"{_DATE}T{_CLOCK}(?:[.,][0-9]{{1,9}})?(?:{_ZONE})"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_STAMP = r"audit\((?P<seconds>[0-9]{1,11})\.(?P<millis>[0-9]{3}):(?P<serial>[0-9]{1,10})\): "
_HEAD = (
    r"(?:user )?pid=[0-9]+ uid=(?P<uid>[0-9]+) auid=(?P<auid>[0-9]+)(?: ses=(?P<ses>[0-9]+))?"
    r"(?: +subj=[^\"'\x1d]*?)? +msg='"
)

CRI = Terminal("cri", rf"(?P<cri>{_ISO}) (?:stdout|stderr) (?P<part>[FP]) ")
PRIORITY = Terminal("priority", r"<(?P<priority>[0-9]{1,3})>")
RFC5424 = Terminal(
    "rfc5424",
    rf"1 (?:-|(?P<rfc>{_ISO})) [!-~]+ (?P<tag>{words_pattern(_WORDS.tags)}|-) [!-~]+ [!-~]+ "
    r"(?:-|(?:\[(?:[^\]\"\\]|\\.|\"(?:[^\"\\]|\\.)*\")*\])+) (?:\xef\xbb\xbf)?",
)
ISO = Terminal("iso", rf"(?P<iso>{_ISO}) ")
LOCAL = Terminal("local date", rf"{_DATE}[T ]{_CLOCK}(?:[.,][0-9]{{1,9}})?(?:{_ZONE})? ")
BSD = Terminal("bsd", rf"(?:{_DAY} )?{_MONTH} +[0-9]{{1,2}} (?:[0-9]{{4}} )?{_CLOCK}(?:\.[0-9]{{1,9}})?(?:{_ZONE})? ")
UNIX = Terminal("unix-time", r"(?P<unix>[0-9]{9,11}\.[0-9]{1,9}) ")
FULL = Terminal("full-date", rf"{_DAY} {_DATE} {_CLOCK}(?:\.[0-9]{{1,9}})? [A-Za-z0-9+:-]+ ")
HOST = Terminal("host", r"[0-9A-Za-z._:%-]*[0-9A-Za-z._%-] ")
TAG = Terminal("tag", rf"(?P<tag>{words_pattern(_WORDS.tags)})(?:\[[0-9]+\])?: ")
FACILITY = Terminal("facility", r"(?P<facility>[a-z0-9]+)(?: *:[a-z]+ *: |\.[a-z]+: )")
_CALLER = r"(?: ?\[ *[TC][0-9]+\])? "  # CONFIG_PRINTK_CALLER
PRINTK = Terminal("printk", rf"\[ *[0-9]+\.[0-9]+\]{_CALLER}")
CTIME = Terminal("ctime", rf"\[{_DAY} {_MONTH} +[0-9]{{1,2}} {_CLOCK} [0-9]{{4}}\]{_CALLER}")
DEVKMSG = Terminal("devkmsg", r"(?P<devkmsg>[0-9]{1,6}),[0-9]+,[0-9]+,[^;\"]{0,80};")
NODE = Terminal("node", r"node=(?P<node>[!#-~]+) ")
KERNEL_TYPE = Terminal(
    "kernel type", rf"type=(?:{words_pattern(_WORDS.kernel_types)}|UNKNOWN\[1[45][0-9]{{2}}\]) +msg={_STAMP}"
)
USER_TYPE = Terminal("user type", rf"type=(?:{words_pattern(_WORDS.user_types)}|UNKNOWN\[1107\]) +msg={_STAMP}{_HEAD}")
AUDIT = Terminal("audit:", r"audit: ")
RING_TYPE = Terminal("ring type", rf"type=1[45][0-9]{{2}} {_STAMP}")
RING_USER = Terminal("ring user type", rf"type=1107 {_STAMP}{_HEAD}")
JOURNAL_AVC = Terminal("journal", r"AVC ")
JOURNAL_USER = Terminal("journal user", rf"USER_AVC {_HEAD}")
PLAIN = Terminal("plain", r"(?:)")


def _rule(name: str, element: pp.ParserElement) -> pp.ParserElement:
    return element.set_name(name)


def envelope_grammar(quoted: bool) -> pp.ParserElement:
    """Return the grammar of the envelopes whose body stands free, or (`quoted`) in msg='…'. It yields tokens."""
    when = _rule(
        "when", ISO.element() | LOCAL.element() | UNIX.element() | FULL.element() | BSD.element() | PRINTK.element()
    )
    ring = _rule("ring stamp", PRINTK.element() | CTIME.element())
    syslog = _rule("syslog", when + HOST.element() + TAG.element() + pp.Opt(PRINTK.element()))
    dmesg = _rule("dmesg", pp.Opt(FACILITY.element()) + (ring | ISO.element()))
    socklog = _rule("socklog", (ISO.element() | LOCAL.element()) + FACILITY.element() + pp.Opt(PRINTK.element()))
    header = _rule("header", RFC5424.element() | syslog | socklog | dmesg | DEVKMSG.element())
    node = pp.Opt(NODE.element())
    if quoted:
        ring_user = _rule("ring user", pp.Opt(AUDIT.element()) + RING_USER.element())
        core = _rule("user core", node + USER_TYPE.element() | ring_user | JOURNAL_USER.element())
    else:
        kernel = _rule("kernel", pp.Opt(AUDIT.element()) + RING_TYPE.element())
        core = _rule("core", node + KERNEL_TYPE.element() | kernel | JOURNAL_AVC.element() | PLAIN.element())
    before = pp.Opt(CRI.element()) + pp.Opt(PRIORITY.element()) + pp.Opt(header)
    return _rule("quoting envelope" if quoted else "envelope", before + core)


_TRANSPORTS = (
    ({"cri"}, "cri"),
    ({"iso", "host"}, "syslog"),
    ({"host"}, "syslog"),
    ({"rfc5424"}, "syslog"),
    ({"user type"}, "user_avc"),
    ({"ring user type"}, "user_avc"),
    ({"kernel type"}, "audit"),
    ({"ring type"}, "kmsg"),
    ({"journal"}, "journal"),
    ({"journal user"}, "journal"),
    ({"plain"}, "plain"),
)


def milliseconds(iso: str) -> int:
    """Return the milliseconds since the epoch of an ISO 8601 time with a zone; 0 when it is no real moment."""
    date, zone = (iso[:-1], "+0000") if iso.endswith("Z") else (iso[: -len(_zone(iso))], _zone(iso))
    second, _, fraction = date.replace(",", ".").partition(".")
    try:
        moment = datetime.strptime(second, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    offset = (hours * 60 + minutes) * (-60 if zone[0] == "-" else 60)
    return max(0, (timegm(moment.timetuple()) - offset) * 1000 + int(fraction[:3].ljust(3, "0") or 0))


def _zone(iso: str) -> str:
    return iso[max(iso.rfind("+"), iso.rfind("-")) :]


class Envelope:
    """One form of envelope: its extractor and what the form alone says.

    `transport` names it; `forgeable` is False only where a line of this form in audit.log comes from the kernel alone;
    `quoted` is True where the body stands in msg='…'; `limit` is the length at which its writer cuts the text.
    """

    __slots__ = ("_core", "_dated", "_groups", "_ring", "forgeable", "limit", "pattern", "quoted", "trail", "transport")

    def __init__(self, trail: Sequence[Token]) -> None:
        names = {token.name for token in trail}
        self.trail = tuple(token.name for token in trail)
        self.transport = next(name for needed, name in _TRANSPORTS if needed <= names)
        self.forgeable = not names <= {"node", "kernel type"}
        self.quoted = bool(names & {"user type", "ring user type", "journal user"})
        core = next(i for i, name in enumerate(self.trail) if name in _CORES)
        before = "".join(token.terminal.extractor(token.text) for token in trail[:core])
        text = f"{before}(?P<core>)" + "".join(token.terminal.extractor(token.text) for token in trail[core:])
        self.pattern = re.compile(text.encode("latin-1"), re.DOTALL)
        self._groups = self.pattern.groupindex
        self._dated = next((name for name in ("iso", "rfc", "unix", "cri") if name in self._groups), None)
        self._ring = bool(names & {"ring type", "ring user type"})
        self._core = "seconds" if names & {"kernel type", "user type"} else None
        self.limit = _WORDS.kmsg_limit - (0 if "audit:" in names else 7) if self._ring else _WORDS.audit_limit

    def stamp(self, match: re.Match[bytes]) -> tuple[int, int]:
        """Return time (ms since the epoch, 0 if the envelope doesn't know it) and serial (0 if it has none)."""
        groups = self._groups
        if "seconds" in groups:
            seconds, millis, serial = match.group("seconds", "millis", "serial")
            return int(seconds + millis), int(serial)
        if self._dated is None or not (text := match[self._dated]):
            return 0, 0
        if self._dated == "unix":
            seconds, _, fraction = text.partition(b".")
            return int(seconds + fraction[:3].ljust(3, b"0")), 0
        return milliseconds(text.decode("ascii")), 0

    def forged(self, match: re.Match[bytes]) -> bool:
        """Return True where the header says that a program wrote it to /dev/kmsg (its facility is not the kernel's)."""
        groups = self._groups
        if not self._ring:
            return False
        return (
            ("priority" in groups and int(match["priority"]) > 7)
            or ("devkmsg" in groups and int(match["devkmsg"]) > 7)
            or ("facility" in groups and match["facility"] != b"kern")
        )

    def bus(self, match: re.Match[bytes]) -> bool:
        """Return True where a bus daemon wrote it, not the kernel: it can only speak of its own operations."""
        return self.quoted or ("tag" in self._groups and match["tag"].startswith(b"dbus"))

    def partial(self, match: re.Match[bytes]) -> bool:
        """Return True for a container log line that goes on in the next one."""
        return "part" in self._groups and match["part"] == b"P"

    def daemon(self, match: re.Match[bytes]) -> tuple[tuple[str, bytes], ...]:
        """Return what a bus daemon's head says of itself (uid, auid, ses), in this order."""
        if not self.quoted:
            return ()
        return tuple((key, value) for key in ("uid", "auid", "ses") if (value := match[key]) is not None)

    def node(self, match: re.Match[bytes]) -> bytes:
        """Return the name after node=, empty where the line has none."""
        return match["node"] if "node" in self._groups else b""

    def cut(self, match: re.Match[bytes], end: int) -> bool:
        """Return True where the text up to `end` is so long that its writer cut it (`limits` in records.toml)."""
        start = match.start("core") if self._core is None else match.start(self._core) - len("audit(")
        return end - start >= self.limit


_CORES = frozenset(
    terminal.name
    for terminal in (NODE, KERNEL_TYPE, USER_TYPE, AUDIT, RING_TYPE, RING_USER, JOURNAL_AVC, JOURNAL_USER, PLAIN)
)
