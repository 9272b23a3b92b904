"""Each kind of body, as real kernels 6.1, 6.12 and 7.2 print it: what the event, the need and the owner are."""

import pytest

from aalearn.grammar.lines import Entry, Lines, Sighting
from aalearn.model.event import Verdict

HEAD = b"type=AVC msg=audit(1795452373.207:644): apparmor="
MASKS = 'requested_mask="%s" denied_mask="%s"'


def entry(body: str) -> Entry:
    """Read a body (from the verdict's quote on) behind auditd's envelope."""
    seen = Lines().read(HEAD + body.encode("latin-1"))
    assert isinstance(seen, Sighting), seen
    return seen.entry


# body, operation, profile, fields of the need ("k=v" …), owner
TABLE = [
    (
        '"ALLOWED" operation="open" class="file" profile="wl_cri//null-/bin/busybox" name="/etc/hostname" pid=1885 '
        'comm="cat" requested_mask="r" denied_mask="r" fsuid=0 ouid=0',
        "open",
        "wl_cri//null-/bin/busybox",
        {"class": "file", "name": "/etc/hostname", "requested_mask": "r", "denied_mask": "r"},
        True,
    ),
    (
        '"AUDIT" operation="open" profile="wl_deny" name="/etc/passwd" pid=577 '
        'comm="cat" requested_mask="r" fsuid=0 ouid=33',
        "open",
        "wl_deny",
        {"name": "/etc/passwd", "requested_mask": "r"},
        False,
    ),
    (
        '"ALLOWED" operation="exec" class="file" info="no new privs" error=-1 '
        'profile="c" name="/proc/self/exe" pid=936 '
        'comm="sh" requested_mask="x" denied_mask="x" fsuid=0 ouid=0 target="c//null-/bin/busybox"',
        "exec",
        "c",
        {
            "class": "file",
            "info": "no new privs",
            "error": "-1",
            "name": "/proc/self/exe",
            "requested_mask": "x",
            "denied_mask": "x",
            "target": "c//null-/bin/busybox",
        },
        True,
    ),
    (
        '"ALLOWED" operation="exec" profile="names" name=2F7661722F6E6C0A78 pid=546 comm="python3" requested_mask="x" '
        'denied_mask="x" fsuid=0 ouid=0 target=6E616D65732F2F6E756C6C2D2F7661722F6E6C0A78',
        "exec",
        "names",
        {"name": "/var/nl\nx", "requested_mask": "x", "denied_mask": "x", "target": "names//null-/var/nl\nx"},
        True,
    ),
    (
        '"ALLOWED" operation="link" profile="wl_disc_a" name="/h" pid=537 comm="python3" '
        'requested_mask="l" denied_mask="l" '
        'fsuid=0 ouid=0 target="/g"',
        "link",
        "wl_disc_a",
        {"name": "/h", "requested_mask": "l", "denied_mask": "l", "target": "/g"},
        True,
    ),
    (
        '"ALLOWED" operation="capable" class="cap" profile="p" pid=1893 comm="ping" capability=13  capname="net_raw"',
        "capable",
        "p",
        {"class": "cap", "capability": "13", "capname": "net_raw"},
        None,
    ),
    (
        '"ALLOWED" operation="create" class="net" profile="p" pid=9 comm="ip" '
        'family="netlink" sock_type="raw" protocol=0 '
        'requested_mask="create" denied_mask="create"',
        "create",
        "p",
        {
            "class": "net",
            "family": "netlink",
            "sock_type": "raw",
            "protocol": "0",
            "requested_mask": "create",
            "denied_mask": "create",
        },
        None,
    ),
    (  # a client's own port and a passing client's port and address are chance; a server's port is not
        '"ALLOWED" operation="recvmsg" class="net" profile="p" pid=8 comm="nc" laddr=::ffff:127.0.0.1 lport=99 '
        'faddr=::ffff:127.0.0.1 fport=43062 family="inet6" sock_type="stream" protocol=6 requested_mask="receive" '
        'denied_mask="receive"',
        "recvmsg",
        "p",
        {
            "class": "net",
            "laddr": "::ffff:127.0.0.1",
            "lport": "99",
            "family": "inet6",
            "sock_type": "stream",
            "protocol": "6",
            "requested_mask": "receive",
            "denied_mask": "receive",
        },
        None,
    ),
    (
        '"ALLOWED" operation="connect" profile="p" pid=8 comm="nc" laddr=10.0.0.1 '
        "lport=43062 faddr=10.0.0.2 fport=50051 "
        'family="inet" sock_type="stream" protocol=6 requested_mask="connect" denied_mask="connect"',
        "connect",
        "p",
        {
            "laddr": "10.0.0.1",
            "faddr": "10.0.0.2",
            "fport": "50051",
            "family": "inet",
            "sock_type": "stream",
            "protocol": "6",
            "requested_mask": "connect",
            "denied_mask": "connect",
        },
        None,
    ),
    (
        '"ALLOWED" operation="listen" class="net" info="failed af match" error=-13 profile="u" pid=1 comm="p" '
        'family="unix" sock_type="stream" protocol=0 requested_mask="listen" denied_mask="listen" '
        'addr="@616273207769746820227122FF35"',
        "listen",
        "u",
        {
            "class": "net",
            "info": "failed af match",
            "error": "-13",
            "family": "unix",
            "sock_type": "stream",
            "protocol": "0",
            "requested_mask": "listen",
            "denied_mask": "listen",
            "addr": '@abs with "q"\xff5',
        },
        None,
    ),
    (
        '"ALLOWED" operation="sendmsg" class="net" profile="u" pid=1 comm="p" '
        'family="unix" sock_type="dgram" protocol=0 '
        'requested_mask="receive" denied_mask="receive" addr="@abs-dgram" peer_addr=none peer="u"',
        "sendmsg",
        "u",
        {
            "class": "net",
            "family": "unix",
            "sock_type": "dgram",
            "protocol": "0",
            "requested_mask": "receive",
            "denied_mask": "receive",
            "addr": "@abs-dgram",
            "peer_addr": "none",
            "peer": "u",
        },
        None,
    ),
    (
        '"ALLOWED" operation="connect" class="file" profile="p" name="/run/x.sock" pid=1 comm="p" requested_mask="wr" '
        'denied_mask="wr" fsuid=0 ouid=0',
        "connect",
        "p",
        {"class": "file", "name": "/run/x.sock", "requested_mask": "wr", "denied_mask": "wr"},
        True,
    ),
    (
        '"ALLOWED" operation="signal" class="signal" profile="p" pid=2 comm="sh" '
        'requested_mask="send" denied_mask="send" '
        'signal=rtmin+8 peer="p"',
        "signal",
        "p",
        {"class": "signal", "requested_mask": "send", "denied_mask": "send", "signal": "rtmin+8", "peer": "p"},
        None,
    ),
    (
        '"ALLOWED" operation="ptrace" profile="p" pid=2 comm="strace" requested_mask="trace" denied_mask="trace" '
        'peer="p//null-/usr/bin/ls"',
        "ptrace",
        "p",
        {"requested_mask": "trace", "denied_mask": "trace", "peer": "p//null-/usr/bin/ls"},
        None,
    ),
    (
        '"ALLOWED" operation="mount" class="mount" info="failed mntpnt match" error=-13 profile="p" name="/tmp/" pid=9 '
        'comm="mount" fstype="tmpfs" srcname="x" flags="rw, silent"',
        "mount",
        "p",
        {
            "class": "mount",
            "info": "failed mntpnt match",
            "error": "-13",
            "name": "/tmp/",
            "fstype": "tmpfs",
            "srcname": "x",
            "flags": "rw, silent",
        },
        None,
    ),
    (
        '"ALLOWED" operation="mount" class="mount" info="failed mntpnt match" error=-13 profile="p" name="/tmp/" pid=9 '
        'comm="mount" flags="rw, move"',
        "mount",
        "p",
        {"class": "mount", "info": "failed mntpnt match", "error": "-13", "name": "/tmp/", "flags": "rw, move"},
        None,
    ),
    (
        '"ALLOWED" operation="mount" profile="p" name="/tmp/" pid=9 comm="mount" flags="ro, remount"',
        "mount",
        "p",
        {"name": "/tmp/", "flags": "ro, remount"},
        None,
    ),
    ('"ALLOWED" operation="umount" profile="p" name="/a/" pid=9 comm="x"', "umount", "p", {"name": "/a/"}, None),
    (
        '"ALLOWED" operation="pivotroot" profile="p" name="/new/" pid=9 comm="x" srcname="/new/old/"',
        "pivotroot",
        "p",
        {"name": "/new/", "srcname": "/new/old/"},
        None,
    ),
    (
        '"ALLOWED" operation="change_hat" profile="p" name="H" pid=9 comm="x" target="p//null-H"',
        "change_hat",
        "p",
        {"name": "H", "target": "p//null-H"},
        None,
    ),
    (
        '"ALLOWED" operation="change_profile" class="file" profile="p" name="t" pid=9 comm="x" target="t"',
        "change_profile",
        "p",
        {"class": "file", "name": "t", "target": "t"},
        None,
    ),
    (
        '"DENIED" operation="change_onexec" class="file" info="label not found" error=-2 profile="unconfined" name="n" '
        'pid=1 comm="runc:[2:INIT]"',
        "change_onexec",
        "unconfined",
        {"class": "file", "info": "label not found", "error": "-2", "name": "n"},
        None,
    ),
    (
        '"ALLOWED" operation="stack" profile="p" name="t" pid=4 comm="x" target="t"',
        "stack",
        "p",
        {"name": "t", "target": "t"},
        None,
    ),
    (
        '"ALLOWED" operation="userns_create" class="namespace" profile="p" pid=1 comm="x" requested="userns_create" '
        'denied="userns_create" execpath="/usr/bin/unshare"',
        "userns_create",
        "p",
        {"class": "namespace", "requested": "userns_create", "denied": "userns_create", "execpath": "/usr/bin/unshare"},
        None,
    ),
    (
        '"ALLOWED" operation="uring_sqpoll" class="io_uring" profile="p" pid=1 comm="x" '
        'requested="sqpoll" denied="sqpoll"',
        "uring_sqpoll",
        "p",
        {"class": "io_uring", "requested": "sqpoll", "denied": "sqpoll"},
        None,
    ),
    (
        '"ALLOWED" operation="posix_mqueue" class="posix_mqueue" profile="p" name="/q" '
        'pid=1 comm="x" requested="create" '
        'denied="create" fsuid=0 ouid=0',
        "posix_mqueue",
        "p",
        {"class": "posix_mqueue", "name": "/q", "requested": "create", "denied": "create"},
        True,
    ),
    (
        '"DENIED" operation="setrlimit" class="rlimits" profile="p" pid=1 comm="x" rlimit=nofile value=4096',
        "setrlimit",
        "p",
        {"class": "rlimits", "rlimit": "nofile", "value": "4096"},
        None,
    ),
    (
        '"DENIED" operation="dbus_method_call"  bus="system" path="/o" interface="i" '
        'member="M" mask="send" name=":1.5" '
        'pid=1 label="p" peer_pid=9 peer_label="q"',
        "dbus_method_call",
        "p",
        {
            "bus": "system",
            "path": "/o",
            "interface": "i",
            "member": "M",
            "mask": "send",
            "name": ":1.5",
            "peer_label": "q",
        },
        None,
    ),
    (  # dbus-broker: no pid, method= for member=
        '"DENIED" operation="dbus_method_call" bus="session" path="/o" interface="i" method="M" mask="send" label="p" '
        'peer_label="q"',
        "dbus_method_call",
        "p",
        {"bus": "session", "path": "/o", "interface": "i", "method": "M", "mask": "send", "peer_label": "q"},
        None,
    ),
    (  # Ubuntu's kernels: requested= and denied=, src and dest
        '"DENIED" operation="sendmsg" class="net" profile="p" pid=3 comm="s" '
        "laddr=127.1.1.1 lport=3457 saddr=127.1.1.1 "
        'src=3457 daddr=127.0.97.3 dest=43456 family="inet" sock_type="dgram" '
        'protocol=17 requested="send" denied="send"',
        "sendmsg",
        "p",
        {
            "class": "net",
            "laddr": "127.1.1.1",
            "lport": "3457",
            "saddr": "127.1.1.1",
            "src": "3457",
            "family": "inet",
            "sock_type": "dgram",
            "protocol": "17",
            "requested": "send",
            "denied": "send",
        },
        None,
    ),
    (
        '"DENIED" operation="open" profile="p" name="/queuename" pid=848 comm="posix_mq_rcv" requested="read create" '
        'denied="read" class="posix_mqueue" fsuid=0 ouid=0',
        "open",
        "p",
        {"class": "posix_mqueue", "name": "/queuename", "requested": "read create", "denied": "read"},
        True,
    ),
    (
        '"STATUS" operation="profile_replace" info="same as current profile, skipping" '
        'profile="unconfined" name="t" pid=4 '
        'comm="apparmor_parser"',
        "profile_replace",
        "unconfined",
        {"info": "same as current profile, skipping", "name": "t"},
        None,
    ),
    (
        '"STATUS" operation="profile_load" profile="unconfined" ns="ns1" name="t" pid=4 comm="apparmor_parser"',
        "profile_load",
        "unconfined",
        {"ns": "ns1", "name": "t"},
        None,
    ),
    (
        '"ALLOWED" operation="open" class="file" namespace="root//ns1" profile="inns" name="/a" pid=4 comm="c" '
        'requested_mask="r" denied_mask="r" fsuid=0 ouid=0',
        "open",
        ":ns1:inns",
        {"class": "file", "name": "/a", "requested_mask": "r", "denied_mask": "r"},
        True,
    ),
    (
        '"ALLOWED" operation="open" label="a//&b" name="/a" pid=4 comm="c" '
        'requested_mask="r" denied_mask="r" fsuid=0 ouid=0',
        "open",
        "a//&b",
        {"name": "/a", "requested_mask": "r", "denied_mask": "r"},
        True,
    ),
    (
        '"KILLED" operation="open" class="file" profile="k" name="/a" pid=4 comm="c" '
        'requested_mask="r" denied_mask="r" '
        "fsuid=0 ouid=0",
        "open",
        "k",
        {"class": "file", "name": "/a", "requested_mask": "r", "denied_mask": "r"},
        True,
    ),
    ('"HINT" operation="x" pid=4 comm="c" info="something"', "x", "", {"info": "something"}, None),
    ('"ERROR" operation="x" info="odd" error=-1 pid=4 comm="c"', "x", "", {"info": "odd", "error": "-1"}, None),
    ('"AUTO" operation="novel" profile="p" pid=4 future_key="x y"', "novel", "p", {"future_key": "x y"}, None),
    (
        '"ALLOWED" operation="open" profile="p" name=(null) pid=4 comm="c" requested_mask="r" fsuid=0 ouid=0',
        "open",
        "p",
        {"requested_mask": "r"},
        True,
    ),
]


