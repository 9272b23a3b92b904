"""Paths put into SPO's lists so that the denies that it adds never hit what was learned.

In enforce mode SPO writes `deny PATH wlk` for each readOnly path and `deny PATH r` for each writeOnly path, and a deny
wins over every grant (source: its crd2armor template). So no readOnly path may overlap with one that is written, and
no writeOnly path with one that is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aalearn.kubernetes.spo.abstract import Abstract, Remark
from aalearn.kubernetes.spo.paths import spelled
from aalearn.model.pattern import Deep, Literal, Pattern
from aalearn.model.text import shown

READS = frozenset("rxm")


@dataclass(slots=True)
class Wanted:
    """What is wanted of one path: letters of `rwmx`, the paths observed behind it, and the rules that asked for it."""

    pattern: Pattern
    letters: set[str] = field(default_factory=set)
    paths: set[bytes] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)


def lists(wanted: Mapping[str, Wanted]) -> tuple[Abstract, list[Remark], list[Remark]]:
    """Return the lists of files for `wanted` (by text), what is lost, and what is granted beyond."""
    lost: list[Remark] = []
    widened: list[Remark] = []
    writers = {text: one for text, one in wanted.items() if "w" in one.letters}
    write_only = {text: one for text, one in writers.items() if not one.letters & READS}
    for text in sorted(write_only):
        over = _reader_over(text, write_only[text], wanted)
        if over:
            widened += _remarks(
                write_only[text], f"it may be read too: SPO would deny reading {over}, which it overlaps"
            )
            del write_only[text]
    covering = [*(one for text, one in writers.items() if text not in write_only)]
    read_only: set[str] = set()
    for text, one in sorted(wanted.items()):
        if one.letters != {"r"}:
            continue
        hit = [other for other in writers.values() if other.pattern.overlaps(one.pattern)]
        if not hit:
            read_only.add(text)
            continue
        pieces, left = _pieces(text, one, hit, covering)
        read_only |= pieces
        if not any(other.pattern.covers(one.pattern) for other in covering):
            lost += _remarks(one, f"split into {len(pieces)} paths beside those that are written; others stay denied")
        for path in left:
            lost += _remarks(one, f"{shown(path)} is denied by SPO beside what is written")
    return (
        Abstract(
            executables=tuple(sorted(text for text, one in wanted.items() if "x" in one.letters)),
            libraries=tuple(
                sorted(text for text, one in wanted.items() if "m" in one.letters and "x" not in one.letters)
            ),
            read_only=tuple(sorted(read_only)),
            write_only=tuple(sorted(write_only)),
            read_write=tuple(sorted(text for text in writers if text not in write_only)),
        ),
        lost,
        widened,
    )


def _reader_over(text: str, one: Wanted, wanted: Mapping[str, Wanted]) -> str:
    """Return the first path that is read and that a writeOnly path overlaps, "" where there is none."""
    readers = (other for other, need in sorted(wanted.items()) if other != text and need.letters & READS)
    return next((other for other in readers if wanted[other].pattern.overlaps(one.pattern)), "")


def _remarks(one: Wanted, why: str) -> list[Remark]:
    return [Remark(rule, why) for rule in sorted(one.rules)]


def _pieces(
    text: str, one: Wanted, writers: Sequence[Wanted], covering: Sequence[Wanted]
) -> tuple[set[str], list[bytes]]:
    """Return the narrower paths that stand for a readOnly path beside `writers`, and observed paths that none can.

    What a readWrite path covers is left out: it is readable by that one.
    """
    if not any(other.pattern.overlaps(one.pattern) for other in writers):
        return {text}, []
    if any(other.pattern.covers(one.pattern) for other in covering):
        return set(), []
    if one.pattern.is_literal:
        return set(), sorted(one.paths)
    found: set[str] = set()
    left: list[bytes] = []
    for inner, need in _narrower(one).items():
        pieces, denied = _pieces(inner, need, writers, covering)
        found |= pieces
        left += denied
    return found, left


def _narrower(one: Wanted) -> dict[str, Wanted]:
    """Return the next narrower paths: of `FOLDER/**` a path for each observed child, else the observed paths alone."""
    tokens = one.pattern.tokens
    found: dict[str, Wanted] = {}
    if len(tokens) == 2 and isinstance(tokens[0], Literal) and tokens[1] == Deep() and tokens[0].value.endswith(b"/"):
        folder = tokens[0].value
        for path in one.paths:
            name, slash, below = path[len(folder) :].partition(b"/")
            pattern = Pattern.of(Literal(folder + name + slash), Deep()) if below else Pattern.literal(path)
            _add(found, pattern, {path}, one)
    else:
        for path in one.paths:
            _add(found, Pattern.literal(path), {path}, one)
    if one.pattern in (need.pattern for need in found.values()):  # a byte that has no other spelling
        return {}
    return found


def _add(found: dict[str, Wanted], pattern: Pattern, paths: Iterable[bytes], one: Wanted) -> None:
    for way in spelled(pattern):
        need = found.setdefault(way.text, replace(one, pattern=way.pattern, paths=set()))
        need.paths |= set(paths)
