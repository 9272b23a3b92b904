"""Steps of a profile's life, containers of runs, and what retention and the merging of stores need."""

import secrets
import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _id(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _bytes(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _more(table: str, *columns: "sa.Column[bytes] | sa.Column[int]") -> None:
    for column in columns:
        op.add_column(table, column)


def _number(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _none(name: str) -> "sa.Column[bytes]":
    empty = sa.text("''::bytea" if op.get_bind().dialect.name == "postgresql" else "x''")
    return sa.Column(name, sa.LargeBinary, nullable=False, server_default=empty)


def upgrade() -> None:
    """Add the columns and tables, and fill them for what is there."""
    _more("revisions", _none("detail"))
    _more("runs", _none("container"), _none("pod"))
    _more("nodes", _number("horizon"))
    _more("ledger", _number("newest"))
    _more("losses", _number("until"), _number("times"))
    op.create_table(
        "steps",
        _id("base"),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        _bytes("profile"),
        sa.Column("at", sa.BigInteger, nullable=False),
        _bytes("state"),
        sa.Column("revision", sa.Integer, nullable=False),
        _bytes("who"),
        _bytes("reason"),
        _bytes("detail"),
    )
    op.create_table("forgotten", _id("base"), sa.Column("runs", sa.BigInteger, nullable=False))
    op.create_table("stores", _id("id"), sa.Column("own", sa.Boolean, nullable=False))
    op.create_table("writers", _id("node"), _id("store"))
    op.create_table("shares", _id("store"), sa.Column("digest", sa.LargeBinary(24), primary_key=True), _bytes("state"))
    op.create_table("counts", _id("store"), _id("counter"), sa.Column("value", sa.BigInteger, nullable=False))
    _fill()


def _fill() -> None:
    """Give what stands there already its values: no event is later than now."""
    connection = op.get_bind()
    own = secrets.randbits(62)
    for statement, values in (
        ("UPDATE ledger SET newest = :now", {"now": int(time.time() * 1000)}),
        ("UPDATE losses SET until = time, times = 1", {}),
        ("UPDATE revisions SET detail = :empty", {"empty": b"{}"}),
        ("INSERT INTO stores (id, own) VALUES (:own, :yes)", {"own": own, "yes": True}),
        ("INSERT INTO writers (node, store) SELECT DISTINCT node, CAST(:own AS BIGINT) FROM ledger", {"own": own}),
    ):
        connection.execute(sa.text(statement), values)
