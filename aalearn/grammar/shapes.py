"""Shapes: a record's key sequence with its value kinds. Met once by the grammar, a shape then extracts by itself.

A `Shape` knows everything that does not depend on the values: verdict, operation, the sorted keys, which of them say
who and which say what, whether the record is whole. `Shape.read` runs its extractor; `Shape.parsed` takes the same
values from the tokens that the grammar found. Both must agree on every line.
"""

import re
from binascii import unhexlify
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aalearn.grammar import bodies
from aalearn.grammar.terminals import Token
from aalearn.grammar.words import record_words
from aalearn.model.event import WHO_FIELDS, Event, Verdict
from aalearn.model.label import Label

_WORDS = record_words()
_NOT_NEEDED = WHO_FIELDS | _WORDS.volatile | {"namespace"}  # the last is in the profile's name
Values = tuple[bytes, ...]
Fields = tuple[tuple[str, bytes], ...]


class Reading(NamedTuple):
    """What one line of a shape says: its values but the name, shared with other lines, and the name (b"" if none)."""

    common: "Common"
    name: bytes
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


class Common:
    """What lines of one shape that differ only in their name have in common, worked out once.

    `profile` is the subject, `nameless` where there is one that names no profile; `pairs` are all other pairs but the
    name's, `needed` those of them that say what was needed; both sorted. `owner` and `program` are an entry's.
    """

    __slots__ = ("named", "nameless", "needed", "operation", "owner", "pairs", "place", "profile", "program", "verdict")

    def __init__(self, shape: "Shape", values: Values) -> None:
        self.verdict, self.operation, self.named = shape.verdict, shape.operation, shape.named
        self.pairs: Fields = tuple(zip(shape.keys, values[1:], strict=False))
        self.profile = _in_namespace(values[0], dict(self.pairs).get("namespace", b""))
        self.nameless = shape.subjected and Label.parse(self.profile).is_nameless
        chance = shape.chance(self.pairs)
        kept = (pair for pair in self.pairs if pair[0] not in _NOT_NEEDED)
        self.needed: Fields = tuple(pair for pair in kept if pair[0] not in chance)
        self.place = sum(key < "name" for key, _ in self.needed)
        said = dict(self.pairs)
        self.program = said.get("comm", b"")
        fsuid, ouid = said.get("fsuid"), said.get("ouid")
        self.owner: bool | None = None if fsuid is None or ouid is None else fsuid == ouid

    def need(self, name: bytes) -> Event:
        """Return the need of a line with this name."""
        fields, place = self.needed, self.place
        if self.named:
            fields = (*fields[:place], ("name", name), *fields[place:])
        return Event(self.verdict, self.operation, self.profile, fields)

    def event(self, name: bytes, extra: Fields) -> Event:
        """Return the whole event of a line with this name; `extra` is what its envelope adds."""
        fields = {**dict(extra), **dict(self.pairs)}
        if self.named:
            fields["name"] = name
        return Event(self.verdict, self.operation, self.profile, tuple(sorted(fields.items())))


class Shape:
    """One shape of body: the extractor and all that its keys alone say.

    `keys` are those of the values but subject, pid, operation and name; `named` is True where there is a name,
    `subjected` where there is a subject (which must name a profile).
    """

    __slots__ = (
        "_decoders", "_foreign", "_groups", "_local", "_name", "_name_decoder", "_pid", "complete", "keys",
        "named", "operation", "pattern", "quoted", "sound", "subjected", "torn", "verdict",
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
        self.subjected = subject is not None
        name = named.pop("name", None)
        self.named = name is not None
        self._name = index[name.group if name else "none"]
        self._name_decoder = _DECODERS.get(name.value.name) if name else None
        self.keys = tuple(sorted(named))
        picked = [subject, *(named[key] for key in self.keys)]
        self._groups = tuple(index[pair.group if pair else "none"] for pair in (*picked, None))
        self._decoders = tuple(
            (at, _DECODERS[pair.value.name]) for at, pair in enumerate(picked) if pair and pair.value.name in _DECODERS
        )
        self._local = bool(named.keys() & _WORDS.local_keys) and self.operation not in _WORDS.local_ports
        self._foreign = bool(named.keys() & _WORDS.foreign_keys) and self.operation not in _WORDS.foreign_ports

    def chance(self, pairs: Fields) -> set[str]:
        """Return the keys of ports that the kernel picked, and with a foreign one of that passing client's address."""
        keys: set[str] = set()
        if self._local or self._foreign:
            for key, value in pairs:
                if self._local and key in _WORDS.local_keys and _ephemeral(value):
                    keys.add(key)
                if self._foreign and key in _WORDS.foreign_keys and _ephemeral(value):
                    keys |= {key, *_WORDS.foreign_addresses}
        return keys

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

    def read(self, line: bytes, at: int, commons: "Commons") -> Reading | None:
        """Return what a line of this shape says, whose body begins at `at`; None when it is of another shape.

        `commons` remembers what values were found to mean, of any shape; it is kept bounded here.
        """
        match = self.pattern.match(line, at)
        if match is None:
            return None
        rest: Values = match.group(*self._groups)
        common = commons.get((self, rest)) or self._common(rest, commons)
        name: bytes = match[self._name]
        if self._name_decoder is not None:
            name = self._name_decoder(name)
        if self._pid:
            start, end = match.span(self._pid)
            return Reading(common, name, int(line[start:end]), start, end, match.start("end"))
        return Reading(common, name, 0, 0, 0, match.start("end"))

    def _common(self, rest: Values, commons: "Commons") -> Common:
        """Work out what these values mean (as the line spells them), and keep it."""
        values = list(rest)
        for at, decoder in self._decoders:
            values[at] = decoder(values[at])
        common = Common(self, tuple(values))
        if sum(map(len, rest)) <= LONGEST_COMMON:
            if len(commons) >= MOST_COMMONS:
                commons.clear()
            commons[self, rest] = common
        return common

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
        common = Common(self, (subject, *(value_of(found[key]) for key in self.keys)))
        name = value_of(found["name"]) if self.named else b""
        pid = found.get("pid")
        if pid is None:
            return Reading(common, name, 0, 0, 0, end)
        return Reading(common, name, int(pid.text), pid.at, pid.at + len(pid.text), end)


Commons = dict[tuple[Shape, Values], Common]
MOST_COMMONS = 10_000
LONGEST_COMMON = 1_024  # values that together are longer (bytes) are not remembered, so that memory is bounded


def _in_namespace(profile: bytes, namespace: bytes) -> bytes:
    """Return the subject as AppArmor spells it from the root: namespace="root//a" profile="p" is `:a:p`.

    A container's profile is not the host's of the same name. Source: kernel security/apparmor, audit.c (audit_pre) and
    label.c.
    """
    inner = namespace.removeprefix(b"root//") if namespace != b"root" else b""
    return b":" + inner + b":" + profile if inner and profile and not profile.startswith((b":", b"//")) else profile


def _ephemeral(port: bytes) -> bool:
    return port.isdigit() and len(port) < 6 and int(port) >= _WORDS.ephemeral


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
