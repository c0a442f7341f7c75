"""Deliveries: the release of a content key to a license holder."""

from __future__ import annotations

import msgspec

from databund.core.ids import Address, DeliveryId, OfferId, OrderId

__all__ = ["Delivery"]


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One release of a content key to a holder's age recipient. ``use`` counts the holder's uses of the offer from 1.

    ``wrapped_key`` is the age file that was released; asking again with the same id gives the same bytes.
    """

    id: DeliveryId
    offer_id: OfferId
    holder: Address
    recipient: str
    use: int
    at: int
    wrapped_key: bytes
    order_id: OrderId | None = None
