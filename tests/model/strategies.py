"""Patterns for property tests: every kind of token, in a small alphabet so that they meet."""

from hypothesis import strategies as st

from aalearn.model.pattern import VARIABLES, Alt, Any1, Chars, Deep, Literal, Pattern, Star, Token, Var

_PLAIN = st.sampled_from([b"a", b"b", b"/", b"/a", b"ab", b"1", b"12", b"/proc", b"\xff", b"a b", b'"', b"\\", b","])
_SIMPLE = st.one_of(
    _PLAIN.map(Literal),
    _PLAIN.map(Literal),
    st.builds(Chars, st.sampled_from(["0-9", "0-9a-f", "ab", "-._a-z"]), st.integers(1, 3)),
    st.just(Star()),
    st.just(Deep()),
    st.just(Any1()),
    st.sampled_from([Var(name) for name, variable in VARIABLES.items() if not variable.folder]),
)


def _built(tokens: list[Token]) -> Pattern | None:
    try:
        return Pattern.of(*tokens)
    except ValueError:
        return None


def _present(patterns: st.SearchStrategy[Pattern | None]) -> st.SearchStrategy[Pattern]:
    return patterns.filter(lambda pattern: pattern is not None).map(lambda pattern: pattern or Pattern(()))


_CHOICE = _present(st.lists(_SIMPLE, max_size=2).map(_built))
_ALT = st.lists(_CHOICE, min_size=2, max_size=3, unique=True).map(lambda choices: Alt(tuple(choices)))
_TOKEN: st.SearchStrategy[Token] = st.one_of(_SIMPLE, _SIMPLE, _SIMPLE, _ALT)

tokens = st.lists(_TOKEN, max_size=5)
# Names and labels: any pattern that has a text.
patterns = _present(tokens.map(_built)).filter(lambda pattern: bool(pattern.tokens))
_FOLDERS = st.sampled_from([Var(name) for name, variable in VARIABLES.items() if variable.folder])
# Paths: begin with a slash or a folder variable.
paths = st.one_of(
    _present(tokens.map(lambda rest: _built([Literal(b"/"), *rest]))),
    _present(st.builds(lambda folder, rest: _built([folder, Literal(b"/"), *rest]), _FOLDERS, tokens)),
    st.binary(max_size=12).filter(lambda name: 0 not in name).map(lambda name: Pattern.literal(b"/" + name)),
)
# Byte strings that such patterns may match.
names = st.lists(
    st.sampled_from([b"a", b"b", b"/", b"1", b"2", b"0", b"ab", b"-", b"\xff", b" ", b'"', b"\\"]), max_size=7
).map(lambda parts: b"/" + b"".join(parts))
