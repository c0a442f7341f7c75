"""Alembic's entry: run the migrations in the database transaction that `databund.storage.revisions` has begun."""

from __future__ import annotations

from alembic import context

from databund.storage.revisions import TABLE

context.configure(connection=context.config.attributes["connection"], version_table=TABLE)
with context.begin_transaction():
    context.run_migrations()
