"""Shapes: a record's key sequence with its value kinds. Met once by the grammar, a shape then extracts by itself.

A `Shape` knows everything that does not depend on the values: verdict, operation, the sorted keys, which of them say
who and which say what, whether the record is whole. `Shape.read` runs its extractor; `Shape.parsed` takes the same
values from the tokens that the grammar found. Both must agree on every line.
"""

import re
from binascii import unhexlify
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

from aalearn.grammar import bodies
from aalearn.grammar.terminals import Token
from aalearn.grammar.words import record_words
from aalearn.model.event import WHO_FIELDS, Verdict

_WORDS = record_words()
Values = tuple[bytes, ...]
Fields = tuple[tuple[str, bytes], ...]


class Reading(NamedTuple):
    """What one line of a shape says: decoded values (the subject first, then one for each of the shape's `keys`,
    then an empty one)."""

    values: Values
    pid: int
    pid_at: int  # where the digits of the pid begin; 0 when there are none
    pid_end: int
    end: int  # where the body ends (before libaudit's own keys, the enrichment, blanks)


def _abstract(value: bytes) -> bytes:
    """Decode an abstract address: hex stands for the name only if the name has a byte that forces hex."""
    name = unhexlify(value[1:])
    return b"@" + name if any(byte < 0x21 or byte > 0x7E or byte == 0x22 for byte in name) else value


_DECODERS: dict[str, Callable[[bytes], bytes]] = {bodies.HEX.name: unhexlify, bodies.ABSTRACT.name: _abstract}


class _Pair(NamedTuple):
    key: str
    value: Token
    group: str  # the name of its group in the extractor; empty where the text itself is part of the shape


class Shape:
    """One shape of body: the extractor and all that its keys alone say."""

    __slots__ = (
        "_decoders", "_groups", "_pid", "complete", "fields", "foreign", "fsuid", "keys", "local", "need", "need_keys",
        "operation", "ouid", "pattern", "program", "quoted", "sound", "torn", "verdict",
    )  # fmt: skip

    def __init__(self, tokens: Sequence[Token], quoted: bool) -> None:
        names = {token.name for token in tokens}
        self.quoted = quoted
        self.torn = bool(names & {bodies.TORN.name, bodies.UNCLOSED.name})
        word = tokens[0].text.split('"')[1] if tokens[0].terminal is bodies.VERDICT else ""
        self.verdict = Verdict(word) if word else Verdict.ERROR
        text, pairs, self.sound = _extractor(tokens, quoted)
        self.pattern = re.compile(text.encode("latin-1"), re.DOTALL)
        index = self.pattern.groupindex
        named = {pair.key: pair for pair in pairs}
        operation = named.get("operation")
        self.operation = operation.value.text.strip('"') if operation else ""
        self.complete = not self.torn and self._whole(frozenset(named))
        named.pop("operation", None)
        pid = named.pop("pid", None)
        self._pid = index[pid.group] if pid else 0
        named = {key: pair for key, pair in named.items() if pair.value.terminal is not bodies.NULL}
        subject = next((named.pop(key) for key in _WORDS.subject if key in named), None)
        self.keys = tuple(sorted(named))
        picked = [subject, *(named[key] for key in self.keys)]
        self._groups = tuple(index[pair.group if pair else "none"] for pair in (*picked, None))
        self._decoders = tuple(
            (at, _DECODERS[pair.value.name]) for at, pair in enumerate(picked) if pair and pair.value.name in _DECODERS
        )
        self._index()

    def _index(self) -> None:
        """Note where the keys stand that have a meaning of their own (positions in the values; 0: absent)."""
        place = {key: at for at, key in enumerate(self.keys, 1)}
        kept = [key for key in self.keys if key not in WHO_FIELDS and key not in _WORDS.volatile]
        self.need_keys = tuple(kept)
        self.need = _picker([place[key] for key in kept])
        self.program, self.fsuid, self.ouid = place.get("comm", 0), place.get("fsuid", 0), place.get("ouid", 0)
        self.local = bool(place.keys() & _WORDS.local_keys) and self.operation not in _WORDS.local_ports
        self.foreign = bool(place.keys() & _WORDS.foreign_keys) and self.operation not in _WORDS.foreign_ports

    def _whole(self, keys: frozenset[str]) -> bool:
        """Say whether all the keys are there that the kernel prints for this operation (`required` in records.toml)."""
        if "requested" in keys:
            keys |= {"requested_mask"}
        least = _WORDS.required_dbus if self.operation.startswith("dbus_") else _WORDS.required_all
        statement = self.verdict in (Verdict.STATUS, Verdict.HINT, Verdict.ERROR)
        if not statement and not (keys >= least and keys & set(_WORDS.subject)):
            return False
        if self.operation in _WORDS.required:
            return keys >= _WORDS.required[self.operation] or (statement and self.verdict is not Verdict.STATUS)
        if statement or self.operation not in _WORDS.file_operations:
            return True
        return keys >= (_WORDS.required_family if "family" in keys else _WORDS.required_file)

    def read(self, line: bytes, at: int) -> Reading | None:
        """Return what a line of this shape says, whose body begins at `at`; None when it is of another shape."""
        match = self.pattern.match(line, at)
        if match is None:
            return None
        values: Values = match.group(*self._groups)
        if self._decoders:
            values = self._decoded(values)
        if self._pid:
            start, end = match.span(self._pid)
            return Reading(values, int(line[start:end]), start, end, match.start("end"))
        return Reading(values, 0, 0, 0, match.start("end"))

    def parsed(self, tokens: Sequence[Token]) -> Reading:
        """Return the same from the tokens that the grammar met in the first line of this shape."""
        found: dict[str, Token] = {}
        ending = next(at for at in range(len(tokens)) if _ends(tokens, at, self.quoted))
        end = tokens[ending].at
        key = ""
        for at, token in enumerate(tokens):
            if token.terminal in bodies.KEYS:
                key = token.text[:-1]
            elif token.terminal in bodies.VALUES and not (at > ending and key == "addr"):
                found.setdefault(key, token)
        present = [key for key in _WORDS.subject if key in found and found[key].terminal is not bodies.NULL]
        subject = value_of(found[present[0]]) if present else b""
        values = (subject, *(value_of(found[key]) for key in self.keys), b"")
        pid = found.get("pid")
        if pid is None:
            return Reading(values, 0, 0, 0, end)
        return Reading(values, int(pid.text), pid.at, pid.at + len(pid.text), end)

    def _decoded(self, values: Values) -> Values:
        decoded = list(values)
        for at, decoder in self._decoders:
            decoded[at] = decoder(decoded[at])
        return tuple(decoded)


