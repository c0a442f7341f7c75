"""Purchasing: an order is placed, its payment and license settled in one chain transaction, and the outcome recorded.

The order and the signed chain transaction are stored together before anything is sent, so that a crash at any point is
healed by `Purchasing.resume`: the same bytes are sent again and can only be included once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from databund.app.auditing import Auditor
from databund.app.relaying import Relaying
from databund.core import canonical
from databund.core.amounts import Amount
from databund.core.events import Event, EventKind
from databund.core.ids import Address, Bytes32, OfferId, OrderId
from databund.core.offers import order_id, price_of
from databund.core.orders import Order, OrderEvent, OrderState, Purchase
from databund.core.policies import parse_policy
from databund.core.terms import check_open_to, party_of
from databund.errors import ChainUnavailable, NotFound, OfferCancelled, PaymentInvalid, Refused
from databund.ports import ChainOutcome, ChainTransaction, Database, Listing, Tables

__all__ = ["Purchasing"]


@dataclass(frozen=True)
class Purchasing:
    """Sales of licenses to buyers who signed one payment authorization and hold no gas."""

    database: Database
    relaying: Relaying
    auditor: Auditor
    clock: Callable[[], int]

    def buy(self, offer_id: OfferId, purchase: Purchase) -> Order:
        """Settle a purchase; buying with the same signed payment again gives the same order, and one payment.

        The buyer's signature is the proof of who buys, so nobody needs to be signed in. The order comes back
        `LICENSED`, or `REFUSED` with the reason, or still `PLACED` when the chain takes longer than we wait.
        Raises `NotFound`, `AmountInvalid`, `OfferCancelled`, `OfferExpired`, `SupplyExhausted`, `InsufficientFunds`,
        `PaymentInvalid`, `PolicyDenied` (terms that the buyer can never meet).
        """
        identifier = order_id(offer_id, purchase.buyer, purchase.units, purchase.salt)
        with self.database.read() as tables:
            known = tables.orders.get(identifier)
            listing = tables.listings.get(offer_id)
        if known is not None:
            return self.proceed(known)
        try:
            order = self._place(identifier, listing, purchase)
        except Refused:
            # Somebody may have brought the same payment at the same time; then what it paid for is there by now.
            with self.database.read() as tables:
                known = tables.orders.get(identifier)
            if known is None:
                raise
            order = known
        return self.proceed(order)

    def proceed(self, order: Order) -> Order:
        """Bring a placed order to its outcome, if the chain has one by now; any other order is returned as it is."""
        if order.state is not OrderState.PLACED or order.chain_transaction is None:
            return order
        with self.database.read() as tables:
            chain_transaction = tables.outbox.get(order.chain_transaction)
        outcome = self.relaying.outcome(chain_transaction)
        return order if outcome is None else self._record(order.id, outcome)

    def resume(self) -> int:
        """Complete every chain transaction that a crash or a lost connection left on its way; how many it completed."""
        with self.database.read() as tables:
            pending = list(tables.outbox.pending())
        return sum(self._resume_one(chain_transaction) for chain_transaction in pending)

    def issue(self, account: Address, amount: Amount, *, reference: Bytes32) -> ChainOutcome | None:
        """Credit an account against a deposit; the same reference is credited once.

        Returns the outcome, or None while the chain transaction is on its way.
        """
        call = self.relaying.relayer.prepare_issue(account, amount)
        included = self.relaying.included()
        request = bytes(account).rjust(32, b"\0") + int(amount).to_bytes(32)
        with self.database.write() as tables:
            answer = tables.idempotency.answer("issue", str(reference), request=request)
            if answer is not None:
                chain_transaction = tables.outbox.get(answer[1].decode())
            else:
                chain_transaction = self.relaying.store(tables, call, included=included)
                tables.idempotency.remember(
                    "issue",
                    str(reference),
                    request=request,
                    status=202,
                    body=chain_transaction.hash.encode(),
                    at=self.clock(),
                )
        return self.relaying.complete(chain_transaction)

    def _place(self, identifier: OrderId, listing: Listing, purchase: Purchase) -> Order:
        offer, now = listing.signed.offer, self.clock()
        if listing.withdrawn_at is not None:
            raise OfferCancelled(
                f"The offer {offer.id} was withdrawn {now - listing.withdrawn_at} s ago.",
                fix="List the dataset's current offers: databund offer list",
            )
        offer.check_open(now)
        if not purchase.valid_after < now < purchase.valid_before:
            raise PaymentInvalid(
                f"The payment authorization of order {identifier} is not valid now.", fix="Sign a new one."
            )
        check_open_to(
            parse_policy(canonical.parse(listing.policy)),
            party_of(purchase.buyer, listing.signed.domain.chain_id),
        )
        price = price_of(offer, purchase.units)
        call = self.relaying.relayer.prepare_purchase(listing.signed, purchase)
        included = self.relaying.included()
        with self.database.write() as tables:
            known = tables.orders.get(identifier)
            if known is not None:
                return known
            chain_transaction = self.relaying.store(tables, call, included=included, order_id=identifier)
            order = Order(
                id=identifier,
                offer_id=offer.id,
                buyer=purchase.buyer,
                units=purchase.units,
                price=price,
                placed_at=now,
                chain_transaction=chain_transaction.hash,
            )
            tables.orders.add(order)
            self.auditor.append(
                tables,
                Event(
                    EventKind.ORDERED,
                    now,
                    str(order.buyer),
                    {
                        "order": str(order.id),
                        "offer": str(order.offer_id),
                        "units": order.units,
                        "price": str(int(price)),
                        "currency": str(offer.currency),
                        "chain_transaction": chain_transaction.hash,
                    },
                ),
            )
        return order

    def _record(self, identifier: OrderId, outcome: ChainOutcome) -> Order:
        with self.database.write() as tables:
            order = _order(tables, identifier)
            tables.outbox.finish(outcome)
            if order.state is not OrderState.PLACED:
                return order
            moved, event = self._moved(order, outcome)
            tables.orders.save(moved, was=OrderState.PLACED)
            self.auditor.append(tables, event)
        return moved

    def _moved(self, order: Order, outcome: ChainOutcome) -> tuple[Order, Event]:
        by, now = str(self.relaying.relayer.signer), self.clock()
        if not outcome.succeeded:
            reason = "The chain refused the purchase; nothing was paid."
            return order.moved(OrderEvent.REFUSE, reason=reason), Event(
                EventKind.REFUSED,
                now,
                by,
                {"order": str(order.id), "offer": str(order.offer_id), "reason": reason},
            )
        return order.moved(OrderEvent.LICENSE), Event(
            EventKind.LICENSED,
            now,
            by,
            {
                "order": str(order.id),
                "offer": str(order.offer_id),
                "chain_transaction": outcome.hash,
                "block": outcome.block,
                "expiry": outcome.expiry,
            },
        )

    def _resume_one(self, chain_transaction: ChainTransaction) -> bool:
        try:
            if chain_transaction.order_id is None:
                return self.relaying.complete(chain_transaction) is not None
            with self.database.read() as tables:
                order = _order(tables, chain_transaction.order_id)
            if order.state is not OrderState.PLACED:
                # Somebody else brought its payment first. What we signed still goes out: the next nonces wait for it.
                return self.relaying.complete(chain_transaction) is not None
            return self.proceed(order).state is not OrderState.PLACED
        except ChainUnavailable:
            return False


def _order(tables: Tables, identifier: OrderId) -> Order:
    order = tables.orders.get(identifier)
    if order is None:
        raise NotFound(f"There is no order {identifier}.", fix="List your orders: databund order list")
    return order
