"""Tile paths, entry bundles, growth by tiles, and proofs from stored tiles."""

from __future__ import annotations

from itertools import pairwise

import pytest

from databund.errors import DocumentInvalid, IdentifierInvalid, InvalidInput, NotFound, Refused, StoreCorrupt
from databund.tlog.merkle import EMPTY_ROOT, MAX_SIZE, Frontier, leaf_hash, tree_root, verify_consistency
from databund.tlog.tiles import (
    EntryBundle,
    Prover,
    Tile,
    TreeEdge,
    changed_tiles,
    consistency_proof,
    each_changed_tile,
    format_entries,
    inclusion_proof,
    parse_entries,
    parse_path,
    root,
    tile_count,
    tile_width,
)
from tests.unit.tlog_keys import MemoryLog, log_of


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(63, 999, 255), "tile/63/999.p/255"),
        (Tile(1, 12, 1), "tile/1/012.p/1"),
        (EntryBundle(67), "tile/entries/067"),
        (EntryBundle(1234067, 112), "tile/entries/x001/x234/067.p/112"),
        (Tile(0, MAX_SIZE // 256), "tile/0/x036/x028/x797/x018/x963/967"),
    ],
)
def test_path_and_place_are_one_to_one(place: Tile | EntryBundle, path: str) -> None:
    """A place has the path that tlog-tiles gives it, and the path leads back."""
    assert place.path == path
    assert parse_path(path) == place


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000",
        "tile/0/x000/001", "tile/0/001/002", "tile/0/x001", "tile/0/x001/x002", "tile/0/x1/002", "tile/0/X001/002",
        "tile/00/001", "tile/64/001", "tile/-1/001", "tile/+1/001", "tile/0/001.p", "tile/0/001.p/",
        "tile/0/001.p/0", "tile/0/001.p/01", "tile/0/001.p/256", "tile/0/001.p/1/", "tile/0/001.p/1.p/1",
        "tile/0/001/", "/tile/0/001", "tile//001", "tile/entries/", "tile/entries/1", "tile/Entries/001",
        "tile/0/001\n", "tile/0/٠٠١", "tile/٠/001", "tiles/0/001", "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x999/x999/x999/x999/x999/x999/999", "tile/0/" + "x999/" * 9 + "999",
    ],
)  # fmt: skip
def test_other_paths_are_refused(path: str) -> None:
    """A path that tlog-tiles does not give to a tile is refused, so that no tile has two names."""
    with pytest.raises(IdentifierInvalid):
        parse_path(path)


@pytest.mark.parametrize(("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_impossible_tile_is_refused(level: int, index: int, width: int) -> None:
    """A tile outside of the specification's bounds cannot be named."""
    with pytest.raises(IdentifierInvalid):
        Tile(level, index, width)


def test_tiles_of_70000_entries_are_those_of_the_specification() -> None:
    """The example of tlog-tiles "Partial Tiles" holds."""
    tiles = changed_tiles(0, 70_000)

    assert len([tile for tile in tiles if tile.level == 0 and tile.width == 256]) == 273
    assert [tile for tile in tiles if tile.width < 256 or tile.level] == [
        Tile(0, 273, 112),
        Tile(1, 0),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]


def test_tiles_of_256_entries_are_those_of_the_specification() -> None:
    """A full tile at once gives its parent one hash."""
    assert changed_tiles(0, 256) == (Tile(0, 0), Tile(1, 0, 1))


@pytest.mark.parametrize(("level", "index", "width"), [(0, 0, 256), (0, 273, 112), (0, 274, 0), (1, 1, 17), (3, 0, 0)])
def test_tile_width_follows_from_the_size(level: int, index: int, width: int) -> None:
    """The width of a tile is the number of its hashes in a tree of 70,000 entries."""
    assert tile_width(level, index, size=70_000) == width


@pytest.mark.parametrize(("old", "new", "error"), [(2, 1, InvalidInput), (-1, 1, InvalidInput), (0, 2**63, Refused)])
def test_sizes_out_of_order_are_refused(old: int, new: int, error: type[Exception]) -> None:
    """A log neither shrinks nor outgrows 63 bits."""
    with pytest.raises(error):
        changed_tiles(old, new)


def test_bundle_is_length_prefixed() -> None:
    """Entries lie behind two big-endian length bytes, the empty one too."""
    bundle = format_entries([b"a", b"", b"b" * 258])

    assert bundle == b"\x00\x01a\x00\x00\x01\x02" + b"b" * 258
    assert parse_entries(bundle, width=3) == (b"a", b"", b"b" * 258)


@pytest.mark.parametrize("entries", [[bytes(65_535)], [b""] * 256])
def test_largest_bundles_come_back(entries: list[bytes]) -> None:
    """The longest entry and the most entries fit."""
    assert parse_entries(format_entries(entries), width=len(entries)) == tuple(entries)


@pytest.mark.parametrize("entries", [[], [b""] * 257, [bytes(65_536)]])
def test_unbundleable_entries_are_refused(entries: list[bytes]) -> None:
    """Nothing, too many entries, or one too long make no bundle."""
    with pytest.raises(DocumentInvalid):
        format_entries(entries)


@pytest.mark.parametrize(
    "bundle", [b"", b"\x00", b"\x00\x01a", b"\x00\x01a\x00", b"\x00\x01a\x00\x02b", b"\x00\x01a" * 3]
)
def test_wrong_bundle_is_refused(bundle: bytes) -> None:
    """A bundle that is cut, or holds another number of entries, is refused."""
    with pytest.raises(DocumentInvalid):
        parse_entries(bundle, width=2)


def test_append_stores_exactly_the_changed_tiles() -> None:
    """Every tile of a growth has the coordinates of `changed_tiles` and content of its width."""
    sizes = [0, 1, 2, 255, 256, 257, 511, 513, 1300]
    edge = TreeEdge()
    for old, new in pairwise(sizes):
        growth = edge.append(leaf_hash(bytes([number % 256])) for number in range(old, new))

        assert tuple(growth.tiles) == changed_tiles(old, new)
        assert all(len(content) == 32 * tile.width for tile, content in growth.tiles.items())
        edge = growth.edge


def test_append_of_nothing_changes_nothing() -> None:
    """An empty batch leaves the edge and gives no tiles."""
    edge = log_of(300).edge

    growth = edge.append([])

    assert growth.edge == edge
    assert not growth.tiles


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 70_000])
def test_edge_is_restored_from_tiles(size: int) -> None:
    """What a restart reads from storage is the edge it lost."""
    log = log_of(size)

    assert TreeEdge.load(size, log.read_exact) == log.edge


