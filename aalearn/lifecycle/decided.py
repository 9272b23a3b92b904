"""What persons decided on rules, from the store's words to the mind's values."""

import getpass
import os
from collections.abc import Iterable

from aalearn.learn.options import Action, Decision
from aalearn.model.text import shown
from aalearn.store.readings import Decision as Stored


def decisions(stored: Iterable[Stored]) -> tuple[tuple[Decision, ...], tuple[str, ...]]:
    """Return the decision that holds for each rule (the last one), sorted, and one line for each unknown word."""
    last: dict[str, Stored] = {}
    for one in sorted(stored, key=lambda one: one.when):
        last[one.rule] = one
    known, strange = [], []
    for rule, one in sorted(last.items()):
        try:
            known.append(Decision(rule, Action(one.decision), one.who, one.when, one.why))
        except ValueError:
            strange.append(f"a decision of this store is not understood and left out: {shown(one.decision)}")
    return tuple(known), tuple(strange)


def who() -> str:
    """Return the name of the person at the keyboard: behind sudo the one who called it."""
    behind = os.environ.get("SUDO_USER", "")
    if behind:
        return behind
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
