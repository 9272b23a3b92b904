"""What root's record says against a promotion: a file that a person edited, a revision that was taken back. Pure."""

import hashlib
from collections.abc import Collection, Iterator, Sequence

from aalearn.lifecycle.node.entries import ENFORCING, PROMOTED
from aalearn.lifecycle.node.records import Applied
from aalearn.lifecycle.node.texts import flagged
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import BadInput, UsageError
from aalearn.model.text import shown


def taken_back(entries: Sequence[Applied]) -> frozenset[str]:
    """Return the texts that were promoted here and taken back since, by the sha256 of their revision."""
    gone: set[str] = set()
    standing = ""
    for one in entries:
        text = one.origin or one.text
        if one.stage in PROMOTED:
            gone.discard(text)
            standing = text
        elif one.stage == Stage.REVERTED:
            gone |= {standing} - {""}
            standing = text if one.mode in ENFORCING and one.revision else ""
            gone.discard(standing)
        elif one.stage == Stage.RETIRED:
            gone.clear()
            standing = ""
    return frozenset(gone)


def unedited(
    file: str,
    place: str,
    content: bytes | None,
    profile: bytes,
    entries: Sequence[Applied],
    written: Collection[str] = (),
) -> None:
    """Do nothing where a file of our own is as aalearn wrote it. Raises UsageError where a person edited it since.

    `content` stands at `place` now (None: nothing), `file` is its whole path. `written` are the sha256 of texts that
    were written and not loaded. The complain flag alone is no edit: promoting and drafting are about that very flag.
    Without entries nobody can tell, and what is there is kept as found.
    """
    known = {one.text for one in entries if one.place == place} | set(written)
    if content is None or not any(one.place == place for one in entries):
        return
    if not any(hashlib.sha256(variant).hexdigest() in known for variant in _variants(content, profile)):
        raise UsageError(
            f"{shown(file)} was edited since aalearn wrote it, and would be written anew: take the edit out (see "
            "`aalearn reconcile`), or delete the comment that says aalearn made it, and the file is yours"
        )


def _variants(content: bytes, profile: bytes) -> Iterator[bytes]:
    """Yield a text as it is, and with and without the complain flag."""
    yield content
    text = content.decode("utf-8", "surrogateescape")
    for complain in (False, True):
        try:
            yield flagged(text, profile, complain=complain).encode("utf-8", "surrogateescape")
        except (BadInput, UsageError):  # it is no text of the profile any more
            return