@pytest.mark.parametrize("partial", [(), (bytes(32),), (bytes(32 * 44), bytes(31)), (bytes(32 * 44), b"", b"")])
def test_edge_of_the_wrong_form_is_refused(partial: tuple[bytes, ...]) -> None:
    """An edge whose tiles do not fit its size is corrupt."""
    frontier = Frontier().extend([bytes(32)] * 300)

    with pytest.raises(StoreCorrupt):
        TreeEdge(frontier=frontier, partial=partial)


def test_empty_tree_has_the_empty_root_and_reads_nothing() -> None:
    """No tile is asked for before the first entry."""
    assert root(0, MemoryLog().read) == EMPTY_ROOT


def test_readers_may_give_the_current_tile() -> None:
    """A tile that has grown since serves for a smaller size as well as the old one did."""
    small, large = log_of(300), log_of(400)

    assert root(300, large.read) == small.edge.root()
    assert inclusion_proof(299, 300, read=large.read) == inclusion_proof(299, 300, read=small.read)


@pytest.mark.parametrize("tile", [b"", bytes(32 * 43), bytes(32 * 44 + 1), bytes(32 * 257)])
def test_short_or_ragged_tile_is_refused(tile: bytes) -> None:
    """Stored bytes that cannot be the tile raise, and the tile is named."""
    with pytest.raises(StoreCorrupt, match=r"tile/0/000\.p/44"):
        inclusion_proof(9, 44, read=lambda *_: tile)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_missing_entry_is_not_found(index: int, size: int) -> None:
    """There is no proof of an entry that the log does not have."""
    with pytest.raises(NotFound):
        inclusion_proof(index, size, read=log_of(5).read)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (5, 4), (-1, 4)])
def test_impossible_consistency_proof_is_refused(old: int, new: int) -> None:
    """There is no proof from nothing, and none backwards."""
    with pytest.raises(InvalidInput):
        consistency_proof(old, new, read=log_of(5).read)


@pytest.mark.parametrize("remembered_tiles", [0, 1, 3])
def test_prover_with_a_small_memory_gives_the_same_proofs(remembered_tiles: int) -> None:
    """The bound on remembered tiles changes the speed only."""
    log = log_of(1000)
    prover = Prover(log.read, remembered_tiles=remembered_tiles)

    proof = prover.consistency_proof(300, 1000)

    old_root = tree_root([leaf_hash(entry) for entry in log.entries[:300]])
    verify_consistency(proof, old_size=300, old_root=old_root, new_size=1000, new_root=log.edge.root())


def test_prover_reads_each_tile_once() -> None:
    """The second proof through the same tiles reads no storage."""
    log, reads = log_of(1000), list[tuple[int, int, int]]()

    def read(level: int, index: int, width: int) -> bytes:
        reads.append((level, index, width))
        return log.read(level, index, width)

    prover = Prover(read)
    first = prover.inclusion_proof(7, 1000)
    seen = len(reads)

    assert prover.inclusion_proof(7, 1000) == first
    assert len(reads) == seen == len(set(reads))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537])
def test_tiles_are_counted_without_making_them(size: int) -> None:
    """The number of tiles of a tree is known without listing them, so also for a size that is only claimed."""
    assert tile_count(size) == len(changed_tiles(0, size))


def test_claimed_sizes_cost_nothing() -> None:
    """Of the largest tree there can be, the first tile is had at once."""
    assert next(each_changed_tile(0, MAX_SIZE)) == Tile(0, 0)
    assert tile_count(MAX_SIZE) > 2**54
