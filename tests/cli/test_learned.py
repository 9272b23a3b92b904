"""`suggest`, `explain`, `review`, `check` and `diff` as a person types them, on real logs."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import SAMPLES, Done, Face, program
from tests.cli.schemas import CHECK, DIFF, EXPLAIN, REVIEW, SUGGEST, fits
from tests.conftest import ROOT

pytestmark = pytest.mark.parser

TIER_ONE = "capability dac_read_search,"
TIER_TWO = "capability dac_override,"


@pytest.fixture
def redis(learned: Callable[[str], Path], tmp_path: Path) -> str:
    """The URL of a store of one's own with a real log of redis in it."""
    copy = tmp_path / "redis.db"
    shutil.copy(learned("redis"), copy)
    return f"sqlite:///{copy}"


def document(done: Done, code: int = 0) -> dict[str, Any]:
    assert done.code == code, done.err
    value: dict[str, Any] = json.loads(done.out)
    return value


def test_suggest_prints_a_profile_that_compiles(
    aalearn: Face, redis: str, apparmor_parser: str, tmp_path: Path
) -> None:
    done = aalearn("--db", redis, "suggest", "redis")
    assert done.code == 0, done.err
    assert "\nprofile redis {\n" in done.out
    assert "proved by apparmor_parser" in done.err
    assert f"  # withheld: {TIER_ONE}\n" in done.out
    file = tmp_path / "redis.aa"
    file.write_text(done.out)
    command = [apparmor_parser, "--config-file", "/dev/null", "-Q", "-K", "-S", "-M", "/etc/apparmor.d/abi/3.0"]
    subprocess.run([*command, "--base", "/etc/apparmor.d", file], stdout=subprocess.DEVNULL, check=True)


def test_suggest_gives_the_same_bytes_and_says_no_more_than_asked(aalearn: Face, redis: str) -> None:
    first, second = aalearn("--db", redis, "suggest", "redis"), aalearn("--db", redis, "--quiet", "suggest", "redis")
    assert first.out == second.out
    assert second.err == ""


def test_suggest_as_json_and_yaml(aalearn: Face, redis: str) -> None:
    from ruamel.yaml import YAML

    value = document(aalearn("--db", redis, "--output", "json", "suggest", "redis"))
    fits(value, SUGGEST)
    assert value["proved"] is True
    assert value["form"] == "whole"
    assert value["proof"]["counts"]["denied"] == 0
    assert [one["rule"] for one in value["withheld"]] == [TIER_ONE]
    assert value["text"] == aalearn("--db", redis, "suggest", "redis").out
    assert YAML(typ="safe").load(aalearn("--db", redis, "--output", "yaml", "suggest", "redis").out) == value


def test_complain_all_and_accepted(aalearn: Face, redis: str) -> None:
    plain = aalearn("--db", redis, "suggest", "redis").out
    complain = aalearn("--db", redis, "suggest", "--complain", "redis").out
    assert "profile redis flags=(complain) {" in complain
    assert complain.replace(" flags=(complain)", "") == plain
    everything = aalearn("--db", redis, "suggest", "--all", "redis").out
    assert f"\n  {TIER_ONE}\n" in everything
    assert "withheld" not in everything
    accepted = aalearn("--db", redis, "suggest", "--accepted", "redis").out
    assert TIER_ONE not in accepted
    assert TIER_TWO not in accepted


def test_the_program_that_it_attaches_to(aalearn: Face, redis: str) -> None:
    done = aalearn("--db", redis, "suggest", "--exe", "/usr/bin/redis server", "redis")
    assert done.code == 0, done.err
    assert '\nprofile redis "/usr/bin/redis\\040server" {\n' in done.out
    assert aalearn("--db", redis, "suggest", "--exe", "redis", "redis").code == 2


def test_a_container_gets_no_includes(aalearn: Face, learned: Callable[[str], Path]) -> None:
    done = aalearn("--db", f"sqlite:///{learned('container')}", "suggest", "--container", "wl_ct_ix")
    assert done.code == 0, done.err
    assert "include" not in done.out


def test_approval_is_recorded_with_who_when_and_why(aalearn: Face, redis: str) -> None:
    approved = aalearn("--db", redis, "suggest", "--approve", TIER_ONE[:-1], "--reason", "it must", "redis")
    assert approved.code == 0, approved.err
    assert f"\n  {TIER_ONE}\n" in approved.out
    assert "it must" in approved.out
    assert aalearn("--db", redis, "suggest", "redis").out == approved.out