def _picker(places: list[int]) -> Callable[[Values], Values]:
    """Return a function that picks the values at `places`, always as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    if places:
        only = places[0]
        return lambda values: (values[only],)
    return lambda _: ()


def _extractor(tokens: Sequence[Token], quoted: bool) -> tuple[str, list[_Pair], bool]:
    """Return the extractor of a body, its pairs (one a key) and whether it is sound (no key with two values).

    Groups: `none` is empty, `end` is where the body ends, `vN` the values.
    """
    parts: list[str] = ["(?P<none>)"]
    pairs: dict[str, _Pair] = {}
    key, sound, ended = "", True, False
    for at, token in enumerate(tokens):
        if not ended and _ends(tokens, at, quoted):
            parts.append("(?P<end>)")
            ended = True
        if token.terminal in bodies.KEYS:
            key = token.text[:-1]
        if token.terminal not in bodies.VALUES:
            parts.append(token.terminal.extractor(token.text))
        elif ended and (key in pairs or key == "addr"):
            parts.append(_value(token, tokens[at + 1 :], ""))  # libaudit's own, of no interest
        elif key in pairs or key == "operation":
            first = pairs.setdefault(key, _Pair(key, token, ""))
            sound = sound and first.value.text == token.text
            parts.append(_again(first, token))
        else:
            pairs[key] = _Pair(key, token, f"v{len(pairs)}")
            parts.append(_value(token, tokens[at + 1 :], pairs[key].group))
    return "".join(parts), list(pairs.values()), sound and len(pairs) <= bodies.MAXIMUM_PAIRS


def _ends(tokens: Sequence[Token], at: int, quoted: bool) -> bool:
    """Say whether the body ends before the token at `at`: at the line's end, or where libaudit's own keys begin."""
    token = tokens[at]
    if at == len(tokens) - 1 and token.terminal not in bodies.VALUES:
        return True
    if not quoted or token.terminal is not bodies.BLANK:
        return False
    following = tokens[at + 1]
    return following.terminal is bodies.LIBAUDIT or following.text[:-1] in _WORDS.libaudit


def _value(token: Token, following: Sequence[Token], group: str) -> str:
    """Return the extractor of a value, in the group of that name ("": in none)."""
    pattern = token.terminal.pattern.replace(bodies.VALUE, f"(?P<{group}>" if group else "(?:", 1)
    if following and following[0].terminal in (bodies.BLANK, bodies.END):
        return pattern.removesuffix(bodies.AFTER)  # what follows says the same, once
    return pattern


def _again(first: _Pair, token: Token) -> str:
    """Return the extractor of a value whose key was there before (or that is fixed): the same text once more."""
    if not first.group:
        return re.escape(token.text)
    value = f"(?P={first.group})"
    return (f'"{value}"' if token.text.startswith('"') else value) + bodies.AFTER


def value_of(token: Token) -> bytes:
    """Return what a value's token means, decoded."""
    text = token.text[1:-1] if token.text.startswith('"') else token.text
    decode = _DECODERS.get(token.name)
    value = text.encode("latin-1")
    return decode(value) if decode else value
