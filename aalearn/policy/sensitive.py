"""The sensitive set as values: paths that a profile may only permit where they were seen to be needed.

Its words stand in `grammars/sensitive.toml` (source: the never-across list that generalisation keeps to).
"""

import re
from functools import cache
from typing import Final

from aalearn.model.data import words
from aalearn.model.pattern import Any1, Chars, Deep, Literal, Pattern, Star, Token
from aalearn.policy.walks import ALL, Watch, bits_of

_TOKEN: Final = re.compile(r"(\*\*)|(\*)|(\?)|\[([^\]]+)\]|([^*?\[\]{}]+)")


@cache
def watched() -> tuple[Watch, ...]:
    """Return the sensitive sets in the order of reports."""
    return tuple(
        Watch(entry["name"], tuple(glob(path) for path in entry["paths"]), bits_of(entry.get("bits", "")) or ALL)
        for entry in words("sensitive")["set"]
    )


def glob(text: str) -> Pattern:
    """Return the pattern of a glob from our own tables: literals, `*`, `**`, `?` and classes.

    Raises ValueError for anything else. Never for foreign text: that is always a literal.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not a glob of our tables: {text!r}")
        deep, star, one, chars, literal = match.groups()
        if deep:
            tokens.append(Deep())
        elif star:
            tokens.append(Star())
        elif one:
            tokens.append(Any1())
        elif chars:
            tokens.append(Chars(chars))
        else:
            tokens.append(Literal(literal.encode()))
        at = match.end()
    return Pattern.of(*tokens)
