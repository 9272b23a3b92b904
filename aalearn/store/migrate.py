"""Which schema a database has, and how it gets ours."""

from pathlib import Path

from sqlalchemy import Connection, inspect, select, table
from sqlalchemy import column as any_column

from aalearn.model.errors import StoreError
from aalearn.model.text import shown
from aalearn.store.schema import HEAD, KNOWN, VERSION_TABLE, metadata

MIGRATIONS = Path(__file__).parent / "migrations"


def version_of(connection: Connection, name: str) -> str | None:
    """Return the schema's version, None for an empty database.

    Raises StoreError when the database is another program's or of a newer aalearn.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        # On PostgreSQL other programs may live in the same schema, as long as the names don't meet.
        if connection.dialect.name == "sqlite" and tables:
            raise StoreError(f"{name} is another program's database: name another with --db")
        if foreign := sorted(tables & set(metadata.tables)):
            raise StoreError(
                f"{name} has another program's table {shown(foreign[0])}: give aalearn a database of its own"
            )
        return None
    version = connection.execute(select(any_column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    if version is None:
        raise StoreError(f"the store {name} is damaged: its schema has no version; restore it from a copy")
    if version not in KNOWN:
        raise StoreError(
            f"the store {name} was made by a newer aalearn (schema {shown(str(version))}): upgrade aalearn"
        )
    return str(version)


def upgrade(connection: Connection) -> None:
    """Bring the schema to HEAD inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
