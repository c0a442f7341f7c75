"""The monitor's memory: what it keeps between looks, and what it takes for a sign of life."""

from __future__ import annotations

from pathlib import Path

import pytest

from databund.errors import NodeChanged
from databund.sdk.monitoring import AlarmKind, Monitor, Sighting
from databund.tlog.checkpoints import read_unverified
from tests.stored_logs import KEY, StoredLog, numbered
from tests.unit.tlog_keys import Key

ENTRIES = numbered(600)
FORKED = [b"another", *ENTRIES[1:]]
HOUR = 3600


def _look(folder: Path, log: StoredLog, *, now: int = 0, entries: bool = False) -> Sighting:
    """Look once with a new monitor, as after a restart."""
    return Monitor(log, folder, KEY.vkey, stale_s=HOUR, entries=entries).look(now)


def _kind(seen: Sighting) -> AlarmKind | None:
    return None if seen.alarm is None else seen.alarm.kind


def test_what_was_verified_outlives_the_process(tmp_path: Path) -> None:
    """After a restart a smaller log is still a rollback, and the stored checkpoint is the larger one."""
    _look(tmp_path, StoredLog.of(ENTRIES))

    seen = _look(tmp_path, StoredLog.of(ENTRIES[:10]))

    assert (_kind(seen), read_unverified((tmp_path / "checkpoint").read_bytes()).size) == (AlarmKind.ROLLBACK, 600)


def test_evidence_is_never_overwritten(tmp_path: Path) -> None:
    """Each contradicting checkpoint is a file of its own, however often it is seen."""
    _look(tmp_path, StoredLog.of(ENTRIES[:300]))
    for size in (300, 400, 400, 500):
        assert _kind(_look(tmp_path, StoredLog.of(FORKED[:size]))) is AlarmKind.FORK

    assert sorted(int(file.name.split("-")[0]) for file in (tmp_path / "evidence").iterdir()) == [300, 300, 400, 500]


def test_time_passes_between_looks(tmp_path: Path) -> None:
    """Silence is counted from the last growth, also over restarts; growth ends it."""
    log = StoredLog.of(ENTRIES[:300])

    assert [_kind(_look(tmp_path, log, now=now)) for now in (1000, 1000 + HOUR, 1001 + HOUR)] == [
        None,
        None,
        AlarmKind.STALE,
    ]
    assert _kind(_look(tmp_path, StoredLog.of(ENTRIES), now=2 * HOUR + 5000)) is None


def test_a_clock_that_jumps_back_is_no_alarm(tmp_path: Path) -> None:
    """The monitor's own clock may be set back; nothing is stale because of it."""
    log = StoredLog.of(ENTRIES[:300])
    _look(tmp_path, log, now=10 * HOUR)

    assert _kind(_look(tmp_path, log, now=HOUR)) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"alive":"x"}'])
def test_a_damaged_note_of_time_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    """What says when the log last lived is a help, not a proof."""
    _look(tmp_path, StoredLog.of(ENTRIES[:300]), now=5)
    (tmp_path / "alive.json").write_bytes(damage)

    assert _kind(_look(tmp_path, StoredLog.of(ENTRIES[:300]), now=10 * HOUR)) is None


def test_a_state_folder_is_of_one_key(tmp_path: Path) -> None:
    """A folder that remembers one log is not used for another."""
    _look(tmp_path, StoredLog.of(ENTRIES))

    with pytest.raises(NodeChanged):
        Monitor(StoredLog.of(ENTRIES), tmp_path, Key("log.example/other").vkey, stale_s=HOUR)


def test_with_entries_a_rollback_to_another_history_is_found(tmp_path: Path) -> None:
    """A mirror holds every entry, so that nothing has to be asked of the log."""
    assert _kind(_look(tmp_path, StoredLog.of(ENTRIES), entries=True)) is None
    assert (tmp_path / "mirror" / "tile" / "entries" / "001").exists()
    assert _kind(_look(tmp_path, StoredLog.of(FORKED[:10]), entries=True)) is AlarmKind.ROLLBACK
