"""Patterns: text, what they match, which covers which; all of it held against the real compiler."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aalearn.model.errors import NotExpressible
from aalearn.model.pattern import VARIABLES, Alt, Any1, Chars, Deep, Literal, Pattern, Star, Token, Var
from tests.model.strategies import names, paths, patterns
from tests.rules.compiling import Compiler


def p(*tokens: Token | bytes) -> Pattern:
    return Pattern.of(*(Literal(token) if isinstance(token, bytes) else token for token in tokens))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (p(b"/a"), "/a"),
        (p(b"/a ", Star()), '"/a\\040*"'),
        (p(Var("PROC"), b"/", Var("pid"), b"/maps"), "@{PROC}/@{pid}/maps"),
        (p(b"/x", Chars("0-9", 3), Any1(), Deep()), "/x[0-9][0-9][0-9]?**"),
        (p(b"/x", Alt((p(b".gz"), Pattern(()), p(b"a,b")))), '"/x{.gz,,a\\,b}"'),
        (p(b"/@{HOME}"), '"/\\100\\{HOME\\}"'),
        (p(b"/lib/", Var("multiarch"), b"/"), "/lib/@{multiarch}/"),
    ],
)
def test_texts(pattern: Pattern, text: str) -> None:
    assert pattern.text() == text


def test_tokens_have_one_normal_form() -> None:
    assert p(b"/a", b"", b"b") == p(b"/ab")
    assert p(Chars("0-9"), Chars("0-9", 2)) == p(Chars("0-9", 3))
    assert p(b"/a").is_literal
    assert p(b"/a").literal_bytes == b"/a"
    assert not p(b"/a", Star()).is_literal
    assert p(b"/a", Star()).literal_bytes == b"/a"
    assert p(b"/", Alt((p(Var("pid")), p(b"self")))).variables() == {"pid"}


@pytest.mark.parametrize(
    "tokens",
    [
        (Star(), Star()),
        (Star(), Deep()),
        (Deep(), Star()),
        (Var("PROC"),),
        (Var("HOME"), Literal(b"x")),
        (Var("run"), Star()),
    ],
)
def test_tokens_whose_text_would_mean_something_else_are_refused(tokens: tuple[Token, ...]) -> None:
    with pytest.raises(ValueError, match=r"stars|slash"):
        Pattern.of(*tokens)


@pytest.mark.parametrize("cls", ["", "^a", "a-", "a]", "\\", "a/b", "é", "[", "a b"])
def test_strange_classes_are_refused(cls: str) -> None:
    with pytest.raises(ValueError, match="class"):
        Chars(cls)


def test_an_empty_pattern_and_a_nul_have_no_text() -> None:
    for pattern in (Pattern(()), Pattern.literal(b""), Pattern.literal(b"/a\0b")):
        with pytest.raises(NotExpressible):
            pattern.text()


def test_unknown_variables_are_refused() -> None:
    with pytest.raises(ValueError, match="variable"):
        Var("nonsense")
    with pytest.raises(ValueError, match="choices"):
        Alt((p(b"a"), p(b"a")))


@pytest.mark.parametrize(
    ("big", "small", "covers"),
    [
        (p(b"/", Deep()), p(b"/a/", Star()), True),
        (p(b"/", Star()), p(b"/a/b"), False),
        (p(b"/a/", Star()), p(b"/a/"), False),
        (p(b"/a", Star()), p(b"/a"), True),
        (p(b"/a/", Deep()), p(b"/a/", Star(), b"/", Deep()), True),
        (p(b"/a/", Star(), b"/b"), p(b"/a/", Deep(), b"/b"), False),
        (p(b"/proc/", Star(), b"/maps"), p(Var("PROC"), b"/", Var("pid"), b"/maps"), True),
        (p(Var("PROC"), b"/", Var("pid"), b"/maps"), p(b"/proc/12/maps"), True),
        (p(Var("PROC"), b"/", Var("pid"), b"/maps"), p(b"/proc/012/maps"), False),
        (p(Var("run"), b"/x"), p(b"/var/run/x"), True),
        (p(Var("HOME"), b"/x"), p(b"/home/joe/x"), True),
        (p(Var("HOME"), b"/x"), p(b"/home/x"), False),
        (p(b"/", Chars("0-9a-f", 2)), p(b"/", Chars("0-9", 2)), True),
        (p(b"/", Chars("0-9", 2)), p(b"/", Chars("0-9a-f", 2)), False),
        (p(b"/x", Alt((Pattern(()), p(b".gz")))), p(b"/x.gz"), True),
        (p(b"/", Alt((p(b"a"), p(b"b")))), p(b"/", Chars("ab")), True),
        (p(b"/l/", Var("multiarch"), b"/x"), p(b"/l/x86_64-linux-gnu/x"), True),
        (p(b"/n", Var("int")), p(b"/n", Chars("0-9", 10)), True),
        (p(b"/n", Var("int")), p(b"/n", Chars("0-9", 11)), False),
        (p(b"/", Any1()), p(b"//"), False),
    ],
)
def test_covers(big: Pattern, small: Pattern, covers: bool) -> None:
    assert big.covers(small) is covers


@given(paths)
def test_covers_is_reflexive(one: Pattern) -> None:
    assert one.covers(one)


@given(patterns, patterns, patterns)
def test_covers_is_transitive(one: Pattern, two: Pattern, three: Pattern) -> None:
    if one.covers(two) and two.covers(three):
        assert one.covers(three)


@given(paths, paths, names)
def test_what_is_covered_matches_nothing_else(one: Pattern, two: Pattern, name: bytes) -> None:
    if one.covers(two) and two.matches(name):
        assert one.matches(name)


@given(paths, names)
def test_a_literal_is_covered_exactly_where_it_matches(one: Pattern, name: bytes) -> None:
    assert one.covers(Pattern.literal(name)) == one.matches(name)


@given(paths, paths)
def test_equal_texts_are_equal_patterns_and_sort_together(one: Pattern, two: Pattern) -> None:
    assert (one.text() == two.text()) == (one == two) == (one.sort_key() == two.sort_key())
    assert (one < two) + (two < one) + (one == two) == 1


@pytest.mark.parser
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(several=st.lists(paths, min_size=1, max_size=12, unique=True), asked=st.lists(names, min_size=20, max_size=60))
def test_matching_is_what_the_compiler_means(several: list[Pattern], asked: list[bytes], compiler: Compiler) -> None:
    preamble = "\n".join(f"@{{{name}}}={' '.join(item.spelled)}" for name, item in VARIABLES.items())
    for pattern in several:
        policy = compiler.files([f"{pattern.text()} r,"], preamble)
        for name in asked:
            if b"//" not in name and b"//" not in b"".join(_literals(pattern)):
                assert policy.reads(name) == pattern.matches(name), (pattern.text(), name)


def _literals(pattern: Pattern) -> list[bytes]:
    """The literal bytes of a pattern with slashes where another token may give one (the compiler joins them)."""
    found = []
    for token in pattern.tokens:
        if isinstance(token, Literal):
            found.append(token.value)
        elif isinstance(token, Alt):
            found += [b"/", b"/"] if any(b"/" in b"".join(_literals(choice)) for choice in token.choices) else [b"x"]
        else:
            found.append(b"x")
    return found


@pytest.mark.parser
def test_variables_are_those_of_the_tunables(compiler: Compiler) -> None:
    """Our values and those of the installed tunables give the same compiled policy."""
    folder = Path(compiler.base) / "tunables"
    for name, variable in VARIABLES.items():
        if variable.abi != "3.0":
            continue
        tail = "/x" if variable.folder else ""
        rule = f"@{{{name}}}{tail} r," if variable.folder else f"/x@{{{name}}} r,"
        own = "\n".join(f"@{{{key}}}={' '.join(item.spelled)}" for key, item in VARIABLES.items())
        assert folder.is_dir()
        assert compiler.blob([rule], own) == compiler.blob([rule], "include <tunables/global>"), name


def test_spelled_values_are_the_patterns() -> None:
    for name, variable in VARIABLES.items():
        for text, pattern in zip(variable.spelled, variable.values, strict=variable.folder):
            if variable.folder:
                assert text.replace("@{HOMEDIRS}", "/home").replace("//", "/") == pattern.text() + "/", name
        if not variable.folder and len(variable.values) > 1:
            assert variable.spelled == (p(Alt(variable.values)).text(),), name
