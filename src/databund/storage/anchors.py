"""Tree heads that were sent to the chain: the port `Anchors`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from databund.core.ids import Hex
from databund.core.log_status import Anchor
from databund.storage.tables import log_anchors as table

__all__ = ["SqlAnchors"]

_ANCHOR = select(table.c.size, table.c.root, table.c.chain_transaction, table.c.at)


class SqlAnchors:
    """Tree heads that were sent to the chain, in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, anchor: Anchor) -> None:
        """Store before sending."""
        self._connection.execute(
            insert(table).values(
                chain_transaction=anchor.chain_transaction,
                size=anchor.size,
                root=anchor.root,
                at=anchor.at,
                finished=0,
            )
        )

    def newest(self) -> Anchor | None:
        """The one of the largest size, whatever became of it."""
        row = self._connection.execute(_ANCHOR.order_by(table.c.size.desc(), table.c.at.desc()).limit(1)).first()
        return None if row is None else _anchor(*row)

    def pending(self) -> Sequence[Anchor]:
        """Those not finished, smallest first."""
        rows = self._connection.execute(_ANCHOR.where(table.c.finished == 0).order_by(table.c.size, table.c.at))
        return [_anchor(*row) for row in rows]

    def finish(self, chain_transaction: str) -> None:
        """It is on the chain and in the log, or never will be."""
        self._connection.execute(update(table).where(table.c.chain_transaction == chain_transaction).values(finished=1))


def _anchor(size: int, root: bytes, chain_transaction: str, at: int) -> Anchor:
    return Anchor(size, Hex(root), chain_transaction, at)
