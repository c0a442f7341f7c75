"""Signed heads on a disk: torn writes, full disks, damaged files, and processes that race."""

from __future__ import annotations

import errno
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from databund.errors import HeadMoved, InvalidInput, StoreCorrupt, StoreFull, StoreUnavailable
from databund.storage.heads import MAX_HEAD_BYTES, FileHeads

ORIGIN = "exchange.example/audit"
OLD, NEW = b"old head " * 40, b"new head " * 41
SLOT_BYTES = 16 * 1024


def only_file(folder: Path) -> Path:
    """The file of the one log in this folder."""
    (path,) = folder.iterdir()
    return path


def open_files() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("former", [None, b"oldest head"])
def test_every_torn_write_leaves_the_old_or_the_new_head(tmp_path: Path, former: bytes | None) -> None:
    """Cut after any byte, or with any byte missing, a write leaves the old head or the new one, and can be repeated."""
    heads = FileHeads(tmp_path)
    if former is not None:
        heads.replace(ORIGIN, former, was=None)
    heads.replace(ORIGIN, OLD, was=former)
    before = only_file(tmp_path).read_bytes()
    heads.replace(ORIGIN, NEW, was=OLD)
    after = only_file(tmp_path).read_bytes()
    changed = [at for at in range(2 * SLOT_BYTES) if before[at] != after[at]]
    assert len({at // SLOT_BYTES for at in changed}) == 1

    found = set()
    for at in range(min(changed), max(changed) + 2):
        for torn in (
            after[:at] + before[at:],
            before[:at] + after[at:],
            after[:at] + before[at : at + 1] + after[at + 1 :],
        ):
            only_file(tmp_path).write_bytes(torn)
            head = heads.get(ORIGIN)
            assert head in (OLD, NEW)
            found.add(head)
    assert found == {OLD, NEW}


def test_head_goes_on_after_a_torn_write(tmp_path: Path) -> None:
    """After a torn write the next replacement is whole, and the one after it, too."""
    heads = FileHeads(tmp_path)
    heads.replace(ORIGIN, OLD, was=None)
    torn = bytearray(only_file(tmp_path).read_bytes())
    torn[:SLOT_BYTES] = bytes(SLOT_BYTES // 2) + os.urandom(SLOT_BYTES // 2)
    only_file(tmp_path).write_bytes(torn)

    heads.replace(ORIGIN, NEW, was=OLD)
    heads.replace(ORIGIN, OLD, was=NEW)

    assert FileHeads(tmp_path).get(ORIGIN) == OLD


@pytest.mark.parametrize("damage", [b"", bytes(2 * SLOT_BYTES), b"\xff" * 2 * SLOT_BYTES, b"x", bytes(SLOT_BYTES)])
def test_damage_in_both_slots_is_no_empty_log(tmp_path: Path, damage: bytes) -> None:
    """A file without one whole slot is corrupt: it is never taken for a log that was not signed yet."""
    heads = FileHeads(tmp_path)
    heads.replace(ORIGIN, OLD, was=None)
    only_file(tmp_path).write_bytes(damage)

    for opening in (heads, FileHeads(tmp_path)):
        with pytest.raises(StoreCorrupt):
            opening.get(ORIGIN)
        with pytest.raises(StoreCorrupt):
            opening.replace(ORIGIN, NEW, was=None)
        with pytest.raises(StoreCorrupt):
            opening.replace(ORIGIN, NEW, was=OLD)


def test_head_of_another_log_is_no_head(tmp_path: Path) -> None:
    """A file that was copied over another log's is corrupt."""
    heads = FileHeads(tmp_path)
    heads.replace(ORIGIN, OLD, was=None)
    first = only_file(tmp_path)
    heads.replace("other.example", NEW, was=None)
    (second,) = set(tmp_path.iterdir()) - {first}
    first.write_bytes(second.read_bytes())

    with pytest.raises(StoreCorrupt):
        heads.get(ORIGIN)


def test_file_that_was_half_made_is_made_again(tmp_path: Path) -> None:
    """What a crash left of making a log's file is in nobody's way."""
    heads = FileHeads(tmp_path)
    heads.replace(ORIGIN, OLD, was=None)
    path = only_file(tmp_path)
    heads.close()
    path.rename(f"{path}.new")
    Path(f"{path}.new").write_bytes(b"half")

    assert heads.get(ORIGIN) is None
    heads.replace(ORIGIN, NEW, was=None)
    assert heads.get(ORIGIN) == NEW


def test_longest_head_is_kept(tmp_path: Path) -> None:
    """The longest note fills its slot and does not touch the other one; a longer one is refused."""
    heads = FileHeads(tmp_path)
    first, second = b"a" * MAX_HEAD_BYTES, b"b" * MAX_HEAD_BYTES
    heads.replace(ORIGIN, first, was=None)
    heads.replace(ORIGIN, second, was=first)
    with pytest.raises(InvalidInput):
        heads.replace(ORIGIN, second + b"b", was=second)

    assert heads.get(ORIGIN) == second
    assert only_file(tmp_path).stat().st_size == 2 * SLOT_BYTES


def test_more_logs_than_open_files(tmp_path: Path) -> None:
    """A witness of many logs keeps a bounded number of files open."""
    heads = FileHeads(tmp_path)
    before = open_files()
    for number in range(200):
        heads.replace(f"log{number}", b"head", was=None)

    assert open_files() - before <= 128
    assert {heads.get(f"log{number}") for number in range(200)} == {b"head"}
    heads.close()
    assert open_files() <= before
    assert heads.get("log7") == b"head"


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, StoreFull), (errno.EIO, StoreUnavailable)])
def test_full_and_failing_disks_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """A disk that is full or fails is an error of the store, and the old head stays."""
    heads = FileHeads(tmp_path)
    heads.replace(ORIGIN, OLD, was=None)

    def fail(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", fail)
        with pytest.raises(error):
            heads.replace(ORIGIN, NEW, was=OLD)
    assert heads.get(ORIGIN) == OLD
    heads.replace(ORIGIN, NEW, was=OLD)


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A folder below a file cannot be used."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreUnavailable):
        FileHeads(tmp_path / "file" / "heads")


def race(folder: Path, number: int, rounds: int, start: Barrier, won: Path) -> None:
    """Replace the head of each round as soon as both processes know it; write down the rounds that were won."""
    heads, wins = FileHeads(folder), []
    for step in range(rounds):
        was = heads.get(ORIGIN)
        start.wait(60)
        try:
            heads.replace(ORIGIN, b"%d by %d" % (step, number), was=was)
            wins.append(step)
        except HeadMoved:
            pass
        start.wait(60)
    won.write_text(" ".join(map(str, wins)))


def test_two_processes_never_both_win(tmp_path: Path) -> None:
    """Of two processes that replace the same former head at once, 1,000 times, exactly one does each time."""
    context, rounds = multiprocessing.get_context("spawn"), 1000
    start, files = context.Barrier(2), [tmp_path / "won0", tmp_path / "won1"]
    racers = [
        context.Process(target=race, args=(tmp_path / "heads", number, rounds, start, files[number]))
        for number in range(2)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0, 0]
    wins = sorted(int(step) for file in files for step in file.read_text().split())
    assert wins == list(range(rounds))
