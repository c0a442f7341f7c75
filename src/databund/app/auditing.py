"""Auditing: every act becomes a log entry, in the database transaction of the act itself.

The tree is RFC 6962 stored as C2SP tiles; each append signs the next checkpoint before the database transaction
commits, so an acknowledged act is durable, in the tree, and under a signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from databund.core.events import Event
from databund.errors import LogForked
from databund.ports import Log, Tables
from databund.tlog.checkpoints import Checkpoint, open_checkpoint, sign_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import Signer, Verifier
from databund.tlog.tiles import TreeEdge

__all__ = ["Auditor"]


@dataclass(frozen=True)
class Auditor:
    """The log's one writer: its origin, and the key that signs its checkpoints."""

    origin: str
    signer: Signer
    verifier: Verifier

    def append(self, tables: Tables, *events: Event) -> Sequence[int]:
        """Append the events' entries in order and return their indexes.

        Raises `LogForked` when the stored tree is not the one that was signed last.
        """
        edge = self._edge(tables.log)
        entries = [event.entry() for event in events]
        growth = edge.append(leaf_hash(entry) for entry in entries)
        checkpoint = Checkpoint(origin=self.origin, size=growth.edge.size, root=growth.edge.root())
        tables.log.write(
            edge.size,
            entries,
            tiles={(tile.level, tile.index): content for tile, content in growth.tiles.items()},
            checkpoint=sign_checkpoint(checkpoint, [self.signer]).to_bytes(),
        )
        return range(edge.size, growth.edge.size)

    def _edge(self, log: Log) -> TreeEdge:
        note = log.checkpoint()
        if note is None:
            return TreeEdge()
        last = open_checkpoint(note, origin=self.origin, log=[self.verifier]).checkpoint
        edge = TreeEdge.load(last.size, lambda level, index, _width: log.tile(level, index))
        if edge.root() != last.root:
            raise LogForked(
                f"The stored log of {last.size} entries does not have the root that was signed.",
                fix="Stop the node, keep a copy of its home, and restore the database.",
            )
        return edge
