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
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import NoReturn

from databund.core.events import Event
from databund.core.ids import OrderId
from databund.errors import DatabundError, HeadMoved, LogForked, StoreCorrupt, StoreUnavailable
from databund.ports import Heads, Log, Tables
from databund.tlog.checkpoints import Checkpoint, open_checkpoint, read_unverified, sign_checkpoint
from databund.tlog.merkle import HASH_BYTES, leaf_hash
from databund.tlog.notes import Signer, Verifier
from databund.tlog.tiles import TILE_WIDTH, Prover, TreeEdge

__all__ = ["Auditor"]

_REMEMBERED = 4096
_RETRY_S = 600
_ATTEMPTS = 100
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
        self._learned = 0
        self._publishing = threading.Lock()
        self._head: bytes | None = None
        self._behind = False
        self._halted: DatabundError | None = None

    def append(self, tables: Tables, *events: Event) -> Sequence[int]:
        """Stage the events' entries in order and return the indexes they have once the database transaction commits.

        An event that is one of the last 4,096 again, within ten minutes, is a retry: it keeps the index of the first.
        """
        return [self._appended(tables.log, event) for event in events]

    def check(self, log: Log) -> None:
        """Check what is stored against the head, and move the head on when it lies behind (a crash before it did).

        ``log`` is a snapshot of which nothing was read yet. Raises `LogForked` for an older copy, or another log, and
        `StoreCorrupt` when the newest entries are not those of the tree.
        """
        head = self._heads.get(self.origin)  # before the snapshot is taken, which therefore is not older
        note = log.checkpoint()
        edge = self._checked(log, note, head)
        _check_newest_entries(log, edge.size)
        if note is not None and note != head:
            with suppress(HeadMoved):  # by another process, to a checkpoint that it checked
                self._heads.replace(self.origin, note, was=head)

    def halt(self, reason: DatabundError) -> None:
        """Sign nothing any more: somebody saw a longer log under this key. Every later append raises ``reason``."""
        self._halted = self._halted or reason

    @property
    def halted(self) -> DatabundError | None:
        """Why nothing is signed any more."""
        return self._halted

    def published(self, log: Log) -> bytes | None:
        """The newest checkpoint that may be shown, which is the head; None for an empty log.

        What is stored may be newer, while the acts under it are not acknowledged yet, or older, in an old snapshot.
        """
        note = log.checkpoint()
        return note if note == self._head else self._heads.get(self.origin)

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
        """Move the head on to a checkpoint whose database transaction is durable.

        When it cannot be moved nothing more is signed until it can, so that at most one database transaction stays of
        which nobody was told.
        """
        try:
            self._advance(checkpoint, read)
        except BaseException:
            self._behind = True
            raise

    def _appended(self, log: Log, event: Event) -> int:
        sealed = log.size()
        if sealed != self._learned:
            self._catch_up(log, sealed)
        entry = event.entry()
        known = self._recent.get(_act(entry), -1)
        if max(0, sealed - _REMEMBERED) <= known < sealed and _is_retry(event, log.entries(known, known + 1)):
            return known
        order = event.about.get("order")
        return log.append(entry, order_id=OrderId.parse(order) if isinstance(order, str) else None)

    def _edge(self, log: Log) -> TreeEdge:
        """The edge of the stored tree, which is checked unless this process has written it.

        The head is never newer than what is stored; where it is, what this process has written is not there any more.
        """
        if self._halted is not None:
            raise type(self._halted)(self._halted.what, fix=self._halted.fix)
        note = log.checkpoint()
        edge = self._edges.get(note) if note is not None else None
        if edge is None or edge.size < _size(self._head):
            edge = self._checked(log, note, self._heads.get(self.origin))
            if note is not None:
                self._remember(note, edge)
        if self._behind and note is not None:
            self._advance(note, lambda: nullcontext(log))
            self._behind = False
        return edge

    def _checked(self, log: Log, note: bytes | None, head: bytes | None) -> TreeEdge:
        """The edge of the tree that ``note`` signs, if the log stores it and the tree of ``head``."""
        edge = TreeEdge()
        if note is not None:
            last = self._opened(note)
            edge = TreeEdge.load(last.size, lambda level, index, _width: log.tile(level, index))
            if edge.root() != last.root:
                raise LogForked(
                    f"The stored log of {last.size} entries does not have the root that was signed.", fix=_FIX
                )
        if head is None:
            return edge
        shown = self._opened(head)
        if shown.size > edge.size:
            raise LogForked(
                f"The database holds {edge.size} log entries, but {shown.size} were signed and shown; it is an older "
                "copy, and going on from it would fork the log.",
                fix=_FIX,
            )
        if not _holds(log, shown):
            raise LogForked(
                f"The database holds another log than the one that was signed up to entry {shown.size}.", fix=_FIX
            )
        return edge

    def _advance(self, note: bytes, read: Callable[[], AbstractContextManager[Log]]) -> None:
        ours = read_unverified(note)
        with self._publishing:
            for _ in range(_ATTEMPTS):
                if _size(self._head) >= ours.size:
                    break
                try:
                    self._heads.replace(self.origin, note, was=self._head)
                    self._head = note
                except HeadMoved:
                    self._head = self._seen_elsewhere(read)
            else:
                raise StoreUnavailable(
                    f"The head of {self.origin} is moved all the time.", fix="Let fewer nodes write to one log."
                )
            if note != self._head:  # a later one was faster; both have to be of one tree
                with read() as log:
                    if not _holds(log, ours):
                        self._fork(ours.size)

    def _seen_elsewhere(self, read: Callable[[], AbstractContextManager[Log]]) -> bytes | None:
        """The head as another process left it. Raises `LogForked` unless our log holds its tree, and halts."""
        stored = self._heads.get(self.origin)
        if stored is None:
            return None
        head = self._opened(stored)
        with read() as log:
            if not _holds(log, head):
                self._fork(head.size)
        return stored

    def _fork(self, size: int) -> NoReturn:
        fork = LogForked(
            f"Another node signs for {self.origin}: of {size} entries it showed, this log does not hold all.",
            fix="Stop both nodes; only the one with the longer log may go on.",
        )
        self.halt(fork)
        raise fork

    def _opened(self, note: bytes) -> Checkpoint:
        return open_checkpoint(note, origin=self.origin, log=[self._verifier]).checkpoint

    def _remember(self, note: bytes, edge: TreeEdge) -> None:
        """Keep the edges of this checkpoint and the one before, which is the stored one if this never commits."""
        while len(self._edges) > 1:
            del self._edges[next(iter(self._edges))]
        self._edges[note] = edge

    def _catch_up(self, log: Log, sealed: int) -> None:
        """Learn what others wrote: another process, or this one before it was started."""
        first = max(0, sealed - _REMEMBERED, min(self._learned, sealed))
        for start in range(first, sealed, TILE_WIDTH):
            self._learn(start, log.entries(start, min(start + TILE_WIDTH, sealed)))
        self._learned = sealed

    def _learn(self, first: int, entries: Sequence[bytes]) -> None:
        """Remember acts, so that a retry is known; whether it is one is read again when it matters."""
        for index, entry in enumerate(entries, first):
            act = _act(entry)
            self._recent.pop(act, None)  # so that the oldest come first
            self._recent[act] = index
        while len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]
        self._learned = first + len(entries)


def _size(note: bytes | None) -> int:
    return 0 if note is None else read_unverified(note).size


def _check_newest_entries(log: Log, size: int) -> None:
    """Check that the entries under the last tile are there, as their hashes say. Raises `StoreCorrupt`."""
    if size == 0:
        return
    tile = (size - 1) // TILE_WIDTH
    start = tile * TILE_WIDTH
    hashes = b"".join(map(leaf_hash, log.entries(start, size)))
    if hashes != log.tile(0, tile)[: (size - start) * HASH_BYTES]:
        raise StoreCorrupt(
            f"The stored log entries from {start} up to {size} are not those that were signed.",
            fix="Find what is damaged: databund audit fsck",
        )


def _holds(log: Log, said: Checkpoint) -> bool:
    """Whether the stored tree begins with the one of this checkpoint."""
    if _size(log.checkpoint()) < said.size:
        return False
    return Prover(lambda level, index, _width: log.tile(level, index)).root(said.size) == said.root


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
