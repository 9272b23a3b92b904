"""The history of the schema, as alembic revisions. They are part of the package and found through it."""
