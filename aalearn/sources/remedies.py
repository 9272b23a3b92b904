"""What each kind of loss means and how to avoid it, from `grammars/losses.toml`: for `status`, `doctor` and metrics."""

from functools import cache
from typing import NamedTuple

from aalearn.model.data import words
from aalearn.model.text import shown


class Remedy(NamedTuple):
    """`what` happened, and its `mend`: parts of sentences, without a full stop."""

    what: str
    mend: str


@cache
def remedies() -> dict[str, Remedy]:
    """Return the table by kind, of every kind that sources and grammar tell of."""
    return {kind: Remedy(table["what"], table["mend"]) for kind, table in words("losses").items()}


def remedy(kind: str) -> str:
    """Return one line: what the loss was and how to avoid it. A kind that is not known gives its own name."""
    found = remedies().get(kind)
    return f"{found.what}: {found.mend}" if found else f"records were lost ({shown(kind)})"
