"""What the store remembers of a profile's life, as the pure parts need it; and a revision's text as a whole profile."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from aalearn.grammar.profiles import read_profiles
from aalearn.lifecycle.limits import Past, Promoted, promoted_of
from aalearn.model.errors import BadInput, NotExpressible, UsageError
from aalearn.model.nodes import same_node
from aalearn.model.text import plain_name, shown
from aalearn.store import Store
from aalearn.store.readings import Revision, Step


def detail_of(text: str) -> dict[str, Any]:
    """Return a step's or revision's detail. One that is no JSON object holds nothing that we know."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def pasts(steps: Iterable[Step]) -> tuple[Past, ...]:
    """Return steps as values of the pure parts."""
    return tuple(Past(step.state, step.revision, step.when, detail_of(step.detail)) for step in steps)


def node_of(step: Step) -> str:
    """Return on which node a step was taken, "" where it does not tell."""
    node = detail_of(step.detail).get("node")
    return node if isinstance(node, str) else ""


def here(steps: Iterable[Step], node: str) -> tuple[Step, ...]:
    """Return the steps that were taken on a node ("": on any), with those that don't tell where they were taken."""
    taken = [(step, node_of(step)) for step in steps]
    return tuple(step for step, on in taken if not node or not on or same_node(on, node))


def last_here(store: Store, name: bytes, node: str) -> Step | None:
    """Return the last step that was taken on a node, None for none."""
    return next(reversed(here(store.steps(name), node)), None)


def standing_of(name: bytes, steps: Sequence[Step], node: str = "") -> tuple[Promoted, Step] | None:
    """Return what of a profile is enforced, as far as we know, with the last step there; None for nothing.

    On `node`, where steps were taken on it ("": on any); else where the last step was taken.
    """
    nodes = list(dict.fromkeys(node_of(step) for step in reversed(steps)))
    if any(on and same_node(on, node) for on in nodes):
        nodes = [node]
    for one in nodes:
        taken = here(steps, one)
        found = promoted_of(name, pasts(taken))
        if found is not None:
            return found, taken[-1]
    return None


def whole_text(name: bytes, text: str) -> tuple[str, bool]:
    """Return a revision's text as one that compiles on its own, and whether it was such a text already.

    The content of a local include becomes a profile that has nothing else. Raises UsageError for a text that is
    neither.
    """
    try:
        if read_profiles(text).profiles:
            return text, True
        called = plain_name(name)
    except (BadInput, NotExpressible) as error:
        raise UsageError(f"this text of {shown(name)} can't be read: {error}") from None
    return f"include <tunables/global>\nprofile {called} {{\n{text}\n}}\n", False


def changed(revision: Revision) -> tuple[str, ...]:
    """Return what a revision permits more (`+ …`) and less (`- …`) than the text that it replaced, by its proof."""
    found = detail_of(revision.proof).get("difference", ())
    return tuple(shown(str(line)) for line in found) if isinstance(found, list) else ()
