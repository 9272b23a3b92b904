"""Walks find what a policy permits as a whole, with shortest paths, and nothing else."""

import random
from itertools import product

import pytest

from aalearn.model.pattern import Chars, Deep, Literal, Pattern, Star
from aalearn.model.text import spell
from aalearn.policy.ask.base import Machine, Subject
from aalearn.policy.compare import compare, extra
from aalearn.policy.compiler import Parser
from aalearn.policy.gate import subjects
from aalearn.policy.languages import DEAD, Patterns, RealPaths, Words
from aalearn.policy.permissions import May
from aalearn.policy.product import Walk
from aalearn.policy.sensitive import glob, watched
from aalearn.policy.walks import ALL, Grants, Observed, Watch, Witness, bits_of, letters, permitted_words

pytestmark = pytest.mark.parser


def subject(parser: Parser, rules: str) -> Subject:
    return subjects(parser.compile(f"profile x {{\n{rules}\n}}\n").blob)[b"x"]


def machine(parser: Parser, rules: str) -> Machine:
    found = subject(parser, rules).file
    assert found is not None
    return found


def test_letters_and_bits_are_each_others_reverse() -> None:
    assert letters(bits_of("rwklmx")) == "rwklmx"
    assert letters(bits_of("a")) == "a"
    assert letters(bits_of("w") | bits_of("a")) == "w"
    with pytest.raises(KeyError):
        bits_of("z")


def test_words_and_patterns_as_automata() -> None:
    words = Words([(b"ab", 1), (b"ac", 2), (b"ab", 4)])
    state = words.row(words.row(words.start, b"a")[0], b"b")[0]
    assert words.payload[state] == 5
    assert words.row(state, b"a") == [DEAD]
    patterns = Patterns(
        [Pattern.of(Literal(b"/a/"), Star()), Pattern.of(Literal(b"/a/"), Deep()), Pattern.literal(b"/a/x")]
    )
    place = patterns.start
    for byte in b"/a/x":
        place = patterns.row(place, bytes((byte,)))[0]
    assert patterns.accepted(place) == {0, 1, 2}
    place = patterns.row(place, b"/")[0]
    assert patterns.accepted(place) == {1}
    assert patterns.row(patterns.start, b"x") == [DEAD]


def test_every_byte_may_be_used_in_words() -> None:
    words = Words([(bytes(range(256)), 1)])
    assert len(set(words.partition())) == 256


def test_only_paths_that_the_kernel_spells_are_real() -> None:
    def real(path: bytes) -> bool:
        paths, state = RealPaths(), RealPaths.start
        for byte in path:
            state = paths.row(state, bytes((byte,)))[0]
        return state in RealPaths.ends

    good = (b"/", b"/a", b"/a/", b"/a/b", b"/.a", b"/..a", b"/...", b"/a./b")
    bad = (b"", b"a", b"//", b"/a//b", b"/.", b"/..", b"/a/./b", b"/a/../b", b"/a/..")
    assert [real(path) for path in good] == [True] * len(good)
    assert [real(path) for path in bad] == [False] * len(bad)


def test_walk_gives_shortest_words_and_the_same_each_time() -> None:
    patterns = Patterns([Pattern.of(Literal(b"/x/"), Chars("0-9", 3)), Pattern.literal(b"/long/literal")])
    for _ in range(2):
        walk = Walk([patterns], lambda place: place[0] != DEAD)
        ends = {number: walk.word(place) for place in walk for number in patterns.accepted(place[0])}
        assert ends == {0: b"/x/000", 1: b"/long/literal"}


@pytest.mark.parametrize("batch", range(5))
def test_hostile_names_allow_exactly_themselves(bookworm_parser: Parser, batch: int) -> None:
    picked = random.Random(batch)
    names = {b"/" + bytes(picked.randrange(1, 256) for _ in range(picked.randrange(1, 24))) for _ in range(200)}
    names = {
        name for name in names if b"//" not in name
    }  # the compiler joins slashes: one that the kernel never spells
    _exactly(bookworm_parser, names)


def test_each_byte_in_a_name_allows_exactly_itself(bookworm_parser: Parser) -> None:
    places = {b"/t/%s", b"/t/%sz", b"/t/a%sz/b", b"/t/a%s"}
    names = {place % bytes((byte,)) for place in places for byte in range(1, 256)} - {b"/t//", b"/t//z"}
    _exactly(bookworm_parser, names)


