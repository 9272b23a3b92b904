"""Path patterns as values: exact text, what they match, and which covers which.

A pattern is what apparmor.d(5) calls a globbing path, built from typed tokens and never from text, so that foreign
bytes stay literals. `matches` and `covers` follow what apparmor_parser compiles (source: its parser_regex.c, checked
with `-D rule-exprs`): no wildcard matches NUL, `*` and `?` stop at `/`, and a `*` or `**` that is a whole path
segment is not empty.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from aalearn.model.automata import ALL, NO_SLASH, Branch, Node, expression, includes, overlap
from aalearn.model.errors import NotExpressible
from aalearn.model.text import escape, quote

_CLASS = re.compile(r"-?(?:[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9._])+")


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that stand for themselves."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Chars:
    """A character class such as `0-9a-f` (a first `-`, letters, digits, `.`, `_`, ranges), `count` times in a row."""

    cls: str
    count: int = 1

    def __post_init__(self) -> None:
        if not _CLASS.fullmatch(self.cls) or self.count < 1:
            raise ValueError(f"not a character class: {self.cls!r} × {self.count}")


@dataclass(frozen=True, slots=True)
class Star:
    """`*`: any bytes but `/`."""


@dataclass(frozen=True, slots=True)
class Deep:
    """`**`: any bytes."""


@dataclass(frozen=True, slots=True)
class Any1:
    """`?`: one byte but `/`."""


@dataclass(frozen=True, slots=True)
class Alt:
    """`{a,b}`: one of several patterns, each of which may be empty."""

    choices: tuple["Pattern", ...]

    def __post_init__(self) -> None:
        if len(self.choices) < 2 or len(set(self.choices)) != len(self.choices):
            raise ValueError("an alternation needs two or more different choices")


@dataclass(frozen=True, slots=True)
class Var:
    """`@{name}`: a variable of VARIABLES. A folder variable (PROC, HOME, run, sys) is followed by a literal `/`."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in VARIABLES:
            raise ValueError(f"no such variable: {self.name!r}")


