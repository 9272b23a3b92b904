"""The door from foreign bytes to policy text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.errors import NotExpressible
from aalearn.model.text import escape, plain_name, quote, shown, spell
from tests.rules.compiling import Compiler

ANY = st.binary(min_size=1, max_size=40)
INSIDE = re.compile(r"(?:[A-Za-z0-9/._\-+:=~%]|\\[*?\[\]{}^,]|\\[0-3][0-7]{2})*")
HOSTILE = [
    b"/tmp/x\tr,\n/etc/shadow\trw,\n/tmp/y",
    b"/tmp/trail\\",
    b'/tmp/trail\\"',
    b'/tmp/" rw, /etc/shadow',
    b"/tmp/a,",
    b"/tmp/@{HOME}/**",
    b"/tmp/{a,b}*[c]?",
    b"/tmp/# comment",
    b"/tmp/ -> /etc/shadow",
    b"/tmp/\xff\xfe\x80",
    b"/tmp/\x01\x1b[2J",
    b"/tmp/\\134\\042",
    b"/tmp/^!$&|;",
    b"/tmp/../etc/passwd",
    b"/tmp/~%:=+-",
]


def unspelled(text: str) -> bytes:
    """Read a spelling back, by the rules of the language and not by ours."""
    inner = text[1:-1] if text.startswith('"') else text
    assert INSIDE.fullmatch(inner), inner
    assert text.startswith('"') or "\\" not in inner
    pieces = re.findall(r"\\([0-3][0-7]{2})|\\?(.)", inner)
    return b"".join(bytes((int(octal, 8),)) if octal else char.encode() for octal, char in pieces)


@given(ANY.filter(lambda value: 0 not in value))
def test_any_bytes_come_back_exactly(value: bytes) -> None:
    assert unspelled(spell(value)) == value


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_nul_has_no_spelling(before: bytes, after: bytes) -> None:
    with pytest.raises(NotExpressible):
        spell(before + b"\0" + after)


def test_nothing_has_no_spelling() -> None:
    with pytest.raises(NotExpressible):
        spell(b"")
    assert escape(b"") == ("", False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"/usr/bin/x", "/usr/bin/x"),
        (b"/a b", '"/a\\040b"'),
        (b'/a"b', '"/a\\042b"'),
        (b"/a\\", '"/a\\134"'),
        (b"/a*?[]{}^,", '"/a\\*\\?\\[\\]\\{\\}\\^\\,"'),
        (b"/@{x}", '"/\\100\\{x\\}"'),
        ("/é".encode(), '"/\\303\\251"'),
        (b"/#13", '"/\\04313"'),
    ],
)
def test_spellings(value: bytes, text: str) -> None:
    assert spell(value) == text


def test_quotes_are_given_only_where_needed() -> None:
    assert quote("a", needed=False) == "a"
    assert quote("a", needed=True) == '"a"'


@pytest.mark.parametrize("name", [b"/usr/sbin/nginx", b"wl_net", b"a.b-c"])
def test_plain_names(name: bytes) -> None:
    assert plain_name(name) == name.decode()


@pytest.mark.parametrize("name", [b"", b"a b", b"a//../b", b"..", b"/x/..", b"\xff", b"a\n", b"a{", b"@{x}", b"a\0"])
def test_names_that_are_not_plain(name: bytes) -> None:
    with pytest.raises(NotExpressible):
        plain_name(name)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_what_is_shown_is_one_safe_line(value: bytes | str) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text.splitlines()) <= 1
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"/a b", "/a b"),
        (b"\x1b[2J", "\\x1b[2J"),
        (b"\xff", "\\xff"),
        ("\u202egpj", "\\u{202e}gpj"),
        ("\u2028", "\\u{2028}"),
        ("\x85", "\\u{85}"),
        ("é".encode(), "é"),
        (b"a\nb\r", "a\\x0ab\\x0d"),
        ("\udc80", "\\x80"),
        ("\ud800", "\\u{d800}"),
    ],
)
def test_shown(value: bytes | str, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parser
def test_the_compiled_language_of_each_spelling_is_that_one_path(compiler: Compiler) -> None:
    """Every byte first, in the middle and last, and hostile names, all in one profile, so that each has followers."""
    places = [(b"/%02x", b""), (b"/%02xm", b"n"), (b"/%02xp", b'"\\q')]
    paths = [
        before % byte + bytes((byte,)) + after
        for before, after in places
        for byte in range(1, 256)
        if not (byte == 0x2F and before.endswith(b"/"))
    ]
    paths += HOSTILE
    profile = compiler.files([f"{spell(path)} r," for path in paths])
    known = set(paths)
    for path in paths:
        assert profile.reads(path), path
        for other in (path + b"x", path[:-1], path.replace(b"/", b"/z"), path + b"\\", path + b'"'):
            assert profile.reads(other) == (other in known), (path, other)
    assert not profile.reads(b"/etc/shadow")
