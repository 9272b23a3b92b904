"""What is said of a denial: the rule that would allow it, its risk, and whether a person refused it."""

from hypothesis import given
from hypothesis import strategies as st

from aalearn.learn.options import Action, Decision, Options
from aalearn.lifecycle.denials import Memory, Weigher, denials
from aalearn.model.event import Event, Verdict
from tests.lifecycle.watching import NAME, SOCKET, T0, access, denial, event, reading, weigher

ROWS = [
    (reading("/etc/nginx/new.conf"), "/etc/nginx/new.conf r,", 0),
    (reading("/etc/shadow"), "/etc/shadow r,", 2),
    (SOCKET, "/run/docker.sock rw,", 1),
    (event("capable", capname="sys_admin", capability="21"), "capability sys_admin,", 1),
    (event("exec", name="/usr/bin/bash", requested_mask="x", denied_mask="x"), "/usr/bin/bash ix,", 0),
    (event("create", class_="net", family="inet", sock_type="raw", denied_mask="create"), "network inet raw,", 2),
    (reading("/proc/4711/stat"), "@{PROC}/@{pid}/stat r,", 0),
]


def test_each_denial_has_the_rule_that_learning_would_write() -> None:
    for what, rule, tier in ROWS:
        found = denial(what)
        assert [one.rule for one in found.judgement.wanted] == [rule]
        assert found.judgement.tier == tier
        assert f"would be allowed by {rule}" in found.line()
        assert not found.judgement.meant


def test_a_child_is_named_as_its_own_block() -> None:
    found = denial(reading("/etc/x", b"nginx//worker"))
    assert [(one.block, one.rule) for one in found.judgement.wanted] == [("nginx//worker", "/etc/x r,")]
    assert found.line().startswith("nginx//worker denied open r /etc/x by nginx; would be allowed by /etc/x r,")


def test_what_a_person_refused_is_meant() -> None:
    refusal = Decision("/run/docker.sock rw,", Action.DENY, "anna", 1, "never")
    found = weigher(refusal).denial(access(SOCKET))
    assert found.judgement.meant
    assert "[refused by anna]" in found.line()
    other = weigher(refusal).denial(access(reading("/etc/x")))
    assert not other.judgement.meant


def test_what_no_rule_allows_is_said() -> None:
    found = denial(event("nonsense"))
    assert found.judgement.wanted == ()
    assert "no rule would allow it: unknown operation nonsense" in found.line()


def test_a_profile_that_others_named_is_judged_too() -> None:
    found = Weigher(b"a b", Options()).denial(access(SOCKET.with_(profile=b"a b")))
    assert [(one.rule, one.tier) for one in found.judgement.wanted] == [("/run/docker.sock rw,", 1)]


def test_only_denials_since_then_by_time() -> None:
    judge = weigher()
    rows = [
        access(reading("/b"), T0 + 5),
        access(reading("/a"), T0 - 9, T0 + 1, count=7),
        access(reading("/old"), T0 - 9, T0 - 1),
        access(event("open", verdict=Verdict.ALLOWED, name="/c", denied_mask="r"), T0 + 1),
    ]
    found = denials(judge, rows, T0)
    assert [(one.judgement.what, one.first, one.count) for one in found] == [
        ("open r /a", T0, 1),  # at least once since then
        ("open r /b", T0 + 5, 1),
    ]
    assert [one.at_least for one in found] == [True, False]
    assert "/a by nginx, at least once; would" in found[0].line()


def test_judgements_are_kept_within_bounds() -> None:
    memory = Memory(room=20_000)
    one, other = (Weigher(NAME, Options(), memory=memory) for _ in range(2))
    first = one.judge(access(reading("/a")))
    assert one.judge(access(reading("/a"), T0 + 5, count=9)) is first
    assert other.judge(access(reading("/a"))) is not first, "by other decisions, perhaps"
    for at in range(20):
        one.judge(access(reading(f"/{at}{'x' * 1000}")))
    assert one.judge(access(reading("/a"))) is not first
    assert len(memory._known) < 10
    huge = access(reading("/" + "x" * 50_000))
    assert one.judge(huge).wanted
    assert len(memory._known) == 0


@given(st.binary(max_size=60), st.binary(max_size=20), st.sampled_from(["open", "exec", "connect", "mount", "x"]))
def test_whatever_a_record_holds_its_line_is_one_safe_line(name: bytes, comm: bytes, operation: str) -> None:
    what = Event(Verdict.DENIED, operation, NAME, (("denied_mask", b"r"), ("name", name), ("requested_mask", b"r")))
    line = weigher().denial(access(what, programs=(comm,))).line()
    assert line.isprintable()
