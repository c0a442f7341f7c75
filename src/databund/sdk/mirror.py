"""A mirror: a verified copy of a log in a folder, in the layout of c2sp.org/tlog-tiles, so any web server can host it.

An update fetches the checkpoint and the entries that are new, hashes them on top of what is there, and takes nothing
over unless that gives the signed root. Tiles are never fetched: they follow from the entries. The checkpoint is
replaced last, when everything that it signs is on the disk, so a crash leaves the mirror as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from databund.errors import (
    DocumentInvalid,
    LogForked,
    NodeChanged,
    NotFound,
    ProofInvalid,
    StoreCorrupt,
)
from databund.sdk.durable_files import one_writer, replace_file, sync_folder
from databund.sdk.log_sources import FolderLog
from databund.tlog.checkpoints import Checkpoint, OpenedCheckpoint, check_advance, read_unverified
from databund.tlog.merkle import HASH_BYTES, leaf_hash
from databund.tlog.notes import VerifierKey
from databund.tlog.sources import LogSource, read_entries, verify_extension
from databund.tlog.tiles import (
    TILE_WIDTH,
    EntryBundle,
    Prover,
    TreeEdge,
    changed_tiles,
    format_entries,
    tile_width,
)

__all__ = ["KEY_FILE", "Mirror", "Open", "Update", "read_range"]

Open = Callable[[bytes], OpenedCheckpoint]
"""Reads and verifies a checkpoint under the keys that are trusted; raises what is wrong with it."""

KEY_FILE = "log.vkey"
_CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Update:
    """What an update did: the size before, and the checkpoint that the mirror has now.

    ``behind`` says that the log showed an older checkpoint than the mirror has, though one of the same tree.
    """

    old_size: int
    checkpoint: Checkpoint
    behind: bool = False


class Mirror:
    """A folder with one log. Only `update` writes in it, one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = FolderLog(folder)

    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint that was verified last; None for a new mirror."""
        try:
            return read_unverified(self.log.checkpoint())
        except NotFound:
            return None

    def keep_key(self, key: VerifierKey) -> None:
        """Note whose log this is, on first use. Raises `NodeChanged` for a mirror of another log."""
        with one_writer(self.folder):
            file = self.folder / KEY_FILE
            if not file.exists():
                replace_file(file, f"{key}\n".encode())
            elif file.read_text().strip() != str(key):
                raise NodeChanged(
                    f"{self.folder} holds a log with another key than {key.name} shows now.",
                    fix="Ask the operator on another way; or name another folder.",
                )

    def update(
        self, source: LogSource, open_: Open, *, progress: Callable[[str, int, int], None] | None = None
    ) -> Update:
        """Bring the mirror up to the log's checkpoint.

        Raises LogForked when the log contradicts what the mirror holds, ProofInvalid when its entries are not those
        that were signed, what ``open_`` and the source raise, `StoreFull`, and StoreCorrupt for a damaged mirror.
        """
        with one_writer(self.folder):
            note = source.checkpoint()
            following = open_(note).checkpoint
            previous = self.checkpoint()
            edge = self._edge(previous)
            if previous is not None and following.size < previous.size:
                if following.origin != previous.origin or Prover(self._tile).root(following.size) != following.root:
                    raise LogForked(
                        f"The log {previous.origin} shows another history at size {following.size} than it showed "
                        f"before, up to size {previous.size}.",
                        fix="Keep both checkpoints as evidence, stop using this log, and ask its operator.",
                    )
                return Update(previous.size, previous, behind=True)
            check_advance(previous, following)
            written: list[Path] = []
            try:
                self._grow(edge, source, following, progress, written)
            except ProofInvalid:
                for file in written:
                    file.unlink(missing_ok=True)
                verify_extension(previous, following, source)
                raise
            replace_file(self.folder / _CHECKPOINT, note)
            self._tidy(edge.size, following.size)
            return Update(edge.size, following)

    def entries(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """The indexes and entries from ``start`` up to ``stop``, as they were verified when they came."""
        return read_range(self.log, start, stop)

    def _tile(self, level: int, index: int, width: int) -> bytes:
        stored = self.checkpoint()
        size = 0 if stored is None else stored.size
        return self.log.tile(level, index, tile_width(level, index, size=size))[: width * HASH_BYTES]

    def _edge(self, checkpoint: Checkpoint | None) -> TreeEdge:
        if checkpoint is None:
            return TreeEdge()
        edge = TreeEdge.load(checkpoint.size, self.log.tile)
        if edge.root() != checkpoint.root:
            raise StoreCorrupt(
                f"The mirror in {self.folder} is damaged.",
                fix=f"See where: databund audit fsck {self.folder}; or remove it, and it is fetched again.",
            )
        return edge

    def _grow(
        self,
        edge: TreeEdge,
        source: LogSource,
        following: Checkpoint,
        progress: Callable[[str, int, int], None] | None,
        written: list[Path],
    ) -> None:
        """Write what is new, noting each file in ``written``. Raises ProofInvalid when it is not what was signed."""
        folders: set[Path] = set()
        start, size = edge.size, following.size
        for index in range(start // TILE_WIDTH, -(-size // TILE_WIDTH)):
            if start == size:
                break
            width = tile_width(0, index, size=size)
            try:
                entries = read_entries(source, index, width)
            except DocumentInvalid as error:
                raise ProofInvalid(
                    f"{EntryBundle(index, width).path} is not an entry bundle.", fix=error.fix
                ) from error
            growth = edge.append([leaf_hash(entry) for entry in self._new(index, entries, edge)])
            edge = growth.edge
            written.append(self._write(EntryBundle(index, width).path, format_entries(entries), folders))
            for tile, content in growth.tiles.items():
                if tile.width == tile_width(tile.level, tile.index, size=size):
                    written.append(self._write(tile.path, content, folders))
            if progress is not None:
                progress("fetch", edge.size - start, size - start)
        if edge.root() != following.root:
            raise ProofInvalid(
                f"The entries that {following.origin} serves do not hash to its signed root of size {size}.",
                fix="Fetch them again; if it fails again, do not trust this log.",
            )
        for folder in folders:
            sync_folder(folder)

    def _new(self, index: int, entries: Sequence[bytes], edge: TreeEdge) -> Sequence[bytes]:
        """Those entries of a bundle that the mirror lacks; the others have to be the ones it has."""
        known = edge.size - index * TILE_WIDTH
        if known > 0:
            stored = b"".join(map(leaf_hash, entries[:known]))
            if stored != edge.partial[0]:
                raise ProofInvalid(
                    f"The log serves other entries in {EntryBundle(index, len(entries)).path} than it did before.",
                    fix="Fetch them again; if it fails again, do not trust this log.",
                )
        return entries[max(0, known) :]

    def _write(self, path: str, content: bytes, folders: set[Path]) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        folders.update(parent for parent in file.parents if parent.is_relative_to(self.folder))
        with file.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        return file

    def _tidy(self, old_size: int, new_size: int) -> None:
        """Remove the partial resources that full ones replaced (c2sp.org/tlog-tiles "Partial Tiles")."""
        for tile in changed_tiles(old_size, new_size):
            if tile.width == TILE_WIDTH:
                for path in (tile.path, *([EntryBundle(tile.index).path] if tile.level == 0 else [])):
                    rmtree(self.folder / f"{path}.p", ignore_errors=True)


def read_range(source: LogSource, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """The indexes and entries of a log of ``stop`` entries, from ``start`` on."""
    for bundle in range(start // TILE_WIDTH, -(-stop // TILE_WIDTH)):
        first = bundle * TILE_WIDTH
        entries = read_entries(source, bundle, min(TILE_WIDTH, stop - first))
        for index in range(max(start, first), first + len(entries)):
            yield index, entries[index - first]
