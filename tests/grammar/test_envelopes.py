"""Every envelope of the facts, around every kind of body."""

import pytest

from aalearn.grammar.lines import Aside, Lines, Sighting
from tests.grammar.making import SERIAL, WRAPS, Wrap

FILE = (
    b'apparmor="ALLOWED" operation="open" class="file" profile="p" name="/etc/hosts" pid=77 comm="cat" '
    b'requested_mask="r" denied_mask="r" fsuid=0 ouid=0'
)
DBUS = (
    b'apparmor="DENIED" operation="dbus_method_call"  bus="system" path="/org/a" interface="org.a.B" member="C" '
    b'mask="send" name="org.a" pid=77 label="p" peer_pid=9 peer_label="unconfined"'
)


def read(line: bytes) -> Sighting:
    """Read a line three times (grammar, shape, cache): it must say the same."""
    lines = Lines()
    first = lines.read(line)
    assert isinstance(first, Sighting), first
    lines._young.clear()
    second = lines.read(line)
    third = lines.read(line)
    for again in (second, third):
        assert isinstance(again, Sighting)
        assert again[:3] == first[:3]
        assert again.entry.event == first.entry.event
        assert again.entry.digest == first.entry.digest
    return first


@pytest.mark.parametrize("wrap", WRAPS, ids=lambda wrap: wrap.name)
def test_every_envelope_is_read(wrap: Wrap) -> None:
    body = DBUS if wrap.user or "dbus" in wrap.name else FILE
    seen = read(wrap.line(body))
    assert (seen.time, seen.serial, seen.pid) == (wrap.time, wrap.serial, 77)
    assert (seen.entry.transport, seen.entry.forgeable) == (wrap.transport, wrap.forgeable)
    assert seen.entry.event.profile == b"p"
    assert seen.entry.digest == read(b"type=AVC msg=audit(1.000:1): " + body).entry.digest
    if not wrap.user:
        assert seen.entry.need == read(body).entry.need


@pytest.mark.parametrize("wrap", [wrap for wrap in WRAPS if wrap.user], ids=lambda wrap: wrap.name)
def test_a_bus_daemon_s_head_and_tail_say_who_and_not_what(wrap: Wrap) -> None:
    event = read(wrap.line(DBUS)).entry.event
    assert event.get("uid") in (b"101", b"2")
    assert event.get("exe") in (b"/usr/bin/dbus-daemon", b"/bin/dbus-daemon")
    assert event.get("addr") is None
    assert read(wrap.line(DBUS)).entry.need == read(b"Jul 31 17:10:35 host dbus[1692]: " + DBUS).entry.need


def test_digests_differ_where_bodies_do() -> None:
    head = b"type=AVC msg=audit(1.000:1): "
    assert read(head + FILE).entry.digest == read(head + FILE.replace(b"pid=77", b"pid=78")).entry.digest
    changed = (FILE.replace(b"hosts", b"hostz"), FILE.replace(b"fsuid=0", b"fsuid=1"), FILE + b" x=1", DBUS)
    assert len({read(head + body).entry.digest for body in (FILE, *changed)}) == 5


def test_node_is_told_and_kept_apart() -> None:
    lines = Lines()
    seen = [lines.read(b"node=%s type=AVC msg=audit(1.000:1): " % node + FILE) for node in (b"a", b"b", b"a")]
    assert [one.entry.node for one in seen if isinstance(one, Sighting)] == [b"a", b"b", b"a"]


