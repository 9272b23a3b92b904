"""What root's list of applied texts says: what stood before, since when a promotion is in force, what was found.

Pure.
"""

from collections.abc import Sequence
from typing import Final

from aalearn.lifecycle.node.records import Applied
from aalearn.lifecycle.stages import Stage

ENFORCING: Final = frozenset({"enforce", "kill"})  # modes in which something is refused
PROMOTED: Final = frozenset({Stage.CANARY, Stage.ENFORCED})  # what a person promoted, and is to be enforced


def found_of(entries: Sequence[Applied]) -> Applied | None:
    """Return the entry of what was here before aalearn changed anything, None where nothing was."""
    return next((one for one in entries[:1] if not one.stage), None)


def stood_before(entries: Sequence[Applied]) -> Applied | None:
    """Return what stood before the last entry, passing over steps that kept its text (canary, then enforced).

    None where nothing was in force: it was retired, or a file was there and not loaded.
    """
    if not entries:
        return None
    by_number = {one.number: one for one in entries}
    current = entries[-1]
    found = by_number.get(current.before)
    seen = {current.number}
    while found is not None and found.number not in seen:
        if found.place == current.place and (found.text, found.mode) != (current.text, current.mode):
            return found if found.policy else None
        seen.add(found.number)
        found = by_number.get(found.before)
    return None


def enforced_before(entries: Sequence[Applied]) -> Applied | None:
    """Return the revision that was enforced before the one that is promoted now, None where none was.

    As `limits.promoted_of` has it from the store's steps: what was taken back is none to go back to.
    """
    stood: list[Applied] = []
    last: tuple[object, ...] = ()
    for one in entries:
        this = (one.stage, one.revision, one.text, one.mode)
        if this == last:  # applied again
            continue
        last = this
        if one.stage in PROMOTED:
            stood = [*(older for older in stood if older.revision != one.revision), one]
        elif one.stage == Stage.REVERTED:
            stood = stood[:-1]
            if one.mode in ENFORCING and one.revision:
                stood = [*(older for older in stood if older.revision != one.revision), one]
        elif one.stage == Stage.RETIRED:
            stood = []
    return stood[-2] if len(stood) > 1 else None


def promoted_since(entries: Sequence[Applied]) -> int | None:
    """Return since when (ms) the promotion that the last entry tells of is in force, None where that is none.

    A promotion that a person types begins anew. Applied again, or told again while a restart was waited for, it goes
    on.
    """
    if not entries or entries[-1].stage not in PROMOTED:
        return None
    last = entries[-1]
    if last.probation:
        return last.probation
    since = last.when
    for one in reversed(entries[:-1]):
        if (one.stage, one.revision, one.text, one.mode) != (last.stage, last.revision, last.text, last.mode):
            break
        if one.probation:
            return one.probation
        since = min(since, one.when)
    return since


def files_at(entries: Sequence[Applied], target: Applied) -> dict[str, str]:
    """Return the sha256 of each further file ("": none) when `target` was the last entry, by place."""
    found: dict[str, str] = {}
    for entry in reversed(entries):
        if entry.number > target.number:
            found |= {file.place: file.old for file in entry.more}
    for entry in entries:  # what was set up to then and not changed since
        if entry.number <= target.number:
            found |= {file.place: file.new for file in entry.more}
    return found


def links_at(entries: Sequence[Applied], target: Applied) -> tuple[tuple[str, str], ...]:
    """Return where each link led when `target` was the last entry: what later ones changed is as it was before them."""
    found: dict[str, str] = {}
    for entry in reversed(entries):
        if entry.number > target.number:
            found |= {link.place: link.old for link in entry.links}
    found |= {link.place: link.new for link in target.links}
    return tuple(sorted(found.items()))
