"""Profile text, for what text alone shows: headers, flags, blocks, includes, and where a rule can be inserted.

What the rules mean is not asked here: that is the compiled policy's to say. The text is cut into statements; each keeps
its place, so that an edit changes nothing else, not a comment and not a blank.

    file      = { comment | include | variable | header "{" | statement "," | "}" }
    statement = word { word }
    word      = group | quoted | bare         (group: "(…)" at a word's start or right after "=")

Source: apparmor.d(5) and trials with apparmor_parser: `#include` is no comment and `# include` is one; a brace within a
word is an alternation; a comma ends a rule unless a word goes on right behind it (`/a,b r,`); qualifiers and conditions
open blocks too (`owner { … }`, `if defined @{X} { … } else { … }`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import cast

import pyparsing as pp

from aalearn.model.errors import BadInput, UsageError
from aalearn.model.text import shown

_ESCAPED = r"\\."
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_CLASS = r"\[[^\]\s\"]*\]"


def _braces(depth: int) -> str:
    """Return the pattern of an alternation nested at most so deep; it holds no blanks."""
    inner = "" if depth == 0 else f"|{_braces(depth - 1)}"
    return rf"\{{(?:{_ESCAPED}|{_CLASS}|[^\s\"\\{{}}\[]|\[{inner})*+\}}"


_ALTERNATION = _braces(4)
_COMMENT = r"#(?!include\b)[^\n]*"
_INCLUDE = r"#?include(?:[ \t]+if[ \t]+exists)?[ \t]+(?:<[^>\n]*>|\"[^\"\n]*\"|[^\s,]+)"
_VARIABLE = r"(?:@\{[^}\s]*\}|@[A-Za-z0-9_]+|\$\{?[A-Za-z0-9_]+\}?)[ \t]*\+?=(?:\\\r?\n|[^\n\r])*"
_GROUP = rf"\((?:{_ESCAPED}|{_QUOTED}|\((?:{_ESCAPED}|{_QUOTED}|[^()\"\\])*\)|[^()\"\\])*\)"
_KEYWORD = r"(?:audit|allow|deny|owner|other|quiet|prompt|else)(?=\{)|[A-Za-z_]+(?=,)"
_BARE = (
    rf"(?![{{}}])(?:{_ESCAPED}|{_QUOTED}|{_ALTERNATION}|{_CLASS}|\[|(?<!=)\((?=[^\s])|(?<=[^=])\(|"
    rf"[^\s\"\\,(){{}}\[#]|(?<=[^\s{{}}])[#)]|(?<=[^\s{{,])\}}|(?<=[^\s])\{{(?=[^\s}}])|,(?=[^\s\"!}}#]))+"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A statement or a part of one: what it is, its text and its place (`text[at:end]`)."""

    kind: str
    text: str
    at: int

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.at + len(self.text)


@dataclass(frozen=True, slots=True)
class Include:
    """An include line: `path` without its brackets or quotes, `magic` for <…>, `optional` for `if exists`."""

    path: str
    magic: bool
    optional: bool
    at: int
    end: int

    @property
    def local(self) -> str | None:
        """The path below the policy folder if this includes a file of local/, however it is spelled: "local/NAME"."""
        parts = [part for part in self.path.split("/") if part not in ("", ".")]
        return "/".join(parts[-2:]) if len(parts) > 1 and parts[-2] == "local" else None


@dataclass(frozen=True, slots=True)
class ProfileBlock:
    """A profile, child profile or hat as it stands in a text.

    `name` is its own name, without quotes; `path` the full one (P//child, P//hat, :ns://P). `flags` are its words,
    `flags_at` the place of their group (parentheses and what names them), or None. `header_at` is where the header
    begins, `open` the place of its `{` and `close` that of its `}`. `includes` are those directly in this block.
    """

    kind: str  # "profile" or "hat"
    name: str
    path: str
    attachment: str | None
    flags: tuple[str, ...]
    flags_at: tuple[int, int] | None
    xattrs: str | None
    header_at: int
    open: int
    close: int
    includes: tuple[Include, ...] = ()
    children: tuple["ProfileBlock", ...] = ()

    @property
    def local(self) -> str | None:
        """The local include of this block ("local/NAME"), or None. Of several, the one of the profile's own name."""
        names = [name for include in self.includes if (name := include.local)]
        own = "local/" + self.name.strip("/").replace("/", ".")
        return own if own in names else (names[0] if names else None)

    def walk(self) -> Iterator["ProfileBlock"]:
        """Yield this block, then those inside it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A policy file: its profiles in order, the includes, abi and variables of its preamble (as spelled)."""

    text: str
    profiles: tuple[ProfileBlock, ...]
    includes: tuple[Include, ...]
    abi: str | None
    variables: tuple[str, ...]

    def walk(self) -> Iterator[ProfileBlock]:
        """Yield every profile, child and hat, depth first."""
        for profile in self.profiles:
            yield from profile.walk()

    def find(self, name: str) -> ProfileBlock:
        """Return the profile of that name (`P//child` for an inner one); UsageError when the file has none or two."""
        found = [block for block in self.walk() if block.path == name]
        if len(found) != 1:
            there = ", ".join(shown(block.path) for block in self.walk()) or "none"
            problem = "is there twice" if found else "is not there"
            raise UsageError(f"the profile {shown(name)} {problem}; the file's profiles: {there}")
        return found[0]