HOSTILE = (
    b"/tmp/x\tr,\n/etc/shadow\trw,\n/tmp/y",
    b"/tmp/a b",
    b"/tmp/#include <abstractions/base>",
    b"/tmp/@{HOME}/x",
    b"/tmp/${x}",
    b"/tmp/{a,b}",
    b"/tmp/[a-z]*",
    b"/tmp/**",
    b"/tmp/?",
    b"/tmp/^x",
    b'/tmp/"',
    b"/tmp/\\",
    b"/tmp/\\x41",
    b"/tmp/\\101",
    b"/tmp/trailing\\",
    b"/tmp/ -> /etc/shadow",
    b"/tmp/x, /etc/shadow rw",
    b"/tmp/x rw,}",
    b"/tmp/\xe2\x80\xae",
    b"/tmp/\xff\xfe",
    b"/tmp/%s%n",
    b"/tmp/'; rm -rf /",
)


def test_known_tricks_allow_exactly_themselves(parser: Parser) -> None:
    _exactly(parser, set(HOSTILE))


def _exactly(parser: Parser, names: set[bytes]) -> None:
    found = machine(parser, "\n".join(f"  {spell(name)} r," for name in sorted(names)))
    for owner in (True, False):
        assert set(permitted_words(found, May.READ, owner, len(names) + 1)) == names
    assert permitted_words(found, May.WRITE, True) == ()


def test_permitted_words_stops_at_its_limit(bookworm_parser: Parser) -> None:
    found = machine(bookworm_parser, "  /a/** r,\n  /b r,")
    words = permitted_words(found, May.READ, True, 4)
    assert len(words) == 4
    assert words[0] == b"/b"


WATCH = (
    Watch("shadow", (Pattern.literal(b"/etc/shadow"),)),
    Watch("keys", (glob("/**.key"),)),
    Watch("settings", (glob("/proc/sys/**"),), bits_of("w")),
)


def test_sensitive_paths_are_found_with_witnesses(parser: Parser) -> None:
    found = Grants(machine(parser, "  /etc/* r,\n  owner /srv/** w,\n  /proc/sys/** r,\n  /etc/passwd rw,")).sensitive(
        WATCH
    )
    assert found == (
        Witness(b"/etc/.key", "r", None, "keys"),
        Witness(b"/srv/.key", "w", True, "keys"),
        Witness(b"/etc/shadow", "r", None, "shadow"),
    )


def test_what_was_observed_is_not_a_finding(bookworm_parser: Parser) -> None:
    policy = machine(bookworm_parser, "  /etc/shadow rw,\n  /srv/[0-9]*.key r,")
    seen = Observed(((b"/etc/shadow", May.READ),), ((glob("/srv/[0-9]*.key"), May.READ),))
    assert Grants(policy, seen).sensitive(WATCH) == (Witness(b"/etc/shadow", "w", None, "shadow"),)


def test_what_the_baseline_grants_is_not_a_finding(bookworm_parser: Parser) -> None:
    old = machine(bookworm_parser, "  /etc/sh* r,\n  /x rwm,\n  /bin/a ix,")
    new = machine(bookworm_parser, "  /etc/sh* rw,\n  /x rwm,\n  /y rwm,\n  /bin/* ix,")
    grants = Grants(new, Observed(), old)
    assert grants.sensitive(WATCH[:1]) == (Witness(b"/etc/shadow", "w", None, "shadow"),)
    assert grants.write_execute() == (Witness(b"/y", "wm", None),)
    assert [witness.path for witness in grants.executables()] == [b"/bin/b"]


def test_write_and_execute_are_found(parser: Parser) -> None:
    policy = machine(parser, "  /a w,\n  /b ix,\n  /c/* rw,\n  owner /c/*.so m,\n  /d wix,\n  /e a,\n  /e m,")
    found = {witness.path: (witness.letters, witness.owner) for witness in Grants(policy).write_execute()}
    assert found == {b"/c/.so": ("wm", True), b"/d": ("wmx", None), b"/e": ("am", None)}
    seen = Observed(((b"/d", ALL), (b"/e", ALL), (b"/c/.so", ALL)))
    rest = {witness.path for witness in Grants(policy, seen).write_execute()}
    assert rest == {b"/c/a.so"}


def test_no_write_and_execute_where_there_is_none(parser: Parser) -> None:
    assert Grants(machine(parser, "  /a/** rw,\n  /b/** rix,")).write_execute() == ()


