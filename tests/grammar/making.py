"""Made records: as the kernel prints them, in every envelope, with hostile values."""

import re
from dataclasses import dataclass

from hypothesis import strategies as st

MOMENT = 1_795_452_373_207
SERIAL = 644


def untrusted(value: bytes) -> bytes:
    """Print a string as the kernel's audit_log_untrustedstring does: quoted, or hex when any byte needs it."""
    if any(byte < 0x21 or byte > 0x7E or byte == 0x22 for byte in value):
        return value.hex().upper().encode()
    return b'"' + value + b'"'


def abstract(value: bytes) -> bytes:
    """Print an abstract unix address (without its @) as the kernel's audit_unix_addr does."""
    return b'"@' + untrusted(value).strip(b'"') + b'"'


@dataclass(frozen=True, slots=True)
class Wrap:
    """An envelope: what it makes of a body, and what reading it must say."""

    name: str
    head: bytes
    tail: bytes = b""
    transport: str = "syslog"
    time: int = MOMENT
    serial: int = SERIAL
    forgeable: bool = True
    user: bool = False

    def line(self, body: bytes) -> bytes:
        """Return the whole line."""
        return self.head + body + self.tail


_A = b"audit(1795452373.207:644): "
_K = b"type=1400 " + _A
_U = b"type=USER_AVC msg=" + _A
_H = b"pid=410 uid=101 auid=4294967295 ses=4294967295 "
_T = b' exe="/usr/bin/dbus-daemon" sauid=101 hostname=? addr=? terminal=?\''


