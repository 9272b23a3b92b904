"""`rules_of` takes any event: made-up ones, hostile ones, and every real one that we have."""

import lzma
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aalearn.grammar.lines import Lines, Sighting
from aalearn.model.data import words
from aalearn.model.event import Event, Verdict
from aalearn.model.target import Target
from aalearn.rules import KINDS, Level, kind_of, rules_of
from tests.conftest import ROOT
from tests.rules.compiling import Compiler
from tests.rules.strategies import HOSTILE

ALL = Target(mediates=Target().mediates | {"userns", "io_uring", "mqueue"})
OLD = Target()
FINE = Target("4.0", (4, 1), ALL.mediates, fine_inet=True)
TABLE = words("operations")
OPERATIONS = sorted({*TABLE["operations"], *TABLE["silent"], "", "teleport"})
_KEYS = """class name denied_mask requested_mask denied requested mask info error target peer capname capability family
sock_type protocol laddr lport faddr fport addr peer_addr signal srcname fstype flags bus path interface member method
peer_label rlimit value label execpath namespace"""
KEYS = _KEYS.split()
VALUES = [
    *(b"", b"file", b"net", b"cap", b"posix_mqueue", b"sysv_mqueue", b"namespace", b"io_uring", b"rlimits", b"unknown"),
    *(
        b"r",
        b"wrc",
        b"x",
        b"rw::",
        b"::r",
        b"send receive",
        b"send, receive",
        b"create",
        b"bind",
        b"listen",
        b"connect",
    ),
    *(
        b"inet",
        b"inet6",
        b"unix",
        b"stream",
        b"dgram",
        b"80",
        b"0",
        b"127.0.0.1",
        b"::1",
        b"fe80::1%eth0",
        b"none",
        b"@a",
    ),
    *(b"term", b"rtmin+8", b"rw, bind", b"ro, remount", b"rw, private", b"sqpoll", b"override_creds", b"userns_create"),
    *(
        b"Failed name lookup - disconnected path",
        b"optional: no audit",
        b"chown",
        b"system",
        b":1.2",
        b"a//&b",
        b":n:a",
    ),
    *(b"\xb2", "٣".encode(), b"1" * 5000, b"/a", b"/a//b"),
    *HOSTILE,
]
value = st.one_of(st.sampled_from(VALUES), st.binary(max_size=16))
events = st.builds(
    lambda verdict, operation, profile, fields: Event(verdict, operation, profile, tuple(sorted(fields.items()))),
    st.sampled_from(Verdict),
    st.one_of(st.sampled_from(OPERATIONS), st.text(max_size=8)),
    st.binary(max_size=12),
    st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), value, max_size=12),
)
# Whole records of a kind, so that most give rules: hostile values in the places of names.
_name = st.one_of(st.sampled_from(HOSTILE), st.binary(min_size=1, max_size=12).map(lambda rest: b"/" + rest))
_full = st.fixed_dictionaries(
    {
        "name": _name,
        "denied_mask": st.sampled_from(
            [b"r", b"wc", b"rm", b"wk", b"send receive", b"bind", b"read", b"create", b"connect"]
        ),
        "srcname": _name,
        "target": _name,
        "peer": value,
        "peer_label": value,
        "fstype": value,
        "flags": st.lists(st.sampled_from([*sorted(words("mount")["options"]), "remount"]), max_size=3).map(
            lambda flags: ", ".join(flags).encode()
        ),
        "signal": st.sampled_from([b"term", b"exists", b"rtmin+1"]),
        "capname": st.sampled_from([b"chown", b"bpf"]),
        "family": st.sampled_from([b"inet", b"unix", b"netlink"]),
        "sock_type": st.sampled_from([b"stream", b"dgram"]),
        "addr": st.one_of(st.just(b"none"), value.map(lambda rest: b"@" + rest)),
        "peer_addr": st.one_of(st.just(b"none"), value.map(lambda rest: b"@" + rest)),
        "lport": st.sampled_from([b"80", b"40000", b"0"]),
        "laddr": st.sampled_from([b"127.0.0.1", b"::1", b"x"]),
        "bus": value,
        "path": _name,
        "interface": value,
        "member": value,
    }
)
full_events = st.builds(
    lambda operation, fields: Event(Verdict.ALLOWED, operation, b"p", tuple(sorted(fields.items()))),
    st.sampled_from(OPERATIONS),
    _full,
)
owners = st.sampled_from([True, False, None])


