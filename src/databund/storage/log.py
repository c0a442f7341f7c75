"""The rows of the audit log: the port `Log`. What they mean is the business of `databund.tlog`.

Writers are serialised by the database transaction itself, so reading the checkpoint locks nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from databund.errors import LogForked, NotFound
from databund.storage.tables import log_entries, log_head, log_tiles

__all__ = ["SqlLog"]

_FORGET_TILE = delete(log_tiles).where(
    and_(log_tiles.c.level == bindparam("old_level"), log_tiles.c.index == bindparam("old_index"))
)


class SqlLog:
    """The audit log in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint; None for an empty log."""
        return self._connection.scalar(select(log_head.c.checkpoint))

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, 32 bytes each, as many as there are. Raises `NotFound`."""
        found: bytes | None = self._connection.scalar(
            select(log_tiles.c.hashes).where(log_tiles.c.level == level, log_tiles.c.index == index)
        )
        if found is None:
            raise NotFound(f"The log has no tile {index} of level {level}.", fix="Ask for one below the log's size.")
        return found

    def entries(self, start: int, stop: int) -> Sequence[bytes]:
        """The entries from ``start`` up to ``stop``, as many as there are."""
        index = log_entries.c.index
        return self._connection.scalars(
            select(log_entries.c.entry).where(index >= start, index < stop).order_by(index)
        ).all()

    def write(
        self, first: int, entries: Sequence[bytes], *, tiles: Mapping[tuple[int, int], bytes], checkpoint: bytes
    ) -> None:
        """Append entries at index ``first``, replace the changed tiles and the checkpoint.

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
                insert(log_entries),
                [{"index": first + at, "entry": entry} for at, entry in enumerate(entries)],
            )
        if tiles:
            self._connection.execute(_FORGET_TILE, [{"old_level": level, "old_index": index} for level, index in tiles])
            self._connection.execute(
                insert(log_tiles),
                [{"level": level, "index": index, "hashes": hashes} for (level, index), hashes in tiles.items()],
            )
        head = {"size": first + len(entries), "checkpoint": checkpoint}
        self._connection.execute(
            insert(log_head).values(id=1, **head) if size is None else update(log_head).values(head)
        )