def test_an_approval_needs_a_reason(aalearn: Face, redis: str) -> None:
    for arguments in (["--approve", TIER_ONE], ["--reason", "x"], ["--approve", TIER_ONE, "--reason", "  "]):
        done = aalearn("--db", redis, "suggest", *arguments, "redis")
        assert (done.code, done.out) == (2, "")
        assert "--reason" in done.err
    assert aalearn("--db", redis, "suggest", "--all", "--accepted", "redis").code == 2


def test_hostile_reasons_stay_comments(aalearn: Face, redis: str) -> None:
    reason = "x\n  /etc/shadow rw,\n\x1b[31m"
    done = aalearn("--db", redis, "suggest", "--approve", TIER_ONE, "--reason", reason, "redis")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert not [line for line in done.out.splitlines() if "/etc/shadow" in line and not line.startswith("  # ")]


def test_a_target_that_can_not_do_it_refutes_the_profile(aalearn: Face, redis: str, tmp_path: Path) -> None:
    features = tmp_path / "features"
    text = Path("/etc/apparmor.d/abi/3.0").read_text()
    assert "network_v8 {" in text
    start = text.index("network_v8 {")
    depth, end = 0, start
    for end in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if text[end] == "}" and depth == 0:
            break
    features.write_text(text[:start] + text[end + 1 :])
    done = aalearn("--db", redis, "suggest", "--target", features, "redis")
    assert done.code in (0, 1), done.err
    assert "network" in done.err
    missing = aalearn("--db", redis, "suggest", "--target", tmp_path / "none", "redis")
    assert (missing.code, missing.out) == (2, "")


def test_a_population_of_a_real_tree(aalearn: Face, redis: str, tmp_path: Path) -> None:
    listing = tmp_path / "list"
    listing.write_bytes(b"/var/lib/redis/dump.rdb\n/var/lib/redis/other\n/etc/shadow\n")
    assert aalearn("--db", redis, "suggest", "--root", listing, "redis").code == 0
    assert aalearn("--db", redis, "suggest", "--root", ROOT / "docs", "redis").code == 0
    nothing = tmp_path / "nothing"
    nothing.write_text("not a path\n")
    for wrong in (nothing, tmp_path / "none"):
        done = aalearn("--db", redis, "suggest", "--root", wrong, "redis")
        assert (done.code, done.out) == (2, "")
        assert done.err.count("\n") == 1


def test_explain_tells_the_evidence(aalearn: Face, redis: str) -> None:
    value = document(aalearn("--db", redis, "--output", "json", "explain", "redis"))
    fits(value, EXPLAIN)
    by_rule = {one["rule"]: one for one in value["rules"]}
    assert by_rule[TIER_ONE]["state"] == "withheld"
    stream = by_rule["network inet stream,"]
    assert stream["events"] >= stream["accesses"] > 1
    assert stream["programs"] == ["redis-server"]
    assert stream["first"] <= stream["last"]
    assert 'apparmor="ALLOWED"' in stream["record"]
    suggested = document(aalearn("--db", redis, "--output", "json", "suggest", "redis"))
    assert suggested["rules"] == value["rules"]
    for rule in by_rule.values():
        assert rule["events"] > 0
        assert rule["accesses"] > 0


def test_explain_one_rule_or_a_part_of_it(aalearn: Face, redis: str) -> None:
    one = aalearn("--db", redis, "explain", "redis", "network  inet stream")
    assert one.code == 0
    assert "network inet stream,\n" in one.out
    assert "inet6" not in one.out
    assert "record   type=AVC" in one.out
    part = aalearn("--db", redis, "explain", "redis", "capability")
    assert TIER_ONE in part.out
    assert TIER_TWO in part.out
    none = aalearn("--db", redis, "explain", "redis", "network inet streem,")
    assert (none.code, none.out) == (2, "")
    assert "network inet stream," in none.err


