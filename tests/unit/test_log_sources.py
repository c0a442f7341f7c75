"""What can be told from the tiles of a log: whether it grew, forked, or is just broken."""

from __future__ import annotations

import pytest

from databund.errors import LogForked, ProofInvalid
from databund.tlog.checkpoints import Checkpoint, read_unverified
from databund.tlog.sources import verify_extension
from tests.stored_logs import StoredLog, numbered

ENTRIES = numbered(900)
FORKED = [b"another", *ENTRIES[1:]]
SIZES = [1, 2, 3, 255, 256, 257, 300, 512, 513, 768]


def _checkpoint(log: StoredLog) -> Checkpoint:
    return read_unverified(log.resources["checkpoint"])


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", [257, 700, 768, 900])
def test_growth_and_forks_are_told_apart(old: int, new: int) -> None:
    """From any size to any larger one: the same beginning extends, another is a proven fork."""
    if old >= new:
        return
    before = _checkpoint(StoredLog.of(ENTRIES[:old]))
    honest, forked = StoredLog.of(ENTRIES[:new]), StoredLog.of(FORKED[:new])

    verify_extension(before, _checkpoint(honest), honest)
    with pytest.raises(LogForked, match="does not begin"):
        verify_extension(before, _checkpoint(forked), forked)


@pytest.mark.parametrize("old", SIZES)
def test_broken_tiles_never_prove_a_fork(old: int) -> None:
    """Whichever tile is broken, an honest log is never called forked: at worst it cannot show that it grew."""
    before, whole = _checkpoint(StoredLog.of(ENTRIES[:old])), StoredLog.of(ENTRIES)
    for path in [path for path in whole.resources if path.startswith("tile/") and "entries" not in path]:
        for place in (0, -1):
            content = bytearray(whole.resources[path])
            content[place] ^= 1
            broken = StoredLog(whole.resources | {path: bytes(content)})
            try:
                verify_extension(before, _checkpoint(broken), broken)
            except ProofInvalid:
                continue


def test_the_first_checkpoint_extends_nothing() -> None:
    """Nothing was seen before, and nothing is asked of the tiles."""
    verify_extension(None, _checkpoint(StoredLog.of(ENTRIES)), StoredLog())
