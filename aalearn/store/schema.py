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
HEAD: Final = "0002"
KNOWN: Final = frozenset({"0001", HEAD})
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

# `horizon`: the ledger has forgotten events up to this time (ms); a record that old can't be told from a counted one.
nodes = Table(
    "nodes",
    metadata,
    _id(),
    Column("name", LargeBinary, nullable=False),
    Column("horizon", BigInteger, nullable=False),
)

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
    Column("container", LargeBinary, nullable=False),
    Column("pod", LargeBinary, nullable=False),
    Index("runs_by_base", "base", "id"),
)

ledger = Table(
    "ledger",
    metadata,
    _id("node"),
    _id("block"),
    Column("marks", LargeBinary, nullable=False),
    Column("newest", BigInteger, nullable=False),  # no event in the block is later than this (ms)
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
    # A row of one loss has until = time and times = 1; retention sums up old ones, by node, kind and day.
    Column("until", BigInteger, nullable=False),
    Column("times", BigInteger, nullable=False),
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
    Column("detail", LargeBinary, nullable=False),
)

# The steps of a profile's life (draft, learning, …), numbered from 1 in the order taken: clocks may jump.
steps = Table(
    "steps",
    metadata,
    _id("base"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("profile", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("who", LargeBinary, nullable=False),
    Column("reason", LargeBinary, nullable=False),
    Column("detail", LargeBinary, nullable=False),
)

# What retention took away, so that it isn't lost from the sums: runs by profile.
forgotten = Table("forgotten", metadata, _id("base"), Column("runs", BigInteger, nullable=False))

# Merging stores (`db import`). Each store has a random number of its own; `writers` says who counted a node's events,
# `shares` what of an access's count other stores brought, `counts` the same for counters. See store/portable.
stores = Table("stores", metadata, _id(), Column("own", Boolean, nullable=False))
writers = Table("writers", metadata, _id("node"), _id("store"))
shares = Table(
    "shares",
    metadata,
    _id("store"),
    Column("digest", LargeBinary(24), primary_key=True),
    Column("state", LargeBinary, nullable=False),
)
counts = Table("counts", metadata, _id("store"), _id("counter"), Column("value", BigInteger, nullable=False))