@dataclass(slots=True)
class _Open:
    """A block whose end was not met yet."""

    block: ProfileBlock | None
    at: int
    includes: list[Include] = field(default_factory=list)
    children: list[ProfileBlock] = field(default_factory=list)


@cache
def profile_grammar() -> pp.ParserElement:
    """Return the grammar of a policy file's statements. Its result is a flat list of pieces, each with its place."""

    def piece(kind: str, pattern: str) -> pp.ParserElement:
        element = pp.Regex(pattern, flags=re.DOTALL).set_name(kind)
        return element.set_parse_action(lambda _, at, found: Piece(kind, found[0], at))

    comment, include = piece("comment", _COMMENT), piece("include", _INCLUDE)
    word = piece("group", _GROUP) | piece("word", _KEYWORD) | piece("word", _BARE) | piece("word", _QUOTED)
    words = pp.OneOrMore((comment | word).set_name("word"))
    end = piece("comma", ",")
    opening, closing = piece("open", r"\{"), piece("close", r"\}")
    statement = (words + pp.Opt(end | opening)).set_name("statement")
    item = (comment | include | piece("variable", _VARIABLE) | statement | opening | closing | end).set_name("item")
    grammar = pp.ZeroOrMore(item) + pp.StringEnd()
    return grammar.parse_with_tabs().set_name("policy file")


def read_profiles(text: str) -> ProfileFile:
    """Return what the text of a policy file shows. BadInput names the line where it can't be understood."""
    try:
        pieces = cast(list[Piece], profile_grammar().parse_string(text).as_list())
    except pp.ParseException as error:
        raise BadInput(f"line {error.lineno}: this is not policy text") from error
    return _Reader(text).read(pieces)


