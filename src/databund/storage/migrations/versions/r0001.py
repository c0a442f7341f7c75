"""The first tables.

Types are spelled out, not taken from `databund.storage`, so that this revision stays what it was.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0001"
down_revision: str | None = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SEARCH: dict[str, tuple[str, ...]] = {
    # The words are cut already, so FTS5's ascii tokenizer only splits them at the spaces. The index keeps no copy.
    "sqlite": (
        "CREATE VIRTUAL TABLE catalog_words USING "
        "fts5(words, content='releases', content_rowid='seq', tokenize='ascii', detail='none')",
        "CREATE TRIGGER releases_found AFTER INSERT ON releases WHEN new.words IS NOT NULL BEGIN "
        "INSERT INTO catalog_words (rowid, words) VALUES (new.seq, new.words); END",
        "CREATE TRIGGER releases_superseded AFTER UPDATE OF words ON releases WHEN old.words IS NOT NULL BEGIN "
        "INSERT INTO catalog_words (catalog_words, rowid, words) VALUES ('delete', old.seq, old.words); END",
    ),
    "postgresql": (
        "CREATE INDEX catalog_words ON releases USING gin (array_to_tsvector(string_to_array(words, ' '))) "
        "WHERE words IS NOT NULL",
    ),
}


def upgrade() -> None:
    """Create the tables and the search index."""
    op.create_table(
        "releases",
        _seq(),
        _raw("dataset_id"),
        _integer("version"),
        _raw("content_root"),
        _raw("descriptor"),
        _raw("wrapped_key"),
        sa.Column("words", sa.Text),
        sa.UniqueConstraint("dataset_id", "version", name="releases_version"),
    )
    _partial_index("releases_newest", "releases", "dataset_id", condition="words IS NOT NULL", unique=True)
    op.create_table(
        "listings",
        _seq(),
        _raw("offer_id", unique=True),
        _raw("dataset_id", index=True),
        _raw("provider", index=True),
        _raw("signed"),
        _raw("policy"),
        _integer("listed_at"),
        _integer("withdrawn_at", nullable=True),
    )
    op.create_table(
        "orders",
        _seq(),
        _raw("id", unique=True),
        _raw("offer_id", index=True),
        _raw("buyer", index=True),
        _integer("units"),
        sa.Column("price", sa.Text, nullable=False),
        _integer("placed_at"),
        sa.Column("state", sa.Text, nullable=False, index=True),
        _raw("chain_transaction", nullable=True),
        _raw("reason", nullable=True),
        sa.CheckConstraint("units > 0", name="orders_units"),
        sa.CheckConstraint(
            "state IN ('placed', 'licensed', 'delivered', 'settled', 'certified', 'refused')", name="orders_state"
        ),
    )
    op.create_table(
        "chain_transactions",
        sa.Column("hash", sa.Text, primary_key=True),
        _raw("signer"),
        _integer("nonce"),
        _raw("raw"),
        _raw("order_id", nullable=True),
        _raw("outcome", nullable=True),
        sa.UniqueConstraint("signer", "nonce", name="chain_transactions_nonce"),
        sa.CheckConstraint("nonce >= 0", name="chain_transactions_nonce_range"),
    )
    _partial_index("chain_transactions_pending", "chain_transactions", "nonce", condition="outcome IS NULL")
    op.create_table(
        "deliveries",
        _raw("id", primary_key=True),
        _raw("offer_id"),
        _raw("holder"),
        _raw("recipient"),
        _integer("use"),
        _integer("at"),
        _raw("wrapped_key"),
        _raw("order_id", nullable=True),
        sa.UniqueConstraint("holder", "offer_id", "use", name="deliveries_use"),
        sa.CheckConstraint("use > 0", name="deliveries_use_range"),
    )
    op.create_table("log_entries", _integer("index", primary_key=True), _raw("entry"))
    op.create_table(
        "log_tiles", _integer("level", primary_key=True), _integer("index", primary_key=True), _raw("hashes")
    )
    op.create_table(
        "log_head",
        _integer("id", primary_key=True),
        _integer("size"),
        _raw("checkpoint"),
        sa.CheckConstraint("id = 1", name="log_head_one"),
    )
    op.create_table("challenges", _raw("digest", primary_key=True), _integer("expires_at", index=True))
    op.create_table("tokens", _raw("digest", primary_key=True), _raw("address"), _integer("expires_at", index=True))
    op.create_table(
        "idempotency_answers",
        _raw("asker", primary_key=True),
        _raw("key", primary_key=True),
        _raw("request"),
        _integer("status"),
        _raw("body"),
        _integer("at"),
    )
    for statement in _SEARCH[op.get_bind().dialect.name]:
        op.execute(statement)


def _seq() -> sa.Column[Any]:
    return sa.Column("seq", _INTEGER, primary_key=True, autoincrement=True)


def _integer(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, _INTEGER, **{"nullable": False, "autoincrement": False, **options})


def _raw(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary, **{"nullable": False, **options})


def _partial_index(name: str, table: str, column: str, *, condition: str, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, [column], unique=unique, sqlite_where=where, postgresql_where=where)
