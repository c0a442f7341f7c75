"""What a killed process leaves: everything that was acknowledged, and no half of anything."""

from __future__ import annotations

import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databund.errors import NotFound
from databund.storage.database import SqlDatabase
from databund.storage.objects import open_objects
from databund.testing import samples

WRITER = Path(__file__).with_name("storage_writer.py")
ROUNDS = 5
NAME = "0x" + samples.hash32(1).hex()
PUT = """
import sys
from databund.storage.objects import open_objects

def endless():
    while True:
        yield bytes(1 << 16)
        print("more", flush=True)

open_objects(sys.argv[1]).put(sys.argv[2], endless())
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python process; it is killed at the end of the test, if not before."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either engine."""
    if request.param == "postgres":
        return request.getfixturevalue("fresh_postgres_url")
    return f"sqlite:///{tmp_path}/test.db"


def _kill_after(process: subprocess.Popen[str], lines: int) -> list[int]:
    """Let the process print some lines, kill it, and return every number it acknowledged."""
    acknowledged = [int(process.stdout.readline()) for _ in range(lines)]
    process.kill()
    rest = process.stdout.read().splitlines(keepends=True)
    return acknowledged + [int(line) for line in rest if line.endswith("\n")]


def test_a_killed_writer_loses_nothing(url: str, start: Callable[..., subprocess.Popen[str]]) -> None:
    """After SIGKILL at any moment, all that was acknowledged is there, and each database transaction is whole."""
    SqlDatabase.open(url, create=True).close()
    for _ in range(ROUNDS):
        acknowledged = _kill_after(start(str(WRITER), url), 1 + secrets.randbelow(30))
        database = SqlDatabase.open(url, create=False)
        with database.read() as tables:
            size = int(tables.log.checkpoint())
            assert size in (acknowledged[-1] + 1, acknowledged[-1] + 2)
            assert tables.log.entries(0, size + 9) == [b"%d" % number for number in range(size)]
            assert tables.log.tile(0, 0) == samples.hash32(size - 1)
            assert len(tables.orders.find(limit=10_000)) == size
            assert tables.catalog.get(samples.dataset().id).dataset.version == size
            assert len(tables.catalog.search(f"word{size - 1}", limit=9)) == 1
        database.close()
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.execute("INSERT INTO catalog_words (catalog_words) VALUES ('integrity-check')")
        connection.close()


def test_a_killed_put_leaves_nothing(tmp_path: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    """After SIGKILL in the middle of an object it cannot be seen, and opening the folder clears the leftover."""
    process = start("-c", PUT, f"file://{tmp_path}", NAME)
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    objects = open_objects(f"file://{tmp_path}")
    with pytest.raises(NotFound):
        objects.size(NAME)
    assert list(tmp_path.iterdir()) == []


def test_a_living_put_is_left_alone(tmp_path: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    """Opening the folder does not disturb an object that another process is writing."""
    process = start("-c", PUT, f"file://{tmp_path}", NAME)
    process.stdout.readline()
    open_objects(f"file://{tmp_path}")
    assert len(list(tmp_path.iterdir())) == 1
