"""The laws of the reader: the fast way is the grammar, every byte comes back, no bytes do harm."""

import re
import time as clock
from binascii import unhexlify
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aalearn.grammar.bodies import KEYS, VALUES
from aalearn.grammar.envelopes import Envelope
from aalearn.grammar.lines import COMPANION, Aside, Lines, Sighting
from aalearn.grammar.records import trail
from aalearn.grammar.shapes import Shape
from aalearn.grammar.words import record_words
from aalearn.model.label import Label
from aalearn.store.codec import group
from tests.grammar.making import HOSTILE, WRAPS, Wrap, abstract, bodies, names, untrusted

REAL = Path(__file__).resolve().parent.parent / "data" / "records" / "real.log"
AVC = b"type=AVC msg=audit(1795452373.207:644): "
HEX_LIKE = re.compile(rb"(?:[0-9A-F]{2})+")


def by_grammar(line: bytes) -> Sighting | Aside:
    """Read by a reader without any memory: pyparsing alone decides."""
    return Lines().read(line)


def same(one: Sighting | Aside, other: Sighting | Aside) -> bool:
    """Compare all that two readings say."""
    if isinstance(one, Aside) or isinstance(other, Aside):
        return one == other
    a, b = one.entry, other.entry
    return (one[:3], a.event, a.need, a.owner, a.program, a.digest, a.transport, a.forgeable, a.node) == (
        (other[:3], b.event, b.need, b.owner, b.program, b.digest, b.transport, b.forgeable, b.node)
    )


WARM = Lines()


def agree(line: bytes) -> Sighting | Aside:
    """Read a line by the grammar, by a reader that has met everything before, and again: all must say the same."""
    truth = by_grammar(line)
    assert same(WARM.read(line), truth)
    WARM._young.clear()
    WARM._old.clear()
    assert same(WARM.read(line), truth)
    assert same(WARM.read(line), truth)
    return truth


def test_shapes_are_the_grammar_on_every_real_line() -> None:
    for line in REAL.read_bytes().split(b"\n"):
        agree(line)


def test_every_real_record_is_read_or_counted() -> None:
    kinds: dict[str, int] = {}
    for line in REAL.read_bytes().splitlines():
        seen = WARM.read(line)
        kind = seen.kind if isinstance(seen, Aside) else "record"
        kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds["record"] > 1300
    assert "malformed" not in kinds
    kmsg = [line for line in REAL.read_bytes().splitlines() if b"audit: type=1400" in line[:20]]
    assert kinds["truncated"] == sum(len(line) >= 1021 for line in kmsg)


@given(bodies(), st.sampled_from(WRAPS))
def test_shapes_are_the_grammar_on_made_lines(made: tuple[bytes, dict[bytes, bytes], int], wrap: Wrap) -> None:
    body, fields, pid = made
    seen = agree(wrap.line(body))
    if wrap.user or "dbus" in wrap.name:  # bus daemons tell of the bus only
        assert isinstance(seen, Aside)
        assert seen.kind == "forged"
        assume(b" mask=" not in body)
        body = re.sub(rb'operation="([^"]*)"', rb'operation="dbus_\1" mask="send"', body, count=1)
        seen = agree(wrap.line(body))
    assert isinstance(seen, Sighting), seen
    assert seen[:3] == (wrap.time, wrap.serial, pid)
    read = {key.encode(): value for key, value in seen.entry.event.fields}
    for key, value in fields.items():
        if key.endswith(b"addr") and HEX_LIKE.fullmatch(value[1:]):
            continue  # a hex-like abstract name can't be told from hex
        assert read[key] == value


@given(names, names, names)
@example(*HOSTILE[:3])
def test_any_bytes_come_back_exactly(name: bytes, comm: bytes, peer: bytes) -> None:
    body = (
        b'apparmor="ALLOWED" operation="signal" profile=%s name=%s pid=5 comm=%s '
        b'requested_mask="send" signal=term peer=%s'
    )
    seen = agree(AVC + body % (untrusted(peer), untrusted(name), untrusted(comm), untrusted(peer)))
    if Label.parse(peer).is_nameless:  # a subject that names no profile
        assert isinstance(seen, Aside)
        assert seen.kind == "malformed"
        return
    assert isinstance(seen, Sighting)
    event = seen.entry.event
    assert (event.profile, event.get("name"), event.get("comm"), event.get("peer")) == (peer, name, comm, peer)
    assert seen.entry.program == comm


@given(names)
def test_abstract_addresses_come_back_exactly(name: bytes) -> None:
    body = b'apparmor="ALLOWED" operation="novel" profile="p" pid=5 addr=%s peer_addr=none' % abstract(name)
    seen = agree(AVC + body)
    assert isinstance(seen, Sighting)
    forced = HEX_LIKE.fullmatch(name) and any(b < 0x21 or b > 0x7E or b == 0x22 for b in unhexlify(name))
    assert seen.entry.event.get("addr") == b"@" + (unhexlify(name) if forced else name)


