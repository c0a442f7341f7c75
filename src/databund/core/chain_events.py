"""Chain events: what the smart contracts of an exchange recorded, as the audit log is compared with it.

``chain_transaction`` and block hashes are 0x and 64 digits; ``log_index`` is the place of the event in its block.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from databund.core.amounts import Amount, Payment
from databund.core.ids import Address, OfferId, OrderId

__all__ = ["AnchorRecorded", "ChainEvent", "Fate", "LicenseSold", "OfferWithdrawn", "Place"]


class Place(msgspec.Struct, frozen=True):
    """Where on the chain something was recorded."""

    block: int
    block_hash: str
    chain_transaction: str
    log_index: int


class Fate(StrEnum):
    """What became of a chain transaction."""

    ABSENT = "absent"
    """The chain's node does not know it."""
    PENDING = "pending"
    """It waits for a block, or its block is not final."""
    FAILED = "failed"
    """It is in a final block and changed nothing."""
    SUCCEEDED = "succeeded"
    """It is in a final block and did what it says."""


class LicenseSold(msgspec.Struct, frozen=True, tag=True):
    """`Exchange` sold units of an offer.

    ``order_id`` is None for a direct purchase, which no node relayed. ``price`` is what the buyer paid in all,
    ``payments`` what each account received; an ``expiry`` of None is perpetual.
    """

    place: Place
    order_id: OrderId | None
    offer_id: OfferId
    buyer: Address
    units: int
    price: Amount
    payments: tuple[Payment, ...]
    expiry: int | None


class OfferWithdrawn(msgspec.Struct, frozen=True, tag=True):
    """`Exchange` cancelled an offer."""

    place: Place
    offer_id: OfferId
    provider: Address


class AnchorRecorded(msgspec.Struct, frozen=True, tag=True):
    """`CheckpointAnchor` took a tree head. ``origin`` is SHA-256 of the log's origin line, ``root`` 32 bytes."""

    place: Place
    sender: Address
    origin: bytes
    size: int
    root: bytes


ChainEvent = LicenseSold | OfferWithdrawn | AnchorRecorded
"""One recorded event."""
