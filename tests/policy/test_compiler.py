"""apparmor_parser is run so that it tells all it knows: its own words, its line, what the target can't enforce."""

import os
import shlex
import stat
from pathlib import Path

import pytest

from aalearn.model.errors import PolicyError, UsageError
from aalearn.policy.cache import Cache
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import decode
from aalearn.policy.features import Features, shipped
from tests.policy import seeds

pytestmark = [pytest.mark.parser, pytest.mark.real]

ABI3 = shipped("3.0")
HOSTILE = "\x1b[31m\u202e"


def script(folder: Path, text: str) -> Path:
    """A program in place of the parser that says it is version 4.1.0 and then does `text`."""
    path = folder / "parser"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "AppArmor parser version 4.1.0" && exit\n{text}\n')
    path.chmod(0o755)
    return path


def test_both_parsers_say_their_version(bookworm_parser: Parser, trixie_parser: Parser) -> None:
    assert bookworm_parser.version >= (3, 0)
    assert trixie_parser.version == (4, 1)
    assert trixie_parser.release.startswith("4.1.")
    assert len(trixie_parser.command) > 1


def test_a_parser_is_found(monkeypatch: pytest.MonkeyPatch, trixie_parser: Parser, tmp_path: Path) -> None:
    monkeypatch.delenv("AALEARN_PARSER", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin")
    assert Parser.find(cache=Cache(None)).command[0].endswith("sbin/apparmor_parser")
    monkeypatch.setenv("AALEARN_PARSER", shlex.join(trixie_parser.command))
    assert Parser.find(cache=Cache(None)).command == trixie_parser.command
    given = script(tmp_path, "")
    assert Parser.find([str(given)], cache=Cache(None)).command == (str(given),)
    assert Parser.find(str(given), cache=Cache(None)).release == "4.1.0"


def test_what_is_no_parser_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PolicyError, match="/nowhere/parser can't be run: No such file or directory"):
        Parser(["/nowhere/parser"])
    with pytest.raises(PolicyError, match="is not apparmor_parser"):
        Parser(["/bin/true"])
    with pytest.raises(PolicyError, match="is not apparmor_parser: hello"):
        Parser(["/bin/sh", "-c", f"echo 'hello{HOSTILE}'; exit 1"])
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho AppArmor parser version 2.13.6\n")
    old.chmod(0o755)
    with pytest.raises(PolicyError, match=r"apparmor_parser 2\.13\.6 is too old: 3\.0 or newer is needed"):
        Parser([str(old)])
    monkeypatch.delenv("AALEARN_PARSER", raising=False)
    monkeypatch.setattr("aalearn.policy.compiler._PLACES", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PolicyError, match="apparmor_parser is missing: install the package apparmor"):
        Parser.find()


def test_compiled_policy_says_what_it_was_made_with(parser: Parser) -> None:
    text = "abi <abi/3.0>,\ninclude <tunables/global>\nprofile p { include <abstractions/base>\n /x r, }\n"
    compiled = parser.compile(text, features=ABI3)
    assert [profile.name for profile in decode(compiled.blob)] == [b"p"]
    assert (compiled.parser, compiled.abi, compiled.warnings) == (parser.release, "3.0", ())
    assert (compiled.features, compiled.features_source) == (ABI3.identity, "aalearn's own abi 3.0")
    assert parser.compile(text.encode(), features=ABI3) == compiled
    assert parser.compile("profile p { }", features=ABI3).abi == ""


