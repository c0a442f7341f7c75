"""What the audit log needs beside its entries: orders, cosignatures, anchors, attachments, and the chain's cursor."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "0002"
down_revision: str | None = "0001"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table("log_orders", _raw("order_id", primary_key=True), _integer("index", primary_key=True))
    op.create_table("log_cosigned", _integer("size", primary_key=True), _raw("note"))
    op.create_table(
        "log_anchors",
        sa.Column("chain_transaction", sa.Text, primary_key=True),
        _integer("size", index=True),
        _raw("root"),
        _integer("at"),
        _integer("finished"),
        sa.CheckConstraint("finished IN (0, 1)", name="log_anchors_finished"),
    )
    op.create_table(
        "attachments",
        _raw("commitment", primary_key=True),
        _integer("at"),
        _raw("salt", nullable=True),
        _raw("key", nullable=True),
        _raw("sealed", nullable=True),
        _integer("erased_at", nullable=True),
        sa.CheckConstraint(
            "(erased_at IS NULL) = (salt IS NOT NULL AND key IS NOT NULL AND sealed IS NOT NULL)",
            name="attachments_erased",
        ),
    )
    op.create_table(
        "chain_cursor",
        _integer("id", primary_key=True),
        _integer("block"),
        sa.Column("hash", sa.Text, nullable=False),
        sa.CheckConstraint("id = 1", name="chain_cursor_one"),
    )


def _integer(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, _INTEGER, **{"nullable": False, "autoincrement": False, **options})


def _raw(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary, **{"nullable": False, **options})
