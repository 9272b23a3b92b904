"""A table a kind: what a record says, the rules that it gives, and the notes."""

import pytest

from aalearn.model.event import Event, Verdict
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.rules import Outcome, Rule, kind_of, rules_of
from aalearn.rules.file import FileRule

ALL = Target(mediates=Target().mediates | {"userns", "io_uring", "mqueue"})
FINE = Target("4.0", (4, 1), ALL.mediates, fine_inet=True)


def event(operation: str, verdict: Verdict = Verdict.ALLOWED, **fields: str | bytes) -> Event:
    """An event from keyword fields; `klass` stands for class."""
    pairs = {("class" if key == "klass" else key): value for key, value in fields.items()}
    encoded = {key: value.encode() if isinstance(value, str) else value for key, value in pairs.items()}
    return Event(verdict, operation, b"p", tuple(sorted(encoded.items())))


def texts(outcome: Outcome) -> list[str]:
    return [rule.text() for rule in outcome.rules]


def levels(outcome: Outcome) -> list[str]:
    return sorted({note.level for note in outcome.notes})


def net(operation: str, mask: str, family: str = "inet", sock_type: str = "stream", **fields: str) -> Event:
    own = {"klass": "net", "denied_mask": mask, "family": family, "sock_type": sock_type, "protocol": "6"}
    return event(operation, Verdict.ALLOWED, **own, **fields)


def unix(operation: str, mask: str, **fields: str) -> Event:
    return net(operation, mask, "unix", **fields)