@pytest.mark.parametrize(
    "line",
    [
        b"13,1234,153001234,-;audit: type=1400 audit(1.000:1): " + FILE,
        b"<13>[  153.001234] audit: type=1400 audit(1.000:1): " + FILE,
        b"user  :notice: [  153.001234] audit: type=1400 audit(1.000:1): " + FILE,
        b"2021-09-11T20:57:41Z user.notice: [1.5] audit: type=1400 audit(1.000:1): " + FILE,
        b"<13>Apr 15 19:30:56 host kernel: audit: type=1400 audit(1.000:1): " + FILE,
    ],
)
def test_what_a_program_wrote_to_the_kernel_ring_is_forged(line: bytes) -> None:
    lines = Lines()
    for seen in (lines.read(line), lines.read(line)):
        assert isinstance(seen, Aside)
        assert seen.kind == "forged"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"", "other"),
        (b"Nov 23 15:00:00 host sshd[1]: Accepted publickey", "other"),
        (b"Kernel command line: apparmor=1 security=apparmor", "other"),
        (b"Nov 23 15:00:00 host evil[1]: " + FILE, "malformed"),
        (b"Nov 23 15:00:00 host evil[1]: type=1400 audit(1.000:1): " + FILE, "malformed"),
        (b"type=USER_LOGIN msg=audit(1.000:1): pid=1 uid=0 auid=0 ses=1 msg='" + FILE + b"'", "malformed"),
        (b"type=AVC msg=audit(1_0.000:1): " + FILE, "malformed"),
        (b"type=AVC msg=audit(1.000:+1): " + FILE, "malformed"),
        (b"type=AVC msg=audit(1.000:12345678901): " + FILE, "malformed"),
        (b"type=AVC msg=audit(1.000:" + b"9" * 5000 + b"): " + FILE, "malformed"),
        (b"type=AVC msg=audit(1.000:1): avc:  denied  { read } for  pid=1", "other"),
        (b'log says apparmor="maybe', "other"),
        (b"2026-11-23T15:00:00.1Z stderr P [  1.5] audit: type=1400 audit(1.000:1): " + FILE, "truncated"),
        (b"type=SYSCALL msg=audit(1.000:1): arch=c000003e", "companion"),
        (b"type=PROCTITLE msg=audit(1.000:1): proctitle=61", "companion"),
        (b"node=a type=PATH msg=audit(1.000:1): item=0", "companion"),
        (b"[    1.5] audit: type=1327 audit(1.000:1): proctitle=61", "companion"),
        (b"Apr  5 19:30:56 h kernel: [1.5] audit: type=1300 audit(1.000:1): arch=c000003e", "companion"),
    ],
)
def test_what_is_no_record_is_told_apart(line: bytes, kind: str) -> None:
    seen = Lines().read(line)
    assert isinstance(seen, Aside)
    assert seen.kind == kind


@pytest.mark.parametrize(
    ("line", "sign", "amount", "time"),
    [
        (b"[   54.841838] kauditd_printk_skb: 4814 callbacks suppressed", "printk", 4814, 0),
        (b"Nov 23 16:24:01 aavm kernel: audit_printk_skb: 93 callbacks suppressed", "printk", 93, 0),
        (b"Nov 23 16:25:45.650810 aavm systemd-journald[167]: Missed 42 kernel messages", "kmsg", 42, 0),
        (b"2026-11-23T15:00:00Z h systemd-journald[167]: Missed 42 kernel messages", "kmsg", 42, 1795446000000),
        (b"[   54.8] audit: backlog limit exceeded", "backlog", 1, 0),
        (b"[   54.8] audit: rate limit exceeded", "rate", 1, 0),
        (b"audit: audit_lost=7 audit_rate_limit=0 audit_backlog_limit=64", "lost", 7, 0),
        (b"audit: audit_backlog=65 > audit_backlog_limit=64", "backlog", 1, 0),
        (b"audit: kauditd hold queue overflow", "queue", 1, 0),
    ],
)
def test_signs_of_loss(line: bytes, sign: str, amount: int, time: int) -> None:
    seen = Lines().read(line)
    assert isinstance(seen, Aside)
    assert (seen.kind, seen.sign, seen.amount, seen.time) == ("loss", sign, amount, time)


def test_other_rate_limits_are_not_our_loss() -> None:
    for line in (b"[1.5] net_ratelimit: 30 callbacks suppressed", b"app: Missed 3 meals, all kernel messages fine"):
        assert Lines().read(line) == Aside("other")


@pytest.mark.parametrize(
    ("exe", "path"), [(b'"/usr/bin/x"', b"/usr/bin/x"), (b"2F612062", b"/a b"), (b"(null)", b""), (b"2F6", b"")]
)
def test_companions_tell_the_lineage(exe: bytes, path: bytes) -> None:
    rest = b"arch=c000003e syscall=262 success=yes exit=0 a0=1 items=0 ppid=612 pid=614 auid=1 uid=0 tty=(none) ses=1 "
    for head in (b"type=SYSCALL msg=", b"node=x type=SYSCALL msg=", b"[  1.5] audit: type=1300 "):
        line = (
            head + b"audit(1795451066.875:2865): " + rest + b'comm="stat" exe=' + exe + b' subj=x key=(null)\x1dA="b"'
        )
        assert Lines().companion(line) == (1795451066875, 2865, 614, 612, path)
    assert Lines().companion(b"type=PROCTITLE msg=audit(1.000:1): proctitle=61") is None


def test_serial_is_the_audit_one() -> None:
    assert read(WRAPS[0].line(FILE)).serial == SERIAL
