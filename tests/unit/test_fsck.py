"""Fsck reads a stored log again: each kind of damage is found, and named by its resource and its first bad byte."""

from __future__ import annotations

import pytest

from databund.errors import LogDamaged, LogForked, NotFound
from databund.tlog.checkpoints import read_unverified
from databund.tlog.fsck import KnownCheckpoint, KnownRoot, fsck
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import Verifier, VerifierKey
from databund.tlog.policies import WitnessPolicy
from databund.tlog.tiles import TreeEdge, parse_entries
from tests.stored_logs import KEY, ORIGIN, StoredLog, checks, numbered
from tests.unit.tlog_keys import Key, witness_key

SIZE = 256 * 256 + 256 + 7
WITNESS = witness_key("witness.example")


@pytest.fixture(scope="module")
def entries() -> list[bytes]:
    """As many entries as make a full tile of level 1, and partial ones on every level."""
    return numbered(SIZE)


@pytest.fixture
def log(entries: list[bytes]) -> StoredLog:
    """The log of these entries, to be damaged."""
    return StoredLog.of(entries)


def _flip(log: StoredLog, path: str, offset: int) -> None:
    content = bytearray(log.resources[path])
    content[offset] ^= 0x20
    log.resources[path] = bytes(content)


def _fault(log: StoredLog) -> LogDamaged:
    with pytest.raises(LogDamaged) as caught:
        fsck(log, checks())
    return caught.value


def _root(entries: list[bytes]) -> bytes:
    return TreeEdge().append(map(leaf_hash, entries)).edge.root()


def _policy(*witnesses: Key) -> WitnessPolicy:
    def verifier(key: VerifierKey) -> Verifier:
        return next(witness.verifier() for witness in witnesses if witness.vkey == key)

    lines = [f"witness w{number} {witness.vkey}" for number, witness in enumerate(witnesses)]
    names = " ".join(f"w{number}" for number in range(len(witnesses)))
    return WitnessPolicy.parse(
        "\n".join([*lines, f"group all-of-them all {names}", "quorum all-of-them", ""]).encode(), verifier
    )


def test_a_whole_log_is_sound(log: StoredLog, entries: list[bytes]) -> None:
    """Every tile of every level and the checkpoint are counted, and progress ends at the size."""
    told: list[tuple[int, int]] = []

    found = fsck(log, checks(), progress=lambda done, total: told.append((done, total)))

    assert (found.size, found.root, found.tiles) == (SIZE, _root(entries), 258 + 2 + 1)
    assert told[-1] == (SIZE, SIZE)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700])
def test_every_small_size_is_sound(size: int) -> None:
    """Full and partial edges are walked alike."""
    assert fsck(StoredLog.of(numbered(size)), checks()).size == size


def test_an_empty_log_is_not_found() -> None:
    """A log without a checkpoint cannot be checked."""
    with pytest.raises(NotFound):
        fsck(StoredLog(), checks())


@pytest.mark.parametrize("path", ["tile/0/003", "tile/1/000", "tile/0/257.p/7", "tile/1/001.p/1", "tile/2/000.p/1"])
def test_a_bad_tile_is_named_by_its_first_bad_byte(log: StoredLog, path: str) -> None:
    """The tree above, or the signed root, says that the tile is the damaged one and not its entries."""
    offset = len(log.resources[path]) - 5
    _flip(log, path, offset)

    fault = _fault(log)

    assert (fault.resource, fault.path, fault.offset) == ("tile", path, offset)


@pytest.mark.parametrize(("bundle", "width"), [("tile/entries/002", 256), ("tile/entries/257.p/7", 7)])
def test_a_bad_entry_is_named_by_where_it_begins(log: StoredLog, bundle: str, width: int) -> None:
    """The tile and the tree above agree, so the entry is the damaged one; its index is given."""
    before = parse_entries(log.resources[bundle], width=width)[:5]
    start = sum(2 + len(entry) for entry in before)
    _flip(log, bundle, start + 4)

    fault = _fault(log)

    assert (fault.resource, fault.path, fault.offset) == ("entry bundle", bundle, start)
    assert fault.index == (2 if width == 256 else 257) * 256 + 5


@pytest.mark.parametrize("path", ["tile/0/001", "tile/1/000", "tile/entries/001", "tile/2/000.p/1"])
def test_a_missing_resource_is_named(log: StoredLog, path: str) -> None:
    """A file that is gone is the fault."""
    del log.resources[path]

    assert (_fault(log).path, _fault(log).offset) == (path, 0)


@pytest.mark.parametrize("path", ["tile/0/001", "tile/1/000", "tile/entries/001", "tile/entries/257.p/7"])
def test_a_truncated_resource_is_named_where_it_ends(log: StoredLog, path: str) -> None:
    """A torn resource is bad from the hash or the entry on that was cut."""
    log.resources[path] = log.resources[path][:-3]

    fault = _fault(log)

    assert fault.path == path
    assert len(log.resources[path]) - 64 < fault.offset <= len(log.resources[path])


@pytest.mark.parametrize("path", ["tile/0/001", "tile/1/000", "tile/entries/001"])
def test_bytes_behind_the_end_are_named(log: StoredLog, path: str) -> None:
    """A resource that goes on is bad from its end on."""
    whole = len(log.resources[path])
    log.resources[path] += b"more"

    assert (_fault(log).path, _fault(log).offset) == (path, whole)


