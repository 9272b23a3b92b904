"""What persons decided on rules, from the store's words to the mind's values."""

import getpass
import os
from collections.abc import Iterable

from aalearn.learn.options import Action, Decision
from aalearn.model.text import shown
from aalearn.store.readings import Decision as Stored

_SETTLING = (Action.ACCEPT, Action.APPROVE)


def decisions(stored: Iterable[Stored]) -> tuple[tuple[Decision, ...], tuple[str, ...]]:
    """Return the decisions that hold, sorted by rule, and one line for each word that is not understood.

    A denial takes back all that was said of the rule before, an acceptance or approval takes back the denial. Of the
    same action the last one holds.
    """
    holding: dict[str, dict[Action, Decision]] = {}
    strange = set()
    for one in sorted(stored):
        try:
            action = Action(one.decision)
        except ValueError:
            strange.add(f"a decision of this store is not understood and left out: {shown(one.decision)}")
            continue
        of_rule = holding.setdefault(one.rule, {})
        if action is Action.DENY:
            of_rule.clear()
        elif action in _SETTLING:
            of_rule.pop(Action.DENY, None)
        of_rule[action] = Decision(one.rule, action, one.who, one.when, one.why)
    known = tuple(of_rule[action] for _, of_rule in sorted(holding.items()) for action in sorted(of_rule))
    return known, tuple(sorted(strange))


def who() -> str:
    """Return the name of the person at the keyboard: behind sudo the one who called it."""
    behind = os.environ.get("SUDO_USER", "")
    if behind:
        return behind
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
