"""Would another revision permit what was denied? Asked of its compiled automaton."""

import logging
from collections.abc import Callable
from typing import Final

from aalearn.lifecycle.denials import Denial
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.past import whole_text
from aalearn.model.errors import AalearnError
from aalearn.model.text import shown
from aalearn.policy.ask.base import Verdict as Said
from aalearn.policy.oracle import Oracle

_LOG: Final = logging.getLogger("aalearn.watch")

Permits = Callable[[bytes, str, "tuple[Denial, ...]"], "bool | None"]
"""Whether a text (of the profile named first) permits any of the denials; None where that can't be said."""


def permits_by(judge: Judge) -> Permits:
    """Return a function that compiles a revision and asks its automaton; see `Permits`."""

    def ask(profile: bytes, text: str, basis: tuple[Denial, ...]) -> bool | None:
        try:
            whole, alone = whole_text(profile, text)
            if not alone:
                return None  # an addition to a profile of others: what it permits as a whole is not known here
            subjects = judge.compile(whole, strict=False).subjects()
        except AalearnError as error:
            _LOG.warning("%s: what was enforced before can't be asked: %s", shown(profile), error)
            return None
        oracles = {label: Oracle.of(subject) for label, subject in subjects.items()}
        for denial in basis:
            oracle = oracles.get(denial.label)
            if oracle is not None and oracle.ask(denial.event, denial.owner).verdict is not Said.DENIED:
                return True
        return False

    return ask
