"""Writing down a step of a profile's life after the machine was changed; the machine comes first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aalearn.model.errors import AalearnError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aalearn.cli.face import Face


def now() -> int:
    """Return the clock, in ms since the epoch."""
    from time import time_ns

    return time_ns() // 1_000_000


def stage_in_store(face: Face, name: bytes) -> str | None:
    """Return the stage that the store knows for this node, None for none. Where it can't be read that is told, and
    holds nobody up.
    """
    from aalearn.lifecycle.past import last_here

    try:
        with face.store(readonly=True) as store:
            last = last_here(store, name, face.settings.node)
    except AalearnError as error:
        face.say(f"aalearn: note: the store can't be read, so its stage is not known: {error}")
        return None
    return last.state if last else None


def record(
    face: Face, name: bytes, state: str, *, revision: int, reason: str, when: int, detail: Mapping[str, Any]
) -> bool:
    """Write a step of this node down; where that fails, say how to make good for it and return False."""
    from aalearn.lifecycle.decided import who

    try:
        with face.store(readonly=False) as store:
            text = json.dumps({**detail, "node": face.settings.node}, sort_keys=True)
            store.step(name, state, revision=revision, who=who(), reason=reason, when=when, detail=text)
    except AalearnError as error:  # a store that can't be opened, or made, as well
        face.say(f"aalearn: note: it is done, but not written down: {error}; run `aalearn reconcile --fix` later")
        return False
    face.detail(f"aalearn: {shown(name)} is {state}")
    return True
