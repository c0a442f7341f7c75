"""Small stored logs for tests: every C2SP resource by its path, to be damaged, written to a folder, or served."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from databund.errors import NotFound
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.fsck import Checks
from databund.tlog.merkle import leaf_hash
from databund.tlog.tiles import TILE_WIDTH, EntryBundle, Tile, TreeEdge, changed_tiles, format_entries
from tests.unit.tlog_keys import Key

ORIGIN = "log.example/audit"
KEY = Key(ORIGIN)


def numbered(count: int, *, first: int = 0) -> list[bytes]:
    """Entries of different lengths that tell their index."""
    return [b"entry %d %s" % (index, b"." * (index % 7)) for index in range(first, first + count)]


@dataclass
class StoredLog:
    """The resources of a log, and the source that reads them."""

    resources: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: list[bytes], *, key: Key = KEY, witnesses: Iterable[Key] = (), at_s: int = 0) -> StoredLog:
        """The static log of these entries, its checkpoint signed by ``key`` and cosigned at ``at_s``."""
        growth = TreeEdge().append(map(leaf_hash, entries))
        made = cls({tile.path: content for tile, content in growth.tiles.items()})
        for tile in changed_tiles(0, len(entries)):
            if tile.level == 0:
                first = tile.index * TILE_WIDTH
                bundle = format_entries(entries[first : first + tile.width])
                made.resources[EntryBundle(tile.index, tile.width).path] = bundle
        signers = [key.signer(), *(witness.signer(timestamp_s=at_s) for witness in witnesses)]
        checkpoint = Checkpoint(key.vkey.name, growth.edge.size, growth.edge.root())
        made.resources["checkpoint"] = sign_checkpoint(checkpoint, signers).to_bytes()
        return made

    def write(self, folder: Path) -> Path:
        """Write every resource as a file, as a static web server would host it."""
        for path, content in self.resources.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder

    def checkpoint(self) -> bytes:
        """The port `LogSource`."""
        return self._get("checkpoint")

    def tile(self, level: int, index: int, width: int, /) -> bytes:
        """The port `LogSource`."""
        return self._get(Tile(level, index, width).path)

    def entries(self, index: int, width: int, /) -> bytes:
        """The port `LogSource`."""
        return self._get(EntryBundle(index, width).path)

    def _get(self, path: str) -> bytes:
        if path not in self.resources:
            raise NotFound(f"There is no {path}.", fix="Look elsewhere.")
        return self.resources[path]


def checks(**more: object) -> Checks:
    """What the logs of `KEY` are checked against."""
    return Checks(origin=ORIGIN, log=[KEY.verifier()], **more)  # type: ignore[arg-type]  # a test's words
