"""Purchases: the port `Orders`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from databund.core.amounts import Amount
from databund.core.ids import Address, OfferId, OrderId
from databund.core.orders import Order, OrderState
from databund.errors import AlreadyExists, IllegalMove
from databund.storage import rows
from databund.storage.tables import orders

__all__ = ["SqlOrders"]


class SqlOrders:
    """Purchases in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, order: Order) -> None:
        """Add an order. Raises `AlreadyExists` for a known id."""
        if not rows.add(self._connection, orders, **_columns(order)):
            raise AlreadyExists(f"There is an order {order.id}.", fix="Look at it: databund order show")

    def get(self, order_id: OrderId) -> Order | None:
        """The order, or None."""
        row = self._connection.execute(select(orders).where(orders.c.id == order_id)).first()
        return None if row is None else _order(row)

    def save(self, order: Order, *, was: OrderState) -> None:
        """Replace an order. Raises `IllegalMove` when its stored state is not ``was``."""
        done = self._connection.execute(
            update(orders).where(orders.c.id == order.id, orders.c.state == was.value).values(**_columns(order))
        )
        if not done.rowcount:
            raise IllegalMove(f"The order {order.id} is not {was}.", fix="Look at it first: databund order show")

    def find(
        self,
        *,
        buyer: Address | None = None,
        offer_id: OfferId | None = None,
        state: OrderState | None = None,
        limit: int = 100,
    ) -> Sequence[Order]:
        """Orders, newest first."""
        query = select(orders)
        if buyer is not None:
            query = query.where(orders.c.buyer == buyer)
        if offer_id is not None:
            query = query.where(orders.c.offer_id == offer_id)
        if state is not None:
            query = query.where(orders.c.state == state.value)
        return [_order(row) for row in self._connection.execute(query.order_by(orders.c.seq.desc()).limit(limit))]


def _columns(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "offer_id": order.offer_id,
        "buyer": order.buyer,
        "units": order.units,
        "price": str(int(order.price)),
        "placed_at": order.placed_at,
        "state": order.state.value,
        "chain_transaction": order.chain_transaction,
        "reason": order.reason,
    }


def _order(row: Row[Any]) -> Order:
    return Order(
        id=row.id,
        offer_id=row.offer_id,
        buyer=row.buyer,
        units=row.units,
        price=Amount(int(row.price)),
        placed_at=row.placed_at,
        state=OrderState(row.state),
        chain_transaction=row.chain_transaction,
        reason=row.reason,
    )
