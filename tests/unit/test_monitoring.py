"""The monitor's memory: what it keeps between looks, and what it takes for a sign of life."""

from __future__ import annotations

from pathlib import Path

import pytest

from databund.errors import NodeChanged
from databund.sdk.monitoring import AlarmKind, Monitor, Sighting
from databund.tlog.checkpoints import read_unverified, sign_checkpoint
from databund.tlog.notes import Signature
from tests.stored_logs import KEY, StoredLog, numbered
from tests.unit.tlog_keys import Key, quorum_of, witness_key

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


# --- who would keep the monitor quiet ---

WITNESSES = [witness_key(f"w{number}.example") for number in range(3)]


def _watched(folder: Path, log: StoredLog, *, now: int, threshold: int = 2) -> Sighting:
    """Look under a policy that asks for some of three witnesses."""
    return Monitor(log, folder, KEY.vkey, policy=quorum_of(threshold, *WITNESSES), stale_s=HOUR).look(now)


def _recosigned(log: StoredLog, *times: tuple[Key, int]) -> StoredLog:
    """The log under the same checkpoint, cosigned at these times."""
    checkpoint = read_unverified(log.resources["checkpoint"])
    signers = [KEY.signer(), *(witness.signer(timestamp_s=at) for witness, at in times)]
    return StoredLog({**log.resources, "checkpoint": sign_checkpoint(checkpoint, signers).to_bytes()})


def test_a_forged_cosignature_does_not_hide_a_fork(tmp_path: Path) -> None:
    """A line in a witness's name that is wrong makes no fork a mere forgery: the fork is named, and kept."""
    _watched(tmp_path, StoredLog.of(ENTRIES[:300], witnesses=WITNESSES), now=0)
    forked = StoredLog.of(FORKED[:400])
    junk = Signature(WITNESSES[0].vkey.name, WITNESSES[0].vkey.key_id, bytes(72))
    forked.resources["checkpoint"] += str(junk).encode()

    seen = _watched(tmp_path, forked, now=1)

    assert seen.alarm is not None
    assert (seen.alarm.kind, len(seen.alarm.evidence)) == (AlarmKind.FORK, 2)


def test_a_checkpoint_without_its_tree_is_kept(tmp_path: Path) -> None:
    """A fork that is signed, but not shown, is broken; its signed checkpoint stays as evidence, once."""
    _look(tmp_path, StoredLog.of(ENTRIES[:300]))
    forked = StoredLog.of(FORKED[:400])
    forked.resources |= {path: bytes(len(old)) for path, old in forked.resources.items() if path.startswith("tile/0/")}

    for name in ("a", "b"):
        forked.resources["checkpoint"] += str(Signature(name, 1, b"unknown")).encode()
        seen = _look(tmp_path, forked)

    assert _kind(seen) is AlarmKind.BROKEN
    assert sorted(int(file.name.split("-")[0]) for file in (tmp_path / "evidence").iterdir()) == [300, 400]


def test_a_witness_from_the_future_does_not_keep_a_log_alive(tmp_path: Path) -> None:
    """A cosignature of a time that has not come says nothing, neither now nor later."""
    log = _recosigned(StoredLog.of(ENTRIES[:300]), *((witness, 2**40) for witness in WITNESSES))
    _watched(tmp_path, log, now=1000)

    assert _kind(_watched(tmp_path, log, now=1001 + HOUR)) is AlarmKind.STALE


def test_one_witness_does_not_keep_a_log_alive_alone(tmp_path: Path) -> None:
    """A log is alive as long as enough witnesses cosign it anew, and no shorter for those who ceased."""
    log = StoredLog.of(ENTRIES[:300])
    old = [(witness, 1000) for witness in WITNESSES]
    _watched(tmp_path, _recosigned(log, *old), now=1000)
    later = 1001 + HOUR

    one = _recosigned(log, (WITNESSES[0], later), *old[1:])
    assert _kind(_watched(tmp_path, one, now=later)) is AlarmKind.STALE
    two = _recosigned(log, (WITNESSES[0], later), (WITNESSES[1], later), old[2])
    assert _kind(_watched(tmp_path, two, now=later)) is None


def test_a_mirror_that_was_ahead_is_the_evidence(tmp_path: Path) -> None:
    """After a stop between mirror and memory, a fork is proven by what the mirror had seen."""
    _look(tmp_path, StoredLog.of(ENTRIES[:300]), entries=True)
    before = (tmp_path / "checkpoint").read_bytes()
    _look(tmp_path, StoredLog.of(ENTRIES[:500]), entries=True)
    (tmp_path / "checkpoint").write_bytes(before)

    seen = _look(tmp_path, StoredLog.of([*ENTRIES[:300], *FORKED[:150]]), entries=True)

    assert seen.alarm is not None
    assert seen.alarm.kind is AlarmKind.FORK
    assert sorted(read_unverified(file.read_bytes()).size for file in seen.alarm.evidence) == [450, 500]
