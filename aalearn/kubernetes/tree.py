"""YAML and JSON as trees whose nodes know where they stand in the text, so that an edit leaves every other byte alone.

Positions are offsets in characters. Aliases are kept as such and never expanded: a "billion laughs" costs nothing, and
is refused when the values that it stands for are counted. Plain scalars are not given types beyond "surely a string or
not" (`Plain`): which words are booleans differs between YAML 1.1 and 1.2, and nothing here depends on it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import scanstring as _scanstring  # type: ignore[attr-defined]
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from aalearn.model.errors import BadInput
from aalearn.model.text import shown

DEEPEST: Final = 100
LARGEST: Final = 1_000_000  # values of one document, aliases expanded
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ""})
_STRING: Final = re.compile(r"[^\d.+\-=<~].*", re.DOTALL)  # whatever begins otherwise may be a number, a time, a merge
_MERGE: Final = "<<"
# Tabs between a key and its value and before a comment, which libyaml and kubectl allow and ruamel.yaml does not.
_TABS: Final = re.compile(r"(?m)(^[ ]*(?:- +)*[^\s#'\"]+:|(?<=\S))([ \t]*\t[ \t]*)(?=\S|\r?$)")


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain scalar that some YAML version takes for a number, a boolean or a time: kept as it is written."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A node: `start` and `end` are offsets in the text, an anchor or tag before it included."""

    start: int
    end: int
    anchor: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scalar(Node):
    """A scalar; `style` is "" (plain), a quote, "|" or ">"; `text` is what it means."""

    text: str = ""
    style: str = ""
    tag: str = ""

    @property
    def null(self) -> bool:
        """Whether it is written as null, or not at all."""
        return not self.style and not self.tag and self.text in _NULLS


@dataclass(frozen=True, slots=True, eq=False)
class Mapping(Node):
    """A mapping: entries in the order written; `flow` where it stands in braces."""

    entries: tuple[tuple[Scalar, Node], ...] = ()
    flow: bool = False

    def own(self, key: str) -> Node | None:
        """Return the value of a key that is written here (not merged), None without."""
        return next((value for name, value in self.entries if name.text == key), None)


@dataclass(frozen=True, slots=True, eq=False)
class Sequence(Node):
    """A sequence; `flow` where it stands in brackets."""

    items: tuple[Node, ...] = ()
    flow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Alias(Node):
    """`*name`, and the node that it stands for."""

    target: Node = field(default_factory=lambda: Scalar(0, 0))


