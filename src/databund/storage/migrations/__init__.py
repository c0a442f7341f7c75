"""Alembic migrations; `databund.storage.revisions` runs them."""
