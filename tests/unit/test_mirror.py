"""The mirror takes over what was signed and nothing else, and a crash or a lie leaves it as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from databund.errors import CheckpointInvalid, LogForked, NodeChanged, ProofInvalid, StoreCorrupt
from databund.sdk.log_sources import FolderLog
from databund.sdk.mirror import Mirror
from databund.tlog.checkpoints import Checkpoint, OpenedCheckpoint, open_checkpoint, sign_checkpoint
from databund.tlog.fsck import fsck
from databund.tlog.tiles import EntryBundle
from tests.stored_logs import KEY, ORIGIN, StoredLog, checks, numbered
from tests.unit.tlog_keys import Key

ENTRIES = numbered(256 * 3 + 5)


def _open(note: bytes) -> OpenedCheckpoint:
    return open_checkpoint(note, origin=ORIGIN, log=[KEY.verifier()])


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.glob("**/*")
        if file.is_file() and file.name != ".lock"
    }


@pytest.mark.parametrize("sizes", [(1, 2, 3), (255, 256, 257), (5, 700, 773), (256, 512, 768), (773, 773)])
def test_a_mirror_is_the_static_log(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Whatever the steps, the folder holds every resource of the newest size, byte for byte, and is sound."""
    mirror = Mirror(tmp_path)
    for size in sizes:
        mirror.update(StoredLog.of(ENTRIES[:size]), _open)

    wanted = StoredLog.of(ENTRIES[: sizes[-1]]).resources
    assert {path: _files(tmp_path).get(path) for path in wanted} == wanted
    assert fsck(FolderLog(tmp_path), checks(partials=FolderLog(tmp_path).partials(sizes[-1]))).size == sizes[-1]


def test_an_update_fetches_what_is_new(tmp_path: Path) -> None:
    """Bundles that are full and verified are not asked for again, and tiles never are."""
    asked: list[int] = []

    class Counting(StoredLog):
        def entries(self, index: int, width: int, /) -> bytes:
            asked.append(index)
            return super().entries(index, width)

    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES[:600]), _open)
    mirror.update(Counting({k: v for k, v in StoredLog.of(ENTRIES).resources.items() if "tile/0" not in k}), _open)

    assert asked == [2, 3]


def test_entries_come_back_by_index(tmp_path: Path) -> None:
    """A range is read from the middle of a bundle to the middle of another."""
    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES), _open)

    assert list(mirror.entries(250, 520)) == list(enumerate(ENTRIES))[250:520]


@pytest.mark.parametrize("bundle", [b"", b"\x00\x05entry"])
def test_a_claimed_size_costs_nothing(tmp_path: Path, bundle: bytes) -> None:
    """A log that signs for 2^62 entries, and serves nonsense, is refused at the first bundle, not after all of them."""
    claimed = sign_checkpoint(Checkpoint(ORIGIN, 2**62, bytes(32)), [KEY.signer()]).to_bytes()
    lying = StoredLog({"checkpoint": claimed, EntryBundle(0).path: bundle})

    with pytest.raises(ProofInvalid, match="not an entry bundle"):
        Mirror(tmp_path).update(lying, _open)
    assert [name for name in _files(tmp_path) if name != "log.vkey"] == []


def test_changed_entries_are_not_taken_over(tmp_path: Path) -> None:
    """A server that leaves out or changes an entry is found by its own signature, and nothing stays of it."""
    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES[:300]), _open)
    before = _files(tmp_path)
    lying = StoredLog.of(ENTRIES[:600])
    lying.resources["tile/entries/001"] = lying.resources["tile/entries/001"].replace(b"entry 400", b"entry 4oo")

    with pytest.raises(ProofInvalid, match="do not hash"):
        mirror.update(lying, _open)
    assert _files(tmp_path) == before


def test_another_history_is_a_fork(tmp_path: Path) -> None:
    """A longer log that is signed, but does not begin with what the mirror has, is a fork, proven by its tiles."""
    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES[:300]), _open)
    before = _files(tmp_path)

    with pytest.raises(LogForked, match="does not begin"):
        mirror.update(StoredLog.of([b"other", *ENTRIES[1:600]]), _open)
    assert _files(tmp_path) == before


@pytest.mark.parametrize("other", [[b"x", *ENTRIES[1:300]], [b"x", *ENTRIES[1:200]]], ids=["same size", "smaller"])
def test_a_contradiction_is_a_fork(tmp_path: Path, other: list[bytes]) -> None:
    """Two roots of one size are a fork, also of a size that the mirror has passed."""
    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES[:300]), _open)

    with pytest.raises(LogForked):
        mirror.update(StoredLog.of(other), _open)


def test_an_older_checkpoint_of_the_same_tree_changes_nothing(tmp_path: Path) -> None:
    """A log that shows an older, cosigned checkpoint does not make the mirror forget."""
    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES[:300]), _open)

    update = mirror.update(StoredLog.of(ENTRIES[:200]), _open)

    assert (update.behind, update.checkpoint.size) == (True, 300)


def test_a_crash_before_the_checkpoint_leaves_the_mirror(tmp_path: Path) -> None:
    """Files of an update that never ended are overwritten by the next one."""
    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES[:300]), _open)
    (tmp_path / EntryBundle(1).path).write_bytes(b"half")
    (tmp_path / ".checkpoint.new").write_bytes(b"half")

    mirror.update(StoredLog.of(ENTRIES), _open)

    assert fsck(FolderLog(tmp_path), checks()).size == len(ENTRIES)


def test_a_damaged_mirror_is_not_built_on(tmp_path: Path) -> None:
    """What lies there has to hash to what was verified, before anything is added."""
    mirror = Mirror(tmp_path)
    mirror.update(StoredLog.of(ENTRIES[:300]), _open)
    tile = tmp_path / "tile/0/001.p/44"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])

    with pytest.raises(StoreCorrupt, match="fsck"):
        mirror.update(StoredLog.of(ENTRIES), _open)


def test_an_unsigned_checkpoint_is_refused(tmp_path: Path) -> None:
    """Nothing is fetched under a checkpoint that the log did not sign."""
    with pytest.raises(CheckpointInvalid):
        Mirror(tmp_path).update(StoredLog.of(ENTRIES, key=Key("log.example/other")), _open)
    assert not (tmp_path / "checkpoint").exists()


def test_a_mirror_is_of_one_key(tmp_path: Path) -> None:
    """The key that was met first stays."""
    mirror = Mirror(tmp_path)
    mirror.keep_key(KEY.vkey)
    mirror.keep_key(KEY.vkey)

    with pytest.raises(NodeChanged):
        mirror.keep_key(Key("log.example/other").vkey)