def _wraps() -> tuple[Wrap, ...]:
    kernel = [
        ("auditd", b"type=AVC msg=" + _A, b"", "audit"),
        ("auditd, enriched", b"type=AVC msg=" + _A, b'\x1dFSUID="root" OUID="root"', "audit-enriched"),
        ("auditd, node", b"node=web-1.example.org type=AVC msg=" + _A, b"", "audit"),
        ("auditd, node, enriched", b"node=web-1 type=AVC msg=" + _A, b'\x1dFSUID="root"', "audit-enriched"),
        ("auditd, CR", b"type=AVC msg=" + _A, b"\r", "audit"),
        ("old type", b"type=APPARMOR_ALLOWED msg=" + _A, b"", "audit"),
        ("number", b"type=1503 msg=" + _A, b"", "audit"),
        ("unknown", b"type=UNKNOWN[1503] msg=" + _A, b"", "audit"),
        ("1400", b"type=1400 msg=" + _A, b"", "audit"),
    ]
    ring = [
        ("dmesg", b"[  153.001234] audit: " + _K),
        ("dmesg, old", b"[  153.001234] " + _K),
        ("dmesg, unpadded", b"[1.234567] audit: " + _K),
        ("dmesg, caller", b"[    1.234567][  T123] audit: " + _K),
        ("dmesg, spaced caller", b"[    1.234567] [  T123] audit: " + _K),
        ("dmesg -T", b"[Mon Nov 23 15:00:00 2026] audit: " + _K),
        ("dmesg -x", b"kern  :notice: [  153.001234] audit: " + _K),
        ("dmesg -x -T", b"kern  :notice: [Mon Nov  3 15:00:00 2026] audit: " + _K),
        ("dmesg -r", b"<5>[  153.001234] audit: " + _K),
        ("dmesg iso", b"2026-11-23T15:00:00,123456+00:00 audit: " + _K),
        ("/dev/kmsg", b"5,1234,153001234,-;audit: " + _K),
        ("/dev/kmsg, caller", b"5,1234,153001234,-,caller=T1;audit: " + _K),
        ("socklog", b"2021-09-11T20:57:41.91645 kern.notice: [  469.180605] audit: " + _K),
        ("dmesg -t, journald kernel", b"audit: " + _K),
        ("bare ring type", _K),
    ]
    syslog = [
        ("BSD", b"Apr  5 19:30:56 host kernel: [153073.826757] audit: " + _K),
        ("BSD, old", b"Apr 15 19:30:56 host kernel: [153073.826757] " + _K),
        ("BSD, no stamp", b"Apr 15 19:30:56 host kernel: audit: " + _K),
        ("BSD, priority", b"<5>Apr 15 19:30:56 host kernel: audit: " + _K),
        ("BSD, precise", b"Nov 23 16:24:01.411861 aavm kernel: audit: " + _K),
        ("BSD, IPv6 host", b"Nov 23 16:24:01 fe80::1 kernel: audit: " + _K),
        ("ISO", b"2026-11-23T15:00:00.1+00:00 host kernel: [  1.5] audit: " + _K),
        ("ISO, Z", b"2026-11-23T15:00:00.123456Z host kernel: audit: " + _K),
        ("ISO, +0000", b"2026-11-23T15:00:00+0000 host kernel: audit: " + _K),
        ("RFC 5424", b"<5>1 2026-11-23T15:00:00.123Z host kernel - - - audit: " + _K),
        ("RFC 5424, data", b'<5>1 2026-11-23T15:00:00Z h kernel - ID [x@1 a="b\\]"][y z="]"] \xef\xbb\xbfaudit: ' + _K),
        ("BSD, zone", b"Jan  1 15:09:04.562575-08:00 localhost kernel: [ 1911.569682] " + _K),
        ("local ISO", b"2013-01-01T15:09:04.562575 localhost kernel: [ 1911.569682] " + _K),
        ("local date", b"2013-01-01 15:09:04 localhost kernel: [ 1911.569682] " + _K),
        ("date with zone", b"2013-01-01 15:09:04.562575+08:00 localhost kernel: [ 1911.569682] " + _K),
        ("short-unix", b"1795452373.207000 host kernel: audit: " + _K),
        ("short-monotonic", b"[  153.001234] host kernel: audit: " + _K),
        ("short-full", b"Mon 2026-11-23 15:00:00 UTC host kernel: audit: " + _K),
        ("audisp-syslog", b"Nov 23 15:00:00 host audisp-syslog[99]: type=AVC msg=" + _A),
        ("audispd, node", b"Nov 23 15:00:00 host audispd: node=web-1 type=AVC msg=" + _A),
    ]
    other = [
        Wrap("journald audit", b"AVC ", transport="journal", time=0, serial=0),
        Wrap("journalctl", b"Nov 23 15:00:00 host audit[3483]: AVC ", time=0, serial=0),
        Wrap("journalctl iso", b"2026-11-23T15:00:00+0100 host audit[3483]: AVC ", time=1795442400000, serial=0),
        Wrap("journalctl unix", b"1795452373.207123 host audit[3483]: AVC ", serial=0),
        Wrap("CRI", b"2026-11-23T15:00:00.123456789Z stderr F [  1.5] audit: " + _K, transport="cri"),
        Wrap("CRI, syslog", b"2026-11-23T15:00:00Z stdout F Nov 23 15:00:00 h kernel: audit: " + _K, transport="cri"),
        Wrap("CRI, auditd", b"2026-11-23T15:00:00.123456789Z stdout F type=AVC msg=" + _A, transport="cri"),
        Wrap("USER_AVC", _U + _H + b"msg='", _T, "user_avc", user=True),
        Wrap("USER_AVC, subj", _U + _H + b"subj=dbus (enforce) msg='", _T, "user_avc", user=True),
        Wrap("USER_AVC, subj =", _U + _H + b"subj==unconfined msg='", _T, "user_avc", user=True),
        Wrap("USER_AVC, rich", _U + _H + b"msg='", _T + b'\x1dUID="m"', "user_avc", user=True),
        Wrap("USER_AVC, user", _U + b"user pid=1 uid=2 auid=3 msg='", _T, "user_avc", user=True),
        Wrap("1107", b"type=1107 msg=" + _A + _H + b"msg='", _T, "user_avc", user=True),
        Wrap(
            "USER_AVC, old tail", _U + _H + b"msg='",
            b" exe=\"/bin/dbus-daemon\" (sauid=103, hostname=?, addr=?, terminal=?)'", "user_avc", user=True,
        ),
        Wrap("journalctl USER", b"Nov  3 15:00:00 h audit: USER_AVC " + _H + b"msg='", _T, time=0, serial=0, user=True),
        Wrap("ring USER_AVC", b"[ 1.5] audit: type=1107 " + _A + _H + b" msg='", _T, "user_avc", user=True),
        Wrap("journald USER_AVC", b"USER_AVC " + _H + b"subj=x msg='", _T, "journal", 0, 0, user=True),
        Wrap("syslog dbus", b"Jul 31 17:10:35 host dbus[1692]: ", time=0, serial=0),
        Wrap("syslog dbus-daemon", b"Jul 31 17:10:35 host dbus-daemon[1692]: ", time=0, serial=0),
        Wrap("syslog dbus-broker", b"2026-11-23T15:00:00Z host dbus-broker[1]: ", time=1795446000000, serial=0),
        Wrap("plain", b"", transport="plain", time=0, serial=0),
    ]  # fmt: skip
    made = [Wrap(name, head, tail, transport, forgeable=False) for name, head, tail, transport in kernel]
    made += [Wrap(name, head, transport="kmsg") for name, head in ring]
    made += [Wrap(name, head) for name, head in syslog]
    return (*made, *other)