@given(st.binary(max_size=300), st.sampled_from(WRAPS), bodies(), st.integers(0, 400))
def test_no_bytes_do_harm(junk: bytes, wrap: Wrap, made: tuple[bytes, dict[bytes, bytes], int], at: int) -> None:
    line = wrap.line(made[0])
    for text in (
        junk,
        b'apparmor="' + junk,
        wrap.head + junk,
        line[:at] + junk + line[at:],
        AVC + b'apparmor="ALLOWED"' + junk,
    ):
        agree(text.replace(b"\n", b""))


FILE = b'apparmor="ALLOWED" operation="open" profile="p" name="/a" pid=77 comm="cat" requested_mask="r" fsuid=0 ouid=0'


@given(st.integers(0, len(AVC + FILE)))
def test_a_cut_line_is_never_a_record_unless_only_the_last_number_was_cut(at: int) -> None:
    seen = agree((AVC + FILE)[:at])
    if at <= len(AVC + FILE) - 1:
        assert isinstance(seen, Aside)
    if at > len(AVC) + len('apparmor="ALLOWED"'):
        assert isinstance(seen, Sighting) or seen.kind == "truncated"


@pytest.mark.parametrize(
    "body",
    [
        b'apparmor="ALLO',
        b'apparmor="ALLOWED" opera',
        b'apparmor="ALLOWED" operation="open" profile="p" name="/a/b',
        b'apparmor="ALLOWED" operation="open" profile="p" name=2F612',
        b'apparmor="ALLOWED" operation="open" profile="p" name=2F6120',
        b'apparmor="ALLOWED" operation="open" profile="p" name="/a" pid=',
        b'apparmor="ALLOWED" operation="open" profile="p" name="/a" pid=7 comm="cat"',
        b'apparmor="ALLOWED" operation="open" profile="p" name="/a" pid=7 comm="cat" '
        b'requested_mask="r" denied_mask="r"',
        b'apparmor="ALLOWED" operation="open" name="/a" pid=7 comm="cat" requested_mask="r" fsuid=0 ouid=0',
        b'apparmor="ALLOWED" operation="link" profile="p" name="/a" pid=7 comm="c" requested_mask="l" fsuid=0 ouid=0',
        b'apparmor="ALLOWED" operation="create" profile="p" pid=7 comm="cat" family="inet" sock_type="raw" protocol=1',
        b'apparmor="ALLOWED" operation="signal" profile="p" pid=7 comm="cat" requested_mask="send" denied_mask="send"',
        b'apparmor="ALLOWED" operation="capable" profile="p" pid=7 comm="cat" capability=2 ',
        b'apparmor="STATUS" operation="profile_load" profile="unconfined"',
    ],
)
def test_torn_records_are_a_counted_loss(body: bytes) -> None:
    for line in (AVC + body, AVC + body + b"\r", b"[    1.5] audit: type=1400 audit(1.000:1): " + body):
        seen = agree(line)
        assert isinstance(seen, Aside)
        assert seen.kind == "truncated"


@pytest.mark.parametrize(("head", "limit"), [(b"audit: type=1400 audit(1795452373.207:644): ", 1021), (AVC, 8970 + 13)])
def test_records_at_the_writer_s_limit_were_cut(head: bytes, limit: int) -> None:
    rest = (
        b'apparmor="ALLOWED" operation="mkdir" profile="p" name="/%s" pid=7 comm="c" requested_mask="c" fsuid=0 ouid=0'
    )
    room = limit - len(head) - len(rest) + 2
    for size, cut in ((room - 1, False), (room, True), (room + 1, True)):
        line = head + rest % (b"a" * size)
        for text in (line, line.replace(b"pid=7 ", b"pid=777 ") if cut else line):
            assert isinstance(agree(text), Aside) is cut


@pytest.mark.parametrize(
    "body",
    [
        b'apparmor="NOVERDICT" operation="open" profile="p"',
        b'apparmor="ALLOWED" operation="open" profile="p" name="/a" name="/b" pid=7 comm="c" fsuid=0 ouid=0',
        b'apparmor="ALLOWED" operation="open" profile="p" name="/x" r,\t/etc/shadow" pid=7 comm="c" fsuid=0 ouid=0',
        b'apparmor="ALLOWED" operation="open" profile="p" pid=x comm="c"',
        b'apparmor="ALLOWED" operation="open" profile="p" pid=99999999999 comm="c"',
        b'apparmor="ALLOWED"operation="open"',
        b'apparmor="ALLOWED" operation="novel" profile="p" pid=1' + b"".join(b" k%d=1" % i for i in range(70)),
    ],
)
def test_malformed_bodies_are_counted(body: bytes) -> None:
    seen = agree(AVC + body)
    assert isinstance(seen, Aside)
    assert seen.kind in ("malformed", "other")
    assert seen.kind == "malformed" or b"NOVERDICT" in body


