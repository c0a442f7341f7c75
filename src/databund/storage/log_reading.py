"""Reading a node's log where it lies, without writing a byte: also while the node runs, also of a damaged database.

It is a `databund.tlog.sources.LogSource`. Each read is a database transaction of its own, so that a check of hours does
not hold up the node; what was read before is a prefix of what is there now. What SQLite cannot read (a torn page)
raises StoreCorrupt, which names the entry or tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError

from databund.errors import NotFound, StoreCorrupt, StoreUnavailable
from databund.storage import revisions
from databund.storage.engine import DatabaseEngine
from databund.tlog.merkle import HASH_BYTES
from databund.tlog.tiles import TILE_WIDTH, EntryBundle, Tile

__all__ = ["StoredLog"]

T = TypeVar("T")
_SQLITE = "sqlite:///"
_AHEAD = 64
"""How many bundles, and tiles of level 0, are read at once."""

_ENTRIES = text('SELECT entry FROM log_entries WHERE "index" >= :start AND "index" < :stop ORDER BY "index"')
_TILE = text('SELECT hashes FROM log_tiles WHERE level = :level AND "index" = :index')
_TILES = text('SELECT "index", hashes FROM log_tiles WHERE level = 0 AND "index" >= :start AND "index" < :stop')
_HEAD = text("SELECT checkpoint FROM log_head")
_COSIGNED = text("SELECT size, note FROM log_cosigned WHERE size > :after ORDER BY size LIMIT 1")
_COSIGNED_NEWEST = text("SELECT MAX(size) FROM log_cosigned")
_ANCHORS = text("SELECT size, root, chain_transaction FROM log_anchors ORDER BY size")


class StoredLog:
    """The log in a node's database."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._entries: tuple[int, Sequence[Sequence[bytes]]] = (0, ())
        self._tiles: dict[int, bytes] = {}

    @classmethod
    def open(cls, url: str) -> StoredLog:
        """Open ``sqlite:///path`` or ``postgresql://…``.

        Raises `NotFound` where there is none, `HomeTooNew`, and `StoreUnavailable` for one that an older version wrote.
        """
        log = cls(_engine(url))
        try:
            if not log._read("tables", revisions.is_current):
                raise StoreUnavailable(
                    "The database was written by an older databund.", fix="Start its node once: databund serve"
                )
        except BaseException:
            log.close()
            raise
        return log

    def close(self) -> None:
        """Release every connection."""
        self._engine.reader.dispose()
        self._engine.writer.dispose()

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint. Raises `NotFound` for an empty log."""
        found = self._read("checkpoint", lambda connection: connection.scalars(_HEAD).all())
        if not found:
            raise NotFound("The log is empty.", fix="Nothing has happened at this node yet.")
        return _bytes(found, "checkpoint")[0]

    def tile(self, level: int, index: int, width: int, /) -> bytes:
        """The first ``width`` hashes of a tile."""
        hashes = self._tile_ahead(index) if level == 0 else None
        if hashes is None:
            path = Tile(level, index, width).path
            place = {"level": level, "index": index}
            found = _bytes(self._read(path, lambda connection: connection.scalars(_TILE, place).all()), path)
            if not found:
                raise NotFound(f"The database has no {path}.", fix="Ask for one below the log's size.")
            hashes = found[0]
        return hashes if width == TILE_WIDTH else hashes[: width * HASH_BYTES]

    def entries(self, index: int, width: int, /) -> Sequence[bytes]:
        """The first ``width`` entries of a bundle; fewer where rows are missing."""
        first, bundles = self._entries
        if not first <= index < first + len(bundles):
            first, bundles = self._entries = (index, self._entries_ahead(index))
        bundle = bundles[index - first]
        return bundle if len(bundle) <= width else bundle[:width]

    def cosigned(self) -> Iterator[bytes]:
        """The checkpoints that witnesses cosigned until now, smallest first, each read when it is asked for."""
        newest = self._read("log_cosigned", lambda connection: connection.scalar(_COSIGNED_NEWEST))
        return iter(()) if newest is None else self._cosigned(newest)

    def anchors(self) -> Sequence[tuple[int, bytes, str]]:
        """Size, root and chain transaction of every tree head that was sent to the chain, smallest first."""
        rows = self._read("log_anchors", lambda connection: connection.execute(_ANCHORS).all())
        return [(size, root, chain_transaction) for size, root, chain_transaction in rows]

    def _cosigned(self, newest: int) -> Iterator[bytes]:
        after = -1
        while after < newest and (rows := self._read("log_cosigned", partial(_next_cosigned, after=after))):
            (after, note), *_ = rows
            yield note

    def _entries_ahead(self, index: int) -> Sequence[Sequence[bytes]]:
        start = index * TILE_WIDTH
        path = EntryBundle(index).path
        try:
            rows = self._rows(start, start + _AHEAD * TILE_WIDTH, path)
        except StoreCorrupt:
            return [self._one_by_one(start, path)]
        if len(rows) % TILE_WIDTH == 0 or len(rows) < TILE_WIDTH:
            return [rows[at : at + TILE_WIDTH] for at in range(0, len(rows), TILE_WIDTH)] or [rows]
        whole = len(rows) - len(rows) % TILE_WIDTH
        return [rows[at : at + TILE_WIDTH] for at in range(0, whole, TILE_WIDTH)]

    def _one_by_one(self, start: int, path: str) -> Sequence[bytes]:
        """The entries of one bundle, to find the first that cannot be read."""
        try:
            return self._rows(start, start + TILE_WIDTH, path)
        except StoreCorrupt:
            for index in range(start, start + TILE_WIDTH):
                self._rows(index, index + 1, f"entry {index} in {path}")
            raise

    def _rows(self, start: int, stop: int, what: str) -> Sequence[bytes]:
        bounds = {"start": start, "stop": stop}
        return _bytes(self._read(what, lambda connection: connection.scalars(_ENTRIES, bounds).all()), what)

    def _tile_ahead(self, index: int) -> bytes | None:
        """A tile of level 0 from those read at once; None when it has to be read alone."""
        if index not in self._tiles:
            bounds = {"start": index, "stop": index + _AHEAD}
            try:
                rows = self._read("tiles", lambda connection: connection.execute(_TILES, bounds).all())
            except StoreCorrupt:
                return None
            self._tiles = {found: hashes for found, hashes in rows if isinstance(hashes, bytes)}
        return self._tiles.get(index)

    def _read(self, what: str, read: Callable[[Connection], T]) -> T:
        try:
            with closing(self._engine.reader.connect()) as connection:
                for statement in self._engine.begin_read:
                    connection.exec_driver_sql(statement)
                return read(connection)
        except StoreCorrupt as error:
            raise StoreCorrupt(f"{what} cannot be read. {error.what}", fix=error.fix) from error
        except DBAPIError as error:  # a damaged row may hold a text that is none
            raise StoreCorrupt(f"{what} cannot be read ({error.orig}).", fix="Restore the database.") from error


def _next_cosigned(connection: Connection, *, after: int) -> Sequence[Any]:
    return connection.execute(_COSIGNED, {"after": after}).all()


def _bytes(rows: Sequence[Any], what: str) -> Sequence[bytes]:
    """The rows, each of which has to be bytes, as a damaged one may not be."""
    if rows and set(map(type, rows)) != {bytes}:
        raise StoreCorrupt(f"{what} is not stored as bytes.", fix="Restore the database.")
    return rows


def _engine(url: str) -> DatabaseEngine:
    if url.startswith(_SQLITE):
        from databund.storage.sqlite import open_sqlite

        return open_sqlite(Path(url.removeprefix(_SQLITE)), create=False)
    from databund.storage.postgres import open_postgres

    return open_postgres(make_url(url))
