"""The first schema."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None


def _id(name: str) -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


def _row() -> TypeEngine[int]:
    return BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "labels",
        _id("id"),
        Column("base", BigInteger, nullable=False),
        Column("label", LargeBinary, nullable=False),
        Column("low", LargeBinary(8), nullable=False),
        Column("high", LargeBinary(8), nullable=False),
    )
    op.create_index("labels_by_base", "labels", ["base"])
    op.create_table(
        "nodes",
        _id("id"),
        Column("name", LargeBinary, nullable=False),
    )
    op.create_table(
        "accesses",
        Column("id", _row(), primary_key=True, autoincrement=True),
        Column("digest", LargeBinary(24), nullable=False),
        Column("need", LargeBinary, nullable=False),
        Column("state", LargeBinary, nullable=False),
        Column("sample", LargeBinary, nullable=False),
        UniqueConstraint("digest", name="accesses_by_digest"),
    )
    op.create_table(
        "totals",
        _id("label"),
        Column("verdict", SmallInteger, primary_key=True, autoincrement=False),
        Column("accesses", BigInteger, nullable=False),
        Column("state", LargeBinary, nullable=False),
    )
    op.create_table(
        "runs",
        _id("id"),
        Column("base", BigInteger, nullable=False),
        Column("node", BigInteger, nullable=False),
        Column("pid", BigInteger, nullable=False),
        Column("start", BigInteger, nullable=False),
        Column("end", BigInteger, nullable=False),
        Column("program", LargeBinary, nullable=False),
        Column("fresh", Boolean, nullable=False),
    )
    op.create_index("runs_by_base", "runs", ["base", "id"])
    op.create_table(
        "ledger",
        _id("node"),
        _id("block"),
        Column("marks", LargeBinary, nullable=False),
    )
    op.create_table(
        "positions",
        _id("id"),
        Column("source", LargeBinary, nullable=False),
        Column("position", LargeBinary, nullable=False),
    )
    op.create_table(
        "counters",
        _id("id"),
        Column("name", LargeBinary, nullable=False),
        Column("value", BigInteger, nullable=False),
    )
    op.create_table(
        "losses",
        _id("id"),
        Column("node", BigInteger, nullable=False),
        Column("time", BigInteger, nullable=False),
        Column("kind", LargeBinary, nullable=False),
        Column("amount", BigInteger, nullable=False),
        Column("source", LargeBinary, nullable=False),
    )
    op.create_table(
        "timeline",
        _id("id"),
        Column("node", BigInteger, nullable=False),
        Column("time", BigInteger, nullable=False),
        Column("operation", LargeBinary, nullable=False),
        Column("profile", LargeBinary, nullable=False),
        Column("mode", LargeBinary, nullable=False),
    )
    op.create_table(
        "decisions",
        Column("id", _row(), primary_key=True, autoincrement=True),
        Column("base", BigInteger, nullable=False),
        Column("profile", LargeBinary, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("rule", LargeBinary, nullable=False),
        Column("decision", LargeBinary, nullable=False),
        Column("who", LargeBinary, nullable=False),
        Column("why", LargeBinary, nullable=False),
    )
    op.create_index("decisions_by_base", "decisions", ["base"])
    op.create_table(
        "revisions",
        _id("base"),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("profile", LargeBinary, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("author", LargeBinary, nullable=False),
        Column("reason", LargeBinary, nullable=False),
        Column("text", LargeBinary, nullable=False),
        Column("proof", LargeBinary, nullable=False),
    )
