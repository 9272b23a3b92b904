"""Revisions as a person names them: `nginx@2`, `nginx@last`, `nginx@enforced`; or a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aalearn.cli.face import known_profile
from aalearn.cli.output import count
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.lifecycle.judge import Judge, Loaded
    from aalearn.store import Store
    from aalearn.store.readings import Revision

_SELECTOR: Final = re.compile(r"(?P<profile>.+)@(?P<which>[0-9]{1,9}|last|enforced)", re.DOTALL)


def known_anywhere(store: Store, name: str) -> bytes:
    """Return a profile's name as the store knows it: by what was learned, or by a step of its life. UsageError else."""
    wanted = name.encode("utf-8", "surrogateescape")
    return wanted if wanted in store.stages() else known_profile(store, name)


def is_selector(word: str) -> bool:
    """Return whether a word names a revision. A file of that name comes first: it is there to be seen."""
    return _SELECTOR.fullmatch(word) is not None and not Path(word).exists()


def select(store: Store, word: str, node: str = "") -> tuple[bytes, Revision]:
    """Return the profile and the revision that a selector names; what is enforced is asked of `node`, see
    `past.standing_of`. Raises UsageError for one that is not there.
    """
    match = _SELECTOR.fullmatch(word)
    if match is None:
        raise UsageError(f"{shown(word)} names no revision: write PROFILE@NUMBER, PROFILE@last or PROFILE@enforced")
    name = known_anywhere(store, match["profile"])
    return name, which(store, name, match["which"], node)


def which(store: Store, name: bytes, word: str, node: str = "") -> Revision:
    """Return a profile's revision by number, the last one, or the one that is enforced. Raises UsageError."""
    revisions = store.revisions(name)
    if word == "last" and revisions:
        return revisions[-1]
    if word == "enforced":
        from aalearn.lifecycle.past import standing_of

        standing = standing_of(name, store.steps(name), node)
        if standing is None:
            raise UsageError(f"no revision of {shown(name)} is enforced: see `aalearn history {shown(name)}`")
        return numbered(revisions, standing[0].revision, name)
    return numbered(revisions, 0 if word == "last" else int(word), name)


def numbered(revisions: Sequence[Revision], number: int, name: bytes) -> Revision:
    """Return the revision of that number. Raises UsageError with what there is."""
    for revision in revisions:
        if revision.number == number:
            return revision
    there = f"there are {count(len(revisions), 'revision')}"
    if not revisions:
        there += f"; `aalearn suggest {shown(name)} --save` keeps one"
    raise UsageError(f"{shown(name)} has no revision {number or 'yet'}: {there}")


def load(store: Store | None, word: str, judge: Judge, node: str = "") -> Loaded:
    """Return the compiled policy that a word names: a revision's or a file's.

    A revision that is the content of a local include is compiled as all that a profile of its name has. Raises
    UsageError where there is none, PolicyError when it can't be compiled or understood.
    """
    from aalearn.lifecycle.judge import load as load_file
    from aalearn.lifecycle.past import whole_text

    if store is None or not is_selector(word):
        return load_file(Path(word), judge)
    name, revision = select(store, word, node)
    text, _ = whole_text(name, revision.text)
    return judge.compile(text, strict=False)
