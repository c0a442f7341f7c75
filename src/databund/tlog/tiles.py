"""Tiles (c2sp.org/tlog-tiles): how a tree is stored and served, how it grows, and how proofs are built from it.

A tile holds up to 256 consecutive hashes of one level; a hash at level l covers 256**l entries. An entry bundle holds
the entries under one tile of level 0. Storing and serving them is left to the caller: a `TileReader` fetches stored
tiles, and `TreeEdge.append` tells which tiles to store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from databund.errors import (
    DocumentInvalid,
    IdentifierInvalid,
    InvalidInput,
    NotFound,
    Refused,
    StoreCorrupt,
)
from databund.tlog._canonical import decimal
from databund.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, Frontier, node_hash, pair_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "MAX_ENTRY_BYTES",
    "MAX_LEVEL",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "EntryBundle",
    "Growth",
    "Prover",
    "Tile",
    "TileReader",
    "TreeEdge",
    "changed_tiles",
    "consistency_proof",
    "each_changed_tile",
    "format_entries",
    "inclusion_proof",
    "parse_entries",
    "parse_path",
    "root",
    "tile_count",
    "tile_width",
]

TILE_HEIGHT: Final = 8
"""How many levels of the tree one tile spans."""

TILE_WIDTH: Final = 1 << TILE_HEIGHT
"""How many hashes (or entries) a full tile (or bundle) holds."""

MAX_LEVEL: Final = 63
"""The highest level that a path may name. Trees of at most 2**63 entries only use levels 0 to 7."""

MAX_ENTRY_BYTES: Final = 65_535
"""The longest entry that the two length bytes of a bundle can announce."""

_LENGTH_BYTES: Final = 2
_PARTIAL: Final = ".p"
_INDEX: Final = re.compile(r"(?:x[0-9]{3}/){0,6}[0-9]{3}", re.ASCII)


class TileReader(Protocol):
    """Fetches the bytes of a stored tile: at least the first ``width`` hashes of the tile ``index`` of ``level``.

    A wider tile is as good as the one asked for, because tiles only grow (tlog-tiles "Partial Tiles"). Errors of the
    store pass through the functions here unchanged; bytes that are too few or not whole hashes raise StoreCorrupt here.
    """

    def __call__(self, level: int, index: int, width: int, /) -> bytes:
        """The concatenated hashes of the tile."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The coordinates of a hash tile (tlog-tiles "Merkle Tree"); ``width`` counts its hashes, 256 in a full one."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        _check_coordinates(self.index, self.width)
        if not 0 <= self.level <= MAX_LEVEL:
            raise IdentifierInvalid(f"A tile cannot have the level {self.level}.", fix=f"Use 0 to {MAX_LEVEL}.")

    @property
    def path(self) -> str:
        """Where the tile is served below the log's prefix, such as ``tile/1/x001/234.p/5``."""
        return f"tile/{self.level}/{_index_path(self.index)}{_width_suffix(self.width)}"


@dataclass(frozen=True, slots=True, order=True)
class EntryBundle:
    """The coordinates of an entry bundle (tlog-tiles "Log entries"); ``width`` counts its entries."""

    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        _check_coordinates(self.index, self.width)

    @property
    def path(self) -> str:
        """Where the bundle is served below the log's prefix, such as ``tile/entries/x001/234.p/5``."""
        return f"tile/entries/{_index_path(self.index)}{_width_suffix(self.width)}"


def parse_path(path: str) -> Tile | EntryBundle:
    """Read the path of a tile or an entry bundle, as `Tile.path` and `EntryBundle.path` write it.

    Each resource has exactly one path. Raises IdentifierInvalid for any other text.
    """
    prefix, _, rest = path.partition("/")
    kind, _, place = rest.partition("/")
    number, partial, suffix = place.partition(_PARTIAL + "/")
    width = decimal(suffix, most=TILE_WIDTH - 1) if partial else TILE_WIDTH
    level = 0 if kind == "entries" else decimal(kind, most=MAX_LEVEL)
    if prefix != "tile" or level is None or not width or _INDEX.fullmatch(number) is None:
        raise _path_invalid(path)
    index = int(number.replace("/", "").replace("x", ""))
    parsed = EntryBundle(index, width) if kind == "entries" else Tile(level, index, width)
    if parsed.path != path:
        raise _path_invalid(path)
    return parsed


