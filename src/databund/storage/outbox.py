"""Chain transactions on their way: the port `Outbox`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, update

from databund.core.ids import Address
from databund.errors import AlreadyExists, NotFound
from databund.ports import ChainOutcome, ChainTransaction
from databund.storage import rows
from databund.storage.tables import chain_transactions as table

__all__ = ["SqlOutbox"]

_CHAIN_TRANSACTION = select(table.c.hash, table.c.signer, table.c.nonce, table.c.raw, table.c.order_id)


class SqlOutbox:
    """Chain transactions on their way, in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def next_nonce(self, signer: Address, *, included: int) -> int:
        """The larger of ``included`` and one past the largest stored nonce of the signer."""
        largest = self._connection.scalar(select(func.max(table.c.nonce)).where(table.c.signer == signer))
        return included if largest is None else max(included, largest + 1)

    def add(self, chain_transaction: ChainTransaction) -> None:
        """Store before sending. Raises `AlreadyExists` when the nonce is taken."""
        added = rows.add(
            self._connection,
            table,
            hash=chain_transaction.hash,
            signer=chain_transaction.signer,
            nonce=chain_transaction.nonce,
            raw=chain_transaction.raw,
            order_id=chain_transaction.order_id,
        )
        if not added:
            raise AlreadyExists(
                f"The nonce {chain_transaction.nonce} of {chain_transaction.signer} is taken.",
                fix="Sign under the next nonce.",
            )

    def get(self, transaction_hash: str) -> ChainTransaction:
        """Raise `NotFound`."""
        row = self._connection.execute(_CHAIN_TRANSACTION.where(table.c.hash == transaction_hash)).first()
        if row is None:
            raise _unknown(transaction_hash)
        return ChainTransaction(*row)

    def pending(self) -> Sequence[ChainTransaction]:
        """Those without an outcome, in the order of their nonces."""
        found = self._connection.execute(
            _CHAIN_TRANSACTION.where(table.c.outcome.is_(None)).order_by(table.c.nonce, table.c.signer)
        )
        return [ChainTransaction(*row) for row in found]

    def finish(self, outcome: ChainOutcome) -> None:
        """Record the outcome; recording it again changes nothing. Raises `NotFound`."""
        if self.outcome(outcome.hash) is None:
            self._connection.execute(update(table).where(table.c.hash == outcome.hash).values(outcome=outcome))

    def outcome(self, transaction_hash: str) -> ChainOutcome | None:
        """The recorded outcome, or None while it is pending. Raises `NotFound`."""
        row = self._connection.execute(select(table.c.outcome).where(table.c.hash == transaction_hash)).first()
        if row is None:
            raise _unknown(transaction_hash)
        outcome: ChainOutcome | None = row.outcome
        return outcome


def _unknown(transaction_hash: str) -> NotFound:
    return NotFound(f"The chain transaction {transaction_hash[:80]} was not sent from here.", fix="Check the hash.")
