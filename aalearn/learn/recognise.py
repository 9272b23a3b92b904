"""Typed segments: what a part of a path stands for, when its place alone says it, or when enough siblings do.

The table is generalise-and-risk §1. A segment is a tuple of pattern tokens without a slash; a path is a tuple of
segments. Recognisers that need one path only are applied before the path enters the tree (`segments`); those that need
siblings look at the names in one folder (`shape`, `temporary`).
"""

import re
from collections.abc import Sequence

from aalearn.learn.sensitive import never
from aalearn.model.pattern import Chars, Literal, Pattern, Star, Token, Var

Segment = tuple[Token, ...]

_PID = re.compile(rb"[1-9][0-9]*")
_MULTIARCH = re.compile(rb"[a-z0-9_]+-linux-gnu[a-z0-9]*")
_PYTHON = re.compile(rb"(python3\.)[0-9]+")
_PTS = re.compile(rb"[0-9]+")
# kubelet's atomic writer names its folder by the time and a random number (kubernetes
# pkg/volume/util/atomic_writer.go).
_ATOMIC = re.compile(rb"\.\.2[0-9]{3}_[01][0-9]_[0-3][0-9]_[0-2][0-9]_[0-5][0-9]_[0-6][0-9]\.[0-9]+")
_LIBRARY = re.compile(rb"(.+\.so\.)[0-9][^/]*")
_CPYTHON = re.compile(rb"(.+\.cpython-)[0-9]+((?:\.opt-[12])?\.pyc)")
_EXTENSION = re.compile(rb"(.+\.cpython-)[0-9]+[a-z0-9_-]*(\.so)")
_LIB = frozenset({b"lib", b"lib32", b"lib64", b"libx32"})
_DIGIT = Chars("0-9", 1)


def literal(name: bytes) -> Segment:
    """Return the segment that is exactly `name`."""
    return (Literal(name),) if name else ()


def segments(path: bytes, letters: frozenset[str], *, free: bool = False) -> tuple[Segment, ...]:
    """Return the segments of an absolute path, typed where the context alone says it.

    A path that ends in `/` has an empty last segment. `letters` are the permissions wanted (r, m, k: read only; any
    other keeps libraries, terminals and multiarch folders literal). A path of the never-across list comes back
    literal, unless `free` says that a person wants it typed.
    """
    names = path[1:].split(b"/")
    if not free and never(path, write=not letters <= _READ):
        return tuple(literal(name) for name in names)
    reads = letters <= _READ
    typed = [literal(name) for name in names]
    _typed_head(names, typed)
    if reads and _LIB.intersection(names[:3]):
        _typed_library(names, typed)
    if reads and names[:2] == [b"dev", b"pts"] and len(names) == 3 and _PTS.fullmatch(names[2]):
        typed[2] = (_DIGIT, Star())
    for at, name in enumerate(names):
        if _ATOMIC.fullmatch(name):
            typed[at] = atomic_writer()
    return tuple(typed)


_READ = frozenset("rmk")


def _typed_head(names: Sequence[bytes], typed: list[Segment]) -> None:
    """Type `/proc/<n>/task/<n>/` and `/run`, `/var/run`."""
    if names[0] == b"proc" and len(names) > 1:
        typed[0] = (Var("PROC"),)
        if _PID.fullmatch(names[1]) and names[1] != b"1":
            typed[1] = (Var("pid"),)
        if len(names) > 3 and names[2] == b"task" and _PID.fullmatch(names[3]):
            typed[3] = (Var("tid"),)
    elif names[0] == b"run" and len(names) > 1:
        typed[0] = (Var("run"),)
    elif list(names[:2]) == [b"var", b"run"] and len(names) > 2:
        del typed[0]
        typed[0] = (Var("run"),)


def _typed_library(names: Sequence[bytes], typed: list[Segment]) -> None:
    """Type multiarch folders and the versions of libraries and interpreters, for reading and mapping."""
    for at, name in enumerate(names[:-1]):
        if at and names[at - 1] in _LIB and _MULTIARCH.fullmatch(name):
            typed[at] = (Var("multiarch"),)
        elif at and names[at - 1] in _LIB and (found := _PYTHON.fullmatch(name)):
            typed[at] = (Literal(found[1]), _DIGIT, Star())
    leaf = names[-1]
    if found := _LIBRARY.fullmatch(leaf):
        typed[-1] = (Literal(found[1]), _DIGIT, Star())
    elif found := _CPYTHON.fullmatch(leaf) or _EXTENSION.fullmatch(leaf):
        typed[-1] = (Literal(found[1]), _DIGIT, Star(), Literal(found[2]))


def atomic_writer() -> Segment:
    """Return the segment of kubelet's atomic writer folder: `..2YYY_MM_DD_HH_MM_SS.<digits>`."""
    text, digits = Literal(b"_"), Chars
    return (
        *(Literal(b"..2"), digits("0-9", 3), text, digits("01", 1), digits("0-9", 1), text),
        *(digits("0-3", 1), digits("0-9", 1), text, digits("0-2", 1), digits("0-9", 1), text),
        *(digits("0-5", 1), digits("0-9", 1), text, digits("0-6", 1), digits("0-9", 1)),
        *(Literal(b"."), digits("0-9", 1), Star()),
    )


def joined(parts: Sequence[Segment]) -> Pattern:
    """Return the pattern of a whole path. `@{PROC}` and `@{run}` bring their own leading slash."""
    tokens: list[Token] = []
    for at, part in enumerate(parts):
        if not (at == 0 and part and isinstance(part[0], Var)):
            tokens.append(Literal(b"/"))
        tokens.extend(part)
    return Pattern.of(*tokens)
