"""Observing: what happened on the chain without this node becomes an entry of its log.

Anybody may bring a signed payment to the exchange, buy directly, or withdraw an offer. The final events of the chain
are read in their order, each block once, and what the log lacks is entered in the database transaction that moves the
cursor on. Where the last block read is no longer on the chain, everything is read again; what is entered stays once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from databund.app.auditing import Auditor
from databund.core import documents
from databund.core.canonical import MAX_INTEGER
from databund.core.chain_events import ChainEvent, LicenseSold, OfferWithdrawn
from databund.core.events import Event, EventKind
from databund.core.ids import Address
from databund.core.orders import Order, OrderEvent, OrderState
from databund.errors import NotFound
from databund.ports import Block, ChainEvents, ChainOutcome, Database, Tables

__all__ = ["OBSERVED", "Observing"]

OBSERVED = "observed"
"""The asker under which `ports.Idempotency` keeps what was observed."""

_BLOCKS = 1_000


@dataclass(frozen=True)
class Observing:
    """The reader of the chain's events. ``operator`` is who enters them; before the block ``since`` there are none."""

    database: Database
    events: ChainEvents
    auditor: Auditor
    operator: Address
    since: int
    clock: Callable[[], int]

    def step(self) -> int:
        """Read what became final since the last step; how many entries it made. Raises `ChainUnavailable`."""
        newest = self.events.newest()
        with self.database.read() as tables:
            cursor = tables.cursor.get()
        first = self.since if cursor is None or not self._is_there(cursor) else cursor.number + 1
        made = 0
        for start in range(first, newest.number + 1, _BLOCKS):
            last = min(start + _BLOCKS - 1, newest.number)
            found, block = self.events.between(start, last), self.events.block(last)
            with self.database.write() as tables:
                made += self._enter(tables, found)
                tables.cursor.set(block)
        return made

    def _is_there(self, cursor: Block) -> bool:
        try:
            return self.events.block(cursor.number) == cursor
        except NotFound:
            return False

    def _enter(self, tables: Tables, events: Sequence[ChainEvent]) -> int:
        made, direct = 0, Counter[str]()
        for event in events:
            if isinstance(event, OfferWithdrawn):
                made += self._withdrawn(tables, event)
            elif isinstance(event, LicenseSold) and event.order_id is None:
                chain_transaction = event.place.chain_transaction
                made += self._observed(tables, event, key=f"{chain_transaction} {direct[chain_transaction]}")
                direct[chain_transaction] += 1
            elif isinstance(event, LicenseSold):
                made += self._sold(tables, event)
        return made

    def _sold(self, tables: Tables, sale: LicenseSold) -> bool:
        """Enter the sale of an order, unless it is one that purchasing records, or has recorded."""
        order = None if sale.order_id is None else tables.orders.get(sale.order_id)
        if order is None:
            return self._observed(tables, sale, key=str(sale.order_id))
        elsewhere = order.chain_transaction != sale.place.chain_transaction
        if order.state is OrderState.REFUSED or (order.state is OrderState.PLACED and elsewhere):
            self._heal(tables, order, sale)
            return True
        return False

    def _heal(self, tables: Tables, order: Order, sale: LicenseSold) -> None:
        """License an order whose payment somebody else brought to the chain."""
        place = sale.place
        outcome = ChainOutcome(
            hash=place.chain_transaction,
            block=place.block,
            block_hash=place.block_hash,
            succeeded=True,
            payments=sale.payments,
            expiry=sale.expiry,
        )
        # The outbox holds only what was sent from here, so the outcome is kept beside it, for clearing to find.
        self._remember(tables, str(order.id), body=documents.encode(outcome))
        licensed = msgspec.structs.replace(order.moved(OrderEvent.LICENSE), chain_transaction=outcome.hash)
        tables.orders.save(licensed, was=order.state)
        self._append(
            tables,
            EventKind.LICENSED,
            self.operator,
            order=str(order.id),
            offer=str(order.offer_id),
            chain_transaction=place.chain_transaction,
            block=place.block,
            expiry=sale.expiry,
        )

    def _observed(self, tables: Tables, sale: LicenseSold, *, key: str) -> bool:
        if tables.idempotency.answer(OBSERVED, key, request=b"") is not None:
            return False
        self._remember(tables, key, body=b"")
        self._append(
            tables,
            EventKind.OBSERVED,
            self.operator,
            order=None if sale.order_id is None else str(sale.order_id),
            offer=str(sale.offer_id),
            buyer=str(sale.buyer),
            # The smart contract counts to 2^64, which no number in an entry can.
            units=sale.units if sale.units <= MAX_INTEGER else str(sale.units),
            price=str(int(sale.price)),
            chain_transaction=sale.place.chain_transaction,
            block=sale.place.block,
            expiry=sale.expiry,
        )
        return True

    def _withdrawn(self, tables: Tables, event: OfferWithdrawn) -> bool:
        """Take an offer off the list that its provider withdrew on the chain; one never listed here is no matter."""
        try:
            if tables.listings.get(event.offer_id).withdrawn_at is not None:
                return False
        except NotFound:
            return False
        tables.listings.withdraw(event.offer_id, self.clock())
        self._append(
            tables,
            EventKind.WITHDRAWN,
            event.provider,
            offer=str(event.offer_id),
            chain_transaction=event.place.chain_transaction,
        )
        return True

    def _remember(self, tables: Tables, key: str, *, body: bytes) -> None:
        tables.idempotency.remember(OBSERVED, key, request=b"", status=200, body=body, at=self.clock())

    def _append(self, tables: Tables, kind: EventKind, by: Address, **about: documents.Json) -> None:
        self.auditor.append(tables, Event(kind, self.clock(), str(by), about))
