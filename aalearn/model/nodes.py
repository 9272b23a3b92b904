"""Names of nodes: one machine may be known by its short and by its full name."""

from collections.abc import Iterable


def same_node(one: str, other: str) -> bool:
    """Return whether two names may be one node's: it may be known by its short and by its full name."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def canonical(names: Iterable[str]) -> dict[str, str]:
    """Return for each name the shortest of those that stand for the same machine: `web-1` for `web-1.example.org`.

    Where only full names are there nothing is the same: `web-1.example.org` and `web-1.example.com` are two.
    """
    found: dict[str, str] = {}
    for name in sorted(set(names), key=lambda one: (len(one), one)):
        labels = name.split(".")
        shorter = (".".join(labels[:many]) for many in range(1, len(labels)))
        found[name] = next((found[one] for one in shorter if one in found), name)
    return found
