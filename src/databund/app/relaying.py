"""Relaying: chain transactions that the exchange signs, stored before they are sent.

A chain transaction is stored in the database transaction of the act that causes it. Whatever happens then (a crash, a
lost connection), sending the stored bytes again is harmless and completes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from databund.core.canonical import MAX_INTEGER
from databund.core.ids import OrderId
from databund.errors import ChainRejected
from databund.ports import Call, ChainOutcome, ChainTransaction, Database, Relayer, Tables

__all__ = ["Relaying"]


@dataclass(frozen=True)
class Relaying:
    """The outbox: ``timeout_s`` bounds how long one call waits for a chain transaction to become final."""

    database: Database
    relayer: Relayer
    timeout_s: float = 30.0

    def included(self) -> int:
        """The next nonce as the chain knows it; ask before a database transaction, pass it to `store`."""
        return self.relayer.next_nonce()

    def store(self, tables: Tables, call: Call, *, included: int, order_id: OrderId | None = None) -> ChainTransaction:
        """Sign ``call`` under the next free nonce and store it, within the caller's database transaction."""
        nonce = tables.outbox.next_nonce(self.relayer.signer, included=included)
        chain_transaction = self.relayer.sign(call, nonce=nonce, order_id=order_id)
        tables.outbox.add(chain_transaction)
        return chain_transaction

    def outcome(self, chain_transaction: ChainTransaction) -> ChainOutcome | None:
        """Send and wait until final; None when it is still on its way.

        One whose nonce another took can never be included; its outcome is a failure without a block. A term that ends
        beyond 2^53 - 1, which no log entry can count, is one without end.
        """
        try:
            outcome = self.relayer.outcome(chain_transaction, timeout_s=self.timeout_s)
        except ChainRejected:
            return ChainOutcome(hash=chain_transaction.hash, block=0, block_hash="", succeeded=False)
        if outcome is not None and outcome.expiry is not None and outcome.expiry > MAX_INTEGER:
            return msgspec.structs.replace(outcome, expiry=None)
        return outcome

    def complete(self, chain_transaction: ChainTransaction) -> ChainOutcome | None:
        """As `outcome`, and record it; what is recorded is not asked again."""
        with self.database.read() as tables:
            known = tables.outbox.outcome(chain_transaction.hash)
        if known is not None:
            return known
        outcome = self.outcome(chain_transaction)
        if outcome is not None:
            with self.database.write() as tables:
                tables.outbox.finish(outcome)
        return outcome
