"""Fsck: every entry, tile, checkpoint and cosignature of a stored log is read again, and the first bad byte is found.

Entries are hashed in order; each stored tile of each level is compared with what its entries hash to, each known
checkpoint and anchored root with the tree at its size. Memory is one tile a level, whatever the size of the log. Where
an entry and its tile disagree, the tree above says which of them is the damaged one (c2sp.org/tlog-tiles).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from heapq import merge
from typing import TYPE_CHECKING, Final

from databund.errors import CheckpointInvalid, DatabundError, IntegrityFailed, LogDamaged, LogForked, NotFound
from databund.tlog._canonical import base64_bytes, decimal
from databund.tlog.checkpoints import open_checkpoint
from databund.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, Frontier, node_hash, pair_up
from databund.tlog.notes import parse_note
from databund.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, EntryBundle, Prover, Tile, tile_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from databund.tlog.checkpoints import Checkpoint, OpenedCheckpoint
    from databund.tlog.notes import Verifier
    from databund.tlog.policies import WitnessPolicy
    from databund.tlog.sources import Bundle, LogSource

__all__ = ["Checks", "KnownCheckpoint", "KnownRoot", "Soundness", "fsck"]

_TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
_LENGTH_BYTES: Final = 2
_PROGRESS_BUNDLES: Final = 64
_RESTORE: Final = "Restore it from a mirror or a backup of this log, then run the check again."
_KEEP: Final = "Keep a copy of everything as evidence, and ask the operator of this log."


@dataclass(frozen=True, slots=True)
class KnownCheckpoint:
    """A checkpoint of the log that is kept beside it, such as one with cosignatures; ``place`` says where."""

    place: str
    note: bytes


@dataclass(frozen=True, slots=True)
class KnownRoot:
    """A size and root of the log that somebody vouches for, such as a chain; ``place`` says where."""

    place: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What a log is checked against.

    ``log`` are the keys of the log ``origin``. Cosignatures by witnesses of the ``policy`` are verified; only the
    ``checkpoints`` have to have as many as it asks for. They and the ``roots`` go from small sizes to large ones, and
    may be lazy; ``partials`` are further stored tiles and bundles, narrower than those of the newest size.
    """

    origin: str
    log: Sequence[Verifier]
    policy: WitnessPolicy | None = None
    checkpoints: Iterable[KnownCheckpoint] = ()
    roots: Iterable[KnownRoot] = ()
    partials: Iterable[Tile | EntryBundle] = ()


@dataclass(kw_only=True)
class Soundness:
    """What was checked and found whole. ``root`` is that of the newest checkpoint, over ``size`` entries."""

    origin: str
    size: int
    root: bytes
    tiles: int = 0
    checkpoints: int = 0
    cosignatures: int = 0
    roots: int = 0
    partials: int = 0