def test_review_lists_what_waits_and_remembers(aalearn: Face, redis: str) -> None:
    value = document(aalearn("--db", redis, "--output", "json", "review", "redis"), code=1)
    fits(value, REVIEW)
    assert {TIER_ONE, TIER_TWO} <= {one["rule"] for one in value["waiting"]}
    done = aalearn("--db", redis, "review", "redis", "--deny", TIER_TWO)
    assert done.code == 1
    assert TIER_TWO not in done.out.partition("denied by a person")[0]
    assert TIER_TWO not in aalearn("--db", redis, "suggest", "redis").out
    for one in value["waiting"]:
        if one["rule"] not in (TIER_ONE, TIER_TWO):
            aalearn("--db", redis, "review", "redis", "--accept", one["rule"])
    last = aalearn("--db", redis, "review", "redis", "--approve", TIER_ONE, "--reason", "tested")
    assert last.code == 0
    assert last.out.startswith("nothing of redis waits for review\n")
    assert "review" not in aalearn("--db", redis, "suggest", "redis").out
    back = aalearn("--db", redis, "review", "redis", "--accept", TIER_TWO)
    assert back.code == 0, back.err
    assert f"\n  {TIER_TWO}\n" in aalearn("--db", redis, "suggest", "redis").out


def test_owner_narrows_a_rule(aalearn: Face, redis: str) -> None:
    assert "\n  /var/lib/redis/ r,\n" in aalearn("--db", redis, "suggest", "redis").out
    aalearn("--db", redis, "review", "redis", "--owner", "/var/lib/redis/ r,")
    assert "\n  owner /var/lib/redis/ r,\n" in aalearn("--db", redis, "suggest", "redis").out


def test_review_refuses_what_does_not_fit(aalearn: Face, redis: str) -> None:
    wrong = [
        (["--accept", "capability dac_overide,"], "the nearest are: capability dac_override,"),
        (["--accept", TIER_ONE], "--approve"),
        (["--approve", TIER_ONE], "--reason"),
        (["--deny", "/nowhere rw,"], "no rule of redis"),
        (["--owner", TIER_TWO], "--owner is for file rules"),
        (["--generalise", TIER_TWO], "--generalise is for file rules"),
        (["--accept", TIER_TWO, "--deny", TIER_TWO], "--accept and --deny contradict each other"),
        (["--owner", "/var/lib/redis/ r", "--deny", "/var/lib/redis/  r,"], "contradict each other"),
        (["--accept", TIER_TWO, "--deny", "/nowhere rw,"], "no rule of redis"),
    ]
    for arguments, hint in wrong:
        done = aalearn("--db", redis, "review", "redis", *arguments)
        assert (done.code, done.out) == (2, "")
        assert hint in done.err
    assert document(aalearn("--db", redis, "--output", "json", "status", "redis"))["decisions"] == 0


def test_a_denied_rule_is_shown_with_who_when_and_why(aalearn: Face, redis: str) -> None:
    done = aalearn("--db", redis, "review", "redis", "--deny", TIER_TWO, "--reason", "it must not")
    assert done.code == 1
    for command in (["review", "redis"], ["explain", "redis"], ["explain", "redis", TIER_TWO]):
        said = aalearn("--db", redis, *command).out
        assert f"  {TIER_TWO}\n      denied by " in said
        assert "UTC: it must not\n" in said
        assert "To undo a denial: aalearn review redis --accept RULE" in said
    reviewed = document(aalearn("--db", redis, "--output", "json", "review", "redis"), code=1)
    explained = document(aalearn("--db", redis, "--output", "json", "explain", "redis", TIER_TWO))
    fits(reviewed, REVIEW)
    fits(explained, EXPLAIN)
    assert explained["rules"] == []
    assert reviewed["denied"] == explained["denied"]
    (one,) = reviewed["denied"]
    assert (one["rule"], one["why"]) == (TIER_TWO, "it must not")
    aalearn("--db", redis, "review", "redis", "--accept", TIER_TWO)
    assert "denied" not in aalearn("--db", redis, "review", "redis").out


def test_a_rule_that_was_narrowed_to_the_owner_can_be_denied(aalearn: Face, redis: str) -> None:
    aalearn("--db", redis, "review", "redis", "--owner", "/var/lib/redis/ r,")
    aalearn("--db", redis, "review", "redis", "--deny", "owner /var/lib/redis/ r,")
    assert "/var/lib/redis/ r,\n" not in aalearn("--db", redis, "suggest", "redis").out