@settings(max_examples=1500)
@given(st.one_of(events, full_events), owners, st.sampled_from([ALL, FINE, Target(), Target(mediates=frozenset())]))
def test_no_event_raises_and_each_has_an_outcome(event: Event, owner: bool | None, target: Target) -> None:
    outcome = rules_of(event, owner, target)
    assert outcome.rules or outcome.notes
    assert rules_of(event, owner, target) == outcome
    for rule in outcome.rules:
        assert rule.text().isprintable()
        assert rule.covers(rule)
        assert not KINDS[rule.kind].reported
        assert KINDS[rule.kind].needs in target.mediates
    for note in outcome.notes:
        assert note.text.isprintable()
        assert note.level in set(Level)


@pytest.mark.parser
@settings(
    max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(batch=st.lists(full_events, min_size=25, max_size=60))
def test_whatever_a_record_says_its_rules_compile_and_grant_nothing_else(
    batch: list[Event], compiler: Compiler
) -> None:
    """Names that try to end a rule: the profile compiles, and /etc/shadow stays closed."""
    texts = [rule.text() for event in batch for rule in rules_of(event, None, OLD).rules]
    policy = compiler.files(texts)
    asked = {event.get("name") for event in batch} | {event.get("target") for event in batch}
    for canary in (b"/etc/shadow", b"/x", b"/home/joe/x", b"/x\\\\\\"):
        if canary not in asked:
            assert not policy.reads(canary)


def _real() -> Iterator[tuple[str, Event, bool | None]]:
    lines = Lines()
    for path in sorted((ROOT / "tests" / "data" / "logs").rglob("audit.log.xz")):
        seen = set()
        for line in lzma.decompress(path.read_bytes()).split(b"\n"):
            found = lines.read(line) if b"apparmor=" in line else None
            if isinstance(found, Sighting) and (found.entry.need, found.entry.owner) not in seen:
                seen.add((found.entry.need, found.entry.owner))
                yield str(path), found.entry.need, found.entry.owner


def test_real_records_give_rules_or_a_known_reason() -> None:
    count = 0
    for path, event, owner in _real():
        outcome = rules_of(event, owner, ALL)
        assert outcome.rules or outcome.notes
        strange = [note for note in outcome.notes if note.level in (Level.UNSUPPORTED, Level.INEXPRESSIBLE)]
        wordless = event.text("sock_type") == "dccp" or event.text("capname") == "checkpoint_restore"
        assert not strange or wordless, (path, event, strange)
        count += 1
    assert count > 100


@pytest.mark.parser
def test_rules_of_real_records_compile_and_allow_what_was_recorded(compiler: Compiler) -> None:
    """Replayed one log at a time: each event that gave a rule is allowed, be it ALLOWED or DENIED in the log."""
    # nested folders of very long names (kernel-*/names) take the compiler minutes: a deeper test has them one by one
    some = {
        (event.with_(profile=b"p"), owner): path
        for path, event, owner in _real()
        if len(event.get("name") or b"") < 600
    }
    learned = [(event, owner, path) for (event, owner), path in some.items() if rules_of(event, owner, OLD).rules]
    assert learned
    for start in range(0, len(learned), 100):  # compiling costs more than linear time
        batch = learned[start : start + 100]
        texts = sorted({rule.text() for event, owner, _ in batch for rule in rules_of(event, owner, OLD).rules})
        policy = compiler.files(texts)
        for event, owner, path in batch:
            if kind_of(event) != "unix":
                answer = policy.ask(event, owner)
                assert answer.allowed, (path, event, texts, answer)


@pytest.mark.parser
def test_the_longest_real_name_is_a_rule_like_any_other(compiler: Compiler) -> None:
    longest = max(
        (event for _, event, _ in _real() if kind_of(event) == "file" and rules_of(event, None, OLD).rules),
        key=lambda one: len(one.get("name") or b""),
    )
    (rule,) = rules_of(longest, None, OLD).rules
    name = longest.get("name") or b""
    assert len(name) > 4000
    policy = compiler.files([rule.text()])
    assert policy.ask(longest, None).allowed
    assert not policy.reads(name + b"D")