class _Reader:
    """Builds the blocks of a file from its pieces, with a stack instead of recursion."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stack = [_Open(None, 0)]
        self._abi: str | None = None
        self._variables: list[str] = []

    def read(self, pieces: list[Piece]) -> ProfileFile:
        """Return the file."""
        words: list[Piece] = []
        for piece in pieces:
            match piece.kind:
                case "comment":
                    continue
                case "include":
                    self._holder().includes.append(_include(piece))
                case "variable":
                    self._variables.append(re.split(r"[ \t]*\+?=", piece.text, maxsplit=1)[0])
                case "open":
                    self._stack.append(_Open(self._header(words, piece.at), piece.at))
                case "close":
                    self._close(piece)
                case "comma":
                    if words and words[0].text == "abi":
                        self._abi = words[-1].text.strip('<>"')
                case _:
                    words.append(piece)
                    continue
            words = []
        if len(self._stack) > 1:
            raise BadInput(f"line {self._line(self._stack[-1].at)}: this block is never closed")
        top = self._stack[0]
        return ProfileFile(self._text, tuple(top.children), tuple(top.includes), self._abi, tuple(self._variables))

    def _holder(self) -> _Open:
        """Return the block that includes belong to: the innermost, if it is a profile or the file itself."""
        return self._stack[-1] if len(self._stack) == 1 or self._stack[-1].block else _Open(None, 0)

    def _close(self, piece: Piece) -> None:
        if len(self._stack) == 1:
            raise BadInput(f"line {self._line(piece.at)}: this closes a block that was never opened")
        done = self._stack.pop()
        outer = self._stack[-1]
        if done.block is None:
            outer.children.extend(done.children)
            return
        outer.children.append(
            replace(done.block, close=piece.at, includes=tuple(done.includes), children=tuple(done.children))
        )

    def _header(self, words: list[Piece], opened: int) -> ProfileBlock | None:
        """Return the profile that these words begin; None for a block of rules (a qualifier, a condition, nothing)."""
        kind, name, rest = _named(words)
        if name is None:
            return None
        flags: tuple[str, ...] = ()
        flags_at, xattrs, attachment = None, None, None
        label = ""
        begun = 0
        for word in rest:
            if word.kind == "group":
                if label == "xattrs":
                    xattrs = word.text
                else:
                    flags = (
                        tuple(re.split(r"[\s,]+", word.text[1:-1].strip(" \t\r\n,"))) if word.text[1:-1].strip() else ()
                    )
                    flags_at = (begun if label else word.at, word.end)
                label = ""
            elif word.text.rstrip("=") in ("flags", "xattrs"):
                label, begun = word.text.rstrip("="), word.at
            elif word.text != "=" and attachment is None:
                attachment = word.text
        outer = next((one.block for one in reversed(self._stack) if one.block), None)
        path = f"{outer.path}//{name}" if outer else re.sub(r"^(:[^:/]*:)(?:/(?=/)/)?", r"\1//", name)
        return ProfileBlock(kind, name, path, attachment, flags, flags_at, xattrs, words[0].at, opened, -1)

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1


_NO_PROFILE = frozenset({"audit", "allow", "deny", "owner", "other", "quiet", "prompt", "if", "else"})


def _named(words: list[Piece]) -> tuple[str, str | None, list[Piece]]:
    """Return the kind and name of a header and the words after its name; the name is None for a block of rules."""
    if not words or words[0].text in _NO_PROFILE or words[0].text.startswith("priority="):
        return "", None, []
    first = words[0].text
    if first in ("profile", "hat") and len(words) > 1:
        return first, _plain(words[1].text), words[2:]
    if first == "^" and len(words) > 1:
        return "hat", _plain(words[1].text), words[2:]
    if first.startswith("^"):
        return "hat", _plain(first[1:]), words[1:]
    return "profile", _plain(first), words[1:]


def _plain(word: str) -> str:
    """Return a name without its quotes."""
    return word[1:-1] if len(word) > 1 and word.startswith('"') and word.endswith('"') else word


def _include(piece: Piece) -> Include:
    match = re.fullmatch(r"#?include(\s+if\s+exists)?\s+(.*)", piece.text, re.DOTALL)
    spelled = match[2] if match else ""
    return Include(spelled.strip('<>"'), spelled.startswith("<"), bool(match and match[1]), piece.at, piece.end)


def insert_rules(text: str, profile_name: str, lines: list[str]) -> str:
    """Return the text with `lines` (rules or comments, unindented) inserted at the end of a profile's block.

    Every other byte stays. The lines get the indentation of the block's last line and the file's kind of line end.
    UsageError when the file has no such profile; BadInput when it can't be understood.
    """
    block = read_profiles(text).find(profile_name)
    newline = "\r\n" if "\r\n" in text else "\n"
    start = text.rfind("\n", 0, block.close) + 1
    alone = not text[start : block.close].strip() and start > block.open
    indent = _indent(text, block)
    body = "".join(f"{indent}{line}{newline}" if line else newline for line in lines)
    if alone:
        return text[:start] + body + text[start:]
    outer = text[text.rfind("\n", 0, block.header_at) + 1 : block.header_at]
    return text[: block.close] + newline + body + (outer if not outer.strip() else "") + text[block.close :]


def _indent(text: str, block: ProfileBlock) -> str:
    """Return the blanks before the last line of a block that is not an inner block's; else two more than its own."""
    inside = [(child.header_at, child.close) for child in block.children]
    at = len(text[: block.close])
    for line in reversed(text[block.open + 1 : block.close].splitlines(keepends=True)):
        at -= len(line)
        first = at + len(line) - len(line.lstrip())
        if line.strip() and at > block.open + 1 and not any(begin <= first <= end for begin, end in inside):
            return line[: len(line) - len(line.lstrip())]
    own = text[text.rfind("\n", 0, block.header_at) + 1 : block.header_at]
    return (own if not own.strip() else "") + "  "


def set_complain(text: str, profile_name: str, complain: bool) -> str:
    """Return the text with a profile and every block inside it in complain mode, or none of them; all else stays."""
    blocks = sorted(read_profiles(text).find(profile_name).walk(), key=lambda block: -block.open)
    for block in blocks:
        flags = [flag for flag in block.flags if flag != "complain"]
        if complain:
            flags = ["complain", *flags]
        if tuple(flags) == block.flags or set(flags) == set(block.flags):
            continue
        spelled = f"flags=({','.join(flags)})" if flags else ""
        if block.flags_at is None:
            text = f"{text[: block.open]}{spelled} {text[block.open :]}"
        else:
            begin, end = block.flags_at
            end += len(text[end:]) - len(text[end:].lstrip(" \t")) if not spelled else 0
            text = text[:begin] + spelled + text[end:]
    return text
