"""What the embedded node has acknowledged stays, whatever happens to the process or the disk."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from databund.chain.embedded import EmbeddedNode
from databund.chain.embedded.replay import replay
from databund.errors import HomeInUse, HomeTooNew, NotFound, StoreCorrupt, StoreFull
from tests.integration.embedded_chain import Clock, Wallet, create, encoded, reopen


def _acknowledged(chain: Path, threads: int, seconds: float) -> dict[str, int]:
    """Run a sender, kill it with SIGKILL after some time, and return what was acknowledged: hash and block."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.embedded_victim", str(chain), str(threads)], stdout=subprocess.PIPE
    )
    assert victim.stdout is not None
    lines = [victim.stdout.readline()]
    killer = threading.Timer(seconds, victim.send_signal, [signal.SIGKILL])
    killer.start()
    lines += victim.stdout.readlines()
    victim.stdout.close()
    assert victim.wait(10) == -signal.SIGKILL
    whole = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return {transaction_hash: int(block, 16) for transaction_hash, block in whole}


@pytest.mark.parametrize("threads", [1, 4])
def test_acknowledged_survives_a_kill(tmp_path: Path, threads: int) -> None:
    """After SIGKILL at random moments, four times, every acknowledged chain transaction is there and all replays."""
    create(tmp_path).close()
    known: dict[str, int] = {}
    for round_ in range(4):
        known |= _acknowledged(tmp_path / "chain.db", threads, random.Random(round_).uniform(0.05, 0.6))  # noqa: S311
        with reopen(tmp_path) as node:
            receipts: Any = [node.request("eth_getTransactionReceipt", [each]) for each in known]
            assert [int(receipt["blockNumber"], 16) for receipt in receipts] == list(known.values())
            assert int(str(node.request("eth_blockNumber")), 16) >= max(known.values())
            assert Wallet().send(node)["status"] == "0x1"
    assert replay(tmp_path / "chain.db").chain_transactions >= len(known) + 4
    with contextlib.closing(sqlite3.connect(tmp_path / "chain.db")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_chain_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Reopened, a chain has its id, its head and its state, and takes the next chain transaction."""
    wallet = Wallet()
    with create(tmp_path) as node:
        address = wallet.deploy(node)
    with reopen(tmp_path) as node:
        assert node.chain_id == 31337
        assert wallet.send(node, to=address, data=encoded("store", 1, 9))["blockNumber"] == "0x2"
        assert int(str(node.request("eth_call", [{"to": address, "data": encoded("values", 1)}])), 16) == 9


def test_a_resend_after_a_restart_is_recognized(tmp_path: Path) -> None:
    """Raw bytes recorded before a restart give the same hash after it, and no second execution."""
    wallet = Wallet()
    raw = wallet.sign()
    with create(tmp_path) as node:
        first = node.request("eth_sendRawTransaction", [raw])
    with reopen(tmp_path) as node:
        assert node.request("eth_sendRawTransaction", [raw]) == first
        assert node.request("eth_blockNumber") == "0x1"


def test_there_is_one_writer(tmp_path: Path) -> None:
    """A second opener is refused, in this process and in another, until the first is gone."""
    program = (
        "import sys, pathlib; from databund.chain.embedded import EmbeddedNode\n"
        "EmbeddedNode.open(pathlib.Path(sys.argv[1]), now=lambda: 0)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "chain.db")]
    with create(tmp_path):
        with pytest.raises(HomeInUse):
            reopen(tmp_path)
        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert "HomeInUse" in refused.stderr
    subprocess.run(command, check=True, timeout=60)


def test_a_missing_chain_is_not_found(tmp_path: Path) -> None:
    """Opening where there is no chain is refused and makes no file."""
    with pytest.raises(NotFound):
        reopen(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda path: path.write_bytes(b"not a database, but long enough to be looked at" * 100), StoreCorrupt),
        (lambda path: path.write_bytes(b""), StoreCorrupt),
        (lambda path: _execute(path, "PRAGMA user_version = 2"), HomeTooNew),
        (lambda path: _execute(path, "PRAGMA application_id = 7"), StoreCorrupt),
        (lambda path: _execute(path, "UPDATE genesis SET chain_id = 'x'"), StoreCorrupt),
    ],
    ids=["garbage", "empty", "newer", "another program's", "unreadable start"],
)
def test_other_files_are_refused(tmp_path: Path, spoil: Any, error: type[Exception]) -> None:
    """A file that is no chain, or a newer one, is refused with what it is, and stays unlocked."""
    create(tmp_path).close()
    spoil(tmp_path / "chain.db")
    for _ in range(2):
        with pytest.raises(error):
            reopen(tmp_path)


def _execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute(statement)
        file.commit()


def test_a_half_made_chain_is_made_anew(tmp_path: Path) -> None:
    """Where a creation died before its commit, creating works."""
    (tmp_path / "chain.db").touch()
    with create(tmp_path) as node:
        assert node.request("eth_blockNumber") == "0x0"


def _fill_up_and_go_on(node: EmbeddedNode, make_room: Any) -> None:
    wallet = Wallet()
    address = wallet.deploy(node)

    def fill_up() -> None:
        for key in range(10_000):
            wallet.send(node, to=address, data=encoded("store", key, 1))

    with pytest.raises(StoreFull, match="no space left"):
        fill_up()
    head = int(str(node.request("eth_blockNumber")), 16)
    assert head == wallet.nonce
    assert int(str(node.request("eth_call", [{"to": address, "data": encoded("values", head - 2)}])), 16) == 1
    make_room()
    assert wallet.send(node, to=address, data=encoded("store", 1, 2))["blockNumber"] == hex(head + 1)


def test_a_full_database_harms_nothing(tmp_path: Path) -> None:
    """When SQLite may not grow, a send is refused whole, reads go on, and the same send works once there is room."""
    with create(tmp_path) as node:
        writer = node._store._writer
        writer.execute("PRAGMA max_page_count = 200").fetchone()
        _fill_up_and_go_on(node, lambda: writer.execute("PRAGMA max_page_count = 100000").fetchone())
    assert replay(tmp_path / "chain.db").blocks > 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_harms_nothing(small_disk: Path) -> None:
    """When the disk is full, a send is refused whole, reads go on, and the same send works once there is room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1024 * 1024))
    with create(small_disk, Clock()) as node:
        _fill_up_and_go_on(node, ballast.unlink)
    assert replay(small_disk / "chain.db").blocks > 2


def test_a_chain_on_a_read_only_disk_replays(small_disk: Path) -> None:
    """A chain in a place that nobody may write to, such as a mounted backup, can be replayed."""
    with create(small_disk) as node:
        Wallet().send(node)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert replay(small_disk / "chain.db").chain_transactions == 1