def test_executables_that_were_not_seen(parser: Parser) -> None:
    policy = machine(parser, "  /bin/a ix,\n  /bin/b Px,\n  owner /bin/c Px,")
    assert Grants(policy, Observed(((b"/bin/a", May.EXEC), (b"/bin/b", May.EXEC)))).executables() == (
        Witness(b"/bin/c", "x", True),
    )


def test_the_sensitive_set_is_sound() -> None:
    names = [watch.name for watch in watched()]
    assert len(names) == len(set(names))
    for path in (
        b"/etc/shadow",
        b"/root/.ssh/id_rsa",
        b"/proc/7/mem",
        b"/run/docker.sock",
        b"/srv/www/.htpasswd",
        b"/boot/x",
    ):
        assert any(pattern.matches(path) for watch in watched() for pattern in watch.patterns), path
    for path in (b"/etc/passwd", b"/usr/share/x", b"/proc/7/stat"):
        assert not any(
            pattern.matches(path) for watch in watched() if watch.bits == ALL for pattern in watch.patterns
        ), path


OLD = """
  /etc/a r,
  /bin/x ix,
  capability chown,
  signal (send) set=(term) peer=p,
  network inet stream,
  set rlimit nofile <= 10,
  change_profile -> one,
"""
NEW = """
  /etc/a rw,
  /etc/b r,
  /bin/x Px,
  capability kill,
  signal (send) set=(term, kill) peer=p,
  network inet,
  set rlimit nofile <= 20,
  change_profile -> two,
  ptrace (read) peer=q,
  umount /mnt/,
  dbus (bind) bus=system name=org.x,
  link /l -> /t,
"""


def test_compare_names_every_class(parser: Parser) -> None:
    old, new = subject(parser, OLD), subject(parser, NEW)
    gained = {str(grant) for grant in extra(new, old)}
    expected = {
        "file w /etc/a",
        "file r /etc/b",
        "file Px instead of ix /bin/x",
        "capability kill",
        "signal send kill peer p",
        "rlimit nofile up to 20",
        "change_profile to two",
        "ptrace read peer q",
        "mount umount /mnt/",
        "dbus bind bus=system name=org.x",
        "link /l -> /t",
    }
    assert expected <= gained
    assert any(grant.endswith("inet dgram") for grant in gained)
    assert not any("inet stream" in grant for grant in gained)
    lost = {str(grant) for grant in extra(old, new)}
    assert {"capability chown", "change_profile to one", "file ix instead of Px /bin/x", "file m /bin/x"} <= lost


def test_compare_is_empty_for_the_same_policy_in_other_words(parser: Parser) -> None:
    first = {b"x": subject(parser, "  /a r,\n  /a w,\n  /b/{c,d} r,\n  network inet stream,")}
    second = {b"x": subject(parser, "  /b/d r,\n  network inet stream,\n  /a rw,\n  /b/c r,")}
    assert compare(first, second) == ()


def test_compare_tells_added_and_removed_blocks(bookworm_parser: Parser) -> None:
    old = subjects(bookworm_parser.compile("profile x { /a r, ^h { /b r, } }").blob)
    new = subjects(bookworm_parser.compile("profile x { /a r, profile c { /c r, } }").blob)
    states = {change.block: change.state for change in compare(old, new)}
    assert states == {"x": "changed", "x//c": "added", "x//h": "removed"} or states == {
        "x//c": "added",
        "x//h": "removed",
    }


def test_difference_agrees_with_brute_force(bookworm_parser: Parser) -> None:
    rules = ("/a/* r,", "/a/b r,", "/a/** r,", "/{a,b}/x r,", "owner /a/b r,", "/a/[a-b] r,")
    words = [b"/" + bytes(tail) for length in range(1, 5) for tail in product(b"abx/", repeat=length)]
    real = [word for word in words if b"//" not in word]
    for first, second in product(rules, repeat=2):
        old, new = subject(bookworm_parser, first), subject(bookworm_parser, second)
        assert old.file is not None and new.file is not None
        more = any(
            new.file.rights.allow(new.file.dfa.run(1, word), owner) & May.READ
            and not old.file.rights.allow(old.file.dfa.run(1, word), owner) & May.READ
            for word in real
            for owner in (True, False)
        )
        assert bool(extra(new, old)) == more, (first, second)
