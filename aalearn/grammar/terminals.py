"""Terminals: the smallest pieces of a record. Each is one regular expression, for the grammar and for the extractors.

A parse leaves a *trail*: the terminals it met, in order, with their text. The trail is a shape; the regular expressions
of its terminals, one after the other, are that shape's extractor. So grammar and extractor can't differ in what a piece
is. For them never to differ in which piece comes next, one law must hold: where the grammar has a choice, no text fits
two of the alternatives. A property test holds us to it.

Lines are bytes; pyparsing wants text. Latin-1 maps each byte to one character and back, so nothing is lost.
"""

import re
from dataclasses import dataclass

import pyparsing as pp


@dataclass(frozen=True, slots=True)
class Terminal:
    """A named piece. `fixed` pieces are part of the shape by their text (keys, words); others by their kind alone."""

    name: str
    pattern: str
    fixed: bool = False

    def element(self) -> pp.ParserElement:
        """Return the pyparsing element that yields one `Token`."""
        element = pp.Regex(self.pattern, flags=re.DOTALL)
        element.leave_whitespace()
        element.set_parse_action(lambda _, at, found: Token(self, found[0], at))
        return element.set_name(self.name)

    def extractor(self, text: str) -> str:
        """Return the regular expression for this piece in the extractor of the line in which it was `text`.

        Atomic, because the grammar never takes back what a terminal has matched.
        """
        return re.escape(text) if self.fixed else f"(?>{self.pattern})"


@dataclass(frozen=True, slots=True)
class Token:
    """A terminal met in a line: its text and where it begins."""

    terminal: Terminal
    text: str
    at: int

    @property
    def name(self) -> str:
        """The terminal's name."""
        return self.terminal.name


def words_pattern(words: tuple[str, ...]) -> str:
    """Return a pattern for any of `words`, the longest first so that none hides another."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
