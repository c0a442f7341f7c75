"""Clearing: after delivery, what each account received is stated, recorded in the log, and certified.

Payment and license were settled atomically on the chain; settling (清结算) reads back what that paid to whom, and
certifying (凭证) puts the whole trade into one document. Both are functions of what is stored, so asking again gives
the same certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from databund.app.auditing import Auditor
from databund.app.observing import OBSERVED
from databund.core import documents
from databund.core.agreements import Certificate, agreement
from databund.core.events import Event, EventKind
from databund.core.ids import Address, OrderId
from databund.core.orders import Order, OrderEvent, OrderState
from databund.core.terms import party_of, terms_hash
from databund.errors import NotFound, NotOwner, StoreCorrupt
from databund.ports import ChainOutcome, Database, Listing, Tables

__all__ = ["Clearing", "Statement", "stated"]


class Statement(msgspec.Struct, frozen=True):
    """A certificate, and the agreement (RFC 8785 bytes) whose digest it carries."""

    certificate: Certificate
    agreement: bytes


@dataclass(frozen=True)
class Clearing:
    """Certificates for the two sides of a trade; ``operator`` may see them all."""

    database: Database
    auditor: Auditor
    operator: Address
    clock: Callable[[], int]

    def certify(self, actor: Address, order_id: OrderId) -> Statement:
        """Settle and certify a delivered order. Raises `NotFound`, `NotOwner`, or `IllegalMove` before delivery."""
        with self.database.write() as tables:
            order = tables.orders.get(order_id)
            if order is None:
                raise NotFound(f"There is no order {order_id}.", fix="List your orders: databund order list")
            listing = tables.listings.get(order.offer_id)
            if actor not in (order.buyer, listing.signed.offer.provider, self.operator):
                raise NotOwner(f"The order {order_id} is not one of {actor}.", fix="Sign in as buyer or provider.")
            if order.state is OrderState.CERTIFIED:
                return stated(tables, order, listing)
            settled = order.moved(OrderEvent.SETTLE)
            certified = settled.moved(OrderEvent.CERTIFY)
            outcome = _outcome(tables, order)
            statement = _statement(order, listing, outcome)
            tables.orders.save(certified, was=order.state)
            self.auditor.append(
                tables,
                self._event(
                    EventKind.SETTLED,
                    order=str(order_id),
                    chain_transaction=outcome.hash,
                    payments=documents.dump(outcome.payments),
                ),
                self._event(
                    EventKind.CERTIFIED,
                    order=str(order_id),
                    agreement=bytes(statement.certificate.agreement).hex(),
                    certificate=documents.digest(statement.certificate).hex(),
                ),
            )
        return statement

    def _event(self, kind: EventKind, **about: documents.Json) -> Event:
        return Event(kind, self.clock(), str(self.operator), about)


def stated(tables: Tables, order: Order, listing: Listing) -> Statement:
    """The certificate and agreement of a certified order; always the same."""
    return _statement(order, listing, _outcome(tables, order))


def _outcome(tables: Tables, order: Order) -> ChainOutcome:
    """How the order was settled: by the chain transaction sent from here, or by one that was observed."""
    outcome = None
    if (observed := tables.idempotency.answer(OBSERVED, str(order.id), request=b"")) is not None:
        outcome = documents.decode(observed[1], ChainOutcome)
    elif order.chain_transaction is not None:
        outcome = tables.outbox.outcome(order.chain_transaction)
    if outcome is None:
        raise StoreCorrupt(
            f"The order {order.id} is {order.state}, but its chain transaction has no outcome.",
            fix="Stop the node, keep a copy of its home, and restore the database.",
        )
    return outcome


def _statement(order: Order, listing: Listing, outcome: ChainOutcome) -> Statement:
    signed = listing.signed
    document = agreement(listing.policy, order_id=order.id, assignee=party_of(order.buyer, signed.domain.chain_id))
    return Statement(
        certificate=Certificate(
            order=order.id,
            offer=order.offer_id,
            buyer=order.buyer,
            units=order.units,
            price=order.price,
            currency=signed.offer.currency,
            payments=outcome.payments,
            chain_id=signed.domain.chain_id,
            exchange=signed.domain.exchange,
            chain_transaction=outcome.hash,
            block=outcome.block,
            block_hash=outcome.block_hash,
            expiry=outcome.expiry,
            agreement=terms_hash(document),
        ),
        agreement=document,
    )