DISCONNECTED = "Failed name lookup - disconnected path"
DELETED = "Failed name lookup - deleted entry"
RULES: list[tuple[str, Event, bool | None, list[str], list[str]]] = [
    # files: kind, event, owner, texts, levels of notes
    ("file", event("open", name="/etc/passwd", denied_mask="r"), None, ["/etc/passwd r,"], []),
    ("file", event("open", name="/a", denied_mask="r"), True, ["owner /a r,"], []),
    ("file", event("open", name="/a", denied_mask="r"), False, ["/a r,"], []),
    ("file", event("open", name="/a", denied_mask="wrc"), None, ["/a rw,"], []),
    ("file", event("open", name="/a", denied_mask="ac"), None, ["/a w,"], []),
    ("file", event("open", name="/a", denied_mask="a"), None, ["/a a,"], []),
    ("file", event("open", name="/a", denied_mask="wa"), None, ["/a w,"], []),
    ("file", event("mkdir", name="/d/", denied_mask="c"), None, ["/d/ w,"], []),
    ("file", event("unlink", name="/a", denied_mask="d"), None, ["/a w,"], []),
    ("file", event("rename_src", name="/a", denied_mask="wrd"), None, ["/a rw,"], []),
    ("file", event("rename_dest", name="/a", denied_mask="wc"), None, ["/a w,"], []),
    ("file", event("file_lock", name="/a", denied_mask="wk"), None, ["/a wk,"], []),
    ("file", event("file_mmap", name="/l.so", denied_mask="rm"), None, ["/l.so rm,"], []),
    ("file", event("file_inherit", name="/a", denied_mask="wr"), None, ["/a rw,"], ["doubt"]),
    ("file", event("getattr", name="/a", denied_mask="r"), None, [], ["unneeded"]),
    (
        "file",
        event("exec", name="/usr/bin/x", denied_mask="x", target="p//null-/usr/bin/x"),
        None,
        ["/usr/bin/x ix,"],
        [],
    ),
    ("file", event("exec", Verdict.AUDIT, name="/x", requested_mask="x", info="ix fallback"), None, ["/x ix,"], []),
    ("file", event("exec", name="/x", denied_mask="x", info="no new privs"), None, ["/x ix,"], ["doubt"]),
    ("file", event("open", name="/a", denied_mask="xm"), None, ["/a m,"], ["unneeded"]),
    ("file", event("open", name="/a", denied_mask="x"), None, [], ["unneeded"]),
    ("file", event("open", name="/a", denied_mask="rw::"), None, ["owner /a rw,"], []),
    ("file", event("open", name="/a", denied_mask="::r"), True, ["/a r,"], []),
    ("file", event("open", name="/a", denied_mask="r::r"), None, ["/a r,"], []),
    ("file", event("open", name="/a", denied_mask="l"), None, [], ["inexpressible"]),
    ("file", event("open", name="/a", denied_mask="rZ"), None, ["/a r,"], ["unsupported"]),
    ("file", event("open", name="/a"), None, [], ["doubt"]),
    ("file", event("open", name="a", denied_mask="r"), None, [], ["inexpressible"]),
    ("file", event("open", denied_mask="r"), None, [], ["inexpressible"]),
    ("file", event("open", name=b"/a\0", denied_mask="r"), None, [], ["inexpressible"]),
    ("file", event("open", name="//a", denied_mask="r"), None, [], ["inexpressible"]),
    ("file", event("open", name="f", denied_mask="wr", info=DISCONNECTED, error="-13"), None, [], ["weakening"]),
    ("file", event("open", name="/dev/fd/9", denied_mask="r", info=DISCONNECTED), None, [], ["weakening"]),
    ("file", event("open", name="/a", denied_mask="r", info=DELETED, error="-2"), None, [], ["weakening"]),
    ("file", event("open", name="", denied_mask="r", info="Failed name lookup"), None, [], ["inexpressible"]),
    ("file", event("open", name=b"/a b\n\xff,", denied_mask="r"), None, ['"/a\\040b\\012\\377\\," r,'], []),
    ("file", event("connect", klass="file", name="/run/s", denied_mask="wr"), None, ["/run/s rw,"], []),
    ("file", event("sendmsg", klass="file", name="/run/log", denied_mask="w"), None, ["/run/log w,"], []),
    ("file", event("getsockname", klass="file", name="/run/s", denied_mask="r"), None, [], ["unneeded"]),
    ("file", event("file_perm", name="/a", denied_mask="w"), None, ["/a w,"], []),
    # links
    ("link", event("link", name="/a", target="/b", denied_mask="l"), None, ["link /a -> /b,"], []),
    ("link", event("link", name="/a b", target="/b", denied_mask="l"), True, ['owner link "/a\\040b" -> /b,'], []),
    ("link", event("link", name="/a", denied_mask="l"), None, [], ["inexpressible"]),
    (
        "link",
        event("link", name="/a", target="/b", info="link not subset of target"),
        None,
        ["link /a -> /b,"],
        ["doubt"],
    ),
    # capabilities
    ("capability", event("capable", capability="21", capname="sys_admin"), None, ["capability sys_admin,"], []),
    ("capability", event("capable", capability="2"), None, ["capability dac_read_search,"], []),
    ("capability", event("capable", capname="net_admin", info="optional: no audit"), None, [], ["probe"]),
    ("capability", event("capable", capability="99", capname="time_travel"), None, [], ["unsupported"]),
    # network
    ("network", net("create", "create"), None, ["network inet stream,"], []),
    ("network", net("file_perm", "send", faddr="1.2.3.4", fport="80"), None, ["network inet stream,"], []),
    ("network", unix("create", "create"), None, ["network unix stream,"], []),
    ("network", net("create", "create", "inet", "dccp"), None, [], ["inexpressible"]),
    ("network", net("create", "create", "newfam"), None, [], ["unsupported"]),
    (
        "network",
        event("sendmsg", denied_mask="send", family="netlink", sock_type="raw"),
        None,
        ["network netlink raw,"],
        [],
    ),
    # unix
    ("unix", unix("create", "create", addr="none"), None, ["unix (create) type=stream,"], []),
    ("unix", unix("bind", "bind", addr="@a"), None, ["unix (bind) type=stream addr=@a,"], []),
    ("unix", unix("bind", "bind", addr='@a "b'), None, ['unix (bind) type=stream addr="@a\\040\\042b",'], []),
    (
        "unix",
        unix("connect", "send receive connect", addr="none", peer_addr="@x", peer="q"),
        None,
        ["unix (connect, receive, send) type=stream addr=none peer=(addr=@x label=q),"],
        [],
    ),
    (
        "unix",
        unix("bind", "bind", addr="@73dd0"),
        None,
        ["unix (bind) type=stream addr=@[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f],"],
        [],
    ),
    (
        "unix",
        unix("sendmsg", "getopt send", addr="none", peer_addr="none", peer="q"),
        None,
        ["unix (getopt) type=stream addr=none,", "unix (send) type=stream addr=none peer=(addr=none label=q),"],
        [],
    ),
    ("unix", unix("bind", "bind", addr="none"), None, ["unix (bind) type=stream addr=auto,"], []),
    ("unix", unix("bind", "bind", addr="/run/x"), None, [], ["inexpressible"]),
    ("unix", unix("bind", "bind", addr="@a\0b"), None, [], ["inexpressible"]),
    ("unix", unix("bind", "", addr="@a"), None, [], ["doubt"]),
    # signals
    ("unix", unix("connect", "connect", addr="none", peer_addr="", peer="q"), None, [], ["inexpressible"]),
    (
        "signal",
        event("signal", denied_mask="send", signal="term", peer="q"),
        None,
        ["signal (send) set=(term) peer=q,"],
        [],
    ),
    (
        "signal",
        event("signal", denied_mask="receive", signal="rtmin+8", peer="unconfined"),
        None,
        ["signal (receive) set=(rtmin+8) peer=unconfined,"],
        [],
    ),
    ("signal", event("signal", denied_mask="receive", signal="exists"), None, ["signal (receive) set=(exists),"], []),
    (
        "signal",
        event("signal", denied_mask="send", signal="kill", peer="a//&b"),
        None,
        ['signal (send) set=(kill) peer="a//&b",'],
        [],
    ),
    (
        "signal",
        event("signal", denied_mask="send", signal="kill", peer=":ns://q"),
        None,
        ["signal (send) set=(kill) peer=:ns:q,"],
        [],
    ),
    ("signal", event("signal", denied_mask="send", signal="rtmin+99", peer="q"), None, [], ["unsupported"]),
    ("signal", event("signal", denied_mask="send", signal="unknown", peer="q"), None, [], ["unsupported"]),
    ("signal", event("signal", denied_mask="shout", signal="term"), None, [], ["unsupported"]),
    ("signal", event("signal", signal="term"), None, [], ["doubt"]),
    # ptrace
    ("ptrace", event("ptrace", denied_mask="readby", peer="q"), None, ["ptrace (readby) peer=q,"], []),
    (
        "ptrace",
        event("ptrace", denied_mask="tracedby", peer="q//null-/x"),
        None,
        ["ptrace (tracedby) peer=q//null-/x,"],
        [],
    ),
    ("ptrace", event("ptrace", peer="q"), None, [], ["doubt"]),
    # dbus
    (
        "dbus",
        event(
            "dbus_method_call",
            bus="system",
            path="/a/b",
            interface="i.f",
            member="M",
            mask="send",
            name="n.n",
            peer_label="q",
        ),
        None,
        ["dbus (send) bus=system path=/a/b interface=i.f member=M peer=(name=n.n label=q),"],
        [],
    ),
    (
        "dbus",
        event("dbus_signal", bus="session", path="/a", interface="i", member="M", mask="receive", name=":1.42"),
        None,
        ["dbus (receive) bus=session path=/a interface=i member=M,"],
        [],
    ),
    ("dbus", event("dbus_bind", bus="system", name="n.n", mask="bind"), None, ["dbus (bind) bus=system name=n.n,"], []),
    ("dbus", event("dbus_eavesdrop", bus="session", mask="eavesdrop"), None, ["dbus (eavesdrop) bus=session,"], []),
    ("dbus", event("dbus_method_call", bus="system", path="/a//b", mask="send"), None, [], ["inexpressible"]),
    ("dbus", event("dbus_method_call", bus="system", path="/a"), None, [], ["doubt"]),
    # mounts
    (
        "mount",
        event(
            "mount",
            name="/m/",
            fstype="tmpfs",
            srcname="x",
            flags="rw, nosuid",
            info="failed mntpnt match",
            error="-13",
        ),
        None,
        ["mount fstype=tmpfs options=(nosuid, rw) x -> /m/,"],
        [],
    ),
    (
        "mount",
        event("mount", name="/m/", fstype="proc", srcname="proc"),
        None,
        ["mount fstype=proc options=(rw) proc -> /m/,"],
        [],
    ),
    (
        "mount",
        event("mount", name="/b/", srcname="/a/", flags="rw, bind"),
        None,
        ["mount options=(bind, rw) /a/ -> /b/,"],
        [],
    ),
    ("mount", event("mount", name="/", flags="rw, rprivate"), None, ["mount options=(rprivate, rw) -> /,"], []),
    ("mount", event("mount", name="/n/", flags="rw, move"), None, ["mount options=(move, rw) -> /n/,"], []),
    (
        "mount",
        event("mount", name="/m/", srcname="options=rw", fstype="x", flags="rw"),
        None,
        ['mount fstype=x options=(rw) "options=rw" -> /m/,'],
        [],
    ),
    ("mount", event("mount", name="/m/", flags="rw, warp"), None, [], ["unsupported"]),
    ("mount", event("mount", name="/m/", flags="rw, bind, private"), None, [], ["inexpressible"]),
    ("mount", event("mount", name="m", flags="rw", info=DISCONNECTED), None, [], ["weakening"]),
    ("remount", event("mount", name="/m/", flags="rw, remount"), None, ["remount options=(rw) /m/,"], []),
    ("remount", event("mount", name="/m/", flags="ro, remount, bind"), None, ["remount options=(bind, ro) /m/,"], []),
    ("umount", event("umount", name="/m/"), None, ["umount /m/,"], []),
    ("umount", event("umount"), None, [], ["inexpressible"]),
    ("pivot_root", event("pivotroot", name="/n/", srcname="/n/old/"), None, ["pivot_root oldroot=/n/old/ /n/,"], []),
    # profiles
    ("change_profile", event("change_profile", name="q", target="q"), None, ["change_profile -> q,"], []),
    ("change_profile", event("change_onexec", klass="file", name="q"), None, ["change_profile -> q,"], []),
    ("change_profile", event("stack", name="q", target="q"), None, ["change_profile -> &q,"], []),
    ("change_profile", event("stack", name="q q"), None, ['change_profile -> "&q\\040q",'], []),
    ("change_profile", event("change_profile", name=":ns:q"), None, ["change_profile -> :ns:q,"], []),
    (
        "change_profile",
        event("change_onexec", name="q", info="label not found"),
        None,
        ["change_profile -> q,"],
        ["doubt"],
    ),
    ("change_profile", event("change_profile"), None, [], ["doubt"]),
    ("change_hat", event("change_hat", name="h", target="p//h"), None, [], ["unneeded"]),
    ("rlimit", event("setrlimit", rlimit="nofile", value="9"), None, [], ["unneeded"]),
    # newer classes
    (
        "userns",
        event("userns_create", klass="namespace", denied="userns_create", execpath="/x"),
        None,
        ["userns create,"],
        [],
    ),
    ("userns", event("userns_create"), None, ["userns create,"], []),
    ("io_uring", event("uring_sqpoll", klass="io_uring", denied="sqpoll"), None, ["io_uring sqpoll,"], []),
    (
        "io_uring",
        event("uring_override", klass="io_uring", denied="override_creds", target="q"),
        None,
        ["io_uring override_creds label=q,"],
        [],
    ),
    ("io_uring", event("uring_cmd", klass="io_uring", denied="cmd"), None, [], ["unsupported"]),
    (
        "mqueue",
        event("mqueue_open", klass="posix_mqueue", denied="read create", name="/q"),
        None,
        ["mqueue (create, read) type=posix /q,"],
        [],
    ),
    ("mqueue", event("sysv_mqueue", denied="write", name="123"), None, ["mqueue (write) type=sysv 123,"], []),
    ("mqueue", event("sysv_mqueue", denied="write", name="x y"), None, [], ["inexpressible"]),
    ("mqueue", event("mqueue_open", denied="read"), None, [], ["inexpressible"]),
]


