"""Edits of profile text beside inserting rules: leaving out denials, and flags for every block. All else stays."""

from collections.abc import Sequence
from typing import Final, cast

from aalearn.grammar.profiles import Piece, profile_grammar, read_profiles
from aalearn.model.errors import UsageError

_QUALIFIERS: Final = frozenset({"audit", "allow", "deny", "owner", "other", "quiet", "prompt"})


def without_denials(text: str) -> tuple[str, int]:
    """Return the text without its deny rules, and how many there were; what includes hold is not looked at.

    Raises UsageError for a block of denials (`deny { … }`), BadInput where the text can't be understood.
    """
    read_profiles(text)
    pieces = cast(list[Piece], profile_grammar().parse_string(text).as_list())
    spans: list[tuple[int, int]] = []
    words: list[Piece] = []
    for piece in pieces:
        if piece.kind in ("word", "group"):
            words.append(piece)
            continue
        if piece.kind == "comment":
            continue
        if _denies(words):
            if piece.kind == "open":
                raise UsageError("a block of deny rules can't be left out by itself: write its rules one by one")
            if piece.kind == "comma":
                spans.append((words[0].at, piece.end))
        words = []
    for begin, end in reversed(spans):
        line = text.rfind("\n", 0, begin) + 1
        after = text.find("\n", end)
        if not text[line:begin].strip() and not text[end : after if after >= 0 else len(text)].strip():
            begin, end = line, after + 1 if after >= 0 else len(text)
        text = text[:begin] + text[end:]
    return text, len(spans)


def _denies(words: Sequence[Piece]) -> bool:
    for word in words:
        if word.text == "deny":
            return True
        if word.text not in _QUALIFIERS and not word.text.startswith("priority="):
            return False
    return False


def with_flags(text: str, profile_name: str, flags: Sequence[str]) -> str:
    """Return the text where a profile and every block in it have these flags too; those they have stay.

    Raises UsageError when the text has no such profile, BadInput where it can't be understood.
    """
    blocks = sorted(read_profiles(text).find(profile_name).walk(), key=lambda block: -block.open)
    for block in blocks:
        wanted = (*flags, *(flag for flag in block.flags if flag not in flags))
        spelled = f"flags=({','.join(wanted)})"
        if block.flags_at is None:
            text = f"{text[: block.open]}{spelled} {text[block.open :]}"
        else:
            begin, end = block.flags_at
            text = text[:begin] + spelled + text[end:]
    return text