def test_a_file_is_compiled_as_its_text(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "some profile"
    path.write_text("profile p { /x r, }\n")
    assert parser.compile(path, features=ABI3) == parser.compile(path.read_text(), features=ABI3)
    with pytest.raises(UsageError, match=r"missing can't be read: No such file"):
        parser.compile(tmp_path / "missing", features=ABI3)
    path.write_text("profile p { wrong, }\n")
    with pytest.raises(PolicyError, match=r"some profile: line 1: syntax error"):
        parser.compile(path, features=ABI3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("profile p {\n  /a r,\n  bogus,\n}\n", r"^the profile: line 3: syntax error, unexpected TOK_END_OF_RULE"),
        ("profile p {\n", r"^the profile: line 2: syntax error, unexpected end of file"),
        ("profile p {\n  @{NONE}/x r,\n}\n", r"^the profile: Found reference to variable NONE, but is never declared$"),
        ("profile p {\n  /a/{b r,\n}\n", r"^the profile: Regex grouping error: Unclosed grouping.*; Unable to parse"),
        ("profile p { /a ix, /a ux, }", r"^the profile: profile p: has merged rule /a with conflicting x modifiers"),
        ("profile p {\n include <none/of/these>\n}\n", r"line 2: Could not open 'none/of/these'"),
        ("abi <abi/none>,\nprofile p { }\n", r"line 1: Could not open 'abi/none'"),
        ("profile p { }\nprofile p { }\n", r"Multiple definitions for profile p exist"),
        ("profile p { capability nonsense, }\n", r"line 1: Invalid capability nonsense"),
        ("", r"^the profile: it holds no profile$"),
        ("# nothing\n", r"^the profile: it holds no profile$"),
    ],
)
def test_the_parsers_words_become_one_line(parser: Parser, text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words) as told:
        parser.compile(text, features=ABI3)
    assert "/proc/" not in str(told.value)
    assert "\n" not in str(told.value)


def test_foreign_text_in_errors_is_safe(parser: Parser) -> None:
    for text in (
        f"profile p {{ capability {HOSTILE}, }}",
        f"profile p {{ /{HOSTILE}{{ r, }}",
        f'include "{HOSTILE}"\n',
    ):
        with pytest.raises(PolicyError) as told:
            parser.compile(text, features=ABI3)
        assert str(told.value).isprintable()


def test_an_error_in_an_include_names_the_include(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "part").write_text("/a r,\n/b nonsense,\n")
    with pytest.raises(PolicyError, match=rf"^the profile: {tmp_path}/part line 2: syntax error"):
        parser.compile("profile p {\n include <part>\n}\n", features=ABI3, includes=[tmp_path])


def test_what_the_target_cannot_enforce_is_a_failure(parser: Parser) -> None:
    """The parser leaves such rules out, says nothing and returns 0 unless it is asked to warn."""
    kernel = Features.of_file(seeds.ABIS / "kernel-6.1.abi")
    text = "profile p {\n dbus,\n /x r,\n}\n"
    with pytest.raises(PolicyError) as told:
        parser.compile(text, features=kernel)
    assert str(told.value).endswith("kernel-6.1.abi) can't enforce it: profile p: dbus rules not enforced")
    allowed = parser.compile(text, features=kernel, strict=False)
    assert allowed.warnings == ("profile p: dbus rules not enforced",)
    assert parser.compile("profile p { dbus, }", features=ABI3).warnings == ()
    part = parser.compile("profile p { unix, network inet, }", features=kernel)
    assert part.warnings == ("profile p: downgrading extended network unix socket rule to generic network rule",)


def test_all_that_is_left_out_is_named(trixie_parser: Parser) -> None:
    text = "abi <abi/3.0>,\nprofile p { userns, mqueue, io_uring, /x r, }\n"
    with pytest.raises(
        PolicyError, match=r"userns rules not enforced; .*mqueue rules not enforced; .*io_uring rules not"
    ):
        trixie_parser.compile(text, features=shipped("4.0"))
    with pytest.raises(PolicyError, match=r"can't enforce it: profile p: io_uring rules not enforced$"):
        trixie_parser.compile(text.replace("3.0", "4.0"), features=shipped("4.0"))


def test_abis_that_are_not_installed_are_ours(parser: Parser, tmp_path: Path) -> None:
    compiled = parser.compile("abi <abi/4.0>,\nprofile p { /x r, }", features=shipped("4.0"), base=tmp_path)
    assert compiled.abi == "4.0"
    with pytest.raises(UsageError, match=r"the base folder .*/missing does not exist"):
        parser.compile("profile p { }", features=ABI3, base=tmp_path / "missing")


