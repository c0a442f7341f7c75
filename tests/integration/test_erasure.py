"""Erasure: after it, nothing of an attachment is left in the files of a database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from databund.app.attaching import Attaching
from databund.core.attachments import Attachment, ErasureReason
from databund.core.events import Event, EventKind
from databund.crypto.attachments import seal, unseal
from databund.errors import NotFound, StoreUnavailable
from databund.storage import sqlite
from databund.storage.database import SqlDatabase
from databund.testing.faults import InterruptedDatabase, Interruption
from tests.unit.marketplace import OPERATOR, Marketplace

NOW = 1_800_000_000
LONG = 20_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqlDatabase]:
    """A database in a file."""
    database = SqlDatabase.open(f"sqlite:///{tmp_path}/databund.db", create=True)
    yield database
    database.close()


def add(database: SqlDatabase, *attachments: Attachment) -> None:
    """Keep attachments, each in a database transaction of its own."""
    for attachment in attachments:
        with database.write() as tables:
            tables.attachments.add(attachment)


def erase(database: SqlDatabase, attachment: Attachment) -> None:
    """Erase one."""
    with database.write() as tables:
        tables.attachments.erase(attachment.commitment, NOW)


def found(folder: Path, attachment: Attachment) -> set[str]:
    """Which of an attachment's secrets the files hold: each salt, key, and any 64 bytes of the sealed content."""
    sealed = attachment.sealed or b""
    pieces = {sealed[start : start + 64] for start in range(0, len(sealed) - 63, 64)}
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    secrets = {"salt": {attachment.salt or b""}, "key": {attachment.key or b""}, "sealed": pieces}
    return {name for name, kinds in secrets.items() for kind in kinds if any(kind in file for file in files)}


@pytest.mark.parametrize("length", [40, 3_500, LONG], ids=["small", "almost a page", "many pages"])
def test_nothing_is_left_in_the_files(database: SqlDatabase, tmp_path: Path, length: int) -> None:
    """When an erasure returns, neither the file nor the WAL holds key, salt or any piece of the sealed content."""
    attachment = seal(b"x" * length, at=NOW)
    add(database, attachment)
    assert found(tmp_path, attachment) == {"salt", "key", "sealed"}
    erase(database, attachment)
    assert found(tmp_path, attachment) == set()
    assert (tmp_path / "databund.db-wal").stat().st_size == 0


def test_pages_that_were_split_and_emptied_keep_nothing(database: SqlDatabase, tmp_path: Path) -> None:
    """Of 600 attachments, whose rows moved between pages, each that is erased is gone, and the others still open."""
    attachments = [seal(b"x" * (7 * number % 900), at=NOW) for number in range(600)]
    add(database, *attachments)
    with database.write() as tables:
        for attachment in attachments[:500]:
            tables.attachments.erase(attachment.commitment, NOW)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for attachment in attachments[:500]:
        assert (attachment.key or b"") not in files
        assert (attachment.salt or b"") not in files
        assert (attachment.sealed or b"")[:64] not in files
    with database.read() as tables:
        assert [unseal(tables.attachments.get(each.commitment)) for each in attachments[500:]]


def test_an_erasure_that_is_undone_keeps_it(database: SqlDatabase) -> None:
    """An erasure whose block raises has erased nothing."""
    attachment = seal(b"x", at=NOW)
    add(database, attachment)

    def fail() -> None:
        with database.write() as tables:
            tables.attachments.erase(attachment.commitment, NOW)
            raise StoreUnavailable("The disk is gone.", fix="Try again.")

    with pytest.raises(StoreUnavailable):
        fail()
    with database.read() as tables:
        assert unseal(tables.attachments.get(attachment.commitment)) == b"x"


