"""The tables, as SQLAlchemy Core sees them. What creates them are the migrations; a test compares the two.

``seq`` numbers rows in the order in which they were written, which is what "newest first" goes by. Constraints state
what must hold whoever writes. The search index over ``releases.words`` is of each engine's own kind and lives in the
migrations alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, MetaData, Table, Text, UniqueConstraint, text

from databund.core.datasets import Dataset
from databund.core.ids import Address, Commitment, ContentRoot, DatasetId, DeliveryId, OfferId, OrderId
from databund.core.offers import SignedOffer
from databund.ports import ChainOutcome
from databund.storage.columns import Counter, Document, Raw, Utf8

__all__ = [
    "attachments",
    "chain_cursor",
    "chain_transactions",
    "challenges",
    "deliveries",
    "idempotency_answers",
    "listings",
    "log_anchors",
    "log_cosigned",
    "log_entries",
    "log_head",
    "log_orders",
    "log_tiles",
    "metadata",
    "orders",
    "releases",
    "tokens",
]

metadata = MetaData()


def _partial_index(name: str, column: str, *, condition: str, unique: bool = False) -> Index:
    """An index over those rows only that meet the condition."""
    return Index(name, column, unique=unique, sqlite_where=text(condition), postgresql_where=text(condition))


def _seq() -> Column[Any]:
    return Column("seq", Counter, primary_key=True, autoincrement=True)


releases = Table(
    "releases",
    metadata,
    _seq(),
    Column("dataset_id", Raw(DatasetId), nullable=False),
    Column("version", Counter, nullable=False),
    Column("content_root", Raw(ContentRoot), nullable=False),
    Column("descriptor", Document(Dataset), nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    # What search looks through (`search.segment`); only the newest version of a dataset has it.
    Column("words", Text),
    UniqueConstraint("dataset_id", "version", name="releases_version"),
    _partial_index("releases_newest", "dataset_id", condition="words IS NOT NULL", unique=True),
)

listings = Table(
    "listings",
    metadata,
    _seq(),
    Column("offer_id", Raw(OfferId), nullable=False, unique=True),
    Column("dataset_id", Raw(DatasetId), nullable=False, index=True),
    Column("provider", Raw(Address), nullable=False, index=True),
    Column("signed", Document(SignedOffer), nullable=False),
    Column("policy", LargeBinary, nullable=False),
    Column("listed_at", Counter, nullable=False),
    Column("withdrawn_at", Counter),
)

orders = Table(
    "orders",
    metadata,
    _seq(),
    Column("id", Raw(OrderId), nullable=False, unique=True),
    Column("offer_id", Raw(OfferId), nullable=False, index=True),
    Column("buyer", Raw(Address), nullable=False, index=True),
    Column("units", Counter, nullable=False),
    Column("price", Text, nullable=False),  # up to 2^128 - 1, in decimal
    Column("placed_at", Counter, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("chain_transaction", Utf8),
    Column("reason", Utf8),
    CheckConstraint("units > 0", name="orders_units"),
    CheckConstraint(
        "state IN ('placed', 'licensed', 'delivered', 'settled', 'certified', 'refused')", name="orders_state"
    ),
)

chain_transactions = Table(
    "chain_transactions",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("signer", Raw(Address), nullable=False),
    Column("nonce", Counter, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("order_id", Raw(OrderId)),
    Column("outcome", Document(ChainOutcome)),
    UniqueConstraint("signer", "nonce", name="chain_transactions_nonce"),
    CheckConstraint("nonce >= 0", name="chain_transactions_nonce_range"),
    _partial_index("chain_transactions_pending", "nonce", condition="outcome IS NULL"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Raw(DeliveryId), primary_key=True),
    Column("offer_id", Raw(OfferId), nullable=False),
    Column("holder", Raw(Address), nullable=False),
    Column("recipient", Utf8, nullable=False),
    Column("use", Counter, nullable=False),
    Column("at", Counter, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("order_id", Raw(OrderId)),
    UniqueConstraint("holder", "offer_id", "use", name="deliveries_use"),
    CheckConstraint("use > 0", name="deliveries_use_range"),
)

log_entries = Table(
    "log_entries",
    metadata,
    Column("index", Counter, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
)

log_tiles = Table(
    "log_tiles",
    metadata,
    Column("level", Counter, primary_key=True, autoincrement=False),
    Column("index", Counter, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

log_head = Table(
    "log_head",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=False),
    Column("size", Counter, nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="log_head_one"),
)

log_orders = Table(
    "log_orders",
    metadata,
    Column("order_id", Raw(OrderId), primary_key=True),
    Column("index", Counter, primary_key=True, autoincrement=False),
)

log_cosigned = Table(
    "log_cosigned",
    metadata,
    Column("size", Counter, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
)

log_anchors = Table(
    "log_anchors",
    metadata,
    Column("chain_transaction", Text, primary_key=True),
    Column("size", Counter, nullable=False, index=True),
    Column("root", LargeBinary, nullable=False),
    Column("at", Counter, nullable=False),
    Column("finished", Counter, nullable=False),
    CheckConstraint("finished IN (0, 1)", name="log_anchors_finished"),
)

attachments = Table(
    "attachments",
    metadata,
    Column("commitment", Raw(Commitment), primary_key=True),
    Column("at", Counter, nullable=False),
    Column("salt", LargeBinary),
    Column("key", LargeBinary),
    Column("sealed", LargeBinary),
    Column("erased_at", Counter),
    CheckConstraint(
        "(erased_at IS NULL) = (salt IS NOT NULL AND key IS NOT NULL AND sealed IS NOT NULL)", name="attachments_erased"
    ),
)

chain_cursor = Table(
    "chain_cursor",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=False),
    Column("block", Counter, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint("id = 1", name="chain_cursor_one"),
)

challenges = Table(
    "challenges",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("expires_at", Counter, nullable=False, index=True),
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("address", Raw(Address), nullable=False),
    Column("expires_at", Counter, nullable=False, index=True),
)

idempotency_answers = Table(
    "idempotency_answers",
    metadata,
    Column("asker", Utf8, primary_key=True),
    Column("key", Utf8, primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("status", Counter, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Counter, nullable=False),
)
