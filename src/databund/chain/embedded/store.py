"""The chain's one SQLite file: blocks, chain transactions, log rows and state, one database transaction per block.

Durability: write-ahead log with ``synchronous=FULL``; :meth:`Store.append` returns after COMMIT, so a block it
returned from is on disk. Atomicity: a block is in the file with everything it made, or not at all. One process
writes, held apart by a lock on the file ``<name>.lock``; any number of threads read, each read in one snapshot.
Errors: ``HomeInUse``, ``AlreadyExists``, ``NotFound``, ``HomeTooNew``, ``StoreFull``, ``StoreCorrupt``,
``StoreUnavailable``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from databund import errors

_APPLICATION_ID: Final = 0x6462_636E  # "dbcn": databund chain
_FORMAT: Final = 1
_IDLE_READERS: Final = 8

_SCHEMA: Final = """
CREATE TABLE genesis (chain_id TEXT NOT NULL, allocation TEXT NOT NULL) STRICT;
CREATE TABLE nodes (hash BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, header BLOB NOT NULL) STRICT;
CREATE TABLE chain_transactions (
    hash BLOB PRIMARY KEY, block INTEGER NOT NULL, position INTEGER NOT NULL,
    sender BLOB NOT NULL, raw BLOB NOT NULL, gas_used INTEGER NOT NULL, receipt BLOB NOT NULL,
    UNIQUE (block, position)
) STRICT;
CREATE TABLE logs (
    block INTEGER NOT NULL, position INTEGER NOT NULL, entry INTEGER NOT NULL, address BLOB NOT NULL,
    topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL,
    PRIMARY KEY (block, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX logs_by_address ON logs (address, block);
CREATE INDEX logs_by_topic ON logs (topic0, block);
"""


@dataclass(frozen=True, slots=True)
class Log:
    """One event: who emitted it, 0 to 4 topics of 32 bytes, and its data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One chain transaction as recorded: raw signed bytes, sender, gas used by it alone, receipt (EIP-2718 bytes)."""

    hash: bytes
    sender: bytes
    raw: bytes
    gas_used: int
    receipt: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """One block: header (RLP) and its keccak-256, chain transactions, and (index of its entry, event) in order."""

    number: int
    hash: bytes
    header: bytes
    entries: tuple[Entry, ...] = ()
    logs: tuple[tuple[int, Log], ...] = ()


@dataclass(frozen=True, slots=True)
class Genesis:
    """What a chain starts from: its id and the wei each address holds."""

    chain_id: int
    allocation: Mapping[bytes, int]


@dataclass(frozen=True, slots=True)
class RecordedLog:
    """An event and where it is: ``position`` counts within the block, ``entry`` is the chain transaction's index."""

    log: Log
    block: int
    position: int
    entry: int
    block_hash: bytes
    transaction_hash: bytes


_LOGS: Final = """
SELECT l.address, l.topic0, l.topic1, l.topic2, l.topic3, l.data, l.block, l.position, l.entry, b.hash, t.hash
FROM logs AS l
JOIN blocks AS b ON b.number = l.block
JOIN chain_transactions AS t ON t.block = l.block AND t.position = l.entry
"""


class Reader:
    """Reads of one snapshot of the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def genesis(self) -> Genesis:
        """The recorded start of the chain."""
        chain_id, allocation = self._connection.execute("SELECT chain_id, allocation FROM genesis").fetchone()
        try:
            return Genesis(int(chain_id), {bytes.fromhex(a): int(wei) for a, wei in json.loads(allocation).items()})
        except ValueError as error:
            raise errors.StoreCorrupt("The chain's start cannot be read.", fix="Restore it from a backup.") from error

    def node(self, node_hash: bytes) -> bytes | None:
        """A state trie node or a smart contract's code by its keccak-256."""
        row = self._connection.execute("SELECT body FROM nodes WHERE hash = ?", (node_hash,)).fetchone()
        return None if row is None else row[0]

    def head(self) -> int:
        """The number of the newest block."""
        number: int = self._connection.execute("SELECT max(number) FROM blocks").fetchone()[0]
        return number

    def header(self, number: int) -> tuple[bytes, bytes]:
        """The hash and the RLP of a block's header; raises ``NotFound``."""
        row = self._connection.execute("SELECT hash, header FROM blocks WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise errors.NotFound(f"There is no block {number}.", fix="Ask for a block up to the newest one.")
        return row[0], row[1]

    def number_of(self, block_hash: bytes) -> int | None:
        """The number of the block with this hash."""
        row = self._connection.execute("SELECT number FROM blocks WHERE hash = ?", (block_hash,)).fetchone()
        return None if row is None else int(row[0])

    def ancestors(self, number: int) -> Iterator[bytes]:
        """The hashes of the up to 256 blocks below ``number``, nearest first; read when the first is asked for."""
        sql = "SELECT hash FROM blocks WHERE number < ? ORDER BY number DESC LIMIT 256"
        # All at once: a statement left half-read would hold its snapshot open beyond the end of this one.
        for row in self._connection.execute(sql, (number,)).fetchall():
            yield row[0]

    def position(self, transaction_hash: bytes) -> tuple[int, int] | None:
        """The block number and index of a chain transaction."""
        sql = "SELECT block, position FROM chain_transactions WHERE hash = ?"
        row = self._connection.execute(sql, (transaction_hash,)).fetchone()
        return None if row is None else (row[0], row[1])

    def entries(self, number: int) -> list[Entry]:
        """The chain transactions of a block, in order."""
        sql = "SELECT hash, sender, raw, gas_used, receipt FROM chain_transactions WHERE block = ? ORDER BY position"
        return [Entry(*row) for row in self._connection.execute(sql, (number,))]

    def logs(
        self,
        first: int,
        last: int,
        *,
        addresses: Sequence[bytes] = (),
        topics: Sequence[Sequence[bytes]] = (),
        limit: int = -1,
    ) -> list[RecordedLog]:
        """The events of blocks ``first`` to ``last``, in order; at most ``limit`` of them.

        ``addresses`` and each of the up to four ``topics`` name the accepted values; empty accepts every log, and a
        topic asked for must be there.
        """
        wanted = [("address", addresses), *((f"topic{i}", accepted) for i, accepted in enumerate(topics))]
        conditions = [f"l.{column} IN ({','.join('?' * len(values))})" for column, values in wanted if values]
        parameters = [value for _, values in wanted for value in values]
        sql = (
            " AND ".join([f"{_LOGS} WHERE l.block BETWEEN ? AND ?", *conditions])
            + " ORDER BY l.block, l.position LIMIT ?"
        )
        found = self._connection.execute(sql, (first, last, *parameters, limit))
        return [
            RecordedLog(Log(row[0], tuple(topic for topic in row[1:5] if topic is not None), row[5]), *row[6:])
            for row in found
        ]


class Store:
    """The open file: the one writer, and readers for every thread."""

    def __init__(self, path: Path, *, lock: int, writer: sqlite3.Connection) -> None:
        self.path = path
        self._lock = lock
        self._writer = writer
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(_IDLE_READERS)
        self._closed = False

    @classmethod
    def create(cls, path: Path, genesis: Genesis, block: Block, nodes: Mapping[bytes, bytes]) -> Store:
        """Make the file with its first block, in one database transaction; a half-made file is made anew."""
        lock = _lock(path)
        try:
            writer = _connect(path, "rwc")
            if writer.execute("PRAGMA user_version").fetchone()[0]:
                writer.close()
                raise errors.AlreadyExists(f"{path} holds a chain already.", fix="Open it, or choose another path.")
            _set_up_writer(writer)
            allocation = json.dumps({address.hex(): str(wei) for address, wei in genesis.allocation.items()})
            store = cls(path, lock=lock, writer=writer)
            with store._writing():
                for statement in _SCHEMA.split(";")[:-1]:
                    writer.execute(statement)
                writer.execute("INSERT INTO genesis VALUES (?, ?)", (str(genesis.chain_id), allocation))
                store._insert(block, nodes)
                writer.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                writer.execute(f"PRAGMA user_version = {_FORMAT}")
            _sync_folder(path.parent)
        except BaseException:
            os.close(lock)
            raise
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open an existing file for writing and reading."""
        if not path.is_file():
            raise errors.NotFound(f"There is no chain at {path}.", fix="Create it first.")
        lock = _lock(path)
        try:
            writer = _connect(path, "rw")
            try:
                _check_format(path, writer)
                _set_up_writer(writer)
            except BaseException:
                writer.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock=lock, writer=writer)

    def append(self, block: Block, nodes: Mapping[bytes, bytes]) -> None:
        """Record one block with everything it made; durable when this returns, not there at all when it raises."""
        with self._writing():
            self._insert(block, nodes)

    def writer_view(self) -> Reader:
        """Reads of the newest committed state over the writer's connection; for the writer's thread alone."""
        return Reader(self._writer)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        """Reads in one snapshot, from any thread, beside the writer."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = _connect(self.path, "ro")
        try:
            with _translated(self.path), snapshot(connection) as reader:
                yield reader
        finally:
            try:
                if self._closed:
                    raise queue.Full
                self._idle.put_nowait(connection)
            except queue.Full:
                connection.close()

    def close(self) -> None:
        """Give the file back; reads that are under way end with their own connection."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
        self._writer.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with _translated(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def _insert(self, block: Block, nodes: Mapping[bytes, bytes]) -> None:
        self._writer.executemany("INSERT OR IGNORE INTO nodes VALUES (?, ?)", nodes.items())
        self._writer.execute("INSERT INTO blocks VALUES (?, ?, ?)", (block.number, block.hash, block.header))
        self._writer.executemany(
            "INSERT INTO chain_transactions VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((e.hash, block.number, i, e.sender, e.raw, e.gas_used, e.receipt) for i, e in enumerate(block.entries)),
        )
        self._writer.executemany(
            "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (block.number, i, entry, log.address, *log.topics, *[None] * (4 - len(log.topics)), log.data)
                for i, (entry, log) in enumerate(block.logs)
            ),
        )


@contextlib.contextmanager
def recorded(path: Path) -> Iterator[sqlite3.Connection]:
    """A recorded chain opened read-only, also while a node writes to it, also in a folder nobody may write to."""
    if not path.is_file():
        raise errors.NotFound(f"There is no chain at {path}.", fix="Give the path of the chain's file.")
    with _translated(path):
        still = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
        connection = _connect(path, "ro&immutable=1" if still else "ro")
        try:
            _check_format(path, connection)
            yield connection
        finally:
            connection.close()


@contextlib.contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[Reader]:
    """Reads in one snapshot of a connection."""
    connection.execute("BEGIN")
    try:
        yield Reader(connection)
    finally:
        connection.execute("ROLLBACK")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    with _translated(path):
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)


def _set_up_writer(writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA synchronous = FULL")


def _check_format(path: Path, connection: sqlite3.Connection) -> None:
    with _translated(path):
        ((application_id,), (version,)) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
        )
    if application_id != _APPLICATION_ID:
        raise errors.StoreCorrupt(
            f"{path} is not a databund chain.", fix="Restore it from a backup, or create a new one."
        )
    if version > _FORMAT:
        raise errors.HomeTooNew(f"{path} has format {version}, this version reads {_FORMAT}.", fix="Upgrade databund.")


def _lock(path: Path) -> int:
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.StoreUnavailable(
            f"The lock beside {path} cannot be opened: {error.strerror}.", fix="Check the folder and its permissions."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise errors.HomeInUse(f"Another process runs the chain at {path}.", fix="Stop it first.") from None
    return lock


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise errors.StoreFull(
                f"There is no space left for the chain at {path}.", fix="Free space and try again."
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise errors.StoreCorrupt(f"{path} is damaged: {error}.", fix="Restore it from a backup.") from error
        raise errors.StoreUnavailable(
            f"{path} does not answer: {error}.", fix="Check the disk and try again."
        ) from error