@pytest.mark.parametrize(("body", "operation", "profile", "need", "owner"), TABLE, ids=range(len(TABLE)))
def test_bodies(body: str, operation: str, profile: str, need: dict[str, str], owner: bool | None) -> None:
    read = entry(body)
    assert read.event.verdict is Verdict(body.split('"')[1])
    assert read.event.operation == read.need.operation == operation
    assert read.event.profile == read.need.profile == profile.encode("latin-1")
    assert dict(read.need.fields) == {key: value.encode("latin-1") for key, value in need.items()}
    assert read.owner is owner
    assert list(read.event.fields) == sorted(read.event.fields)
    assert set(read.need.fields) <= set(read.event.fields)


def test_keys_come_in_any_order() -> None:
    one = entry('"ALLOWED" operation="open" profile="p" name="/a" pid=4 comm="c" requested_mask="r" fsuid=0 ouid=0')
    other = entry('"ALLOWED" ouid=0 fsuid=0 comm="c" requested_mask="r" pid=4 name="/a" profile="p" operation="open"')
    assert one.event == other.event
    assert one.need == other.need


# Defects that users meet in the peers.
FILE = ' profile="p" %s pid=4 comm="c" requested_mask="r" denied_mask="r" fsuid=0 ouid=0'


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('"/x/trail\\"', b"/x/trail\\"),  # LibAppArmor takes the backslash for an escape
        ('"/a\\tb"', b"/a\\tb"),
        ('"/a,"', b"/a,"),
        ("2F7461620978", b"/tab\tx"),  # aa-logprof: "Invalid file rule"
        ("2F6E6C0A78", b"/nl\nx"),
        ("2FFFFE", b"/\xff\xfe"),
        ('"2F6E6C0A78"', b"2F6E6C0A78"),  # quoted is literal
        ("2f6e6c0a78", b"2f6e6c0a78"),  # lower case is not the kernel's hex
        ('"relative"', b"relative"),  # aa-logprof: a path without / aborts the run
        ('"/usr/lib/evil.so"', b"/usr/lib/evil.so"),  # aa-log: dropped as noise
        ('""', b""),
    ],
)
def test_names_are_read_exactly(value: str, name: bytes) -> None:
    assert entry('"ALLOWED" operation="open"' + FILE % f"name={value}").event.get("name") == name