def tile_width(level: int, index: int, *, size: int) -> int:
    """How many hashes the tile has in a tree of ``size`` entries: 0 to 256 (tlog-tiles "Partial Tiles")."""
    return max(0, min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - TILE_WIDTH * index))


def changed_tiles(old_size: int, new_size: int) -> tuple[Tile, ...]:
    """The tiles that are new or wider in a tree of ``new_size`` than in one of ``old_size``, by level and index.

    Those of level 0 name the entry bundles that change, too. Raises InvalidInput when the tree would shrink.
    """
    _check_sizes(old_size, new_size)
    return tuple(each_changed_tile(old_size, new_size))


def each_changed_tile(old_size: int, new_size: int) -> Iterator[Tile]:
    """As `changed_tiles`, one at a time: for sizes that are only claimed."""
    level = 0
    while (new_count := new_size >> (TILE_HEIGHT * level)) > (old_count := old_size >> (TILE_HEIGHT * level)):
        for index in range(old_count // TILE_WIDTH, (new_count - 1) // TILE_WIDTH + 1):
            yield Tile(level, index, tile_width(level, index, size=new_size))
        level += 1


def tile_count(size: int) -> int:
    """How many tiles a tree of ``size`` leaves has."""
    count = 0
    while size:
        count += -(-size // TILE_WIDTH)
        size >>= TILE_HEIGHT
    return count


def format_entries(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry behind its length in two bytes, big endian (tlog-tiles "Log entries").

    Raises DocumentInvalid for no entries, more than 256, or one longer than 65,535 bytes.
    """
    if not 0 < len(entries) <= TILE_WIDTH:
        raise DocumentInvalid(f"A bundle cannot hold {len(entries)} entries.", fix=f"Give 1 to {TILE_WIDTH}.")
    longest = max(len(entry) for entry in entries)
    if longest > MAX_ENTRY_BYTES:
        raise DocumentInvalid(
            f"A log entry of {longest} bytes is longer than {MAX_ENTRY_BYTES}.",
            fix="Log a hash of the evidence and keep the evidence beside the log.",
        )
    return b"".join([len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries])


def parse_entries(bundle: bytes, *, width: int = TILE_WIDTH) -> tuple[bytes, ...]:
    """The ``width`` entries of a bundle (tlog-tiles "Log entries").

    Raises DocumentInvalid when the bytes are cut, go on, or hold another number of entries. Whether the entries are the
    log's own is for the caller to check against the leaf hashes.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(bundle) and len(entries) < width:
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(bundle[at:start], "big")
        entries.append(bundle[start:at])
    if at != len(bundle) or len(entries) != width:
        raise DocumentInvalid(f"The bytes are not a bundle of {width} entries.", fix="Fetch the entry bundle again.")
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class Growth:
    """What an append gives: the next edge, and for every tile that changed its whole new content."""

    edge: TreeEdge
    tiles: Mapping[Tile, bytes]


@dataclass(frozen=True, slots=True)
class TreeEdge:
    """The right edge of a stored tree, which is all that an append needs.

    ``partial`` holds for each level the bytes of its rightmost tile, empty where the last tile is full. At most 8 tiles
    of less than 8 KiB each.
    """

    frontier: Frontier = field(default_factory=Frontier)
    partial: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        levels = -(-self.size.bit_length() // TILE_HEIGHT)
        lengths = [(self.size >> (TILE_HEIGHT * level)) % TILE_WIDTH * HASH_BYTES for level in range(levels)]
        if [len(tile) for tile in self.partial] != lengths:
            raise StoreCorrupt(f"The stored edge of size {self.size} is cut.", fix="Load it from the tiles again.")

    @property
    def size(self) -> int:
        """The number of entries in the tree."""
        return self.frontier.size

    def root(self) -> bytes:
        """The root of the tree (RFC 9162 section 2.1.1)."""
        return self.frontier.root()

    @classmethod
    def load(cls, size: int, read: TileReader) -> TreeEdge:
        """The edge of a stored tree of ``size`` entries, read from one tile per level.

        The tiles are believed: compare `root` with the last signed checkpoint before anything is appended. Raises
        StoreCorrupt for bytes that cannot be the tile.
        """
        _check_sizes(0, size)
        partial: list[bytes] = []
        peaks: list[bytes] = []
        level = 0
        while count := size >> (TILE_HEIGHT * level):
            width = count % TILE_WIDTH
            tile = _read_tile(read, level, count // TILE_WIDTH, width) if width else b""
            partial.append(tile)
            peaks = [*Frontier().grow(_split(tile))[0].peaks, *peaks]
            level += 1
        return cls(frontier=Frontier(size=size, peaks=tuple(peaks)), partial=tuple(partial))

    def append(self, leaf_hashes: Iterable[bytes]) -> Growth:
        """The tree after these leaf hashes, in order.

        The tiles to store are those of `changed_tiles`, and depend on nothing but the edge and the new hashes. Storing
        them and the next checkpoint is one act: a reader must never see the checkpoint without its tiles.
        """
        frontier, rows = self.frontier.grow(leaf_hashes)
        tiles: dict[Tile, bytes] = {}
        partial = list(self.partial)
        for level, row in enumerate(rows[::TILE_HEIGHT]):
            if level == len(partial):
                partial.append(b"")
            first = (self.size >> (TILE_HEIGHT * level)) // TILE_WIDTH
            content = partial[level] + row
            for at in range(0, len(content), TILE_WIDTH * HASH_BYTES):
                tile = content[at : at + TILE_WIDTH * HASH_BYTES]
                tiles[Tile(level, first + at // (TILE_WIDTH * HASH_BYTES), len(tile) // HASH_BYTES)] = tile
            partial[level] = content[len(content) - len(content) % (TILE_WIDTH * HASH_BYTES) :]
        return Growth(edge=TreeEdge(frontier=frontier, partial=tuple(partial)), tiles=MappingProxyType(tiles))


class Prover:
    """Builds proofs from tiles and remembers the inner hashes of the last tiles it used.

    One serves any number of sizes of one log, as tiles are immutable. ``remembered_tiles`` bounds its memory, at about
    16 KiB each. The functions `root`, `inclusion_proof` and `consistency_proof` use a fresh one each time.
    """

    def __init__(self, read: TileReader, *, remembered_tiles: int = 1024) -> None:
        self._read = read
        self._remembered_tiles = remembered_tiles
        self._rows: dict[tuple[int, int, int], list[bytes]] = {}

    def root(self, size: int) -> bytes:
        """The root of the tree's first ``size`` entries."""
        _check_sizes(0, size)
        return self._range_root(0, size, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """The inclusion proof PATH of RFC 9162 section 2.1.3.1, the leaf's sibling first.

        Raises NotFound when the tree of ``size`` has no entry ``index``.
        """
        _check_sizes(0, size)
        if not 0 <= index < size:
            raise NotFound(f"A log of {size} entries has no entry {index}.", fix="Use an index below the size.")
        proof: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            split = _split_point(low, high)
            if index < split:
                proof.append(self._range_root(split, high, size))
                high = split
            else:
                proof.append(self._range_root(low, split, size))
                low = split
        return tuple(reversed(proof))

    def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """The consistency proof of RFC 9162 section 2.1.4.1; empty for equal sizes.

        Raises InvalidInput for an old size of 0, about which nothing can be proven, or one above the new size.
        """
        _check_sizes(old_size, new_size)
        if old_size == 0:
            raise InvalidInput(
                "A consistency proof cannot start at an empty tree.", fix="Use an old size of 1 or more."
            )
        proof: list[bytes] = []
        low, high = 0, new_size
        while old_size != high:
            split = _split_point(low, high)
            if old_size <= split:
                proof.append(self._range_root(split, high, new_size))
                high = split
            else:
                proof.append(self._range_root(low, split, new_size))
                low = split
        if low > 0:
            proof.append(self._range_root(low, high, new_size))
        return tuple(reversed(proof))

    def _range_root(self, low: int, high: int, size: int) -> bytes:
        """MTH(D[low:high]) in a tree of ``size``, where ``low`` is a multiple of the subtree's width."""
        peaks: list[bytes] = []
        while low < high:
            height = (high - low).bit_length() - 1
            peaks.append(self._node(height, low >> height, size))
            low += 1 << height
        result = peaks.pop()
        while peaks:
            result = node_hash(peaks.pop(), result)
        return result

    def _node(self, height: int, index: int, size: int) -> bytes:
        """The hash of the complete subtree ``index`` of that height."""
        level, inner = divmod(height, TILE_HEIGHT)
        tile, place = divmod(index, TILE_WIDTH >> inner)
        row = self._tile_rows(level, tile, tile_width(level, tile, size=size))[inner]
        return row[place * HASH_BYTES : (place + 1) * HASH_BYTES]

    def _tile_rows(self, level: int, index: int, width: int) -> list[bytes]:
        """The hashes of a tile and the 7 rows of nodes above them."""
        key = (level, index, width)
        rows = self._rows.pop(key, None)
        if rows is None:
            rows = [_read_tile(self._read, level, index, width)]
            for _ in range(1, TILE_HEIGHT):
                rows.append(pair_up(rows[-1]))
            while len(self._rows) >= self._remembered_tiles and self._rows:
                self._rows.pop(next(iter(self._rows)), None)
        self._rows[key] = rows
        return rows


def root(size: int, read: TileReader) -> bytes:
    """The root of the first ``size`` entries of the stored tree. Compare it with a signed checkpoint."""
    return Prover(read).root(size)


def inclusion_proof(index: int, size: int, *, read: TileReader) -> tuple[bytes, ...]:
    """One inclusion proof from stored tiles; see `Prover.inclusion_proof`."""
    return Prover(read).inclusion_proof(index, size)


def consistency_proof(old_size: int, new_size: int, *, read: TileReader) -> tuple[bytes, ...]:
    """One consistency proof from stored tiles; see `Prover.consistency_proof`."""
    return Prover(read).consistency_proof(old_size, new_size)


def _split_point(low: int, high: int) -> int:
    """Where the tree over D[low:high] divides: the largest power of two below its size (RFC 9162 section 2.1.1)."""
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _read_tile(read: TileReader, level: int, index: int, width: int) -> bytes:
    tile = read(level, index, width)
    if len(tile) % HASH_BYTES or not width * HASH_BYTES <= len(tile) <= TILE_WIDTH * HASH_BYTES:
        raise StoreCorrupt(
            f"The tile {Tile(level, index, width).path} has {len(tile)} bytes instead of {width * HASH_BYTES}.",
            fix="Restore the tile, or rebuild it from the entries.",
        )
    return tile[: width * HASH_BYTES]


def _split(tile: bytes) -> list[bytes]:
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def _index_path(index: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])


def _width_suffix(width: int) -> str:
    return "" if width == TILE_WIDTH else f"{_PARTIAL}/{width}"


def _check_coordinates(index: int, width: int) -> None:
    if not 0 <= index <= MAX_SIZE // TILE_WIDTH or not 0 < width <= TILE_WIDTH:
        raise IdentifierInvalid(
            f"There is no tile with index {index} and width {width}.",
            fix=f"Use an index from 0 and a width of 1 to {TILE_WIDTH}.",
        )


def _check_sizes(old_size: int, new_size: int) -> None:
    if not 0 <= old_size <= new_size:
        raise InvalidInput(
            f"A log cannot go from size {old_size} to size {new_size}.", fix="Give the smaller size first."
        )
    if new_size > MAX_SIZE:
        raise Refused(f"A log of {new_size} entries is larger than {MAX_SIZE}.", fix="Open a new log.")


def _path_invalid(path: str) -> IdentifierInvalid:
    shown = path if len(path) <= 100 else path[:100] + "…"
    return IdentifierInvalid(
        f"{shown!r} is not the path of a tile.", fix="Use tile/<level>/<index>[.p/<width>] as in c2sp.org/tlog-tiles."
    )
