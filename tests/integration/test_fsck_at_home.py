"""Fsck of a node's own database: read-only, beside the running node, and down to a torn page."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from databund.cli.exits import Exit
from databund.crypto.identities import Identity
from databund.errors import LogDamaged, LogForked, StoreCorrupt, StoreUnavailable
from databund.storage.database import SqlDatabase
from databund.storage.log_reading import StoredLog
from databund.tlog.fsck import KnownRoot, fsck
from databund.tlog.tiles import Tile, parse_path
from tests import stored_logs
from tests.nodes import ABOUT, node_in_process, table, terms
from tests.stored_logs import checks, numbered

SIZE = 64 * 256 + 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with more entries than are read at once."""
    path = tmp_path_factory.mktemp("whole") / "databund.db"
    SqlDatabase.open(f"sqlite:///{path}", create=True).close()
    log = stored_logs.StoredLog.of(numbered(SIZE))
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO log_entries VALUES (?, ?)", enumerate(numbered(SIZE)))
        connection.execute("INSERT INTO log_head VALUES (1, ?, ?)", (SIZE, log.resources.pop("checkpoint")))
        for place, content in log.resources.items():
            if isinstance(tile := parse_path(place), Tile):
                connection.execute("INSERT INTO log_tiles VALUES (?, ?, ?)", (tile.level, tile.index, content))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    copy = tmp_path / "databund.db"
    copy.write_bytes(whole.read_bytes())
    return copy


def _fsck(path: Path, **more: object) -> int:
    log = StoredLog.open(f"sqlite:///{path}")
    try:
        return fsck(log, checks(**more)).size
    finally:
        log.close()


def _change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def test_a_whole_database_is_sound(path: Path) -> None:
    """Every bundle is read, those that are read at once and the rest."""
    before = path.read_bytes()

    assert _fsck(path) == SIZE
    assert path.read_bytes() == before


@pytest.mark.parametrize("index", [0, 300, 64 * 256 + 299])
def test_a_changed_entry_is_named(path: Path, index: int) -> None:
    """An entry that somebody edited in the database, by its index and its place in the bundle."""
    _change(path, 'UPDATE log_entries SET entry = ? WHERE "index" = ?', b"edited", index)

    with pytest.raises(LogDamaged) as caught:
        _fsck(path)
    entries = numbered(SIZE)[index - index % 256 : index]
    assert (caught.value.index, caught.value.offset) == (index, sum(2 + len(entry) for entry in entries))


@pytest.mark.parametrize("value", ["7", "CAST(x'ff' AS TEXT)"])
def test_an_entry_that_is_no_longer_bytes_is_named(path: Path, value: str) -> None:
    """A damaged row may have another type, or a text that is none."""
    _change(path, f'UPDATE log_entries SET entry = {value} WHERE "index" = ?', 1000)  # noqa: S608  # constants

    with pytest.raises(StoreCorrupt, match="entry 1000 in tile/entries/003"):
        _fsck(path)


@pytest.mark.parametrize("index", [0, 300, 64 * 256 + 299])
def test_a_missing_entry_is_named(path: Path, index: int) -> None:
    """A row that was deleted is found where it was."""
    _change(path, 'DELETE FROM log_entries WHERE "index" = ?', index)

    with pytest.raises(LogDamaged) as caught:
        _fsck(path)
    assert caught.value.index == index


@pytest.mark.parametrize(("level", "index"), [(0, 0), (0, 63), (0, 65), (1, 0)])
def test_a_changed_tile_is_named(path: Path, level: int, index: int) -> None:
    """A tile that somebody edited in the database."""
    where = 'WHERE level = ? AND "index" = ?'
    damaged = "CAST(substr(hashes, 1, 40) || x'00' || substr(hashes, 42) AS BLOB)"
    _change(path, f"UPDATE log_tiles SET hashes = {damaged} {where}", level, index)  # noqa: S608  # constants

    with pytest.raises(LogDamaged) as caught:
        _fsck(path)
    assert (caught.value.resource, caught.value.offset) == ("tile", 40)
    assert caught.value.path.startswith(f"tile/{level}/0{index:02}")


def test_a_torn_page_is_named(path: Path) -> None:
    """A page of which half was never written: the first entry that cannot be read is named."""
    connection = sqlite3.connect(path)
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    content = path.read_bytes()
    connection.close()
    page = next(
        at
        for at in range(len(content) // page_size - 1, 0, -1)
        if b"entry 9000 " in content[at * page_size : (at + 1) * page_size]
    )
    with path.open("r+b") as file:
        file.seek(page * page_size)
        file.write(b"\xff" * (page_size // 2))

    with pytest.raises(StoreCorrupt, match=r"entry \d+ in tile/entries/03"):
        _fsck(path)


def test_a_database_behind_its_head_is_a_fork(path: Path) -> None:
    """A head that was signed after the backup that lies here."""
    with pytest.raises(LogForked, match="end is missing"):
        _fsck(path, roots=[KnownRoot("the head that is kept apart", SIZE + 1, bytes(32))])


def test_an_older_database_is_not_changed(tmp_path: Path) -> None:
    """A database of an older form is left to the node to bring up to date."""
    path = tmp_path / "old.db"
    SqlDatabase.open(f"sqlite:///{path}", create=True).close()
    _change(path, "UPDATE databund_revision SET version_num = '0001'")

    with pytest.raises(StoreUnavailable, match="older"):
        StoredLog.open(f"sqlite:///{path}")


def test_a_database_on_postgresql_is_checked(fresh_postgres_url: str) -> None:
    """The other engine is read the same way."""
    log = stored_logs.StoredLog.of(numbered(700))
    places = [parse_path(place) for place in log.resources if place != "checkpoint"]
    tiles = {(tile.level, tile.index): log.resources[tile.path] for tile in places if isinstance(tile, Tile)}
    database = SqlDatabase.open(fresh_postgres_url, create=True)
    with database.write() as tables:
        tables.log.write(0, numbered(700), tiles=tiles, checkpoint=log.checkpoint())
    database.close()

    stored = StoredLog.open(fresh_postgres_url)
    try:
        assert (fsck(stored, checks()).size, list(stored.cosigned()), stored.anchors()) == (700, [], [])
    finally:
        stored.close()


def test_a_running_node_is_checked(tmp_path: Path) -> None:
    """The command reads the home of a node that goes on working, and names the bad byte once there is one."""
    with node_in_process(tmp_path, operator=Identity.generate()) as node:
        provider = node.funded()
        dataset = provider.publish(table(tmp_path), ABOUT).dataset
        provider.offer(dataset, terms(provider))
        assert _command(tmp_path)["sound"] is True
        provider.publish(table(tmp_path, rows=4), ABOUT)
        found = _command(tmp_path)
    assert (found["sound"], found["entries"], found["known_roots"]) == (True, 3, 1)

    _change(tmp_path / "node" / "databund.db", 'UPDATE log_entries SET entry = ? WHERE "index" = 1', b"edited")
    found = _command(tmp_path, code=Exit.INTEGRITY_FAILED)
    assert (found["fault"]["resource"], found["fault"]["entry"], found["error"]["code"]) == (
        "entry bundle",
        1,
        "log.damaged",
    )


def _command(folder: Path, *, code: int = Exit.OK) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABUND_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-m", "databund", "audit", "fsck", "--home", str(folder / "node"), "--json"],
        env={**kept, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