def test_base_and_includes_are_looked_through(parser: Parser, tmp_path: Path) -> None:
    base, more = tmp_path / "base", tmp_path / "more"
    for folder, rule in ((base, "/base r,"), (more, "/more r,")):
        folder.mkdir()
        (folder / folder.name).write_text(rule)
    text = "profile p { include <base>\n include <more>\n }"
    both = parser.compile(text, features=ABI3, base=base, includes=[more])
    assert both.blob == parser.compile("profile p { /base r, /more r, }", features=ABI3).blob
    with pytest.raises(PolicyError, match="Could not open 'more'"):
        parser.compile(text, features=ABI3, base=base)


def test_a_parser_that_hangs_or_dies(tmp_path: Path) -> None:
    slow = Parser([str(script(tmp_path, "sleep 60"))], Cache(None), timeout=0.3)
    with pytest.raises(
        PolicyError, match=r"did not finish within 0\.3 s: generalise the profile's file rules or split"
    ):
        slow.compile("profile p { }", features=ABI3)
    killed = Parser([str(script(tmp_path, "kill -9 $$"))], Cache(None))
    with pytest.raises(PolicyError, match=r"apparmor_parser 4\.1\.0 was ended by signal 9"):
        killed.compile("profile p { }", features=ABI3)
    silent = Parser([str(script(tmp_path, "exit 3"))], Cache(None))
    with pytest.raises(PolicyError, match="failed with exit status 3 and no word"):
        silent.compile("profile p { }", features=ABI3)


def test_a_parser_that_breaks_down_says_so(trixie_parser: Parser) -> None:
    """4.1.0 can't make the permission table of an automaton that permits nothing."""
    with pytest.raises(PolicyError, match=r"apparmor_parser 4\.1\S* broke down on it: .*Assertion"):
        trixie_parser.compile("profile p { audit deny link /a -> /b, }", features=shipped("4.0"))


