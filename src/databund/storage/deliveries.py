"""Releases of content keys: the port `Deliveries`."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from databund.core.deliveries import Delivery
from databund.core.ids import Address, DeliveryId, OfferId
from databund.errors import AlreadyExists
from databund.storage import rows
from databund.storage.tables import deliveries

__all__ = ["SqlDeliveries"]

_MEMBERS = Delivery.__struct_fields__


class SqlDeliveries:
    """Releases of content keys in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, delivery: Delivery) -> None:
        """Add one. Raises `AlreadyExists` for a known id, or when the holder's use number is taken."""
        if not rows.add(self._connection, deliveries, **{name: getattr(delivery, name) for name in _MEMBERS}):
            raise AlreadyExists(
                f"The delivery {delivery.id}, or use {delivery.use} of its license, is recorded.",
                fix="Count the uses again and deliver under the next.",
            )

    def get(self, delivery_id: DeliveryId) -> Delivery | None:
        """The delivery, or None."""
        query = select(*(deliveries.c[name] for name in _MEMBERS)).where(deliveries.c.id == delivery_id)
        row = self._connection.execute(query).first()
        return None if row is None else Delivery(*row)

    def spent(self, holder: Address, offer_id: OfferId) -> int:
        """How many uses the holder has spent: the largest use number, as they count from 1 without gaps."""
        largest = self._connection.scalar(
            select(func.max(deliveries.c.use)).where(deliveries.c.holder == holder, deliveries.c.offer_id == offer_id)
        )
        return largest or 0