def fsck(source: LogSource, checks: Checks, *, progress: Callable[[int, int], None] | None = None) -> Soundness:
    """Re-read the whole log; ``progress`` is told the entries done and in all.

    Raises LogDamaged at the first fault, with the resource, its path, the offset in it and, for an entry, its index;
    LogForked when everything stored agrees with itself but not with what was signed or anchored; NotFound for an empty
    log; and what the source raises when it cannot be read.
    """
    note = source.checkpoint()
    lenient = None if checks.policy is None else replace(checks.policy, quorum=None)
    opened = _opened("checkpoint", note, replace(checks, policy=lenient), source)
    newest = opened.checkpoint
    found = Soundness(
        origin=newest.origin,
        size=newest.size,
        root=newest.root,
        checkpoints=1,
        cosignatures=len(opened.cosignatures),
    )
    walk = _Walk(source, newest)
    marks = _Marks(source, checks, found)
    for index in range(-(-newest.size // TILE_WIDTH)):
        walk.bundle(index, marks)
        if progress is not None and index % _PROGRESS_BUNDLES == 0:
            progress(walk.size, newest.size)
    walk.edge()
    if walk.root() != newest.root:
        raise LogForked(
            f"The {newest.size} entries agree with their tiles, but not with the signed root of {newest.origin}: "
            f"something from entry {marks.passed} on was replaced.",
            fix=_KEEP,
        )
    marks.finish(newest.size)
    for partial in checks.partials:
        _check_partial(source, partial, newest.size)
        found.partials += 1
    if progress is not None:
        progress(newest.size, newest.size)
    found.tiles = walk.tiles
    return found


@dataclass(frozen=True, slots=True)
class _Mark:
    size: int
    root: bytes
    place: str
    signed: bool


class _Marks:
    """The known checkpoints and roots, each met when the walk passes its size."""

    def __init__(self, source: LogSource, checks: Checks, found: Soundness) -> None:
        self._found = found
        self._waiting = merge(
            self._signed(source, checks),
            (_Mark(known.size, known.root, known.place, signed=False) for known in checks.roots),
            key=lambda mark: mark.size,
        )
        self._next = next(self._waiting, None)
        self.passed = 0

    def upto(self, size: int) -> Iterator[int]:
        """The sizes up to ``size`` at which a root is wanted; `meet` takes each from the list."""
        while self._next is not None and self._next.size <= size:
            yield self._next.size

    def meet(self, root: bytes) -> None:
        """Compare the next mark with the root of the tree at its size."""
        mark = self._next
        if mark is None:
            return
        if mark.root != root:
            raise LogForked(
                f"The log has another root at size {mark.size} than {mark.place} says; something from entry "
                f"{self.passed} on was replaced.",
                fix=_KEEP,
            )
        self.passed = mark.size
        self._found.checkpoints += mark.signed
        self._found.roots += not mark.signed
        self._next = next(self._waiting, None)

    def finish(self, size: int) -> None:
        """Check that nothing beyond the log's size was vouched for."""
        if self._next is not None:
            raise LogForked(
                f"{self._next.place} is of size {self._next.size}, but the log has {size} entries: its end is missing.",
                fix="Was an old backup restored? " + _KEEP,
            )

    def _signed(self, source: LogSource, checks: Checks) -> Iterator[_Mark]:
        for known in checks.checkpoints:
            opened = _opened(known.place, known.note, checks, source, size=self._found.size)
            self._found.cosignatures += len(opened.cosignatures)
            yield _Mark(opened.checkpoint.size, opened.checkpoint.root, known.place, signed=True)


class _Walk:
    """The tree as it grows from the entries: for each level, the hashes of the tile that is not full yet."""

    def __init__(self, source: LogSource, newest: Checkpoint) -> None:
        self._source = source
        self._newest = newest
        self._rows: list[bytearray] = [bytearray()]
        self.size = 0
        self.tiles = 0

    def root(self) -> bytes:
        """The root of the tree so far."""
        return _edge_root(self._rows)

    def bundle(self, index: int, marks: _Marks) -> None:
        """Take the entries of the next bundle, and compare every tile that they complete."""
        width = tile_width(0, index, size=self._newest.size)
        leaves = self._leaves(index, width)
        start, stop = self.size, self.size + width
        for size in marks.upto(stop - 1):
            marks.meet(_edge_root([leaves[: (size - start) * HASH_BYTES], *self._rows[1:]]))
        self.size = stop
        self.tiles += 1
        if width == TILE_WIDTH:
            self._push(1, _tile_root(leaves))
        else:
            self._rows[0] += leaves
        for _ in marks.upto(stop):
            marks.meet(self.root())

    def edge(self) -> None:
        """Compare the tiles above the entries that are not full in a log of this size."""
        for level, row in enumerate(self._rows[1:], start=1):
            if row:
                self._compare(level, bytes(row))

    def _push(self, level: int, digest: bytes) -> None:
        if level == len(self._rows):
            self._rows.append(bytearray())
        row = self._rows[level]
        row += digest
        if len(row) == _TILE_BYTES:
            full = bytes(row)
            row.clear()
            self._compare(level, full)
            self._push(level + 1, _tile_root(full))

    def _leaves(self, index: int, width: int) -> bytes:
        """The leaf hashes of a bundle, which the stored tile has too. Raises LogDamaged where they differ."""
        tile = Tile(0, index, width)
        stored = self._tile(tile)
        path = EntryBundle(index, width).path
        try:
            bundle = self._source.entries(index, width)
        except NotFound as error:
            raise _damaged("entry bundle", path, 0, "is missing", index=index * TILE_WIDTH) from error
        entries, whole = _entries(bundle, width)
        leaves = b"".join([sha256(b"\x00" + entry).digest() for entry in entries])
        if leaves == stored and whole:
            return leaves
        place = _difference(leaves, stored) // HASH_BYTES if whole or leaves != stored else width
        if whole and self._vouched(tile, leaves):
            raise _damaged("tile", tile.path, _difference(leaves, stored), "differs from what its entries hash to")
        offset = sum(_LENGTH_BYTES + len(entry) for entry in entries[:place])
        at = index * TILE_WIDTH + min(place, width - 1)
        raise _damaged("entry bundle", path, offset, f"has an entry {at} that was changed or cut", index=at)

    def _compare(self, level: int, computed: bytes) -> None:
        """Compare a stored tile above level 0 with what lies below it."""
        index = (self.size - 1) >> (TILE_HEIGHT * (level + 1))
        tile = Tile(level, index, len(computed) // HASH_BYTES)
        stored = self._tile(tile)
        self.tiles += 1
        if stored == computed:
            return
        offset = _difference(computed, stored)
        if self._vouched(tile, stored) and not self._vouched(tile, computed):
            first = (index * TILE_WIDTH + offset // HASH_BYTES) << (TILE_HEIGHT * level)
            last = first + (1 << (TILE_HEIGHT * level)) - 1
            bundle = EntryBundle(
                first // TILE_WIDTH, tile_width(0, first // TILE_WIDTH, size=self._newest.size) or TILE_WIDTH
            )
            raise _damaged(
                "entry bundle",
                bundle.path,
                0,
                f"was replaced together with its tile, somewhere in the entries {first} to {last}",
                index=first,
            )
        raise _damaged("tile", tile.path, offset, "differs from what its entries hash to")

    def _tile(self, tile: Tile) -> bytes:
        try:
            return self._source.tile(tile.level, tile.index, tile.width)
        except NotFound as error:
            raise _damaged("tile", tile.path, 0, "is missing") from error

    def _vouched(self, tile: Tile, content: bytes) -> bool:
        """Whether the tree above a tile, or for the last one of a level the signed root, says that this is it."""
        if len(content) != tile.width * HASH_BYTES:
            return False
        size = self._newest.size
        try:
            if tile.width == TILE_WIDTH:
                parent = tile.index // TILE_WIDTH
                row = self._source.tile(tile.level + 1, parent, tile_width(tile.level + 1, parent, size=size))
                place = tile.index % TILE_WIDTH * HASH_BYTES
                return row[place : place + HASH_BYTES] == _tile_root(content)
            rows = []
            for level in range(-(-size.bit_length() // TILE_HEIGHT)):
                index, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
                if level == tile.level:
                    rows.append(content)
                else:
                    rows.append(self._source.tile(level, index, width) if width else b"")
            return _edge_root(rows) == self._newest.root
        except (DatabundError, IndexError):
            return False


def _entries(bundle: Bundle, width: int) -> tuple[Sequence[bytes], bool]:
    """The entries of a bundle, up to where it makes sense, and whether it is one of ``width`` entries."""
    if not isinstance(bundle, bytes):
        return bundle, len(bundle) == width
    entries: list[bytes] = []
    at = 0
    while len(entries) < width and at + _LENGTH_BYTES <= len(bundle):
        start = at + _LENGTH_BYTES
        stop = start + (bundle[at] << 8 | bundle[at + 1])
        if stop > len(bundle):
            break
        entries.append(bundle[start:stop])
        at = stop
    return entries, len(entries) == width and at == len(bundle)


def _edge_root(rows: Sequence[bytes | bytearray]) -> bytes:
    """The root of a tree from the last tile of each level, empty where that tile is full."""
    result: bytes | None = None
    for row in rows:
        leaves = (bytes(row[at : at + HASH_BYTES]) for at in range(0, len(row), HASH_BYTES))
        for peak in reversed(Frontier().grow(leaves)[0].peaks):
            result = peak if result is None else node_hash(peak, result)
    return EMPTY_ROOT if result is None else result


def _tile_root(row: bytes) -> bytes:
    """The hash over a full tile."""
    while len(row) > HASH_BYTES:
        row = pair_up(row)
    return row


def _difference(expected: bytes, found: bytes) -> int:
    """The offset of the first byte in which the two differ, or where the shorter one ends."""
    shorter = min(len(expected), len(found))
    return next((at for at in range(shorter) if expected[at] != found[at]), shorter)


def _check_partial(source: LogSource, partial: Tile | EntryBundle, size: int) -> None:
    """Compare a stored partial tile or bundle with the beginning of the wider one, which was checked."""
    level = partial.level if isinstance(partial, Tile) else 0
    widest = tile_width(level, partial.index, size=size)
    if widest <= partial.width:
        return
    if isinstance(partial, Tile):
        expected = source.tile(level, partial.index, widest)[: partial.width * HASH_BYTES]
        stored = source.tile(level, partial.index, partial.width)
        if stored != expected:
            raise _damaged("tile", partial.path, _difference(expected, stored), "differs from its wider successor")
        return
    entries, whole = _entries(source.entries(partial.index, partial.width), partial.width)
    expected_entries, _ = _entries(source.entries(partial.index, widest), widest)
    pairs = zip(entries, expected_entries, strict=False)
    same = next((at for at, (one, other) in enumerate(pairs) if one != other), len(entries))
    if not whole or same < partial.width:
        offset = sum(_LENGTH_BYTES + len(entry) for entry in entries[:same])
        index = partial.index * TILE_WIDTH + same
        raise _damaged("entry bundle", partial.path, offset, "differs from its wider successor", index=index)


def _opened(place: str, note: bytes, checks: Checks, source: LogSource, *, size: int | None = None) -> OpenedCheckpoint:
    """Open a stored checkpoint of a log that has ``size`` entries. Raises LogDamaged that names its first bad line."""
    try:
        return open_checkpoint(note, origin=checks.origin, log=checks.log, policy=checks.policy)
    except CheckpointInvalid as error:
        lines = note.split(b"\n")
        bad = _bad_line(lines, checks, source, stored=size)
        offset = sum(len(line) + 1 for line in lines[:bad])
        raise _damaged("checkpoint", place, offset, f"is wrong in line {bad + 1}: {error.what}") from error


def _bad_line(lines: Sequence[bytes], checks: Checks, source: LogSource, *, stored: int | None) -> int:
    """The number of the first line that cannot be right, from 0."""
    texts = [line.decode(errors="replace") for line in lines]
    size = decimal(texts[1], most=MAX_SIZE) if len(texts) > 1 else None
    root = base64_bytes(texts[2]) if len(texts) > 2 else None
    if texts[0] != checks.origin:
        return 0
    if size is None:
        return 1
    if root is None or len(root) != HASH_BYTES:
        return 2
    if _stored_root(source, size, stored or size) != root:
        return 1
    blank = next((number for number in range(3, len(texts) - 1) if not texts[number]), None)
    if blank is None:
        return 3
    witnesses = () if checks.policy is None else (witness.verifier for witness in checks.policy.witnesses)
    known = {(key.name, key.key_id): key for key in (*checks.log, *witnesses)}
    text = b"\n".join(lines[:blank]) + b"\n"
    for number in range(blank + 1, len(lines) - (not lines[-1])):
        try:
            (signature,) = parse_note(b"x\n\n" + lines[number] + b"\n").signatures
            key = known.get((signature.name, signature.key_id))
            if key is not None:
                key.verify(text, signature.value)
        except IntegrityFailed:
            return number
    return blank + 1


def _stored_root(source: LogSource, size: int, stored: int) -> bytes | None:
    """The root of the first ``size`` entries by the tiles of a log of ``stored`` entries; None when they lack it."""
    try:
        return Prover(lambda level, index, _: source.tile(level, index, tile_width(level, index, size=stored))).root(
            size
        )
    except DatabundError:
        return None


def _damaged(resource: str, path: str, offset: int, what: str, *, index: int | None = None) -> LogDamaged:
    return LogDamaged(
        f"{path} {what} (byte {offset}).", fix=_RESTORE, resource=resource, path=path, offset=offset, index=index
    )
