"""Revisions: how a text with its proof and its evidence is kept in the store, and what is said of it there."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from aalearn.grammar.profiles import read_profiles
from aalearn.lifecycle.grounds import blocks
from aalearn.lifecycle.past import detail_of
from aalearn.lifecycle.proposal import Form, Proposal
from aalearn.model.errors import BadInput
from aalearn.model.event import Access
from aalearn.model.profile import State
from aalearn.store import Store
from aalearn.store.readings import Revision

DRAFT = "draft"  # the form of a learning profile's text, beside those of `proposal.Form`


def keep(
    store: Store,
    name: bytes,
    proposal: Proposal,
    accesses: Sequence[Access],
    *,
    author: str,
    reason: str,
    when: int,
    include_denied: bool = False,
) -> Revision:
    """Keep a proposal's text with its proof and evidence; `when` in ms. Where it lacks nothing, the existing file's.

    Raises StoreError, and UsageError when there is no text at all.
    """
    text = proposal.text
    if not text and proposal.file is not None:
        text = proposal.file.read_bytes().decode("utf-8", "surrogateescape")
    detail = {
        "form": str(proposal.form),
        "file": proposal.file.name if proposal.file is not None else "",
        "based_on": based_on(proposal),
        "window": window(accesses),
        "include_denied": include_denied,
        **_told(text),
        "rules": [
            f"{block} {line.rule.text()}"
            for block, line in blocks(proposal.synthesis.document.profile)
            if line.state is not State.WITHHELD
        ],
    }
    proof = json.dumps(proposal.proof.to_json(), sort_keys=True)
    return store.save_revision(
        name, text, proof, author=author, reason=reason.strip(), when=when, detail=json.dumps(detail, sort_keys=True)
    )


def keep_draft(store: Store, name: bytes, text: str, *, author: str, reason: str, when: int) -> Revision:
    """Keep a learning profile's text; nothing is proved of it. Raises StoreError."""
    detail = {"form": DRAFT, "window": window(()), **_told(text)}
    proof = json.dumps({"schema": 1, "proved": False, "counts": {}, "invariants": []})
    return store.save_revision(
        name, text, proof, author=author, reason=reason, when=when, detail=json.dumps(detail, sort_keys=True)
    )


def window(accesses: Sequence[Access]) -> dict[str, int]:
    """Return what a text rests on: first and last moment (ms), events, accesses and runs."""
    return {
        "first": min((access.first for access in accesses if access.first), default=0),
        "last": max((access.last for access in accesses), default=0),
        "events": sum(access.count for access in accesses),
        "accesses": len(accesses),
        "runs": max(
            (len({run for access in accesses for run in access.runs}), *(access.run_count for access in accesses))
        ),
    }


def newest(revisions: Sequence[Revision]) -> Revision | None:
    """Return the newest revision that may be promoted: no learning profile. None: there is none."""
    return next((one for one in reversed(revisions) if detail_of(one.detail).get("form") != DRAFT), None)


def drafts(revisions: Sequence[Revision]) -> frozenset[str]:
    """Return the sha256 of the learning profiles among revisions."""
    return frozenset(one.sha256 for one in revisions if detail_of(one.detail).get("form") == DRAFT)


def _told(text: str) -> dict[str, Any]:
    """Return mode, flags and blocks as the text says them; a local file's text has none."""
    try:
        found = list(read_profiles(text).walk())
    except BadInput:
        found = []
    flags = {block.path: list(block.flags) for block in found}
    mode = "complain" if any("complain" in block.flags for block in found) else "enforce"
    return {"mode": mode if found else "", "flags": flags, "blocks": [block.path for block in found]}


def says_the_same(kept: Revision, proposal: Proposal) -> bool:
    """Return whether a revision is just what a proposal would be kept as: the text, its place, and what stood there."""
    detail = detail_of(kept.detail)
    same = kept.text == proposal.text and detail.get("form") == proposal.form
    if not same or proposal.form is Form.WHOLE or proposal.file is None:
        return same
    return (detail.get("file"), detail.get("based_on")) == (proposal.file.name, based_on(proposal))


def based_on(proposal: Proposal) -> str:
    """Return the sha256 of what stands where the text belongs, "" for nothing."""
    if proposal.file is None or proposal.form is Form.WHOLE:
        return ""
    try:
        return hashlib.sha256(proposal.file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