@pytest.mark.parametrize(("kind", "one", "owner", "expected", "notes"), RULES)
def test_records_and_rules(kind: str, one: Event, owner: bool | None, expected: list[str], notes: list[str]) -> None:
    assert kind_of(one) == kind
    outcome = rules_of(one, owner, ALL)
    assert texts(outcome) == expected
    assert levels(outcome) == notes


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (net("create", "create"), ["network (create) inet stream,"]),
        (net("bind", "bind", laddr="127.0.0.1", lport="80"), ["network (bind) inet stream ip=127.0.0.1 port=80,"]),
        (net("bind", "bind", laddr="0.0.0.0", lport="45000"), ["network (bind) inet stream port=45000,"]),
        (net("bind", "bind", lport="0"), ["network (bind) inet stream,"]),
        (net("listen", "listen", lport="40000"), ["network (listen) inet stream port=40000,"]),
        (
            net("connect", "connect", faddr="10.0.0.1", fport="443"),
            ["network (connect) inet stream peer=(ip=10.0.0.1 port=443),"],
        ),
        (
            net("sendmsg", "send", laddr="10.0.0.9", lport="50000", faddr="10.0.0.1", fport="443"),
            ["network (send) inet stream peer=(ip=10.0.0.1 port=443),"],
        ),
        (
            net("recvmsg", "receive", laddr="10.0.0.9", lport="80", faddr="10.0.0.1", fport="50001"),
            ["network (receive) inet stream ip=10.0.0.9 port=80,"],
        ),
        (
            net("getsockopt", "getopt send", faddr="10.0.0.1", fport="443"),
            ["network (getopt) inet stream,", "network (send) inet stream peer=(ip=10.0.0.1 port=443),"],
        ),
        (net("bind", "bind", laddr="junk", lport="99999"), ["network (bind) inet stream,"]),
        (net("create", "create", "netlink", "raw"), ["network netlink raw,"]),
        (
            net("connect", "connect", "inet6", faddr="::FFFF:1.2.3.4", fport="53"),
            ["network (connect) inet6 stream peer=(ip=::ffff:1.2.3.4 port=53),"],
        ),
    ],
)
def test_addresses_and_ports(one: Event, expected: list[str]) -> None:
    got = texts(rules_of(one, None, FINE))
    # Python 3.13 writes mapped addresses with dots, older ones in hexadecimal: both mean the same
    assert [text.replace("::ffff:102:304", "::ffff:1.2.3.4") for text in got] == expected