def test_a_reader_delays_the_wal_and_stops_nothing(
    database: SqlDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure ends while an older snapshot is read, and the WAL is cut with the next act after that reader."""
    monkeypatch.setattr(sqlite, "_READERS_PATIENCE_MS", 10)
    attachment = seal(b"x" * LONG, at=NOW)
    add(database, attachment)
    with database.read() as tables:
        assert unseal(tables.attachments.get(attachment.commitment))
        eraser = threading.Thread(target=erase, args=(database, attachment))
        eraser.start()
        eraser.join(20)
        assert not eraser.is_alive()
        assert unseal(tables.attachments.get(attachment.commitment))  # its snapshot is older
    assert "key" in found(tmp_path, attachment)
    add(database, seal(b"y", at=NOW))
    assert found(tmp_path, attachment) == set()


def test_a_crash_before_the_wal_is_cut_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crash left in the WAL is gone after the first act on the database that was opened again."""
    monkeypatch.setattr(sqlite, "_cut_wal", lambda _connection, _record: None)
    crashed = SqlDatabase.open(f"sqlite:///{tmp_path}/databund.db", create=True)
    attachment = seal(b"x" * LONG, at=NOW)
    add(crashed, attachment)
    erase(crashed, attachment)
    image = tmp_path / "image"
    image.mkdir()
    for path in list(tmp_path.glob("databund.db*")):
        (image / path.name).write_bytes(path.read_bytes())
    crashed.close()
    monkeypatch.undo()
    assert "key" in found(image, attachment)
    opened = SqlDatabase.open(f"sqlite:///{image}/databund.db", create=False)
    with opened.write() as tables, pytest.raises(NotFound):
        unseal(tables.attachments.get(attachment.commitment))
    assert found(image, attachment) == set()
    opened.close()


def test_without_the_pragma_traces_would_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds what a database leaves that does not overwrite, so that the other tests can fail."""
    pragmas = [*sqlite._WRITER[:-1], "PRAGMA secure_delete=OFF"]
    monkeypatch.setattr(sqlite, "_WRITER", pragmas)
    careless = SqlDatabase.open(f"sqlite:///{tmp_path}/databund.db", create=True)
    attachment = seal(b"x" * LONG, at=NOW)
    add(careless, attachment)
    erase(careless, attachment)
    careless.close()
    assert "sealed" in found(tmp_path, attachment)


@pytest.mark.parametrize("after", [False, True], ids=["not reached", "answer lost"])
def test_entry_and_erasure_are_one(tmp_path: Path, *, after: bool) -> None:
    """Wherever an erasure is interrupted, the file holds entry and erasure or neither, and again ends it once."""
    for at in count(1):
        auditor, interruption = Marketplace().auditor, Interruption(at, after=after)
        database = SqlDatabase.open(f"sqlite:///{tmp_path}/{at}.db", create=True, sealer=auditor)
        attachment = seal(b"x", at=NOW)
        add(database, attachment)
        for ports in (InterruptedDatabase(database, interruption), database):
            attaching = Attaching(ports, auditor, OPERATOR.address, lambda: NOW)
            try:
                attaching.erase(OPERATOR.address, attachment.commitment, reason=ErasureReason.MISTAKE)
            except StoreUnavailable:
                assert ports is not database
            with database.read() as tables:
                erased = tables.attachments.get(attachment.commitment).erased_at is not None
                kinds = [Event.read(entry).kind for entry in tables.log.entries(0, 10)]
            assert kinds == [EventKind.DESTROYED] * erased
        assert erased
        database.close()
        if interruption.where is None:
            break
    assert at > 3


def test_many_erase_at_once(tmp_path: Path) -> None:
    """Of sixteen who erase the same attachment at the same time, each is told one time, and the log one entry."""
    auditor, times = Marketplace().auditor, iter(range(NOW, NOW + 100))
    database = SqlDatabase.open(f"sqlite:///{tmp_path}/databund.db", create=True, sealer=auditor)
    attachment = seal(b"x", at=NOW)
    add(database, attachment)
    attaching = Attaching(database, auditor, OPERATOR.address, lambda: next(times))

    def erase_it(_: int) -> int:
        return attaching.erase(OPERATOR.address, attachment.commitment, reason=ErasureReason.MISTAKE)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(erase_it, range(16))) == {NOW}
    with database.read() as tables:
        assert len(tables.log.entries(0, 100)) == 1
    assert found(tmp_path, attachment) == set()
    database.close()