def test_reordered_entries_are_found(log: StoredLog) -> None:
    """Two entries that changed places are two entries that changed; the first is named."""
    content = log.resources["tile/entries/000"]
    first, second = parse_entries(content)[:2]
    swapped = len(second).to_bytes(2, "big") + second + len(first).to_bytes(2, "big") + first
    log.resources["tile/entries/000"] = swapped + content[len(swapped) :]

    assert (_fault(log).path, _fault(log).index) == ("tile/entries/000", 0)


def test_an_entry_replaced_with_its_tile_is_found(log: StoredLog, entries: list[bytes]) -> None:
    """Who rewrites an entry and its tile is found by the level above, which names the bundle."""
    changed = [*entries[:300], b"another", *entries[301:512]]
    log.resources |= {path: StoredLog.of(changed).resources[path] for path in ("tile/0/001", "tile/entries/001")}

    assert (_fault(log).path, _fault(log).index) == ("tile/entries/001", 256)


def test_a_rewritten_log_is_a_fork(log: StoredLog, entries: list[bytes]) -> None:
    """Entries and all tiles changed together still lack the signed root; a known root says from where on."""
    rewritten = StoredLog.of([*entries[:-3], b"another", *entries[-2:]])
    rewritten.resources["checkpoint"] = log.resources["checkpoint"]

    with pytest.raises(LogForked, match="from entry 300 on"):
        fsck(rewritten, checks(roots=[KnownRoot("block 7", 300, _root(entries[:300]))]))


def test_an_anchored_root_that_differs_is_a_fork(log: StoredLog, entries: list[bytes]) -> None:
    """A log that its own key signed anew still contradicts what the chain says of an earlier size."""
    with pytest.raises(LogForked, match="size 1000 than block 9"):
        fsck(log, checks(roots=[KnownRoot("block 9", 1000, bytes(32))]))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_536, SIZE])
def test_known_roots_of_every_size_are_met(log: StoredLog, entries: list[bytes], size: int) -> None:
    """A root is compared while the walk passes its size, on and off the edges of tiles."""
    assert fsck(log, checks(roots=[KnownRoot("block 1", size, _root(entries[:size]))])).roots == 1


def test_a_restored_backup_is_found(log: StoredLog) -> None:
    """A log that ends before a checkpoint that was signed lost its end."""
    longer = StoredLog.of(numbered(SIZE + 1)).resources["checkpoint"]

    with pytest.raises(LogForked, match="end is missing"):
        fsck(log, checks(checkpoints=[KnownCheckpoint("heads/log", longer)]))


def test_cosigned_checkpoints_are_verified(log: StoredLog, entries: list[bytes]) -> None:
    """Each kept checkpoint is opened under the policy, and its root compared at its size."""
    kept = [StoredLog.of(entries[:size], witnesses=[WITNESS]).resources["checkpoint"] for size in (5, 600)]
    known = [KnownCheckpoint(f"cosigned/{number}", note) for number, note in enumerate(kept)]

    found = fsck(log, checks(policy=_policy(WITNESS), checkpoints=known))

    assert (found.checkpoints, found.cosignatures) == (3, 2)


def test_a_bad_cosignature_is_named_by_its_line(log: StoredLog, entries: list[bytes]) -> None:
    """A damaged line of a kept checkpoint is found where it begins."""
    note = StoredLog.of(entries[:5], witnesses=[WITNESS]).resources["checkpoint"]
    line = note.rindex("— ".encode())
    bad = note[:-20] + (b"B" if note[-20:-19] == b"A" else b"A") + note[-19:]

    with pytest.raises(LogDamaged, match="line 6") as caught:
        fsck(log, checks(policy=_policy(WITNESS), checkpoints=[KnownCheckpoint("cosigned/5", bad)]))
    assert (caught.value.path, caught.value.offset) == ("cosigned/5", line)


def test_a_checkpoint_of_another_key_is_named(entries: list[bytes]) -> None:
    """Who is not the log does not sign for it."""
    other = StoredLog.of(entries[:5], key=Key("log.example/other"))
    other.resources["checkpoint"] = other.resources["checkpoint"].replace(
        b"log.example/other\n", f"{ORIGIN}\n".encode(), 1
    )

    assert (_fault(other).path, _fault(other).resource) == ("checkpoint", "checkpoint")


def test_a_narrower_tile_that_differs_is_found(log: StoredLog, entries: list[bytes]) -> None:
    """Partial tiles of earlier sizes, which clients may still ask for, are compared with their successors."""
    from databund.tlog.tiles import EntryBundle, Tile

    earlier = StoredLog.of(entries[:100]).resources
    log.resources |= {path: earlier[path] for path in ("tile/0/000.p/100", "tile/entries/000.p/100")}
    partials = [Tile(0, 0, 100), EntryBundle(0, 100)]
    assert fsck(log, checks(partials=partials)).partials == 2

    _flip(log, "tile/entries/000.p/100", 7)
    with pytest.raises(LogDamaged, match=r"entries/000\.p/100"):
        fsck(log, checks(partials=partials))


def test_the_log_key_is_the_one_that_was_given(log: StoredLog) -> None:
    """The verifier decides, not the note."""
    assert read_unverified(log.resources["checkpoint"]).origin == KEY.vkey.name