Token = Literal | Chars | Star | Deep | Any1 | Alt | Var
_WILD = (Star, Deep)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern; `tokens` are normal: no empty or neighbouring literals, equal classes joined, so text and value agree.

    Patterns are values: equal exactly when their texts are equal. An empty pattern is fit only inside an alternation.
    """

    tokens: tuple[Token, ...]

    @staticmethod
    def of(*tokens: Token) -> "Pattern":
        """Return the pattern of these tokens in normal form. Raises ValueError where the text would mean something
        else.
        """
        return Pattern(tuple(_normal(tokens)))

    @staticmethod
    def literal(value: bytes) -> "Pattern":
        """Return the pattern that matches `value` alone."""
        return Pattern((Literal(value),) if value else ())

    @property
    def is_literal(self) -> bool:
        """Whether the pattern is one literal."""
        return len(self.tokens) == 1 and isinstance(self.tokens[0], Literal)

    @property
    def literal_bytes(self) -> bytes:
        """The literal's bytes, or, for a pattern with other tokens, the literal prefix that each match begins with."""
        first = self.tokens[0] if self.tokens else None
        return first.value if isinstance(first, Literal) else b""

    def text(self) -> str:
        """Return the exact policy text, quoted where needed. Raises NotExpressible for an empty pattern or a NUL."""
        if not self.tokens:
            raise NotExpressible("an empty name has no spelling in policy")
        return quote(*self.bare())

    def bare(self) -> tuple[str, bool]:
        """Return the text without quotes, and whether it needs them."""
        texts = [_token_text(token) for token in self.tokens]
        return "".join(text for text, _ in texts), any(needed for _, needed in texts)

    def matches(self, path: bytes) -> bool:
        """Return whether the compiled policy would match exactly these bytes."""
        if self.is_literal:
            return path == self.literal_bytes
        return path.startswith(self.literal_bytes) and _compiled(self).fullmatch(path) is not None

    def regex(self) -> bytes:
        """Return a regular expression (for DOTALL) that matches in full what this matches, to be joined with others."""
        return re.escape(self.literal_bytes) if self.is_literal else _compiled(self).pattern

    def covers(self, other: "Pattern") -> bool:
        """Return whether every byte string that `other` matches is matched here too.

        Exact for a literal `other`; else sound, and exact within the budget of `automata.includes`.
        """
        if self == other:
            return True
        if other.is_literal:
            return self.matches(other.literal_bytes)
        if self.is_literal:
            return False
        mine, theirs = self.literal_bytes, other.literal_bytes
        if not (theirs.startswith(mine) or mine.startswith(theirs)):
            return False
        return includes(_tree_of(self), _tree_of(other))

    def overlaps(self, other: "Pattern") -> bool:
        """Return whether some byte string is matched by both. Exact."""
        if self.is_literal:
            return other.matches(self.literal_bytes)
        if other.is_literal:
            return self.matches(other.literal_bytes)
        mine, theirs = self.literal_bytes, other.literal_bytes
        if not (theirs.startswith(mine) or mine.startswith(theirs)):
            return False
        return overlap(_tree_of(self), _tree_of(other))

    def branch(self) -> Branch:
        """Return the pattern's meaning as a branch of `model.automata`, for walks together with compiled policy."""
        return _tree_of(self)

    def sort_key(self) -> tuple[str, ...]:
        """Return a key that sorts patterns by their text; equal only for equal patterns."""
        return (self.bare()[0],)

    def __lt__(self, other: "Pattern") -> bool:
        return self.sort_key() < other.sort_key()

    def variables(self) -> frozenset[str]:
        """Return the names of the variables that the text uses."""
        found: set[str] = set()
        for token in self.tokens:
            if isinstance(token, Var) and VARIABLES[token.name].abi:
                found.add(token.name)
            elif isinstance(token, Alt):
                found.update(*(choice.variables() for choice in token.choices))
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: its values as policy text, as patterns, and since which abi `tunables/global` defines it.

    A `folder`'s values end in `/` in the tunables; the parser drops that slash before another, so here it is left out.
    `abi` is "3.0" or "4.0", or "" for one that not all tunables define. Its value is written instead of its name: a
    text that defines it does not compile any more once the tunables do, after an upgrade for instance.
    """

    spelled: tuple[str, ...]
    values: tuple[Pattern, ...]
    abi: str = "3.0"
    folder: bool = False


def _normal(tokens: tuple[Token, ...]) -> Iterator[Token]:
    last: Token | None = None
    for token in tokens:
        if isinstance(token, Literal) and not token.value:
            continue
        if isinstance(last, Literal) and isinstance(token, Literal):
            last = Literal(last.value + token.value)
        elif isinstance(last, Chars) and isinstance(token, Chars) and last.cls == token.cls:
            last = Chars(last.cls, last.count + token.count)
        else:
            _apart(last, token)
            if last is not None:
                yield _checked(last, token)
            last = token
    if last is not None:
        yield _checked(last, None)


def _apart(last: Token | None, token: Token) -> None:
    wild = isinstance(last, _WILD) and isinstance(token, _WILD)
    if wild:
        raise ValueError("neighbouring stars have another meaning as text")


def _checked(token: Token, following: Token | None) -> Token:
    """Refuse a folder variable without its slash: the parser would glue what follows to the folder's name."""
    slash = isinstance(following, Literal) and following.value.startswith(b"/")
    if isinstance(token, Var) and VARIABLES[token.name].folder and not slash:
        raise ValueError(f"@{{{token.name}}} must be followed by a slash")
    return token


def _token_text(token: Token) -> tuple[str, bool]:
    match token:
        case Literal(value):
            return escape(value)
        case Chars(cls, count):
            return f"[{cls}]" * count, False
        case Star():
            return "*", False
        case Deep():
            return "**", False
        case Any1():
            return "?", False
        case Var(name):
            known = VARIABLES[name]
            return (f"@{{{name}}}" if known.abi else known.spelled[0]), False
        case Alt(choices):
            texts = [choice.bare() for choice in choices]
            text = "{" + ",".join(text for text, _ in texts) + "}"
            # two commas in a row end an unquoted word (the lexer's rule)
            return text, ",," in text or any(needed for _, needed in texts)


# ── meaning ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mask(cls: str) -> int:
    mask, at = 0, 0
    while at < len(cls):
        if at + 2 < len(cls) and cls[at + 1] == "-":
            for code in range(ord(cls[at]), ord(cls[at + 2]) + 1):
                mask |= 1 << code
            at += 3
        else:
            mask |= 1 << ord(cls[at])
            at += 1
    return mask


