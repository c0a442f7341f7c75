"""Images of what power loss leaves: writes torn at each byte and each sector, of the database, its WAL and the head.

Whatever is torn, the log opens with all that was acknowledged and goes on without a fork; only where acknowledged data
is gone from the disk it refuses. ``DATABUND_TORN=all`` takes every image, else a part of them is sampled.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from databund.errors import LogForked, StoreCorrupt
from databund.storage.heads import FileHeads
from tests.integration.log_victim import ORIGIN, Judge, act, append, checkpoint, do, open_log

ALL = os.environ.get("DATABUND_TORN") == "all"
SAMPLES = 22
FRAME = 24 + 4096
WAL_HEADER = 32
SECTOR = 512
Make = Callable[[], bytes]
DICE = random.Random(20_261_123)  # noqa: S311  # repeatable, not secret


@dataclass(frozen=True)
class Image:
    """The three files of a log."""

    database: bytes
    wal: bytes
    head: bytes


@dataclass(frozen=True)
class States:
    """A log before its last act was begun, after it was acknowledged, and after its WAL was written back."""

    before: Image
    after: Image
    written_back: Image
    judge: Judge
    """What was acknowledged before."""


def _read(folder: Path) -> Image:
    (head,) = (path for path in (folder / "heads").iterdir())
    return Image((folder / "log.db").read_bytes(), (folder / "log.db-wal").read_bytes(), head.read_bytes())


def _acts(*, used_wal: bool, large: bool) -> States:
    """A log of a few hundred entries, and one act more; with ``used_wal`` older frames lie behind the new ones."""
    with tempfile.TemporaryDirectory(dir=_fast_disk()) as name:
        folder, judge = Path(name), Judge()
        heads = FileHeads(folder / "heads")
        database, auditor = open_log(f"sqlite:///{folder}/log.db", heads)
        with database.write() as tables:
            for number in range(240):
                do(auditor, tables, act(f"early {number}"))
        if used_wal:
            for number in range(12):
                append(database, auditor, f"later {number}", reason="x" * 3_000)
            with sqlite3.connect(folder / "log.db") as connection:
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            connection.close()
        for number in range(0 if used_wal else 12):
            append(database, auditor, f"before {number}")
        judge.judge(database, heads)
        before = _read(folder)
        append(database, auditor, "the last act", reason="y" * (20_000 if large else 100))
        after = _read(folder)
        with sqlite3.connect(folder / "log.db") as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.close()
        written_back = _read(folder)
        database.close()
        heads.close()
    assert before.database == after.database != written_back.database
    return States(before, after, written_back, judge)


def _fast_disk() -> str | None:
    """Memory, where there is a folder of it: nothing here depends on a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


@pytest.fixture(scope="module", params=["a new WAL", "a used WAL", "a large act"])
def states(request: pytest.FixtureRequest) -> States:
    """A log around its last act."""
    return _acts(used_wal=request.param == "a used WAL", large=request.param == "a large act")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for images."""
    with tempfile.TemporaryDirectory(dir=_fast_disk()) as name:
        yield Path(name)


def _open(image: Image, states: States, folder: Path) -> str:
    """What an image comes to: ``refused``, or which act is its last, after the log has gone on from there."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "heads").mkdir()
    (folder / "log.db").write_bytes(image.database)
    (folder / "log.db-wal").write_bytes(image.wal)
    heads = FileHeads(folder / "heads")
    from databund.storage.heads import _name

    (folder / "heads" / _name(ORIGIN)).write_bytes(image.head)
    try:
        database, auditor = open_log(f"sqlite:///{folder}/log.db", heads)
    except (LogForked, StoreCorrupt) as refusal:
        heads.close()
        return "refused" if refusal.fix else "refused without a word"
    judge = replace(states.judge, roots=dict(states.judge.roots), acknowledged=dict(states.judge.acknowledged))
    with database.read() as tables:
        size = tables.log.size()
    append(database, auditor, "the next act")
    judge.judge(database, heads)  # all acknowledged entries are there, and every root is one of theirs
    assert judge.edge.size == size + 1
    assert checkpoint(heads.get(ORIGIN))[0] == size + 1
    database.close()
    heads.close()
    last = size - states.judge.edge.size
    assert last in (0, 1), "an act is lost, or there are more than were made"
    return ("before", "after")[last]


def _outcomes(images: Sequence[Callable[[], Image]], states: States, folder: Path) -> Counter[str]:
    """What the images come to; a part of them is taken, the first and the last always."""
    chosen = [images[0], *DICE.sample(images[1:-1], min(len(images) - 2, 10**9 if ALL else SAMPLES)), images[-1]]
    found = Counter(_open(image(), states, folder) for image in chosen)
    print(f"{len(chosen)} of {len(images)} images: {dict(found)}")  # noqa: T201  # seen with -s
    return found


def _with(image: Image, part: str, contents: Iterable[Make]) -> list[Callable[[], Image]]:
    """Images of which one file has these contents, each made when it is needed."""
    return [lambda content=content: replace(image, **{part: content()}) for content in contents]  # type: ignore[misc]


