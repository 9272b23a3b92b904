"""The tables. A change here needs a migration in `migrations/versions` (a test compares the two) and a new HEAD.

Foreign bytes are LargeBinary and never part of an index (PostgreSQL's index rows are small): ids are hashes of names
(`codec.name_id`), so that they depend neither on the order of ingestion nor on the database.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
)

# The schema that this program reads and writes, and the older ones that it can migrate.
HEAD: Final = "0001"
KNOWN: Final = frozenset({HEAD})
VERSION_TABLE: Final = "aalearn_schema"

metadata = MetaData()

# An ordinary row number: only for the database's own use. SQLite's is an Integer.
_ROW = BigInteger().with_variant(Integer(), "sqlite")


def _id(name: str = "id") -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


labels = Table(
    "labels",
    metadata,
    _id(),
    Column("base", BigInteger, nullable=False),  # name_id of codec.group(label)
    Column("label", LargeBinary, nullable=False),
    # The label's accesses are those with low <= digest < high.
    Column("low", LargeBinary(8), nullable=False),
    Column("high", LargeBinary(8), nullable=False),
    Index("labels_by_base", "base"),
)

nodes = Table("nodes", metadata, _id(), Column("name", LargeBinary, nullable=False))

# What is merged is merged in Python (`state.State`) under the lock: a column less is a quarter of a microsecond a row.
accesses = Table(
    "accesses",
    metadata,
    Column("id", _ROW, primary_key=True, autoincrement=True),
    Column("digest", LargeBinary(24), nullable=False),
    Column("need", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("sample", LargeBinary, nullable=False),
    UniqueConstraint("digest", name="accesses_by_digest"),
)

# What `status` shows, kept up with each commit so that it needn't walk all accesses. No programs or runs in it.
totals = Table(
    "totals",
    metadata,
    _id("label"),
    Column("verdict", SmallInteger, primary_key=True, autoincrement=False),
    Column("accesses", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    _id(),
    Column("base", BigInteger, nullable=False),
    Column("node", BigInteger, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("program", LargeBinary, nullable=False),
    Column("fresh", Boolean, nullable=False),
    Index("runs_by_base", "base", "id"),
)

ledger = Table(
    "ledger",
    metadata,
    _id("node"),
    _id("block"),
    Column("marks", LargeBinary, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    _id(),
    Column("source", LargeBinary, nullable=False),
    Column("position", LargeBinary, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    _id(),
    Column("name", LargeBinary, nullable=False),
    Column("value", BigInteger, nullable=False),
)

losses = Table(
    "losses",
    metadata,
    _id(),
    Column("node", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("kind", LargeBinary, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("source", LargeBinary, nullable=False),
)

timeline = Table(
    "timeline",
    metadata,
    _id(),
    Column("node", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("operation", LargeBinary, nullable=False),
    Column("profile", LargeBinary, nullable=False),
    Column("mode", LargeBinary, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", _ROW, primary_key=True, autoincrement=True),
    Column("base", BigInteger, nullable=False),
    Column("profile", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("rule", LargeBinary, nullable=False),
    Column("decision", LargeBinary, nullable=False),
    Column("who", LargeBinary, nullable=False),
    Column("why", LargeBinary, nullable=False),
    Index("decisions_by_base", "base"),
)

revisions = Table(
    "revisions",
    metadata,
    _id("base"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("profile", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("author", LargeBinary, nullable=False),
    Column("reason", LargeBinary, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("proof", LargeBinary, nullable=False),
)
