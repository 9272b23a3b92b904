"""Alembic's entry: it runs the migrations on the connection, and in the transaction, that `store.migrate` opened."""

from alembic import context

from aalearn.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
