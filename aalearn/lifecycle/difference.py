"""The difference of two profiles (on disk, or revisions), by their automata."""

from pathlib import Path

from aalearn.lifecycle.judge import Judge, Loaded, load, top
from aalearn.policy.ask.base import Subject
from aalearn.policy.compare import Change, compare


def difference(old: Path, new: Path, judge: Judge) -> tuple[Change, ...]:
    """Return how each block of two files differs; see `differences`. Raises as `load` does."""
    return differences(load(old, judge), load(new, judge))


def differences(before: Loaded, after: Loaded) -> tuple[Change, ...]:
    """Return how each block differs; none: both permit the same.

    Blocks are compared by name. Where both hold just one top profile, and its name differs, these two are compared:
    the new one then goes by the old one's name.
    """
    return compare(before.subjects(), _renamed(after, before))


def _renamed(after: Loaded, before: Loaded) -> dict[bytes, Subject]:
    subjects = after.subjects()
    new, old = top(after.names), top(before.names)
    if len(new) != 1 or len(old) != 1 or new == old:
        return subjects
    return {old[0] + name.removeprefix(new[0]): subject for name, subject in subjects.items()}
