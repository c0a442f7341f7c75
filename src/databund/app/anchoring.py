"""Anchoring: the log's tree head is left on the chain from time to time, and the log says where.

So both name each other: the chain holds (size, root), and a later entry, under a later checkpoint, names the block. A
history that was rewritten after the anchor shows to anybody who reads the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from databund.app.auditing import Auditor
from databund.app.relaying import Relaying
from databund.core.events import Event, EventKind
from databund.core.ids import Hex
from databund.core.log_status import Anchor, AnchoringStatus
from databund.errors import LogForked
from databund.ports import ChainOutcome, Database, Ledger, Log, Tables
from databund.tlog.checkpoints import read_unverified
from databund.tlog.tiles import Prover

__all__ = ["Anchoring"]

_FEW = 64


@dataclass
class Anchoring:
    """The log's anchors, at most one every ``period_s`` seconds, each for at most ``max_cost`` wei (None: any)."""

    database: Database
    relaying: Relaying
    ledger: Ledger
    auditor: Auditor
    origin: str
    clock: Callable[[], int]
    period_s: int
    max_cost: int | None = None
    _deferred: str | None = None

    def check(self) -> None:
        """Raise `LogForked` unless the tree head on the chain is one that this log had; to be called at the start."""
        anchored = self.ledger.anchored(self.origin, self.relaying.relayer.signer)
        if anchored is None:
            return
        size, root = anchored
        with self.database.read() as tables:
            note = tables.log.checkpoint()
            here = 0 if note is None else read_unverified(note).size
            held = _root(tables.log, size) if size <= here else None
        if held != root:
            what = f"this log has {here}" if held is None else f"this log has the root {held.hex()} there"
            raise LogForked(
                f"{size} entries of the log {self.origin} are anchored on the chain with root {root.hex()}; {what}.",
                fix="The database is an older copy, or of another log: stop the node, and restore the newest one.",
            )

    def step(self) -> int:
        """Complete the anchors on their way, then send the next one if it is time; how many came into the log.

        Raises `ChainUnavailable`, and `LogForked`, after which nothing is signed any more, when the chain knows a later
        tree or another one.
        """
        try:
            return self._step()
        except LogForked as fork:
            self.auditor.halt(fork)
            raise

    def _step(self) -> int:
        with self.database.read() as tables:
            pending = list(tables.anchors.pending())
        entered = sum(self._complete(anchor) for anchor in pending)
        if entered == len(pending) and (anchor := self._next()) is not None:
            entered += self._complete(anchor)
        return entered

    def status(self) -> AnchoringStatus:
        """How far anchoring is."""
        with self.database.read() as tables:
            newest = tables.anchors.newest()
            on_chain = newest is not None and _is_done(tables, newest)
        return AnchoringStatus(newest=newest, on_chain=on_chain, deferred=self._deferred)

    def _next(self) -> Anchor | None:
        """Sign and store the next anchor; None when it is not yet time, nothing is new, or it is too dear."""
        now = self.clock()
        with self.database.read() as tables:
            newest, note = tables.anchors.newest(), self.auditor.published(tables.log)
            if note is None:
                return None
            last = Event.read(tables.log.entries(0, 1)[0]).at if newest is None else newest.at
            if 0 <= now - last < self.period_s:
                return None
            head = read_unverified(note)
            if newest is not None and _is_done(tables, newest) and not _grew(tables.log, newest.size, head.size):
                return None
        call = self.relaying.relayer.prepare_anchor(self.origin, size=head.size, root=head.root)
        cost = self.relaying.relayer.cost(call)
        if self.max_cost is not None and cost > self.max_cost:
            self._deferred = f"An anchor may cost {cost} wei; at most {self.max_cost} are allowed."
            return None
        included = self.relaying.included()
        with self.database.write() as tables:
            sent = self.relaying.store(tables, call, included=included)
            anchor = Anchor(head.size, Hex(head.root), sent.hash, now)
            tables.anchors.add(anchor)
        self._deferred = None
        return anchor

    def _complete(self, anchor: Anchor) -> bool:
        """Send the stored bytes (again), wait, and enter the outcome; whether it has one. A refused anchor has none."""
        with self.database.read() as tables:
            sent = tables.outbox.get(anchor.chain_transaction)
        outcome = self.relaying.complete(sent)
        if outcome is None:
            return False
        with self.database.write() as tables:
            if anchor.chain_transaction in {waiting.chain_transaction for waiting in tables.anchors.pending()}:
                if outcome.succeeded:
                    self.auditor.append(tables, self._anchored(anchor, outcome))
                tables.anchors.finish(anchor.chain_transaction)
        return True

    def _anchored(self, anchor: Anchor, outcome: ChainOutcome) -> Event:
        return Event(
            EventKind.ANCHORED,
            self.clock(),
            str(self.relaying.relayer.signer),
            {
                "size": anchor.size,
                "root": anchor.root.hex(),
                "chain_transaction": outcome.hash,
                "block": outcome.block,
                "block_hash": outcome.block_hash,
            },
        )


def _is_done(tables: Tables, anchor: Anchor) -> bool:
    """Whether the anchor is on the chain."""
    outcome = tables.outbox.outcome(anchor.chain_transaction)
    return outcome is not None and outcome.succeeded


def _grew(log: Log, start: int, stop: int) -> bool:
    """Whether anything but anchors was entered since; they alone are not worth another."""
    newer = log.entries(start, min(stop, start + _FEW))
    return len(newer) == _FEW or any(Event.read(entry).kind is not EventKind.ANCHORED for entry in newer)


def _root(log: Log, size: int) -> bytes:
    return Prover(lambda level, index, _width: log.tile(level, index)).root(size)
