"""What the shell offers after TAB. A completion that can't be made is no error: the shell just offers nothing."""

from __future__ import annotations

import os


def profile_names(incomplete: str) -> list[str]:
    """Return the known profile names that begin with what was typed, of the store of the environment or default."""
    from aalearn.cli.face import Face
    from aalearn.model.errors import AalearnError

    try:
        with Face(db=os.environ.get("AALEARN_DB")).store(readonly=True) as store:
            names = [summary.name.decode("utf-8", "replace") for summary in store.profiles()]
    except AalearnError:
        return []
    return sorted(name for name in names if name.startswith(incomplete) and name.isprintable())