def resolved(node: Node) -> Node:
    """Return what an alias stands for, or the node itself."""
    return node.target if isinstance(node, Alias) else node


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands, for messages: its file (safe for a terminal) and its first line there."""

    name: str
    line: int = 1

    def bad(self, text: str, index: int, problem: str) -> BadInput:
        """Return an error in one line, with the number of the line at `index` of `text`."""
        line = self.line + text.count("\n", 0, index)
        return BadInput(f"{self.name}: line {line}: {shown(' '.join(problem.split()))}")


def parse(text: str, place: Place, *, lenient: bool = False) -> Node | None:
    """Return the tree of one document in YAML or JSON, None for an empty one.

    `lenient` lets a key stand twice (templates with branches). Raises BadInput, in
    one line with the line's number, for what is neither, for duplicate keys, recursion, and aliases that stand for more
    than LARGEST values.
    """
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        try:
            return _Json(text, place).document()
        except ValueError:
            pass  # YAML in braces, perhaps
    try:
        root = _Yaml(text, place, lenient).document()
    except BadInput:
        blanks = _TABS.sub(lambda found: found[1] + " " * len(found[2]), text)
        if blanks == text:
            raise
        root = _Yaml(blanks, place, lenient).document()
    if root is not None:
        _count(root, {}, place)
    return root


class _Yaml:
    """Builds the tree of one document from parser events."""

    def __init__(self, text: str, place: Place, lenient: bool) -> None:
        self._place, self._lenient = place, lenient
        self._skip = 1 if text.startswith("\ufeff") else 0
        # A directive has no part in the tree; as a comment it keeps its length.
        self._text = re.sub(r"(?m)^%(?=YAML|TAG)", "#", text[self._skip :])
        self._anchors: dict[str, Node] = {}
        self._events: Iterator[Any] = iter(())

    def document(self) -> Node | None:
        yaml = YAML(typ="safe", pure=True)
        roots: list[Node] = []
        try:
            self._events = yaml.parse(self._text)
            for event in self._events:
                if type(event).__name__ == "DocumentStartEvent":
                    self._anchors = {}
                    roots.append(self._node(next(self._events), 0))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._bad(error.problem or error.context or "no YAML", mark.index if mark else 0) from None
        except ReaderError as error:
            raise self._bad(f"the character U+{error.character:04X} is not allowed", error.position) from None
        except YAMLError as error:
            raise self._bad(str(error).split("\n", 1)[0], 0) from None
        except (ValueError, OverflowError, IndexError, AssertionError) as error:
            # ruamel.yaml lets these through, e.g. for an escape beyond Unicode
            raise self._bad(f"no YAML ({type(error).__name__})", 0) from None
        if len(roots) > 1:
            raise self._bad("two documents without --- between them", roots[1].start)
        if not roots or (isinstance(roots[0], Scalar) and roots[0].null):
            return None
        return roots[0]

    def _bad(self, problem: str, index: int) -> BadInput:
        return self._place.bad(self._text, index, problem)

    def _node(self, event: Any, depth: int) -> Node:
        start, end = event.start_mark.index + self._skip, event.end_mark.index + self._skip
        if depth > DEEPEST:
            raise self._bad(f"nested deeper than {DEEPEST} levels", start)
        kind = type(event).__name__
        if kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise self._bad(
                    f"the alias *{shown(event.anchor)} has no anchor before it, or is part of itself", start
                )
            return Alias(start, end, None, self._anchors[event.anchor])
        anchor = event.anchor
        node: Node
        if kind == "ScalarEvent":
            tag = str(event.tag or "")
            node = Scalar(start, end, anchor, event.value, event.style or "", tag)
        elif kind == "SequenceStartEvent":
            node = self._sequence(start, anchor, bool(event.flow_style), depth)
        else:
            node = self._mapping(start, anchor, bool(event.flow_style), depth)
        if anchor:
            self._anchors[anchor] = node
        return node

    def _sequence(self, start: int, anchor: str | None, flow: bool, depth: int) -> Sequence:
        items: list[Node] = []
        for event in self._events:
            if type(event).__name__ == "SequenceEndEvent":
                return Sequence(start, event.end_mark.index + self._skip, anchor, tuple(items), flow)
            items.append(self._node(event, depth + 1))
        raise self._bad("the document ends within a sequence", start)

    def _mapping(self, start: int, anchor: str | None, flow: bool, depth: int) -> Mapping:
        entries: list[tuple[Scalar, Node]] = []
        seen: set[str] = set()
        for event in self._events:
            if type(event).__name__ == "MappingEndEvent":
                return Mapping(start, event.end_mark.index + self._skip, anchor, tuple(entries), flow)
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise self._bad("a key that is no scalar", key.start)
            if key.text in seen and not self._lenient and key.text != _MERGE:
                raise self._bad(f'the key "{shown(key.text)}" stands twice', key.start)
            seen.add(key.text)
            entries.append((key, self._node(next(self._events), depth + 1)))
        raise self._bad("the document ends within a mapping", start)


class _Json:
    """A small JSON reader that knows positions. Raises ValueError for what is no JSON, BadInput for what is too deep or
    has a key twice."""

    _BLANK: Final = re.compile(r"[ \t\r\n]*")
    _WORD: Final = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")

    def __init__(self, text: str, place: Place) -> None:
        self._text, self._place = text, place

    def document(self) -> Node:
        node = self._value(self._blank(1 if self._text.startswith("\ufeff") else 0), 0)
        if self._blank(node.end) != len(self._text):
            raise ValueError("more than one value")
        return node

    def _blank(self, at: int) -> int:
        found = self._BLANK.match(self._text, at)
        return found.end() if found else at

    def _value(self, at: int, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._place.bad(self._text, at, f"nested deeper than {DEEPEST} levels")
        first = self._text[at : at + 1]
        if first == "{":
            return self._object(at, depth)
        if first == "[":
            return self._array(at, depth)
        if first == '"':
            return self._string(at)
        found = self._WORD.match(self._text, at)
        if found is None:
            raise ValueError("no value")
        return Scalar(at, found.end(), None, found.group())

    def _string(self, at: int) -> Scalar:
        if self._text[at : at + 1] != '"':
            raise ValueError("no string")
        value, end = _scanstring(self._text, at + 1, True)
        return Scalar(at, end, None, value, '"')

    def _object(self, start: int, depth: int) -> Mapping:
        entries: list[tuple[Scalar, Node]] = []
        seen: set[str] = set()
        at = self._blank(start + 1)
        while self._text[at : at + 1] != "}":
            if entries:
                at = self._blank(self._expect(",", at))
            key = self._string(at)
            if key.text in seen:
                raise self._place.bad(self._text, at, f'the key "{shown(key.text)}" stands twice')
            seen.add(key.text)
            value = self._value(self._blank(self._expect(":", self._blank(key.end))), depth + 1)
            entries.append((key, value))
            at = self._blank(value.end)
        return Mapping(start, at + 1, None, tuple(entries), True)

    def _array(self, start: int, depth: int) -> Sequence:
        items: list[Node] = []
        at = self._blank(start + 1)
        while self._text[at : at + 1] != "]":
            if items:
                at = self._blank(self._expect(",", at))
            items.append(self._value(at, depth + 1))
            at = self._blank(items[-1].end)
        return Sequence(start, at + 1, None, tuple(items), True)

    def _expect(self, mark: str, at: int) -> int:
        if self._text[at : at + 1] != mark:
            raise ValueError(f"no {mark}")
        return at + 1


def _count(node: Node, sizes: dict[int, int], place: Place) -> int:
    """Return how many values a node stands for, aliases expanded by arithmetic."""
    node = resolved(node)
    if id(node) in sizes:
        return sizes[id(node)]
    inner: tuple[Node, ...] = ()
    if isinstance(node, Mapping):
        inner = tuple(value for _, value in node.entries)
    elif isinstance(node, Sequence):
        inner = node.items
    size = 1 + sum(_count(one, sizes, place) for one in inner)
    if size > LARGEST:
        raise BadInput(f"{place.name}: its aliases stand for more than {LARGEST:,} values")
    sizes[id(node)] = size
    return size


def value(root: Node) -> Any:
    """Return the plain value: dict, list, str, None, or Plain. Merge keys are applied; shared parts stay shared."""
    return _value(root, {})


def _value(node: Node, known: dict[int, Any]) -> Any:
    node = resolved(node)
    if id(node) in known:
        return known[id(node)]
    found: Any
    if isinstance(node, Mapping):
        found = {}
        for key, inner in node.entries:
            if key.text == _MERGE and not key.style:
                for merged in _merged(inner, known):
                    found = {**merged, **found}
            else:
                found[key.text] = _value(inner, known)
    elif isinstance(node, Sequence):
        found = [_value(item, known) for item in node.items]
    else:
        assert isinstance(node, Scalar)
        found = _scalar(node)
    known[id(node)] = found
    return found


def _merged(node: Node, known: dict[int, Any]) -> list[dict[str, Any]]:
    """Return the mappings of a merge key, the weightiest first."""
    whole = _value(node, known)
    return [one for one in (whole if isinstance(whole, list) else [whole]) if isinstance(one, dict)]


def _scalar(node: Scalar) -> Any:
    if node.null:
        return None
    if node.style:
        return node.text
    if node.tag:
        return node.text if node.tag.endswith("str") else Plain(node.text)
    return node.text if looks_like_a_string(node.text) else Plain(node.text)


def looks_like_a_string(text: str) -> bool:
    """Return whether a plain scalar of this text is a string in every version of YAML."""
    return bool(_STRING.fullmatch(text)) and text.casefold() not in _WORDS


def merges(node: Mapping, key: str) -> bool:
    """Return whether a merge key brings `key` into a mapping that doesn't have it itself."""
    return any(key in merged for name, inner in node.entries if name.text == _MERGE for merged in _merged(inner, {}))
