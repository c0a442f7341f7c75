"""Auditing: every act becomes a log entry, in the database transaction of the act itself.

The tree is RFC 6962 stored as C2SP tiles. Entries are staged while acts happen; the next checkpoint is signed once for
all acts that share a database transaction, before it commits. So an acknowledged act is durable, in the tree, and under
a signed checkpoint, and what is staged is never half there.

Beside the database there is the head (`ports.Heads`): the newest checkpoint that anybody may have learned of. It moves
on after each commit, before the acts are acknowledged. A database that lies behind the head is an older copy, and one
that does not hold the head's tree is another log: neither is signed for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from databund.core.events import Event
from databund.core.ids import OrderId
from databund.errors import DatabundError, HeadMoved, LogForked
from databund.ports import Heads, Log, Tables
from databund.tlog.checkpoints import Checkpoint, open_checkpoint, read_unverified, sign_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import Signer, Verifier
from databund.tlog.tiles import Prover, TreeEdge

__all__ = ["Auditor"]

_REMEMBERED = 4096
_RETRY_S = 600
_AT = b',"at":'
_FIX = "Stop the node, keep a copy of its home, and restore the newest database."


class Auditor:
    """The log's one writer: its ``origin``, and the key that signs its checkpoints. It is the database's `Sealer`."""

    def __init__(self, origin: str, signer: Signer, verifier: Verifier, heads: Heads) -> None:
        self.origin = origin
        self._signer = signer
        self._verifier = verifier
        self._heads = heads
        self._edges: dict[bytes, TreeEdge] = {}
        self._recent: dict[int, int] = {}
        self._publishing = threading.Lock()
        self._head: bytes | None = None
        self._halted: DatabundError | None = None

    def append(self, tables: Tables, *events: Event) -> Sequence[int]:
        """Stage the events' entries in order and return the indexes they have once the database transaction commits.

        An event that is one of the last 4,096 again, within ten minutes, is a retry: it keeps the index of the first.
        """
        return [self._appended(tables.log, event) for event in events]

    def check(self, log: Log) -> None:
        """Check what is stored against the head. Raises `LogForked` for an older copy, or another log."""
        self._edge(log)

    def halt(self, reason: DatabundError) -> None:
        """Sign nothing any more: somebody saw a longer log under this key. Every later append raises ``reason``."""
        self._halted = self._halted or reason

    def published(self, log: Log) -> bytes | None:
        """The newest checkpoint that may be shown; None for an empty log. Raises as `check` does."""
        note = log.checkpoint()
        if note is not None and note != self._head:
            self._edge(log)
            self._advance(note, lambda: _Open(log))
        return note

    def seal(self, log: Log, entries: Sequence[bytes]) -> bytes:
        """Write the staged entries, their tiles and the next checkpoint, which is returned.

        Raises `LogForked` when the stored tree is not the one that was signed last.
        """
        edge = self._edge(log)
        growth = edge.append(leaf_hash(entry) for entry in entries)
        checkpoint = Checkpoint(origin=self.origin, size=growth.edge.size, root=growth.edge.root())
        note = sign_checkpoint(checkpoint, [self._signer]).to_bytes()
        log.write(
            edge.size,
            entries,
            tiles={(tile.level, tile.index): content for tile, content in growth.tiles.items()},
            checkpoint=note,
        )
        self._remember(note, growth.edge)
        self._learn(edge.size, entries)
        return note

    def publish(self, checkpoint: bytes, read: Callable[[], AbstractContextManager[Log]]) -> None:
        """Move the head on to a checkpoint whose database transaction is durable."""
        self._advance(checkpoint, read)

    def _appended(self, log: Log, event: Event) -> int:
        entry = event.entry()
        known = self._recent.get(_act(entry))
        if known is not None and _is_retry(event, log.entries(known, known + 1)):
            return known
        order = event.about.get("order")
        return log.append(entry, order_id=OrderId.parse(order) if isinstance(order, str) else None)

    def _edge(self, log: Log) -> TreeEdge:
        """The edge of the stored tree, which is checked unless this process has written it."""
        if self._halted is not None:
            raise type(self._halted)(self._halted.what, fix=self._halted.fix)
        note = log.checkpoint()
        if note is not None and (known := self._edges.get(note)):
            return known
        edge = TreeEdge()
        if note is not None:
            last = open_checkpoint(note, origin=self.origin, log=[self._verifier]).checkpoint
            edge = TreeEdge.load(last.size, lambda level, index, _width: log.tile(level, index))
            if edge.root() != last.root:
                raise LogForked(
                    f"The stored log of {last.size} entries does not have the root that was signed.", fix=_FIX
                )
        self._check_head(log, edge)
        if note is not None:
            start = max(0, edge.size - _REMEMBERED)
            self._learn(start, log.entries(start, edge.size))
            self._remember(note, edge)
        return edge

    def _check_head(self, log: Log, edge: TreeEdge) -> None:
        stored = self._heads.get(self.origin)
        if stored is None:
            return
        head = open_checkpoint(stored, origin=self.origin, log=[self._verifier]).checkpoint
        if head.size > edge.size:
            raise LogForked(
                f"The database holds {edge.size} log entries, but {head.size} were signed and shown; it is an older "
                "copy, and going on from it would fork the log.",
                fix=_FIX,
            )
        if _root(log, head.size) != head.root:
            raise LogForked(
                f"The database holds another log than the one that was signed up to entry {head.size}.", fix=_FIX
            )

    def _advance(self, note: bytes, read: Callable[[], AbstractContextManager[Log]]) -> None:
        size = read_unverified(note).size
        with self._publishing:
            while self._head is None or read_unverified(self._head).size < size:
                try:
                    self._heads.replace(self.origin, note, was=self._head)
                    self._head = note
                except HeadMoved:
                    self._head = self._seen_elsewhere(read)

    def _seen_elsewhere(self, read: Callable[[], AbstractContextManager[Log]]) -> bytes | None:
        """The head as another process left it. Raises `LogForked` unless our log holds its tree, and halts."""
        stored = self._heads.get(self.origin)
        if stored is None:
            return None
        head = open_checkpoint(stored, origin=self.origin, log=[self._verifier]).checkpoint
        with read() as log:
            held = log.checkpoint()
            if held is not None and read_unverified(held).size >= head.size and _root(log, head.size) == head.root:
                return stored
        fork = LogForked(
            f"Another node signs for {self.origin}: it showed {head.size} entries that this log does not hold.",
            fix="Stop both nodes; only the one with the longer log may go on.",
        )
        self.halt(fork)
        raise fork

    def _remember(self, note: bytes, edge: TreeEdge) -> None:
        """Keep the edges of this checkpoint and the one before, which is the stored one if this never commits."""
        while len(self._edges) > 1:
            del self._edges[next(iter(self._edges))]
        self._edges[note] = edge

    def _learn(self, first: int, entries: Sequence[bytes]) -> None:
        """Remember acts, so that a retry is known; whether it is one is read again when it matters."""
        for index, entry in enumerate(entries, first):
            self._recent[_act(entry)] = index
        while len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]


class _Open:
    """A log that is open already, as a block to read it in."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __enter__(self) -> Log:
        return self._log

    def __exit__(self, *_: object) -> None:
        pass


def _root(log: Log, size: int) -> bytes:
    return Prover(lambda level, index, _width: log.tile(level, index)).root(size)


def _act(entry: bytes) -> int:
    """An entry's act without its time. RFC 8785 puts ``at`` between ``about`` and ``by``, and neither holds one."""
    before, at, after = entry.rpartition(_AT)
    return hash((before, after[after.find(b",") :])) if at else hash(entry)


def _is_retry(event: Event, stored: Sequence[bytes]) -> bool:
    if not stored:
        return False
    first = Event.read(stored[0])
    return (first.kind, first.by, first.about) == (event.kind, event.by, event.about) and (
        0 <= event.at - first.at <= _RETRY_S
    )
