"""Memory: accesses, the ledger, positions, losses, decisions and revisions, on SQLite or PostgreSQL.

`from aalearn.store import Store` loads SQLAlchemy only then; the values (`store.batch`, `store.readings`,
`store.ledger`) don't need it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aalearn.store.store import Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    if name == "Store":
        from aalearn.store.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