def test_generalising_what_can_not_be_is_told(aalearn: Face, redis: str) -> None:
    done = aalearn("--db", redis, "review", "redis", "--generalise", "/var/lib/redis/ r,")
    assert "note: nothing in /var/lib/redis/ r, can be typed or shortened: it stays as it is" in done.err


def test_review_asks_on_a_terminal(redis: str, tmp_path: Path) -> None:
    said = _on_a_terminal(["--db", redis, "review", "redis"], b"x\na\n\nbecause it must\ns\nq\n")
    assert "[a]pprove" in said
    done = program("--db", redis, "--output", "json", "review", "redis")
    assert TIER_ONE not in {one["rule"] for one in json.loads(done.out)["waiting"]}


def _on_a_terminal(arguments: list[str], typed: bytes) -> str:
    """Run the program with a terminal as stdin, stdout and stderr; return all that it wrote."""
    import contextlib
    import pty
    import sys

    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "aalearn", *arguments]
    child = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=ROOT, close_fds=True)
    os.close(terminal)
    os.write(main, typed)
    said = b""
    with contextlib.suppress(OSError):
        while part := os.read(main, 4096):
            said += part
    os.close(main)
    child.wait()
    return said.decode()


@pytest.fixture
def profile(aalearn: Face, redis: str, tmp_path: Path) -> Iterator[Path]:
    """The whole profile of redis as a file."""
    file = tmp_path / "redis.aa"
    file.write_text(aalearn("--db", redis, "--quiet", "suggest", "--all", "redis").out)
    yield file


def test_check_finds_nothing_wrong_with_what_was_suggested(aalearn: Face, redis: str, profile: Path) -> None:
    value = document(aalearn("--db", redis, "--output", "json", "check", profile))
    fits(value, CHECK)
    (result,) = value["results"]
    assert result["denied"] == []
    assert result["counts"]["allowed"] == result["accesses"] > 100


def test_check_shows_what_would_be_denied(aalearn: Face, redis: str, profile: Path) -> None:
    text = profile.read_text()
    profile.write_text(text.replace("  network inet stream,\n", "").replace("  /etc/ld.so.cache r,\n", ""))
    done = aalearn("--db", redis, "check", profile)
    assert done.code == 1
    assert "denied   redis: open r /etc/ld.so.cache" in done.out
    value = document(aalearn("--db", redis, "--output", "json", "check", profile), code=1)
    fits(value, CHECK)
    denied = value["results"][0]["denied"]
    assert any("family=inet " in one["event"] for one in denied)
    assert all('apparmor="ALLOWED"' in one["record"] for one in denied)


def test_check_says_what_is_risky_and_whether_it_was_needed(aalearn: Face, redis: str, profile: Path) -> None:
    text = profile.read_text().replace(
        "profile redis {\n", "profile redis {\n  capability sys_admin,\n  /root/** rwkl,\n"
    )
    profile.write_text(text.replace("}\n", "  /srv/** wmix,\n}\n"))
    value = document(aalearn("--db", redis, "--output", "json", "check", profile))
    risky = {one["what"]: one for one in value["results"][0]["risky"]}
    assert risky["capability sys_admin"]["used"] is False
    assert risky[TIER_ONE[:-1]]["used"] is True
    assert any("home" in what for what in risky)
    assert any("written and then executed" in what for what in risky)


def test_check_with_a_log_and_with_other_names(aalearn: Face, redis: str, profile: Path, tmp_path: Path) -> None:
    log = SAMPLES / "redis" / "audit.log"
    none = f"sqlite:///{tmp_path}/none.db"
    assert aalearn("--db", none, "check", "--log", log, profile).code == 0
    assert not (tmp_path / "none.db").exists()
    renamed = tmp_path / "renamed.aa"
    renamed.write_text(profile.read_text().replace("profile redis {", "profile cache {"))
    unknown = aalearn("--db", redis, "check", renamed)
    assert unknown.code == 0
    assert "nothing was learned for the profile cache" in unknown.err
    done = aalearn("--db", redis, "--output", "json", "check", "--profile", "redis", renamed)
    assert document(done)["results"][0]["accesses"] > 100
    assert aalearn("--db", redis, "check", "--profile", "rediss", renamed).code == 2


