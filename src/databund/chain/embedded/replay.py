"""Recompute a recorded chain from its genesis and compare everything with what was recorded.

Every raw signed chain transaction runs again. Per block the header with all its roots, the receipts, the senders, the
log rows and every state node made must come out byte for byte as recorded. A node is read back only after it was
recomputed and compared, so the recording proves nothing to itself, and memory stays small however long the chain is.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from databund import errors
from databund.chain.embedded import machine
from databund.chain.embedded.store import Block, Genesis, Reader, recorded, snapshot


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What was recomputed and found equal. ``blocks`` counts block 0; ``state_root`` is the newest block's."""

    blocks: int
    chain_transactions: int
    state_root: bytes


def replay(path: Path, progress: Callable[[int, int], None] | None = None) -> ReplayReport:
    """Replay the chain at ``path``, which is opened read-only and may be in use; ``progress`` hears (block, head).

    Raises ``LedgerMismatch`` naming the first block that differs, ``NotFound``, ``StoreCorrupt``.
    """
    count = 0
    ancestors: deque[bytes] = deque(maxlen=256)
    with recorded(path) as connection:
        with snapshot(connection) as reader:
            genesis, head = reader.genesis(), reader.head()
        for number in range(head + 1):
            with snapshot(connection) as reader:
                block = _replay_block(reader, number, genesis, ancestors)
            ancestors.appendleft(block.hash)
            count += len(block.entries)
            if progress is not None:
                progress(number, head)
        _without_orphans(connection)
    return ReplayReport(head + 1, count, machine.decode_header(block.header).state_root)


def _replay_block(reader: Reader, number: int, genesis: Genesis, ancestors: deque[bytes]) -> Block:
    try:
        timestamp = machine.decode_header(reader.header(number)[1]).timestamp
        if number == 0:
            block, made = machine.genesis_block(genesis.allocation, timestamp=timestamp)
        else:
            parent = machine.decode_header(reader.header(number - 1)[1])  # compared when its own turn came
            nodes = machine.Nodes(reader.node)
            builder = machine.BlockBuilder(
                parent, nodes, chain_id=genesis.chain_id, timestamp=timestamp, ancestors=tuple(ancestors)
            )
            for entry in reader.entries(number):
                builder.add(machine.decode_transaction(entry.raw, chain_id=genesis.chain_id))
            block, made = builder.seal(), nodes.added
    except (machine.Rejected, machine.BlockFull) as error:
        raise _mismatch(number, f"a chain transaction cannot have been part of it ({error})") from error
    except (errors.NotFound, errors.StoreCorrupt) as error:
        raise _mismatch(number, f"it cannot be read ({error.what})") from error
    _compare(reader, block, made)
    return block


def _compare(reader: Reader, block: Block, made: Mapping[bytes, bytes]) -> None:
    number = block.number
    if any(reader.node(node_hash) != body for node_hash, body in made.items()):
        raise _mismatch(number, "its state differs")
    if tuple(reader.entries(number)) != block.entries:
        raise _mismatch(number, "a chain transaction or its receipt differs")
    if any(reader.position(entry.hash) != (number, i) for i, entry in enumerate(block.entries)):
        raise _mismatch(number, "a chain transaction is recorded in another place")
    if tuple((log.entry, log.log) for log in reader.logs(number, number)) != block.logs:
        raise _mismatch(number, "an event differs")
    if reader.header(number) != (block.hash, block.header):
        raise _mismatch(number, "its header differs")


def _without_orphans(connection: sqlite3.Connection) -> None:
    """Nothing recorded belongs to a block that does not exist."""
    for table in ("chain_transactions", "logs"):
        sql = f"SELECT min(block) FROM {table} WHERE block NOT IN (SELECT number FROM blocks)"  # noqa: S608 - two fixed names
        ((number,),) = connection.execute(sql)
        if number is not None:
            raise _mismatch(number, "it is missing")


def _mismatch(number: int, what: str) -> errors.LedgerMismatch:
    return errors.LedgerMismatch(
        f"Block {number} is not what its chain transactions make: {what}.",
        fix="Trust no block from there on; restore the chain from a backup and replay that.",
    )