@pytest.mark.parametrize(
    "one",
    [
        event("userns_create", klass="namespace", denied="userns_create"),
        event("uring_sqpoll", klass="io_uring", denied="sqpoll"),
        event("mqueue_open", klass="posix_mqueue", denied="read", name="/q"),
    ],
)
def test_what_the_target_does_not_mediate_gives_a_note_and_no_rule(one: Event) -> None:
    outcome = rules_of(one, None, Target())
    assert texts(outcome) == []
    assert levels(outcome) == ["unsupported"]


def test_a_capability_that_abi_3_turns_into_sys_admin_is_not_asked_of_it() -> None:
    one = event("capable", capability="40", capname="checkpoint_restore")
    assert texts(rules_of(one, None, FINE)) == ["capability checkpoint_restore,"]
    assert texts(rules_of(one, None, ALL)) == []
    assert levels(rules_of(one, None, ALL)) == ["unsupported"]


def test_unknown_operations_and_status_records() -> None:
    assert levels(rules_of(event("teleport"), None, ALL)) == ["unsupported"]
    assert kind_of(event("teleport")) is None
    assert levels(rules_of(event("profile_load", Verdict.STATUS, name="x"), None, ALL)) == ["unneeded"]
    assert kind_of(event("profile_replace", Verdict.STATUS)) is None
    assert levels(rules_of(event("", Verdict.STATUS), None, ALL)) == ["unneeded"]


