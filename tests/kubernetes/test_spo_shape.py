"""SPO's abstract form: paths in its alphabet, denies that never hit what was learned, and every loss said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aalearn.kubernetes.exports import FORMATS
from aalearn.kubernetes.spo.abstract import Abstract, Remark
from aalearn.kubernetes.spo.objects import Generation, binding_object, check_name, profile_object, told
from aalearn.kubernetes.spo.paths import FORM, spelled
from aalearn.kubernetes.spo.rendering import rendered
from aalearn.kubernetes.spo.split import Wanted, lists
from aalearn.model.errors import UsageError
from aalearn.model.event import Event, Verdict
from aalearn.model.pattern import Alt, Any1, Chars, Deep, Literal, Pattern, Star, Token, Var
from aalearn.policy.gate import subjects
from aalearn.policy.oracle import Oracle
from tests.kubernetes.exported import choice, documents, fits, judge, made
from tests.learn.accesses import Made

_BYTES = st.binary(min_size=1, max_size=6).map(lambda value: value.replace(b"\0", b"x"))
_TOKENS: st.SearchStrategy[Token] = st.one_of(
    _BYTES.map(Literal),
    st.just(Any1()),
    st.integers(1, 3).map(lambda count: Chars("0-9a-f", count)),
    st.sampled_from([Var("pid"), Var("multiarch"), Var("int")]),
    st.sampled_from([Alt((Pattern.literal(b"a"), Pattern(()))), Alt((Pattern.of(Star()), Pattern.literal(b"b/c")))]),
)


@given(st.lists(_TOKENS, max_size=5), st.sampled_from([None, Star(), Deep()]))
def test_every_pattern_gets_paths_of_the_schema_that_match_all_of_it(tokens: list[Token], last: Token | None) -> None:
    pattern = Pattern.of(Literal(b"/"), *tokens, *([last] if last else []))
    ways = spelled(pattern)
    assert ways
    for way in ways:
        assert FORM.fullmatch(way.text)
    if pattern.is_literal:
        assert any(way.pattern.matches(pattern.literal_bytes) for way in ways)
        assert all(way.widened or way.text.encode() == pattern.literal_bytes for way in ways)
    elif len(ways) == 1:
        assert ways[0].pattern.covers(pattern)


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        (Pattern.literal(b"/srv/a b,c\xc3\xa9"), ["/srv/a?b?c??"]),
        (Pattern.of(Var("PROC"), Literal(b"/"), Var("pid"), Literal(b"/stat")), ["/proc/@{pid}/stat"]),
        (Pattern.of(Var("run"), Literal(b"/x.pid")), ["/run/x.pid", "/var/run/x.pid"]),
        (Pattern.of(Literal(b"/x/"), Var("int")), ["/x/?*"]),
        (Pattern.of(Literal(b"/x"), Var("int"), Star()), ["/x?*"]),
        (Pattern.of(Literal(b"/l.so."), Chars("0-9"), Star()), ["/l.so.?*"]),
    ],
)
def test_what_can_not_be_written_becomes_a_wildcard(pattern: Pattern, texts: list[str]) -> None:
    assert [way.text for way in spelled(pattern)] == texts


def _wanted(**paths: str) -> dict[str, Wanted]:
    """Wanted paths: `letters=path observed,observed`, keys as r1, w2."""
    found: dict[str, Wanted] = {}
    for key, text in paths.items():
        path, _, seen = text.partition(" ")
        head, deep, _ = path.partition("**")
        pattern = Pattern.of(Literal(head.encode()), Deep()) if deep else Pattern.literal(path.encode())
        need = found.setdefault(path, Wanted(pattern))
        need.letters |= set(key.rstrip("0123456789"))
        need.paths |= {one.encode() for one in seen.split(",") if one} or {path.encode()}
        need.rules.add(f"{path} {key},")
    return found


def test_a_readable_glob_is_split_beside_what_is_written() -> None:
    seen = "/var/log/x,/var/log/d/y,/var/cache/z,/var/lib/app/data,/var/lib/other/w,/var/plain"
    found, lost, _ = lists(_wanted(r=f"/var/** {seen}", rw="/var/lib/app/**"))
    assert found.read_write == ("/var/lib/app/**",)
    assert found.read_only == ("/var/cache/**", "/var/lib/other/**", "/var/log/**", "/var/plain")
    assert any("split into 4" in remark.why for remark in lost)


def test_what_a_written_glob_covers_is_not_read_only_too() -> None:
    found, lost, widened = lists(_wanted(r="/srv/app/conf", rw="/srv/app/**"))
    assert (found.read_only, found.read_write) == ((), ("/srv/app/**",))
    assert not lost
    assert not widened


def test_a_written_path_that_is_read_by_another_is_both() -> None:
    found, _, widened = lists(_wanted(w="/srv/**", r="/srv/x", x="/srv/tool"))
    assert found.write_only == ()
    assert found.read_write == ("/srv/**",)
    assert any("read too" in remark.why for remark in widened)
    alone, _, _ = lists(_wanted(w="/srv/out", r="/etc/x"))
    assert alone.write_only == ("/srv/out",)


_SEGMENT = st.sampled_from(["a", "b", "c", "d e"])
_PATH = st.lists(_SEGMENT, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))

_LETTERS = st.sampled_from(["r", "w", "rw", "x", "m"])
_NEEDS = st.lists(st.tuples(_PATH, st.booleans(), _LETTERS), min_size=1, max_size=8)


@pytest.mark.parser
@settings(max_examples=25)
@given(
    needs=st.lists(st.tuples(_PATH, st.booleans(), st.sampled_from(["r", "w", "rw", "x", "m"])), min_size=1, max_size=8)
)
def test_the_denies_hit_nothing_that_was_wanted(apparmor_parser: str, needs: list[tuple[str, bool, str]]) -> None:
    """Whatever is wanted of overlapping paths, the compiled rendering permits every observed path."""
    wanted: dict[str, Wanted] = {}
    for path, deep, letters in needs:
        folder = Pattern.of(Literal(path.encode() + b"/"), Deep())
        for way in spelled(folder if deep else Pattern.literal(path.encode())):
            need = wanted.setdefault(way.text, Wanted(way.pattern))
            need.letters |= set(letters)
            need.paths |= {f"{path}/{leaf}".encode() for leaf in ("a", "b/c")} if deep else {path.encode()}
            need.rules.add(f"{path} {letters},")
    asked = [(path, letter) for need in wanted.values() for path in need.paths for letter in need.letters]
    abstract, _, _ = lists(wanted)
    text = rendered("p", abstract, enforce=True)
    oracle = Oracle.of(subjects(judge(apparmor_parser).gate(strict=False).compile(text).blob)[b"p"])
    for name, letter in asked:
        operation = {"x": "exec", "m": "file_mmap"}.get(letter, "open")
        event = Event(Verdict.ALLOWED, operation, b"p", (("denied_mask", letter.encode()), ("name", name)))
        assert oracle.ask(event, None).allowed, (name, letter, text)


def _exotic() -> Made:
    log = Made()
    log.file("/srv/data/a,b", "wc", owner=True, count=6)
    log.file("/srv/data/db", "rk")
    log.file("/etc/shadow", "rk")
    log.exec("/usr/bin/tool")
    log.add("capable", class_="cap", capname="sys_rawio", capability="17")
    log.add("create", class_="net", family="inet", sock_type="stream", requested_mask="create", denied_mask="create")
    log.add("create", class_="net", family="netlink", sock_type="raw", requested_mask="create", denied_mask="create")
    log.add("create", class_="net", family="netlink", sock_type="dgram", requested_mask="create", denied_mask="create")
    log.add("signal", class_="signal", requested_mask="send", denied_mask="send", signal="term", peer="other")
    log.add("ptrace", class_="ptrace", requested_mask="read", denied_mask="read", peer="p")
    log.add("link", class_="file", name="/srv/data/new", target="/srv/data/db", denied_mask="l", requested_mask="l")
    log.add("link", class_="file", name="/srv/x", target="/srv/y", denied_mask="l", requested_mask="l")
    return log


@pytest.mark.parser
def test_every_rule_that_it_can_not_say_is_said(apparmor_parser: str) -> None:
    one = made(_exotic().all, apparmor_parser)
    done = FORMATS["spo"].export([one], choice(apparmor_parser, spo_version="0.10"))
    (found,) = documents(done.files[0].content)
    fits(found, "apparmorprofile-0.9")
    assert found["spec"]["complainMode"] is True
    (report,) = done.reports
    lost = {remark.rule: remark.why for remark in report.lost}
    for rule in ("signal (receive) peer=runc,", "network netlink dgram,", "link /srv/x -> /srv/y,"):
        assert rule in lost
    assert any(rule.startswith("ptrace") for rule in lost)
    assert any("lock" in why for rule, why in lost.items() if "/etc/shadow" in rule)
    assert all(rule in found["metadata"]["annotations"]["aalearn/lost-rules"] for rule in lost)
    wider = [remark.why for remark in report.widened]
    assert any("owner" in why for why in wider)
    assert any("written as /srv/data/a?b" in remark.why for remark in report.widened)
    assert any("mount" in why for why in wider)
    assert any("locks" in why for why in wider)
    assert found["spec"]["abstract"]["network"] == {"allowRaw": True, "allowedProtocols": {"allowTcp": True}}
    assert found["spec"]["abstract"]["executable"] == {"allowedExecutables": ["/usr/bin/tool"]}
    assert {finding.what.split()[0] for finding in report.denied} >= {"signal", "create", "link"}


def test_generations() -> None:
    named = {"0.4": "0.8", "0.8.4": "0.8", "v0.9.1": "0.9", "0.10.1": "0.9", "1.0": "1.0", "2.3": "1.0"}
    assert {text: str(Generation.of(text)) for text in named} == named
    for wrong in ("", "new", "1", "0.9-rc", "0.2", "0.9\n"):
        with pytest.raises(UsageError):
            Generation.of(wrong)


def test_names_sizes_and_images_are_checked() -> None:
    for wrong in ("", "Web", "a_b", "-a", "a" * 190, "a\n", "a/b"):
        with pytest.raises(UsageError):
            check_name(wrong)
    check_name("a" * 189)
    big = Abstract(read_only=tuple(f"/{number:0100d}" for number in range(15_000)))
    with pytest.raises(UsageError, match="bytes"):
        profile_object(Generation.MODE, "web", big, enforce=False)
    for wrong in ("", "a b", "a\nb"):
        with pytest.raises(UsageError):
            binding_object(Generation.MODE, "web", wrong, "x")
    for generation in Generation:
        fits(binding_object(generation, "web", "nginx:1", ""), f"profilebinding-{generation}")


def test_an_annotation_is_cut_with_a_count() -> None:
    text = told([Remark(f"/{number:0200d} r,", "x") for number in range(2000)])
    assert len(text.encode()) < 110_000
    assert text.splitlines()[-1].endswith(" more")
    assert "\n" not in told([Remark("a\nb", "c\x1b")])


def test_complain_mode_has_no_denies() -> None:
    text = rendered("p", Abstract(read_only=("/etc/x",), write_only=("/o",)), enforce=False)
    assert "deny" not in text.split("# Add default deny")[0]
    assert "flags=(complain," in text


@pytest.mark.parser
def test_children_run_in_the_profile_itself(apparmor_parser: str) -> None:
    """SPO knows no child profiles: what a child needs is granted to the one profile, and that is said."""
    log = Made()
    log.file("/etc/hosts")
    log.exec("/usr/bin/tool")
    child = "p//null-/usr/bin/tool"
    log.add("capable", profile=child, class_="cap", capname="chown", capability="0")
    log.file("/srv/out", "wc", profile=child)
    one = made(log.all, apparmor_parser, container=False)
    assert "Cx -> tool" in one.text
    (report,) = FORMATS["spo"].export([one], choice(apparmor_parser)).reports
    assert not report.denied
    assert any("Cx" in remark.rule and "ix" in remark.why for remark in report.lost)
