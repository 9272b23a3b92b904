"""The difference of two profiles on disk, by their automata."""

from pathlib import Path

from aalearn.lifecycle.judge import Judge, Loaded, load, top
from aalearn.policy.ask.base import Subject
from aalearn.policy.compare import Change, compare


def difference(old: Path, new: Path, judge: Judge) -> tuple[Change, ...]:
    """Return how each block differs; none: both permit the same.

    Blocks are compared by name. Where both files hold just one top profile, and its name differs, these two are
    compared: the new one then goes by the old one's name. Raises as `load` does.
    """
    before, after = load(old, judge), load(new, judge)
    return compare(before.subjects(), _renamed(after, before))


def _renamed(after: Loaded, before: Loaded) -> dict[bytes, Subject]:
    subjects = after.subjects()
    new, old = top(after.names), top(before.names)
    if len(new) != 1 or len(old) != 1 or new == old:
        return subjects
    return {old[0] + name.removeprefix(new[0]): subject for name, subject in subjects.items()}