def test_check_counts_the_over_grant(aalearn: Face, redis: str, profile: Path, tmp_path: Path) -> None:
    profile.write_text(profile.read_text().replace("profile redis {\n", "profile redis {\n  /srv/** rw,\n"))
    for number in range(3):
        (tmp_path / "root/srv").mkdir(parents=True, exist_ok=True)
        (tmp_path / "root/srv" / str(number)).write_text("x")
    done = aalearn("--db", redis, "check", "--root", tmp_path / "root", profile)
    assert done.code == 0, done.err
    assert "3 of 3 files may be read and never were (100.00%), 3 written (100.00%)" in done.out
    assert "w /srv/0" in done.out


def test_check_follows_transitions(aalearn: Face, learned: Callable[[str], Path], tmp_path: Path) -> None:
    db = f"sqlite:///{learned('bash-tools')}"
    strict = tmp_path / "strict.aa"
    strict.write_text("abi <abi/3.0>,\nprofile bash_exec {\n  /** r,\n}\n")
    value = document(aalearn("--db", db, "--output", "json", "check", strict), code=1)
    fits(value, CHECK)
    assert value["results"][0]["counts"]["after"] > 10
    wide = tmp_path / "wide.aa"
    wide.write_text(
        "abi <abi/3.0>,\nprofile bash_exec {\n  file,\n  /** ix,\n  capability,\n"
        "  network,\n  unix,\n  signal,\n  ptrace,\n}\n"
    )
    done = aalearn("--db", db, "--output", "json", "check", wide)
    assert document(done)["results"][0]["counts"]["denied"] == 0


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"profile x { nonsense }", "line 1"),
        (b"", "no profile"),
        (os.urandom(300), ""),
        (b"\x04\x08\x00version\x00\x02" + b"\xff" * 60, ""),
    ],
)
def test_files_that_are_no_profiles(aalearn: Face, redis: str, tmp_path: Path, content: bytes, hint: str) -> None:
    file = tmp_path / "wrong.aa"
    file.write_bytes(content)
    good = tmp_path / "good.aa"
    good.write_text("profile redis { }\n")
    for command in (["check", file], ["diff", file, good], ["diff", good, file]):
        done = aalearn("--db", redis, *command)
        assert done.code in (2, 3), done
        assert done.out == ""
        assert done.err.startswith("aalearn: error: ")
        assert done.err.count("\n") == 1
        assert hint in done.err


def test_diff_by_the_automata(aalearn: Face, tmp_path: Path) -> None:
    one, two, same = (tmp_path / name for name in ("one.aa", "two.aa", "same.aa"))
    one.write_text("abi <abi/3.0>,\nprofile one {\n  /etc/x r,\n  capability chown,\n  signal (send) peer=one,\n}\n")
    two.write_text("abi <abi/3.0>,\nprofile two {\n  /etc/* r,\n  network inet stream,\n}\n")
    same.write_text(
        "abi <abi/3.0>,\nprofile same {\n  capability chown,\n  /{etc,etc}/x r,\n  signal send peer=one,\n}\n"
    )
    done = aalearn("diff", one, two)
    assert done.code == 1
    assert "+ file r /etc/" in done.out
    assert "+ network" in done.out
    assert "- capability chown" in done.out
    assert "- signal send" in done.out
    value = document(aalearn("--output", "json", "diff", one, two), code=1)
    fits(value, DIFF)
    equal = aalearn("diff", one, same)
    assert (equal.code, equal.out) == (0, "")
    assert "the same" in equal.err
    assert aalearn("diff", one, tmp_path / "none").code == 2
    assert aalearn("diff", one, tmp_path).code == 2


def test_diff_reads_compiled_policy(aalearn: Face, tmp_path: Path, apparmor_parser: str) -> None:
    text = tmp_path / "x.aa"
    text.write_text("abi <abi/3.0>,\nprofile x {\n  /etc/x r,\n}\n")
    command = [apparmor_parser, "--config-file", "/dev/null", "-Q", "-K", "-S", "-M", "/etc/apparmor.d/abi/3.0"]
    blob = subprocess.run([*command, "--base", "/etc/apparmor.d", text], capture_output=True, check=True).stdout
    compiled = tmp_path / "raw_data"
    compiled.write_bytes(blob)
    assert aalearn("diff", text, compiled).code == 0