@pytest.mark.parametrize(
    "body",
    [
        '"AUDIT" operation="exec" profile="p" name="/a" pid=4 comm="c" requested_mask="x" fsuid=0 ouid=0',
        '"HINT" operation="exec" profile="p" pid=4',
        '"ALLOWED" operation="change_profile" class="file" profile="p" name="t" pid=4 comm="c"',
        '"ALLOWED" operation="uring_cmd" class="io_uring" profile="p" pid=4 comm="c" requested="cmd" denied="cmd"',
        '"ALLOWED" operation="signal" profile="p" pid=4 comm="c" requested_mask="send" signal=unknown(77) peer="x"',
        '"ALLOWED" operation="open" profile="p" name="/a" pid=4 comm="c" requested_mask="rQZ" fsuid=0 ouid=0',
        '"ALLOWED" operation="open" profile="p" name="/a" pid=4 comm="/dev/null" requested_mask="r" fsuid=0 ouid=0',
    ],
)
def test_what_stops_the_peers_is_read(body: str) -> None:
    assert entry(body).event.profile == b"p"


def test_hex_of_a_key_that_is_not_untrusted_is_literal() -> None:
    event = entry('"ALLOWED" operation="novel" profile="p" pid=4 future=41 capability=12').event
    assert event.fields == (("capability", b"12"), ("future", b"41"))