def _tree(tokens: tuple[Token, ...], before: str = "", after: str = "") -> Branch:
    """Return the nodes of `tokens`; `before` and `after` are the characters of text around them."""
    nodes: list[Node] = []
    for at, token in enumerate(tokens):
        match token:
            case Literal(value):
                nodes.extend(("set", 1 << byte) for byte in value)
            case Chars(cls, count):
                nodes.extend([("set", _mask(cls))] * count)
            case Any1():
                nodes.append(("set", NO_SLASH))
            case Star() | Deep():
                allowed = NO_SLASH if isinstance(token, Star) else ALL
                last = _edge(tokens[at - 1], -1) if at else before
                following = _edge(tokens[at + 1], 0) if at + 1 < len(tokens) else after
                if last == "/" and following in ("/", ""):
                    nodes.append(("set", NO_SLASH))
                nodes.append(("star", allowed))
            case Alt(choices):
                nodes.append(("alt", tuple(_tree(choice.tokens, "{", "}") for choice in choices)))
            case Var(name):
                values = VARIABLES[name].values
                if len(values) == 1:
                    nodes.extend(_tree(values[0].tokens, "{", "}"))
                else:
                    nodes.append(("alt", tuple(_tree(value.tokens, "{", "}") for value in values)))
    return tuple(nodes)


def _edge(token: Token, at: int) -> str:
    """The first (0) or last (-1) character of a token's text, as far as it can be a slash."""
    return chr(token.value[at]) if isinstance(token, Literal) else "x"


@lru_cache(maxsize=16384)
def _tree_of(pattern: Pattern) -> Branch:
    return _tree(pattern.tokens)


@lru_cache(maxsize=16384)
def _compiled(pattern: Pattern) -> re.Pattern[bytes]:
    return re.compile(expression(_tree_of(pattern)), re.DOTALL)


# ── variables ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _literals(*values: bytes) -> tuple[Pattern, ...]:
    return tuple(Pattern.literal(value) for value in values)


def _number(low: int, widths: int, top: int) -> Variable:
    """The kernelvars' way to write a number: 1 to `widths` digits without leading zero, and one more up to `top`….

    `low` is the first digit's lowest value for one-digit numbers (1 for pids, 0 for uids).
    """
    rows: list[tuple[Token, ...]] = [(Chars(f"{low}-9"),)]
    rows += [(Chars("1-9"), Chars("0-9", width - 1)) for width in range(2, widths + 1)]
    rows.append((Chars(f"1-{top}"), Chars("0-9", widths)))
    choices = tuple(Pattern.of(*row) for row in rows)
    return Variable(("{" + ",".join(choice.text() for choice in choices) + "}",), choices)


def _int() -> Variable:
    """`@{int}` as AppArmor 4.1 has it: one to INT_DIGITS digits."""
    digit = Pattern.of(Chars("0-9"))
    whole = Pattern.of(*digit.tokens, *[Alt((digit, Pattern(())))] * (INT_DIGITS - 1))
    return Variable((whole.text(),), (whole,), abi="")


INT_DIGITS = 10
"""The longest number that `@{int}` matches."""
VARIABLES: dict[str, Variable] = {}
_PID = _number(1, 6, 4)
VARIABLES.update(
    {
        # tunables/{proc,home,run,kernelvars,multiarch,share} as shipped with AppArmor 3.0 and 4.1
        "PROC": Variable(("/proc/",), _literals(b"/proc"), folder=True),
        "sys": Variable(("/sys/",), _literals(b"/sys"), folder=True),
        "run": Variable(("/run/", "/var/run/"), _literals(b"/run", b"/var/run"), folder=True),
        "HOMEDIRS": Variable(("/home/",), _literals(b"/home"), folder=True),
        "HOME": Variable(
            ("@{HOMEDIRS}/*/", "/root/"),
            (Pattern.of(Literal(b"/home/"), Star()), *_literals(b"/root")),
            folder=True,
        ),
        "pid": _PID,
        "pids": _PID,
        "tid": _PID,
        "uid": _number(0, 9, 4),
        "multiarch": Variable(("*-linux-gnu*",), (Pattern.of(Star(), Literal(b"-linux-gnu"), Star()),)),
        # 4.1 defines it, 3.0 does not
        "int": _int(),
    }
)