def _cuts(before: bytes, after: bytes) -> list[int]:
    """Where a write of what is new may be torn: each byte around the borders of frames, and each eighth between."""
    start = next((at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(before))
    end = max(
        (at + 1 for at, new in enumerate(after) if at >= len(before) or before[at] != new), default=start
    )  # what lies behind is old in both
    borders = range(WAL_HEADER, end + FRAME, FRAME)
    near = {at for border in borders for at in range(border - 32, border + 33)}
    return sorted(at for at in {*range(start, end + 1, 8), *near, start, end} if start <= at <= end)


def _torn(before: bytes, after: bytes) -> Iterator[Make]:
    """A write that ended early: over what was there, cut off, and with zeros or noise behind."""
    makers = (
        lambda at: after[:at] + before[at:],
        lambda at: after[:at],
        lambda at: after[:at] + bytes(max(0, len(after) - at)),
        lambda at: after[:at] + DICE.randbytes(max(0, len(after) - at)),
    )
    cuts = _cuts(before, after)
    for at, following in zip(cuts, [*cuts[1:], 0], strict=True):
        chosen = makers if following - at == 1 else makers[at // 8 % 4 : at // 8 % 4 + 1]
        yield from (partial(make, at) for make in chosen)


def _sectors(before: bytes, after: bytes) -> Iterator[Make]:
    """Writes of which one sector is missing or noise, or only one was done; what was there before stays."""
    old = before.ljust(len(after), b"\0")
    for at in range(0, len(after), SECTOR):
        end = min(at + SECTOR, len(after))
        start = next((byte for byte in range(at, end) if old[byte] != after[byte]), end)
        if start < end:
            yield lambda at=start, end=end: after[:at] + old[at:end] + after[end:]
            yield lambda at=start, end=end: after[:at] + DICE.randbytes(end - at) + after[end:]
            yield lambda at=start, end=end: old[:at] + after[at:end] + old[end:]


def _torn_heads(before: bytes, after: bytes) -> Iterator[Make]:
    """The head's slot, torn at each byte that differs, forwards and backwards, and with noise behind."""
    differing = [at for at in range(len(after)) if before[at] != after[at]]
    for at in differing:
        yield lambda at=at: after[:at] + before[at:]
        yield lambda at=at: before[:at] + after[at:]
        yield lambda at=at: after[:at] + DICE.randbytes(SECTOR) + after[at + SECTOR :]


def test_the_states_are_what_they_are_called(states: States, folder: Path) -> None:
    """The untouched images open, each with its own last act."""
    assert _open(states.before, states, folder) == "before"
    assert _open(states.after, states, folder) == "after"
    assert _open(states.written_back, states, folder) == "after"


def test_a_torn_wal_loses_nothing_acknowledged(states: States, folder: Path) -> None:
    """Wherever the write of an act that was not acknowledged is torn, the act is there or not, and the log goes on."""
    unpublished = replace(states.after, head=states.before.head)
    images = _with(unpublished, "wal", _torn(states.before.wal, states.after.wal))
    assert _outcomes(images, states, folder).keys() == {"before", "after"}


def test_torn_sectors_lose_nothing_acknowledged(states: States, folder: Path) -> None:
    """The same when the disk wrote the sectors in any order."""
    unpublished = replace(states.after, head=states.before.head)
    images = _with(unpublished, "wal", _sectors(states.before.wal, states.after.wal))
    assert _outcomes(images, states, folder).keys() <= {"before", "after"}


def test_a_torn_head_falls_back(states: States, folder: Path) -> None:
    """Wherever the write of the head is torn, the log opens, for the database is as new as the head or newer."""
    images = _with(states.after, "head", _torn_heads(states.before.head, states.after.head))
    assert _outcomes(images, states, folder).keys() == {"after"}


def test_a_torn_head_beside_a_torn_wal(states: States, folder: Path) -> None:
    """With both torn the log goes on, or refuses where the head names an act that the database lost."""
    wals = list(_torn(states.before.wal, states.after.wal))
    heads = list(_torn_heads(states.before.head, states.after.head))
    pairs = [(DICE.choice(wals), DICE.choice(heads)) for _ in range(2_000)]
    images = [lambda wal=wal, head=head: replace(states.after, wal=wal(), head=head()) for wal, head in pairs]
    assert _outcomes(images, states, folder)["before"]  # type: ignore[arg-type]


def test_a_head_that_is_newer_than_the_wal_is_refused(states: States, folder: Path) -> None:
    """When the disk lost an act that the head names, the log refuses, and is never continued from before it."""
    images = _with(states.after, "wal", _torn(states.before.wal, states.after.wal))
    assert _outcomes(images, states, folder).keys() == {"refused", "after"}


def test_acknowledged_frames_that_are_gone_are_missed(states: States, folder: Path) -> None:
    """Where frames of acknowledged acts were cut off or overwritten, the log refuses unless all is there."""
    whole = states.before.wal
    borders = range(WAL_HEADER, len(whole) + 1, FRAME)
    cuts = [lambda at=at: whole[: max(0, at)] for border in borders for at in range(border - 2, border + 3)]
    holes = [lambda at=at: whole[:at] + bytes(SECTOR) + whole[at + SECTOR :] for at in range(0, len(whole), SECTOR)]
    assert _outcomes(_with(states.before, "wal", [*cuts, *holes]), states, folder).keys() <= {"refused", "before"}


def test_pages_that_are_torn_while_written_back(states: States, folder: Path) -> None:
    """While the WAL is written back, whichever sectors of the database are old or noise, nothing is lost."""
    images = _with(states.after, "database", _sectors(states.after.database, states.written_back.database))
    assert _outcomes(images, states, folder).keys() == {"after"}


def test_a_head_that_is_destroyed_is_refused(states: States, folder: Path) -> None:
    """With both slots of the head destroyed nothing is signed, because nobody knows what was shown."""
    for ruined in (bytes(len(states.after.head)), states.after.head[:100], b""):
        assert _open(replace(states.after, head=ruined), states, folder) == "refused"
