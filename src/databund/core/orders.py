"""Orders: one purchase, as a state machine over the six steps of the Shanghai Data Exchange.

A dataset is registered (登记) and listed (挂牌) before there is an order. The order itself is traded (交易): payment
and license in one chain transaction; then delivered (交付), settled (清结算) and certified (凭证).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from databund.core.amounts import Amount
from databund.core.ids import Address, Bytes32, Hex, OfferId, OrderId
from databund.errors import IllegalMove

__all__ = ["Order", "OrderEvent", "OrderState", "Purchase", "Step", "apply"]


class Step(StrEnum):
    """The six steps, in order."""

    REGISTER = "register"
    LIST = "list"
    TRADE = "trade"
    DELIVER = "deliver"
    SETTLE = "settle"
    CERTIFY = "certify"

    @property
    def zh(self) -> str:
        """The step's name in Chinese."""
        return _ZH[self]


_ZH = {
    Step.REGISTER: "登记",
    Step.LIST: "挂牌",
    Step.TRADE: "交易",
    Step.DELIVER: "交付",
    Step.SETTLE: "清结算",
    Step.CERTIFY: "凭证",
}


class OrderState(StrEnum):
    """Where an order stands."""

    PLACED = "placed"
    """Accepted with the buyer's signed payment; its chain transaction is stored and may be on its way."""
    LICENSED = "licensed"
    """Paid and licensed in one final chain transaction."""
    DELIVERED = "delivered"
    """The content key was released to the holder at least once."""
    SETTLED = "settled"
    """What each account received is read back from the chain and recorded."""
    CERTIFIED = "certified"
    """The certificate of the trade is issued."""
    REFUSED = "refused"
    """The chain refused the relayer's chain transaction; nothing was paid by it."""


class OrderEvent(StrEnum):
    """What can happen to an order."""

    LICENSE = "license"
    DELIVER = "deliver"
    SETTLE = "settle"
    CERTIFY = "certify"
    REFUSE = "refuse"


_MOVES: dict[tuple[OrderState, OrderEvent], OrderState] = {
    (OrderState.PLACED, OrderEvent.LICENSE): OrderState.LICENSED,
    (OrderState.PLACED, OrderEvent.REFUSE): OrderState.REFUSED,
    # Anybody may bring a signed payment to the chain: it can be settled after the relayer's own attempt was refused.
    (OrderState.REFUSED, OrderEvent.LICENSE): OrderState.LICENSED,
    (OrderState.LICENSED, OrderEvent.DELIVER): OrderState.DELIVERED,
    (OrderState.DELIVERED, OrderEvent.SETTLE): OrderState.SETTLED,
    (OrderState.SETTLED, OrderEvent.CERTIFY): OrderState.CERTIFIED,
}


def apply(state: OrderState, event: OrderEvent) -> OrderState:
    """The state after ``event``. Raises `IllegalMove` when the table has no such move."""
    try:
        return _MOVES[state, event]
    except KeyError:
        raise IllegalMove(
            f"An order that is {state} cannot be moved by {event}.", fix="Look at it first: databund order show"
        ) from None


class Purchase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A buyer's signed wish: an ERC-3009 authorization whose nonce is the order id, so nobody can redirect it.

    ``valid_after`` and ``valid_before`` are Unix seconds, both exclusive. The signature has 65 bytes (r, s, v).
    """

    buyer: Address
    units: int
    salt: Bytes32
    valid_after: int
    valid_before: int
    signature: Hex


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One purchase.

    ``id`` is also the nonce of the payment authorization. ``chain_transaction`` is the hash (0x…) under which the
    purchase is settled; ``reason`` says why an order was refused. Times are Unix seconds.
    """

    id: OrderId
    offer_id: OfferId
    buyer: Address
    units: int
    price: Amount
    placed_at: int
    state: OrderState = OrderState.PLACED
    chain_transaction: str | None = None
    reason: str | None = None

    def moved(self, event: OrderEvent, *, reason: str | None = None) -> Order:
        """The order after ``event``. Raises `IllegalMove`."""
        return msgspec.structs.replace(self, state=apply(self.state, event), reason=reason)
