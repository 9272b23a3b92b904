"""The grammar of a whole record: an envelope and a body. It is the truth; `shapes` makes it fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import pyparsing as pp

from aalearn.grammar.bodies import body_grammar
from aalearn.grammar.envelopes import envelope_grammar
from aalearn.grammar.terminals import Token


@dataclass(frozen=True, slots=True)
class Trail:
    """What the grammar met in one line: the envelope's tokens, then the body's."""

    envelope: tuple[Token, ...]
    body: tuple[Token, ...]


@cache
def record_grammar() -> pp.ParserElement:
    """Return the grammar of a record. Built once: building costs milliseconds, parsing a line some 200 µs."""
    plain = envelope_grammar(quoted=False) + body_grammar(quoted=False)
    user = envelope_grammar(quoted=True) + body_grammar(quoted=True)
    record = (plain | user).set_name("record")
    record.leave_whitespace(recursive=True)
    record.parse_with_tabs()
    return record


def trail(line: bytes) -> Trail | None:
    """Return the tokens of a line that has the form of a record (also of a torn one), else None."""
    try:
        found = record_grammar().parse_string(line.decode("latin-1"))
    except pp.ParseException:
        return None
    tokens = cast(Sequence[Token], found.as_list())
    start = next(i for i, token in enumerate(tokens) if token.name in ("verdict", "torn"))
    return Trail(tuple(tokens[:start]), tuple(tokens[start:]))
