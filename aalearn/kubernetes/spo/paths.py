"""Paths as SPO's schema takes them: `^/[A-Za-z0-9_./*?+@{} -]*$`, and no more than its rendering can load.

Of what the pattern lets through blanks and lone braces break apparmor_parser in some releases, so they are not used:
`?` stands for each byte that can't be written. Variables are kept where the operator's `tunables/global` defines them;
those that begin a path are spelled out, because a path must begin with a slash.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from aalearn.model.pattern import VARIABLES, Alt, Any1, Chars, Deep, Literal, Pattern, Star, Token, Var

FORM: Final = re.compile(r"/(?:[A-Za-z0-9_./*?+@-]|@\{[A-Za-z0-9_]+\})*")
_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+@-")
_MOST: Final = 64  # paths that one pattern's alternatives may become


@dataclass(frozen=True, slots=True)
class Spelled:
    """A path as SPO takes it, with what it matches. `widened`: it matches more than the pattern that it stands for."""

    text: str
    pattern: Pattern
    widened: bool = False


def spelled(pattern: Pattern) -> tuple[Spelled, ...]:
    """Return the paths that stand for a pattern, sorted by text: one, or one for each of its alternatives."""
    found = {}
    for row, widened in _rows(pattern.tokens):
        tokens, wider = _plain(row)
        text = "".join(map(_text, tokens))
        if FORM.fullmatch(text):
            found[text] = Spelled(text, Pattern.of(*tokens), widened or wider)
    return tuple(found[text] for text in sorted(found))


def _rows(tokens: Sequence[Token]) -> Iterator[tuple[tuple[Token, ...], bool]]:
    """Yield the tokens without alternatives and folder variables, and whether that widened them."""
    choices: list[list[tuple[tuple[Token, ...], bool]]] = []
    count = 1
    for token in tokens:
        several = _choices(token)
        if count * len(several) > _MOST:
            deep = any(isinstance(one, Literal) and b"/" in one.value for row, _ in several for one in row)
            several = [((Deep() if deep else Star(),), True)]
        count *= len(several)
        choices.append(several)
    for row in product(*choices):
        yield tuple(token for part, _ in row for token in part), any(widened for _, widened in row)


def _choices(token: Token) -> list[tuple[tuple[Token, ...], bool]]:
    if isinstance(token, Alt):
        return [row for choice in token.choices for row in _rows(choice.tokens)]
    if isinstance(token, Var) and VARIABLES[token.name].folder:
        return [row for value in VARIABLES[token.name].values for row in _rows(value.tokens)]
    return [((token,), False)]


def _plain(tokens: Sequence[Token]) -> tuple[list[Token], bool]:
    """Return the tokens in SPO's alphabet, and whether that widened them."""
    found: list[Token] = []
    widened = False
    for token in tokens:
        match token:
            case Literal(value):
                for byte in value:
                    found.append(Literal(bytes((byte,))) if byte in _SAFE else Any1())
                    widened = widened or byte not in _SAFE
            case Chars(_, count):
                found += [Any1()] * count
                widened = True
            case Var(name) if not VARIABLES[name].abi:  # no tunable of the operator's defines it
                found += [Any1(), Star()]
                widened = True
            case _:
                found.append(token)
    return _joined(found), widened


def _joined(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens with neighbouring stars as one: as text they would mean something else."""
    found: list[Token] = []
    for token in tokens:
        if found and isinstance(found[-1], Star | Deep) and isinstance(token, Star | Deep):
            found[-1] = Deep() if Deep() in (found[-1], token) else Star()
        else:
            found.append(token)
    return found


def _text(token: Token) -> str:
    match token:
        case Literal(value):
            return value.decode("ascii")
        case Any1():
            return "?"
        case Star():
            return "*"
        case Deep():
            return "**"
        case Var(name):
            return f"@{{{name}}}"
        case _:
            raise AssertionError(f"{token!r} is not left by _plain")
