"""How a manifest is written: its indentation, quotes and line ends; and the text edits that keep to them.

Each edit is a tuple (start, end, text, column); see `edits.Edit`.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from aalearn.kubernetes import tree
from aalearn.kubernetes.tree import Alias, Node, Scalar
from aalearn.model.errors import AalearnError

Piece = tuple[int, int, str, int]
_BARE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s+)*")
_KEY_END: Final = re.compile(r"[ \t]*:")
_REST: Final = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|$)")  # what may follow the last token of a line
_JSON: Final = re.compile(r"\ufeff?(?:---\s)?\s*[{\[]\s*[\"{\[]")  # JSON, perhaps as a document of a stream
_COMMENT_LINE: Final = re.compile(r"(?m)^[ \t]*#")
_HEADER: Final = re.compile(r"[|>][0-9+-]*[ \t]*(?:#[^\n]*)?\r?\n")


class UnsafeEdit(AalearnError):
    """A document can't be edited by position without touching what was not meant; the text says why."""


def bare(text: str) -> str:
    """Return a string as YAML that reads as this string in every version: bare where that is plainly safe."""
    if _BARE.fullmatch(text) and tree.looks_like_a_string(text):
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """Return a string in double quotes, which YAML reads, and JSON too where it prints."""
    spelled = json.dumps(text, ensure_ascii=False)
    if spelled.isprintable():
        return spelled
    return "".join(one if one.isprintable() else _escaped(ord(one)) for one in spelled)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Spelling:
    """Makes text edits in the manner of one document."""

    def __init__(self, text: str, root: Node) -> None:
        self._text = text
        self._json = _JSON.match(text) is not None
        self._newline = "\r\n" if "\r\n" in text else "\n"
        steps: Counter[int] = Counter()
        _count_steps(root, text, steps)
        self._step = max(steps, key=lambda step: (steps[step], -step)) if steps else 2

    def scalar(self, node: Scalar, value: str) -> Piece:
        """Return the edit that gives a scalar another text in the same quotes."""
        if node.style in ("|", ">"):
            raise UnsafeEdit("it would replace a block scalar")
        found = _PROPERTIES.match(self._text, node.start) if node.anchor or node.tag else None
        start = found.end() if found else node.start
        if node.style == "'":
            spelled = "'" + value.replace("'", "''") + "'"
        else:
            spelled = quoted(value) if node.style or self._json else bare(value)
        return start, node.end, spelled, 0

    def into_block(self, node: tree.Mapping, wanted: Mapping[str, Any], gone: set[int]) -> Piece:
        """Return the edit that adds keys to a block mapping, below its last entry that ends plainly."""
        first = node.entries[0][0]
        indent = column(self._text, first.start)
        before = self._text[first.start - indent : first.start]
        if not re.fullmatch(r"\ufeff?[ -]*", before):
            raise UnsafeEdit("its indentation holds more than blanks")
        kept = [at for at in range(len(node.entries)) if at not in gone] or list(range(len(node.entries)))
        for at in reversed(kept):
            end = self._end_of_entry(node, at)
            if end is not None:
                return self._insert(end, self._lines(wanted, indent), indent)
        if before.strip(" "):  # the head of a list's item
            raise UnsafeEdit("there is no line after which it could stand")
        start = first.start - indent
        return start, start, self._joined(self._lines(wanted, indent)) + self._newline, indent

    def fill(self, holder: tree.Mapping, key: Scalar, node: Node, wanted: Mapping[str, Any]) -> Piece:
        """Return the edit that gives an empty or null value of `key` its first keys."""
        token = self._text[node.start : node.end]
        written = isinstance(node, tree.Mapping) or bool(token.strip())
        if node.anchor or isinstance(node, Alias):
            raise UnsafeEdit(f"it stands in a part that is shared by the YAML anchor &{node.anchor}")
        if holder.flow or (written and not re.fullmatch(r"\{[ \t]*\}|~|null|Null|NULL", token)):
            if not written:
                raise UnsafeEdit(f"{key.text} has no value in braces")
            return node.start, node.end, self._flow(wanted, key.start), 0
        colon = self._after_colon(key)
        start, stop = (node.start, node.end) if written else (colon, colon)
        line_end = self._line_end(stop)
        if line_end is None or (written and self._text[colon:start].strip()):
            raise UnsafeEdit(f"{key.text} is written in a way that leaves no room")
        indent = column(self._text, key.start) + self._step
        head = self._text[colon:start].rstrip(" \t") if written else ""
        rest = self._text[stop:line_end]
        if rest.endswith("\n"):
            body = rest + self._joined(self._lines(wanted, indent)) + self._newline
        else:
            body = rest + self._newline + self._joined(self._lines(wanted, indent))
        return colon, line_end, head + body, indent

    def into_flow(self, node: tree.Mapping, wanted: Mapping[str, Any]) -> Piece:
        """Return the edit that adds keys to a mapping in braces, after its last value."""
        key, last = node.entries[-1]
        if isinstance(last, Scalar) and last.null and not self._text[last.start : last.end].strip():
            raise UnsafeEdit(f"{key.text} has no value in braces")
        indent = column(self._text, key.start)
        before = self._text[key.start - indent : key.start]
        colon = ":" if self._text[key.end : last.start] == ":" else ": "
        pairs = []
        multiline = not before.strip(" \t")
        for name, inner in wanted.items():
            spelled = self._flow_value(inner, before if multiline else None, colon)
            pairs.append(f"{self._key(name)}{colon}{spelled}")
        comma = f",{self._newline}{before}" if multiline else ("," if colon == ":" else ", ")
        return last.end, last.end, "".join(comma + pair for pair in pairs), 0

    def cut_flow(self, node: tree.Mapping, gone: set[int]) -> list[Piece]:
        """Return the edits that take entries out of a mapping in braces."""
        entries = node.entries
        kept = [at for at in range(len(entries)) if at not in gone]
        if not kept:
            return [(entries[0][0].start, entries[-1][1].end, "", 0)]
        pieces = []
        if kept[0]:
            pieces.append((entries[0][0].start, entries[kept[0]][0].start, "", 0))
        later = [at for at in sorted(gone) if at > kept[0]]
        return pieces + [(entries[at - 1][1].end, entries[at][1].end, "", 0) for at in later]

    def cut_block(self, node: tree.Mapping, at: int, gone: set[int]) -> Piece:
        """Return the edit that takes an entry with its lines out of a block mapping."""
        key = node.entries[at][0]
        end = self._end_of_entry(node, at)
        if end is None:
            raise UnsafeEdit(f"the end of {key.text} can't be told")
        indent = column(self._text, key.start)
        start = key.start - indent
        if self._text[start : key.start].strip(" \t"):  # "- key:" at the head of a list's item
            following = next((other for other in range(at + 1, len(node.entries)) if other not in gone), None)
            if following != at + 1 or self._text[end : node.entries[following][0].start].strip():
                raise UnsafeEdit(f"{key.text} stands at the head of a list's item")
            return key.start, node.entries[following][0].start, "", 0
        return start, end, "", 0

    def goes_cleanly(self, node: tree.Mapping, at: int) -> bool:
        """Return whether an entry can be taken out and no whole line of comment goes with it."""
        if node.flow:
            return True
        try:
            start, end, _, _ = self.cut_block(node, at, {at})
        except UnsafeEdit:
            return False
        return not _COMMENT_LINE.search(self._text, start, end)

    def _end_of_entry(self, node: tree.Mapping, at: int) -> int | None:
        """Return the offset after the last line of an entry, None where that can't be told for sure."""
        key, last = node.entries[at]
        while True:
            if isinstance(last, Scalar) and last.style in ("|", ">"):
                return self._end_of_block(last)
            if isinstance(last, tree.Mapping) and not last.flow and last.entries:
                key, last = last.entries[-1]
            elif isinstance(last, tree.Sequence) and not last.flow and last.items:
                last = last.items[-1]
                if isinstance(last, Scalar) and last.start == last.end:
                    return None
            elif isinstance(last, Scalar) and last.start == last.end:
                return self._line_end(self._after_colon(key))
            else:
                return self._line_end(last.end)

    def _after_colon(self, key: Scalar) -> int:
        found = _KEY_END.match(self._text, key.end)
        if found is None:
            raise UnsafeEdit(f"the key {key.text} is written in an unusual way")
        return found.end()

    def _line_end(self, index: int) -> int | None:
        """Return the offset after the line's end, None when more than a comment follows."""
        found = _REST.match(self._text, index)
        return found.end() if found else None

    def _end_of_block(self, node: Scalar) -> int | None:
        """Return the offset after the last line of a block scalar that holds text; None where blank lines count."""
        found = _PROPERTIES.match(self._text, node.start) if node.anchor or node.tag else None
        header = _HEADER.match(self._text, found.end() if found else node.start)
        if header is None or re.search(r"[+0-9]", header.group().split("#")[0]):
            return None  # blank lines count, or the first line does not tell the indentation
        end, indent = header.end(), 0
        for line in re.finditer(r"[^\n]*(?:\n|$)", self._text[header.end() : node.end]):
            content = line.group()
            if not content.strip():
                continue
            own = len(content) - len(content.lstrip(" "))
            indent = indent or own
            if own < indent:
                break  # a comment after the scalar
            end = header.end() + line.end()
        # At the end of a text without a last newline, a newline would become part of the scalar.
        return end if end > header.end() and self._text[end - 1] == "\n" else None

    def _insert(self, at: int, lines: list[str], indent: int) -> Piece:
        if at and not self._text[:at].endswith("\n"):  # the last line has no end, and keeps none
            return at, at, self._newline + self._joined(lines), indent
        return at, at, self._joined(lines) + self._newline, indent

    def _joined(self, lines: list[str]) -> str:
        return self._newline.join(lines)

    def _lines(self, wanted: Mapping[str, Any], indent: int) -> list[str]:
        lines = []
        for key, inner in wanted.items():
            if isinstance(inner, str):
                lines.append(f"{' ' * indent}{bare(key)}: {bare(inner)}")
            else:
                lines.append(f"{' ' * indent}{bare(key)}:")
                lines += self._lines(inner, indent + self._step)
        return lines

    def _key(self, text: str) -> str:
        return quoted(text) if self._json else bare(text)

    def _flow(self, wanted: Mapping[str, Any], near: int) -> str:
        """Return a mapping in braces for a value whose key stands at `near`."""
        indent = column(self._text, near)
        before = self._text[near - indent : near]
        compact = self._json and "\n" not in self._text.strip() and '": ' not in self._text
        return self._flow_value(
            wanted, before if self._json and not before.strip(" \t") else None, ":" if compact else ": "
        )

    def _flow_value(self, inner: Any, before: str | None, colon: str) -> str:
        """Return a value in braces; over several lines when the blanks `before` its key are given."""
        if isinstance(inner, str):
            return quoted(inner) if self._json else bare(inner)
        deeper = None if before is None else before + self._unit(before)
        pairs = [f"{self._key(key)}{colon}{self._flow_value(one, deeper, colon)}" for key, one in inner.items()]
        if before is None:
            return "{" + ("," if colon == ":" else ", ").join(pairs) + "}"
        line = self._newline
        return "{" + line + deeper + f",{line}{deeper}".join(pairs) + line + before + "}" if deeper is not None else ""

    def _unit(self, before: str) -> str:
        """Return one more step of indentation in the manner of the blanks `before`."""
        if "\t" in before:
            return "\t"
        found = re.search(r"\{\r?\n([ \t]+)\S", self._text)
        return found.group(1) if found else "  "


def column(text: str, index: int) -> int:
    """Return the column of an offset, from 0."""
    return index - (text.rfind("\n", 0, index) + 1)


def _count_steps(node: Node, text: str, found: Counter[int]) -> None:
    """Count by how many blanks each block mapping below a mapping is indented."""
    if isinstance(node, tree.Mapping) and not node.flow and node.entries:
        own = column(text, node.entries[0][0].start)
        for _, inner in node.entries:
            if isinstance(inner, tree.Mapping) and not inner.flow and inner.entries:
                step = column(text, inner.entries[0][0].start) - own
                if step > 0:
                    found[step] += 1
            _count_steps(inner, text, found)
    elif isinstance(node, tree.Sequence):
        for item in node.items:
            _count_steps(item, text, found)
