"""The rows of the audit log: the port `Log`. What they mean is the business of `databund.tlog`.

Writers are serialised by the database transaction itself, so reading the checkpoint locks nothing more. Staged entries
wait in memory until the database transaction is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, select, text, update

from databund.core.ids import OrderId
from databund.errors import LogForked, NotFound, StoreUnavailable
from databund.storage.batches import Batch, Block, Snapshot
from databund.storage.tables import log_entries, log_head, log_orders, log_tiles

__all__ = ["SqlLog"]

_ADD_ENTRY = text('INSERT INTO log_entries ("index", entry) VALUES (:index, :entry)')
_PUT_TILE = text(
    'INSERT INTO log_tiles (level, "index", hashes) VALUES (:level, :index, :hashes) '
    'ON CONFLICT (level, "index") DO UPDATE SET hashes = excluded.hashes'
)


class SqlLog:
    """The audit log in one database transaction; ``holder`` is a writer's block, a whole batch, or a snapshot."""

    def __init__(self, holder: Block | Batch | Snapshot) -> None:
        self._holder = holder

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint; None for an empty log."""
        return self._connection.scalar(select(log_head.c.checkpoint))

    def size(self) -> int:
        """How many sealed entries there are."""
        return self._holder.sealed

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, 32 bytes each, as many as there are. Raises `NotFound`."""
        found: bytes | None = self._connection.scalar(
            select(log_tiles.c.hashes).where(log_tiles.c.level == level, log_tiles.c.index == index)
        )
        if found is None:
            raise NotFound(f"The log has no tile {index} of level {level}.", fix="Ask for one below the log's size.")
        return found

    def entries(self, start: int, stop: int) -> Sequence[bytes]:
        """The sealed entries from ``start`` up to ``stop``, as many as there are."""
        index = log_entries.c.index
        return self._connection.scalars(
            select(log_entries.c.entry).where(index >= start, index < stop).order_by(index)
        ).all()

    def of_order(self, order_id: OrderId) -> Sequence[int]:
        """The indexes of the sealed entries that are about an order, in their order."""
        index = log_orders.c.index
        return self._connection.scalars(select(index).where(log_orders.c.order_id == order_id).order_by(index)).all()

    def append(self, entry: bytes, *, order_id: OrderId | None = None) -> int:
        """Stage an entry and return the index it will have."""
        if not isinstance(self._holder, Block):
            raise StoreUnavailable("The log cannot be written while it is read.", fix="Open a block that may write.")
        return self._holder.stage(entry, order_id)

    def write(
        self, first: int, entries: Sequence[bytes], *, tiles: Mapping[tuple[int, int], bytes], checkpoint: bytes
    ) -> None:
        """Write entries at index ``first``, replace the changed tiles and the checkpoint.

        Raises `LogForked` when ``first`` is not the log's size.
        """
        size = self._connection.scalar(select(log_head.c.size))
        if first != (size or 0):
            raise LogForked(
                f"The log has {size or 0} entries, so none can be written at {first}.",
                fix="Stop, and compare the log with its last checkpoint: databund audit verify",
            )
        if entries:
            self._connection.execute(
                _ADD_ENTRY, [{"index": first + at, "entry": entry} for at, entry in enumerate(entries)]
            )
        if tiles:
            self._connection.execute(
                _PUT_TILE,
                [{"level": level, "index": index, "hashes": hashes} for (level, index), hashes in tiles.items()],
            )
        head = {"size": first + len(entries), "checkpoint": checkpoint}
        self._connection.execute(
            insert(log_head).values(id=1, **head) if size is None else update(log_head).values(head)
        )

    def note_orders(self, first: int, orders: Sequence[OrderId | None]) -> None:
        """Remember which of the entries from ``first`` on are about which order."""
        rows = [{"order_id": order, "index": first + at} for at, order in enumerate(orders) if order is not None]
        if rows:
            self._connection.execute(insert(log_orders), rows)

    @property
    def _connection(self) -> Connection:
        return self._holder.connection
