"""Full, locked, damaged and absent databases: what each is called, and that nothing is lost by it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from databund.core.orders import Order
from databund.errors import DocumentInvalid, InvalidInput, StoreCorrupt, StoreFull, StoreUnavailable
from databund.storage import sqlite
from databund.storage.database import SqlDatabase
from databund.storage.turns import Turns
from databund.testing import samples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A SQLite file with one order in it."""
    path = tmp_path / "test.db"
    database = SqlDatabase.open(f"sqlite:///{path}", create=True)
    _add_order(database, samples.order(1))
    database.close()
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here; run as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _add_order(database: SqlDatabase, order: Order) -> None:
    with database.write() as tables:
        tables.orders.add(order)


def _fill(database: SqlDatabase) -> None:
    """Write one order and more log entries than a small database holds, in one database transaction."""
    with database.write() as tables:
        tables.orders.add(samples.order(2))
        tables.log.write(0, [bytes(65_535)] * 200, tiles={}, checkpoint=b"full")


def _orders(database: SqlDatabase) -> list[Order]:
    with database.read() as tables:
        return list(tables.orders.find())


def test_a_full_database_loses_nothing(path: Path) -> None:
    """When SQLite runs out of pages the write is refused as a whole; smaller ones still succeed."""
    database = SqlDatabase.open(f"sqlite:///{path}", create=False)
    with database._engine.writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=100")
    with pytest.raises(StoreFull):
        _fill(database)
    assert _orders(database) == [samples.order(1)]
    _add_order(database, samples.order(3))
    database.close()


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """When the disk is full the write is refused as a whole; after room is made the same database goes on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 20))
    database = SqlDatabase.open(f"sqlite:///{small_disk}/test.db", create=True)
    _add_order(database, samples.order(1))
    with pytest.raises(StoreFull):
        _fill(database)
    assert _orders(database) == [samples.order(1)]
    ballast.unlink()
    _add_order(database, samples.order(2))
    assert _orders(database) == [samples.order(2), samples.order(1)]
    database.close()


def test_a_damaged_file_is_named(path: Path) -> None:
    """A file that is no database, and one with a damaged page, are called corrupt, and not changed."""
    noise = bytes(range(256)) * 16
    whole = path.read_bytes()
    for damaged in (noise * 20, whole[:4096] + noise * (len(whole) // 4096 - 1)):
        path.write_bytes(damaged)
        with pytest.raises(StoreCorrupt):
            _add_order(SqlDatabase.open(f"sqlite:///{path}", create=True), samples.order(2))
        assert path.read_bytes() == damaged


def test_a_locked_file_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process keeps the file locked a writer is told so; readers go on; later the writer succeeds."""
    monkeypatch.setattr(sqlite, "PATIENCE_S", 0.05)
    database = SqlDatabase.open(f"sqlite:///{path}", create=False)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        _add_order(database, samples.order(2))
    assert _orders(database) == [samples.order(1)]
    other.close()
    _add_order(database, samples.order(2))
    database.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A database in a folder that does not exist is unavailable."""
    with pytest.raises(StoreUnavailable):
        SqlDatabase.open(f"sqlite:///{tmp_path}/absent/test.db", create=True)


def test_a_reader_cannot_write(path: Path) -> None:
    """A reading block refuses to write, and nothing is changed."""
    database = SqlDatabase.open(f"sqlite:///{path}", create=False)
    with pytest.raises(StoreUnavailable), database.read() as tables:
        tables.orders.add(samples.order(2))
    assert _orders(database) == [samples.order(1)]
    database.close()


@pytest.mark.parametrize(
    "order", [samples.order(placed_at=2**63), samples.order(units=0), samples.order(reason="\ud800")]
)
def test_an_impossible_value_is_refused(path: Path, fresh_postgres_url: str, order: Order) -> None:
    """A number beyond 64 bits, a broken rule and text that is no Unicode are invalid input, on both engines."""
    for url in (f"sqlite:///{path}", fresh_postgres_url):
        database = SqlDatabase.open(url, create=True)
        with pytest.raises(InvalidInput):
            _add_order(database, order)
        _add_order(database, samples.order(9))
        database.close()


def test_a_value_without_a_document_is_refused(path: Path) -> None:
    """A value that has no canonical form is refused by its own name."""
    database = SqlDatabase.open(f"sqlite:///{path}", create=False)
    with pytest.raises(DocumentInvalid), database.write() as tables:
        tables.catalog.add(samples.release(title="\ufffe"))
    database.close()


def test_a_damaged_value_is_named(path: Path) -> None:
    """A stored document that cannot be read is called corrupt."""
    database = SqlDatabase.open(f"sqlite:///{path}", create=False)
    with database.write() as tables:
        tables.catalog.add(samples.release())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE releases SET descriptor = x'7b'")
    with pytest.raises(StoreCorrupt), database.read() as tables:
        tables.catalog.get(samples.dataset().id)
    database.close()


def test_an_absent_server_is_unavailable(tmp_path: Path) -> None:
    """A PostgreSQL server that does not answer is unavailable."""
    pytest.importorskip("psycopg")
    with pytest.raises(StoreUnavailable):
        SqlDatabase.open(f"postgresql:///test?host={tmp_path}", create=True)


def test_a_cut_connection_is_replaced(fresh_postgres_url: str) -> None:
    """When PostgreSQL ends a connection its block is lost as a whole, and the next block gets a new connection."""
    database = SqlDatabase.open(fresh_postgres_url, create=True)

    def write_through_a_cut() -> None:
        with database.write() as tables:
            tables.orders.add(samples.order(1))
            _end_connections(fresh_postgres_url)
            tables.orders.add(samples.order(2))

    with pytest.raises(StoreUnavailable):
        write_through_a_cut()
    _add_order(database, samples.order(3))
    assert _orders(database) == [samples.order(3)]
    database.close()


@pytest.mark.parametrize(
    ("state", "error"),
    [("53100", StoreFull), ("XX001", StoreCorrupt), ("57P03", StoreUnavailable), ("22003", InvalidInput)],
)
def test_postgres_errors_have_meanings(fresh_postgres_url: str, state: str, error: type[Exception]) -> None:
    """What PostgreSQL reports surfaces as the error of the port that it stands for."""
    database = SqlDatabase.open(fresh_postgres_url, create=True)
    with psycopg.connect(fresh_postgres_url.replace("+psycopg", "")) as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'it failed' USING ERRCODE = '{state}'; END $$"
        )
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON orders EXECUTE FUNCTION fail()")
    with pytest.raises(error, match="it failed"):
        _add_order(database, samples.order())
    database.close()


def test_writers_wait_in_line() -> None:
    """Writers get their turns in the order in which they came."""
    turns, came, went = Turns(), threading.Semaphore(0), []

    def take(number: int) -> None:
        turns.take(timeout_s=30, given_up=turns.end)
        went.append(number)
        turns.end()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    turns.take(timeout_s=30, given_up=turns.end)
    for waiting, thread in enumerate(threads, start=1):
        thread.start()
        while len(turns._line) < waiting:
            came.acquire(timeout=0.001)
    turns.end()
    for thread in threads:
        thread.join()
    assert went == list(range(8))


def test_a_writer_gives_up() -> None:
    """A writer whose turn does not come in time is told so, and those behind it do not wait for it."""
    turns = Turns()
    turns.take(timeout_s=30, given_up=turns.end)
    with pytest.raises(StoreUnavailable):
        turns.take(timeout_s=0.01, given_up=turns.end)
    assert not turns.hand_over()
    turns.end()
    turns.take(timeout_s=0.01, given_up=turns.end)


def _end_connections(url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
