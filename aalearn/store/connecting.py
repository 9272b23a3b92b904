"""A connection that is ready for use: what is not ours stays as it is, and what only can be read is only read."""

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from aalearn.store import engine as engines
from aalearn.store import migrate


def connect(place: engines.Place, *, readonly: bool) -> tuple[Engine, Connection]:
    """Connect, and for SQLite set what a connection needs. Raises what SQLAlchemy raises, and StoreError."""
    if not (readonly and place.file is not None):
        return _connected(place, readonly=False, immutable=False)
    try:
        return _connected(place, readonly=True, immutable=False)
    except OperationalError:
        # Where the folder can't be written, SQLite can't make its index of the WAL. Without a WAL none is needed.
        wal = place.file.with_name(place.file.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        return _connected(place, readonly=True, immutable=True)


def _connected(place: engines.Place, *, readonly: bool, immutable: bool) -> tuple[Engine, Connection]:
    engine = place.engine(readonly=readonly, immutable=immutable)
    connection = engine.connect()
    if place.is_sqlite:
        try:
            new = place.file is None or not place.file.stat().st_size
            if not (new or readonly):  # what is not ours stays as it is, its journal mode too
                with connection.begin():
                    migrate.version_of(connection, place.name)
            engines.prepare(connection, new=new, readonly=readonly)
        except BaseException:
            connection.close()
            raise
    return engine, connection
