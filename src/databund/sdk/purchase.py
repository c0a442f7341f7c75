"""Purchase: one signature buys a license.

The signed order is written down before it is sent, and forgotten when whoever asked has heard of its outcome. A client
that dies in between finds the same order again, and pays once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from databund.core.amounts import Amount
from databund.core.ids import Bytes32, Hex, OfferId
from databund.core.messages import NodeInfo, OfferView, OrderRequest
from databund.core.offers import order_id, payment_digest, price_of
from databund.core.orders import Order, OrderState, Purchase
from databund.crypto.identities import Identity
from databund.errors import AmountInvalid, IntegrityFailed, OfferInvalid, PaymentInvalid, Refused, WrongChain
from databund.sdk.connection import Connection
from databund.sdk.pending import Pending

__all__ = ["buying", "check_offer"]

_VALID_S = 900
_CLOCK_SKEW_S = 300
_POLLS = 150
_POLL_S = 0.2


def check_offer(view: OfferView, offer_id: OfferId, info: NodeInfo) -> None:
    """Raise unless the view is the offer that was asked for, made for this node's chain and currency.

    The provider's signature is checked by the smart contract, which takes no money for a forged one.
    """
    if view.signed.offer.id != offer_id:
        raise IntegrityFailed(
            f"The node shows the offer {view.signed.offer.id} under the name {offer_id}.", fix="Do not trust this node."
        )
    if view.signed.domain != info.domain:
        raise WrongChain(
            f"The offer {offer_id} is signed for chain {view.signed.domain.chain_id}, the node is on "
            f"{info.domain.chain_id}.",
            fix="Buy it at the node it was made for.",
        )
    if view.signed.offer.currency != info.currency.address:
        raise OfferInvalid(
            f"The offer {offer_id} is priced in {view.signed.offer.currency}, not in {info.currency.symbol}.",
            fix="Do not buy it; ask the provider for an offer in the exchange's currency.",
        )


@contextmanager
def buying(
    connection: Connection,
    identity: Identity,
    info: NodeInfo,
    *,
    offer_id: OfferId,
    units: int,
    pending: Pending,
    most: Amount | None = None,
) -> Iterator[Order]:
    """Buy ``units`` of an offer, for at most ``most`` base units in all, and wait until the order is decided.

    The same purchase is found again until the block has ended without an error, and for as long as the order is not
    decided. Raises what refused it; then nothing was paid.
    """
    note = pending.order(offer_id, identity.address, units)
    request = pending.read(note, OrderRequest)
    if request is None:
        request = _signed(connection, identity, info, offer_id=offer_id, units=units, most=most)
        pending.write(note, request)
    try:
        order = _decided(connection, connection.post("/orders", request, Order))
    except Refused:
        # The node knows no such order, and this authorization was not used: it is safe to forget it.
        pending.done(note)
        raise
    if order.state is OrderState.REFUSED:
        pending.done(note)
        raise PaymentInvalid(f"The order {order.id} was refused: {order.reason}", fix="Buy again.")
    yield order
    if order.state is not OrderState.PLACED:
        pending.done(note)


def _signed(
    connection: Connection,
    identity: Identity,
    info: NodeInfo,
    *,
    offer_id: OfferId,
    units: int,
    most: Amount | None,
) -> OrderRequest:
    view = connection.get(f"/offers/{offer_id}", OfferView)
    check_offer(view, offer_id, info)
    price = price_of(view.signed.offer, units)
    if most is not None and price > most:
        raise AmountInvalid(
            f"{units} units cost {info.currency.format(price)}, more than {info.currency.format(most)}.",
            fix="Raise the limit, or buy fewer units.",
        )
    now, salt = int(time.time()), Bytes32(secrets.token_bytes(32))
    validity = (now - _CLOCK_SKEW_S, now + _VALID_S)
    digest = payment_digest(
        info.currency,
        info.domain,
        order=order_id(offer_id, identity.address, units, salt),
        payer=identity.address,
        price=price,
        validity=validity,
    )
    purchase = Purchase(
        buyer=identity.address,
        units=units,
        salt=salt,
        valid_after=validity[0],
        valid_before=validity[1],
        signature=Hex(identity.sign_typed_hash(digest)),
    )
    return OrderRequest(offer_id, purchase)


def _decided(connection: Connection, order: Order) -> Order:
    for _ in range(_POLLS):
        if order.state is not OrderState.PLACED:
            break
        time.sleep(_POLL_S)
        order = connection.get(f"/orders/{order.id}", Order, signed_in=True)
    return order
