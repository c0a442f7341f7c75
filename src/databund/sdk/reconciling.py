"""Reconciling: a verified log is compared with the chain, entry by entry and event by event.

What is compared, and how a gap is named, is decided in `databund.core.reconciliation`; here both sides are read, piece
by piece, so that the memory needed does not grow with either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from databund.core.chain_events import ChainEvent
from databund.core.events import Event
from databund.core.gaps import Facts, Gap, Tally
from databund.core.messages import NodeInfo
from databund.core.reconciliation import reconcile
from databund.ports import Block, ChainEvents
from databund.sdk.mirror import read_range
from databund.tlog.checkpoints import Checkpoint
from databund.tlog.sources import LogSource
from databund.tlog.tiles import Prover, tile_width

__all__ = ["Comparison", "compare"]

_BLOCKS = 500


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and the gaps.

    Compared are the entries 0 to ``entries`` (exclusive) under ``root`` (hexadecimal digits) of the log ``origin``, and
    the final blocks ``first_block`` to ``last_block`` of the chain, the last with the hash ``last_hash``.
    """

    origin: str
    entries: int
    root: str
    chain_id: int
    exchange: str
    first_block: int
    last_block: int
    last_hash: str
    counted: dict[str, int]
    gaps: tuple[Gap, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing on either side."""
        return not self.gaps


def compare(
    source: LogSource,
    checkpoint: Checkpoint,
    events: ChainEvents,
    *,
    info: NodeInfo,
    newest: Block,
    live: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare the entries of a log that was verified under ``checkpoint`` with the chain up to the block ``newest``.

    A ``live`` log was read after ``newest`` was, so it must know everything up to there; of a copy nobody knows how old
    it is, so it must know everything up to the last block that it names itself. Raises `DocumentInvalid` for an entry
    that is none of ours, `ChainUnavailable`, `NotFound`.
    """
    # A copy has the tiles of its own size; those of a smaller tree are cut from them.
    prover = Prover(lambda level, at, _: source.tile(level, at, tile_width(level, at, size=checkpoint.size)))
    tally = Tally()
    facts = Facts(
        domain=info.domain,
        currency=info.currency.address,
        anchorer=info.operator,
        origin=info.origin,
        size=checkpoint.size,
        root_at=prover.root,
        fate=events.fate,
        complete_to=newest.number if live else None,
        newest=lambda: events.newest().number,
    )
    first = min(info.since_block, newest.number)
    entries = _entries(source, checkpoint.size, progress)
    chain = _events(events, first, newest.number)
    gaps = tuple(reconcile(entries, chain, facts=facts, tally=tally))
    return Comparison(
        origin=checkpoint.origin,
        entries=checkpoint.size,
        root=checkpoint.root.hex(),
        chain_id=info.domain.chain_id,
        exchange=str(info.domain.exchange),
        first_block=first,
        last_block=newest.number,
        last_hash=newest.hash,
        counted=dict(vars(tally)),
        gaps=gaps,
    )


def _entries(source: LogSource, size: int, progress: Callable[[int, int], None] | None) -> Iterator[tuple[int, Event]]:
    for index, entry in read_range(source, 0, size):
        yield index, Event.read(entry)
        if progress is not None and (index % 1024 == 0 or index + 1 == size):
            progress(index + 1, size)


def _events(events: ChainEvents, first: int, last: int) -> Iterator[ChainEvent]:
    for start in range(first, last + 1, _BLOCKS):
        yield from events.between(start, min(start + _BLOCKS - 1, last))