def _rule(one: Event, owner: bool | None = None) -> Rule:
    (rule,) = rules_of(one, owner, FINE).rules
    return rule


def _file(mask: str, name: str = "/a", operation: str = "open") -> Event:
    return event(operation, name=name, denied_mask=mask)


MERGES: list[tuple[Event, Event, str | None]] = [
    (_file("r"), _file("w"), "/a rw,"),
    (_file("a"), _file("w"), "/a w,"),
    (_file("r"), _file("x", operation="exec"), "/a rix,"),
    (_file("r"), _file("r", "/b"), None),
    (event("capable", capname="chown"), event("capable", capname="kill"), "capability chown kill,"),
    (
        event("signal", denied_mask="send", signal="term", peer="q"),
        event("signal", denied_mask="send", signal="kill", peer="q"),
        "signal (send) set=(kill, term) peer=q,",
    ),
    (
        event("signal", denied_mask="send", signal="term", peer="q"),
        event("signal", denied_mask="receive", signal="kill", peer="q"),
        None,
    ),
    (
        event("ptrace", denied_mask="read", peer="q"),
        event("ptrace", denied_mask="trace", peer="q"),
        "ptrace (read, trace) peer=q,",
    ),
    (
        event("signal", denied_mask="send", signal="term"),
        event("signal", denied_mask="send", signal="term", peer="q"),
        "signal (send) set=(term),",
    ),
    (unix("bind", "bind", addr="@a"), unix("listen", "listen", addr="@a"), "unix (bind, listen) type=stream addr=@a,"),
    (
        net("bind", "bind", lport="80"),
        net("listen", "listen", lport="80"),
        "network (bind, listen) inet stream port=80,",
    ),
    (net("bind", "bind", lport="80"), net("bind", "bind", lport="81"), None),
    (
        event("mqueue_open", denied="read", name="/q"),
        event("mqueue_open", denied="write", name="/q"),
        "mqueue (read, write) type=posix /q,",
    ),
    (event("umount", name="/a/"), event("umount", name="/b/"), None),
    (
        event("mount", name="/b/", srcname="/a/", flags="rw, bind"),
        event("mount", name="/b/", flags="rw, bind"),
        "mount options=(bind, rw) -> /b/,",
    ),
    (
        event("dbus_method_call", bus="system", path="/a", mask="send"),
        event("dbus_method_call", bus="system", path="/a", mask="receive"),
        "dbus (receive, send) bus=system path=/a,",
    ),
    (
        event("dbus_bind", bus="system", name="n", mask="bind"),
        event("dbus_method_call", bus="system", name="n", mask="send"),
        None,
    ),
]


@pytest.mark.parametrize(("one", "two", "expected"), MERGES)
def test_merges(one: Event, two: Event, expected: str | None) -> None:
    merged = _rule(one).merge(_rule(two))
    assert (None if merged is None else merged.text()) == expected


def test_owner_is_the_narrower_rule() -> None:
    both, mine = _rule(_file("r")), _rule(_file("r"), owner=True)
    assert both.covers(mine)
    assert not mine.covers(both)
    assert both.merge(mine) == both


def test_exec_modes_never_merge_nor_cover_each_other() -> None:
    pattern = Pattern.literal(b"/a")
    inherit, change = FileRule(pattern, exec="ix"), FileRule(pattern, exec="Cx", exec_target="child")
    assert not inherit.covers(change)
    assert inherit.merge(change) is None
    assert FileRule(pattern, frozenset("r"), exec="Cx", exec_target="child").covers(change)
    assert change.text() == "/a Cx -> child,"
    wrong = [(frozenset(), "zx", None), (frozenset("z"), "", None), (frozenset(), "", None), (frozenset(), "ix", "t")]
    for perms, mode, target in wrong:
        with pytest.raises(ValueError, match=r"not|takes no"):
            FileRule(pattern, perms, exec=mode, exec_target=target)