WRAPS = _wraps()

# Values that try to be something else than a value.
HOSTILE = (
    b"/x pid=1 ", b'/x" pid=1 comm="y', b"/x\nr,\n/etc/shadow\trw,\n", b"/trail\\", b"/a'b", b"/a\x1dFSUID", b"ABCD",
    b"41", b"(null)", b"/x\r", b"/caf\xc3\xa9", b"/\xff\xfe", b'apparmor="DENIED" operation="open"', b"//null-",
    b"@{HOME}", b"/x=y z=1", b"\x00", b"/%s", b"/x\\", b"none", b"?", b"@", b'"', b"F" * 7,
)  # fmt: skip

names = st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from(HOSTILE), st.text(min_size=1).map(str.encode))
words = st.sampled_from((b"r", b"wc", b"send receive", b"file", b"net", b"stream", b"6", b"-13", b"rtmin+8"))
_KEY = re.compile(rb"[a-z_]{2,12}")
_UNTRUSTED = (b"name", b"comm", b"target", b"srcname", b"peer", b"fstype", b"namespace", b"execpath", b"peer_label")
_PLAIN = (b"class", b"requested_mask", b"denied_mask", b"family", b"sock_type", b"flags", b"info")
_BARE = (b"error", b"fsuid", b"ouid", b"protocol", b"lport", b"laddr", b"signal", b"capability", b"novel_key")


@st.composite
def pairs(draw: st.DrawFn) -> list[tuple[bytes, bytes, bytes]]:
    """Draw the pairs of a body: (key, value, how it is printed), keys in any order."""
    made: list[tuple[bytes, bytes, bytes]] = []
    for key in draw(st.lists(st.sampled_from(_UNTRUSTED), unique=True, max_size=5)):
        value = draw(names)
        made.append((key, value, untrusted(value)))
    for key in draw(st.lists(st.sampled_from((b"addr", b"peer_addr")), unique=True, max_size=2)):
        value = draw(names)
        made.append((key, b"@" + value, abstract(value)))
    for key in draw(st.lists(st.sampled_from(_PLAIN), unique=True, max_size=4)):
        value = draw(words)
        made.append((key, value, b'"' + value + b'"'))
    for key in draw(st.lists(st.sampled_from(_BARE), unique=True, max_size=5)):
        value = draw(st.sampled_from((b"0", b"1000", b"-13", b"::ffff:127.0.0.1", b"rtmin+8", b"41", b"none")))
        made.append((key, value, value))
    return draw(st.permutations(made))


@st.composite
def bodies(draw: st.DrawFn, required: bytes = b' profile="p"') -> tuple[bytes, dict[bytes, bytes], int]:
    """Draw a body of an unknown operation (nothing but profile and pid is required), its fields and its pid."""
    verdict = draw(st.sampled_from((b"ALLOWED", b"DENIED", b"AUDIT", b"KILLED")))
    pid = draw(st.integers(1, 9_999_999_999))
    made = draw(pairs())
    parts = [b" %s=%s" % (key, printed) for key, _, printed in made]
    parts.insert(draw(st.integers(0, len(parts))), b" pid=%d" % pid)
    parts.insert(draw(st.integers(0, len(parts))), required)
    body = b'apparmor="%s" operation="%s"%s' % (verdict, draw(st.sampled_from((b"novel", b"odd_one"))), b"".join(parts))
    return body, {key: value for key, value, _ in made}, pid