def test_one_value_said_twice_is_one_value() -> None:
    """Kernels name the profile twice where loading it fails."""
    body = (
        b'apparmor="STATUS" info="failed to unpack" error=-71 profile="unconfined" '
        b'name="n" pid=5 comm="c" name="n" offset=61'
    )
    seen = agree(AVC + body)
    assert isinstance(seen, Sighting)
    assert seen.entry.event.fields == (
        ("comm", b"c"), ("error", b"-71"), ("info", b"failed to unpack"), ("name", b"n"), ("offset", b"61"),
    )  # fmt: skip


@pytest.mark.parametrize("name", [b'"/x pid=1 "', b'" pid=5 "', b'"/x pid=1"', b'"/x pid=2"', b'"pid=3"'])
def test_pid_inside_a_name_is_not_the_pid(name: bytes) -> None:
    lines = Lines()
    for pid in (10, 11, 10):
        for inside in (name, name.replace(b"1", b"8").replace(b"5", b"8").replace(b"3", b"8")):
            seen = lines.read(AVC + FILE.replace(b'"/a"', inside).replace(b"77", b"%d" % pid))
            assert isinstance(seen, Sighting)
            assert (seen.pid, seen.entry.event.get("name")) == (pid, inside[1:-1])


def test_the_separator_inside_a_value_is_no_enrichment() -> None:
    for value in (b'"a\x1db"', b'"a"'):
        seen = agree(AVC + b'apparmor="ALLOWED" operation="novel" profile="p" pid=5 future=' + value)
        assert isinstance(seen, Sighting)
        assert (seen.entry.transport, seen.entry.event.get("future")) == ("audit", value[1:-1])


def test_another_pid_before_the_own_one() -> None:
    """A quoted ` pid=` before the record's own must never share an entry with another name."""
    lines = Lines()
    for inner in range(50):
        for pid in (1, 2):
            body = b'apparmor="ALLOWED" operation="novel" profile="p" info="x pid=%d y" pid=%d comm="c"' % (inner, pid)
            seen = lines.read(AVC + body)
            assert isinstance(seen, Sighting)
            assert (seen.pid, seen.entry.event.get("info")) == (pid, b"x pid=%d y" % inner)


def test_lines_that_differ_in_pid_time_and_serial_share_an_entry() -> None:
    lines = Lines()
    seen = [
        lines.read(b"type=AVC msg=audit(17954523%02d.207:%d): " % (i, i) + FILE.replace(b"77", b"%d" % (i + 1)))
        for i in range(50)
    ]
    entries = {id(one.entry) for one in seen if isinstance(one, Sighting)}
    assert len(entries) == 1
    assert [one.pid for one in seen if isinstance(one, Sighting)] == list(range(1, 51))


def test_a_line_of_100_megabytes_costs_no_more_than_a_search() -> None:
    lines = Lines()
    for line in (
        AVC + b'apparmor="ALLOWED" name="' + b"a" * 100_000_000,
        b"a" * 100_000_000,
        AVC + b" pid=1" * 16_000_000,
    ):
        begun = clock.process_time()
        seen = lines.read(line)
        assert isinstance(seen, Aside)
        assert len(seen.text) <= 4096
        assert clock.process_time() - begun < 3


def test_caches_are_bounded_whatever_comes() -> None:
    lines = Lines(cache=100)
    for number in range(3000):
        lines.read(AVC + FILE.replace(b"/a", b"/a%d" % number))
        if number % 10 == 0:
            lines.read(AVC + b'apparmor="ALLOWED" operation="o%d" profile="p" pid=1 k%d=1' % (number, number))
        lines.read(AVC.replace(b"207", b"%03d" % (number % 1000)) + FILE.replace(b"77", b"%d" % (number + 1)))
    assert len(lines._young) <= 100
    assert len(lines._old) <= 100
    assert len(lines._clocks) <= 1001
    assert len(lines._pids) <= 1001
    assert len(lines._commons) <= 10_000
    assert lines._shape_count <= 2000


def test_hostile_shapes_do_not_pile_up() -> None:
    lines = Lines()
    for number in range(150):
        lines.read(AVC + b'apparmor="ALLOWED" operation="novel" profile="p" pid=1 k%d=1' % number)
    assert max(map(len, lines._shapes.values())) <= 64


def test_companions_and_others_are_shared_values() -> None:
    assert Lines().read(b"type=SYSCALL msg=audit(1.000:1): arch=c000003e") is COMPANION


