"""A recorded chain, recomputed: equal when it is untouched, and whoever touched it is found out."""

# ruff: noqa: S608 - the statements are put together from the cases beside them

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from databund.chain.embedded.replay import replay
from databund.errors import LedgerMismatch, NotFound, StoreCorrupt
from tests.integration.embedded_chain import Clock, Wallet, create, encoded

_LOG = "entry, address, topic0, topic1, topic2, topic3, data"


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A chain of 5 blocks and 4 chain transactions, one of them failed, with an allocation and blocks seconds apart."""
    wallet, clock = Wallet(), Clock()
    with create(tmp_path, clock, allocation={bytes.fromhex(wallet.account.address[2:]): 10**18}) as node:
        address = wallet.deploy(node)
        for call in (encoded("store", 1, 2), encoded("explain"), encoded("store", 1, 3)):
            clock.time += 60
            wallet.send(node, to=address, data=call)
    return tmp_path / "chain.db"


def test_an_untouched_chain_replays(chain: Path) -> None:
    """The report counts blocks and chain transactions and bears the state root; progress is told block by block."""
    heard: list[tuple[int, int]] = []
    report = replay(chain, lambda *progress: heard.append(progress))
    assert (report.blocks, report.chain_transactions) == (5, 4)
    assert len(report.state_root) == 32
    assert heard == [(number, 4) for number in range(5)]


def test_replay_reads_only(chain: Path) -> None:
    """A replay changes not one byte of the file."""
    before = chain.read_bytes()
    replay(chain)
    assert chain.read_bytes() == before


def test_a_chain_in_use_replays(tmp_path: Path) -> None:
    """A chain can be replayed while its node is open and has unflushed blocks."""
    with create(tmp_path) as node:
        Wallet().send(node)
        assert replay(tmp_path / "chain.db").chain_transactions == 1


@pytest.mark.parametrize(
    ("table", "column", "where", "block"),
    [
        ("chain_transactions", "raw", "block = 3", 3),
        ("chain_transactions", "receipt", "block = 2", 2),
        ("chain_transactions", "sender", "block = 2", 2),
        ("chain_transactions", "hash", "block = 4", 4),
        ("blocks", "header", "number = 4", 4),
        ("blocks", "hash", "number = 3", 3),
        ("logs", "data", "block = 2", 2),
        ("logs", "topic2", "block = 4", 4),
        ("logs", "address", "block = 4", 4),
        ("nodes", "body", "length(body) > 500", 1),
        ("nodes", "body", "hash = (SELECT substr(header, 92, 32) FROM blocks WHERE number = 3)", 3),
        ("nodes", "hash", "hash = (SELECT substr(header, 92, 32) FROM blocks WHERE number = 0)", 0),
    ],
)
def test_one_altered_byte_is_found(chain: Path, table: str, column: str, where: str, block: int) -> None:
    """One bit changed in anything recorded is found, and the first block that differs is named."""
    with contextlib.closing(sqlite3.connect(chain)) as file:
        ((value,),) = file.execute(f"SELECT {column} FROM {table} WHERE {where} LIMIT 1").fetchall()
        altered = value[:-1] + bytes([value[-1] ^ 1])
        file.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ? AND {where}", (altered, value))
        file.commit()
    with pytest.raises(LedgerMismatch, match=f"^Block {block} is not what its chain transactions make"):
        replay(chain)


@pytest.mark.parametrize(
    ("statement", "block"),
    [
        ("DELETE FROM chain_transactions WHERE block = 2", 2),
        ("DELETE FROM logs WHERE block = 4", 4),
        ("DELETE FROM blocks WHERE number = 2", 2),
        ("DELETE FROM blocks WHERE number = 4", 4),
        ("UPDATE chain_transactions SET gas_used = gas_used + 1 WHERE block = 3", 3),
        ("UPDATE chain_transactions SET position = 1 WHERE block = 2", 2),
        ("UPDATE logs SET entry = 1 WHERE block = 4", 4),
        (f"INSERT INTO logs SELECT block, 1, {_LOG} FROM logs WHERE block = 2", 2),
        (f"INSERT INTO logs SELECT 9, 0, {_LOG} FROM logs WHERE block = 2", 9),
        ("UPDATE genesis SET allocation = replace(allocation, '1000000000000000000', '1000000000000000001')", 0),
        ("UPDATE genesis SET chain_id = '31338'", 1),
    ],
)
def test_missing_and_moved_rows_are_found(chain: Path, statement: str, block: int) -> None:
    """A row removed, moved, added or rewritten is found, and the first block that differs is named."""
    with contextlib.closing(sqlite3.connect(chain)) as file:
        assert file.execute(statement).rowcount
        file.commit()
    with pytest.raises(LedgerMismatch, match=f"^Block {block} is not what its chain transactions make"):
        replay(chain)


def test_an_unreadable_start_is_corrupt(chain: Path) -> None:
    """A genesis row that is not what we write is named as damage."""
    with contextlib.closing(sqlite3.connect(chain)) as file:
        file.execute("UPDATE genesis SET allocation = 'x'")
        file.commit()
    with pytest.raises(StoreCorrupt):
        replay(chain)


def test_a_missing_chain_cannot_be_replayed(tmp_path: Path) -> None:
    """Replaying where there is no chain is refused and makes no file."""
    with pytest.raises(NotFound):
        replay(tmp_path / "chain.db")
    assert list(tmp_path.iterdir()) == []