def test_nothing_is_left_behind_and_no_shell_reads_the_text(parser: Parser, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    text = f'profile p {{ "/x/$(touch {tmp_path}/y);`touch {tmp_path}/z`" r, }}'
    parser.compile(text, features=ABI3)
    assert len(os.listdir("/proc/self/fd")) == before
    assert not list(tmp_path.iterdir())


def test_an_ordinary_user_compiles(bookworm_parser: Parser) -> None:
    from tests.policy.test_loaded import as_nobody

    def compiles() -> None:
        assert bookworm_parser.compile(seeds.PLAIN, features=ABI3).blob

    assert as_nobody(compiles) == ""


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cached(bookworm_parser: Parser, tmp_path: Path) -> Parser:
    return Parser(bookworm_parser.command, Cache(tmp_path / "cache"))


def test_the_same_is_compiled_once(cached: Parser, tmp_path: Path) -> None:
    first = cached.compile(seeds.PLAIN, features=ABI3)
    again = cached.compile(seeds.PLAIN, features=ABI3)
    assert (first.cached, again.cached, first == again) == (False, True, True)
    another = Parser(cached.command, Cache(tmp_path / "cache"))
    assert another.compile(seeds.PLAIN, features=ABI3).cached
    assert not cached.compile(seeds.PLAIN + "# more\n", features=ABI3).cached
    kernel = Features.of_file(seeds.ABIS / "kernel-6.1.abi")
    assert not cached.compile(seeds.PLAIN, features=kernel, strict=False).cached


def test_warnings_are_kept_and_strictness_is_not(cached: Parser) -> None:
    kernel = Features.of_file(seeds.ABIS / "kernel-6.1.abi")
    loose = cached.compile("profile p { dbus, }", features=kernel, strict=False)
    again = cached.compile("profile p { dbus, }", features=kernel, strict=False)
    assert again.cached
    assert again.warnings == loose.warnings == ("profile p: dbus rules not enforced",)
    with pytest.raises(PolicyError, match="dbus rules not enforced"):
        cached.compile("profile p { dbus, }", features=kernel)


def test_a_changed_include_is_never_stale(cached: Parser, tmp_path: Path) -> None:
    """Same size, same times, deep down or in a folder: only the content counts."""
    base = tmp_path / "base"
    (base / "parts").mkdir(parents=True)
    (base / "outer").write_text("include <inner>\ninclude <parts>\n")
    inner, part = base / "inner", base / "parts" / "one"
    for path, rule in ((inner, "/aa r,"), (part, "/cc r,")):
        path.write_text(rule)
        os.utime(path, (1, 1))
    text = "profile p {\n include <outer>\n include if exists <later>\n}\n"
    blobs = [cached.compile(text, features=ABI3, base=base)]
    assert cached.compile(text, features=ABI3, base=base).cached
    for path, rule in (
        (inner, "/bb r,"),
        (part, "/dd r,"),
        (base / "parts" / "two", "/ee r,"),
        (base / "later", "/ff r,"),
    ):
        path.write_text(rule)
        os.utime(path, (1, 1))
        blobs.append(cached.compile(text, features=ABI3, base=base))
    assert not any(compiled.cached for compiled in blobs)
    assert len({compiled.blob for compiled in blobs}) == len(blobs)
    inner.write_text("/aa r,")
    part.write_text("/cc r,")
    for late in (base / "parts" / "two", base / "later"):
        late.unlink()
    last = cached.compile(text, features=ABI3, base=base)
    assert (last.cached, last.blob) == (True, blobs[0].blob)


def test_a_changed_abi_is_never_stale(cached: Parser, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "abi").mkdir(parents=True)
    abi = base / "abi" / "own"
    abi.write_text(shipped("3.0").text)
    text = "abi <abi/own>,\nprofile p { dbus, }\n"
    first = cached.compile(text, features=ABI3, base=base)
    assert cached.compile(text, features=ABI3, base=base).cached
    abi.write_text(shipped("3.0").text.replace("dbus {", "dbuz {"))
    with pytest.raises(PolicyError, match="dbus rules not enforced"):
        cached.compile(text, features=ABI3, base=base)
    assert cached.compile(text, features=ABI3, base=base, strict=False).blob != first.blob


def test_another_parser_has_its_own_entries(cached: Parser, tmp_path: Path) -> None:
    cached.compile("profile p { /x r, }", features=ABI3)
    complain = Parser((*cached.command, "-C"), Cache(tmp_path / "cache"))
    forced = complain.compile("profile p { /x r, }", features=ABI3)
    assert not forced.cached
    assert decode(forced.blob)[0].complain


def test_a_damaged_entry_is_compiled_again(cached: Parser, tmp_path: Path) -> None:
    first = cached.compile("profile p { /x r, }", features=ABI3)
    (entry,) = (tmp_path / "cache" / "policy").glob("*.policy")
    whole = entry.read_bytes()
    for damaged in (b"", whole[:-1], whole[:100], whole.replace(b"profile", b"qrofile"), b"\n\n", bytes(200)):
        entry.write_bytes(damaged)
        again = cached.compile("profile p { /x r, }", features=ABI3)
        assert (again.cached, again.blob) == (False, first.blob)
        assert entry.read_bytes() == whole


def test_the_cache_is_this_users_own(cached: Parser, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "cache" / "policy"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    open_to_all = Parser(cached.command, Cache(tmp_path / "cache"))
    assert "must be this user's own" in caplog.text
    for _ in range(2):
        assert not open_to_all.compile("profile p { }", features=ABI3).cached
    assert not list(folder.iterdir())


def test_a_cache_that_cannot_be_is_no_failure(
    bookworm_parser: Parser, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    parser = Parser(bookworm_parser.command, Cache(tmp_path / "file"))
    assert parser.compile("profile p { }", features=ABI3).blob
    assert "no compiled policy is cached" in caplog.text
    gone = Cache(tmp_path / "gone")
    (tmp_path / "gone" / "policy").rmdir()
    gone.save("0" * 64, b"x", ())
    assert gone.load("0" * 64) is None
    assert "can't be kept" in caplog.text


def test_the_cache_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aalearn.policy.cache._MOST", 16)
    cache = Cache(tmp_path)
    for number in range(50):
        cache.save(f"{number:064x}", b"policy", ("w",))
        path = tmp_path / "policy" / f"{number:064x}.policy"
        os.utime(path, (number, number))
    kept = [number for number in range(50) if cache.load(f"{number:064x}")]
    assert 12 <= len(kept) <= 17
    assert kept[-1] == 49
    assert cache.load(f"{49:064x}") == (b"policy", ("w",))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from aalearn.policy.cache import default_folder

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "aalearn"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "home" / ".cache" / "aalearn"