@given(bodies(), st.sampled_from(WRAPS), names)
def test_alternatives_of_the_grammar_never_fit_the_same_text(
    made: tuple[bytes, dict[bytes, bytes], int], wrap: Wrap, name: bytes
) -> None:
    """The law that makes shapes exact: of all pieces that may stand at one place, one fits at most."""
    line = wrap.line(made[0] + b' name2="' + name.replace(b'"', b"") + b'"').replace(b"\n", b"")
    text = line.decode("latin-1")
    met = trail(line)
    if met is None:
        return
    special = record_words().untrusted | record_words().abstract | {"pid"}
    key = ""
    for token in met.body:
        if token.terminal in KEYS:
            fits = [one for one in KEYS if re.compile(one.pattern, re.DOTALL).match(text, token.at)]
            assert fits == [token.terminal]
            key = token.text[:-1]
        if token.terminal in VALUES and key in special - {"pid"}:
            among = {"null", "hex", "word"} | ({"abstract", "other quoted"} if key.endswith("addr") else {"quoted"})
            fits = [
                one for one in VALUES if one.name in among and re.compile(one.pattern, re.DOTALL).match(text, token.at)
            ]
            assert fits == [token.terminal]


@given(bodies(), bodies())
def test_a_shape_fits_only_its_own_lines(
    one: tuple[bytes, dict[bytes, bytes], int], other: tuple[bytes, dict[bytes, bytes], int]
) -> None:
    tokens = [trail(AVC + body) for body in (one[0], other[0])]
    assert tokens[0] is not None
    assert tokens[1] is not None
    shapes = [Shape(met.body, False) for met in tokens if met is not None]
    kinds = [[(t.terminal, t.text if t.terminal.fixed else "") for t in met.body] for met in tokens if met is not None]
    reading = shapes[0].read(AVC + other[0], len(AVC), {})
    operations = [shape.operation for shape in shapes]
    assert (reading is not None) == (kinds[0] == kinds[1] and operations[0] == operations[1])


def test_only_kernel_lines_of_audit_log_are_not_forgeable() -> None:
    for wrap in WRAPS:
        met = trail(wrap.line(FILE))
        assert met is not None
        assert Envelope(met.envelope).forgeable is wrap.forgeable


FORGED_BODIES = (
    b'apparmor="DENIED" operation="open" class="file" profile="p" name="/etc/shadow" pid=7 comm="x" '
    b'requested_mask="r" denied_mask="r" fsuid=0 ouid=0',
    b'apparmor="DENIED" operation="capable" class="cap" profile="p" pid=7 comm="x" capability=21  capname="sys_admin"',
)


@pytest.mark.parametrize("body", FORGED_BODIES)
def test_a_bus_daemon_tells_of_the_bus_only(body: bytes) -> None:
    head = b"pid=1 uid=101 auid=4294967295 ses=4294967295 msg='"
    lines = Lines()
    assert isinstance(lines.read(b"2026-11-23T15:00:00Z host kernel: " + body), Sighting)
    for line in (
        b"type=USER_AVC msg=audit(1700000000.123:5): " + head + body + b' exe="/x" sauid=101\'',
        b"USER_AVC " + head + body + b' exe="/x" sauid=101\'',
        b"2026-11-23T15:00:00Z host dbus-daemon[1]: " + body,
        b"<30>1 2026-11-23T15:00:00Z host dbus-broker 1 - - " + body,
    ):
        for reader in (lines, lines, Lines()):
            got = reader.read(line)
            assert isinstance(got, Aside)
            assert got.kind == "forged", line


@pytest.mark.parametrize(
    ("namespace", "profile"),
    [
        (b"", b"nginx"),
        (b' namespace="root"', b"nginx"),
        (b' namespace="root//lxd-c1"', b":lxd-c1:nginx"),
        (b' namespace="root//a//b"', b":a//b:nginx"),
        (b' namespace="other"', b":other:nginx"),
    ],
)
def test_a_namespace_is_part_of_the_profile(namespace: bytes, profile: bytes) -> None:
    line = AVC + FILE.replace(b' profile="p"', namespace + b' profile="nginx"')
    for seen in (Lines().read(line), agree(line)):
        assert isinstance(seen, Sighting)
        need = seen.entry.need
        assert (need.profile, seen.entry.event.profile, need.get("namespace")) == (profile, profile, None)
        assert group(need.profile + b"//null-/bin/sh") == profile


@pytest.mark.parametrize(
    "name", [b"", b" ", b"//null-/usr/bin/x", b"//", b"//hat", b"//null-", b":ns:", b"a//&", b"//&a"]
)
def test_a_subject_without_a_name_is_malformed(name: bytes) -> None:
    reader = Lines()
    reader.read(AVC + FILE)  # the shape is known
    for lines in (reader, reader, Lines()):
        got = lines.read(AVC + FILE.replace(b'profile="p"', b'profile="' + name + b'"'))
        assert isinstance(got, Aside)
        assert got.kind == "malformed"
