"""Sources: a log as it lies somewhere, in the resources of c2sp.org/tlog-tiles, and what can be told from them.

Where it lies (a web server, a folder, a ZIP, a database) is an adapter's business. A source is never believed: its
entries hash to its tiles, its tiles to a root, and the root stands in a checkpoint that somebody signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from databund.errors import LogForked, ProofInvalid
from databund.tlog.checkpoints import check_advance
from databund.tlog.merkle import HASH_BYTES, verify_consistency
from databund.tlog.tiles import Prover, parse_entries, tile_width

if TYPE_CHECKING:
    from databund.tlog.checkpoints import Checkpoint

__all__ = ["Bundle", "LogSource", "read_entries", "verify_extension"]

Bundle = bytes | Sequence[bytes]
"""The entries under one tile of level 0: the bytes of an entry bundle, or the entries where they lie singly."""


class LogSource(Protocol):
    """A log as it lies somewhere.

    A resource that is not there raises NotFound; a place that does not answer raises an Unavailable; a place that is
    damaged below the level of resources (a torn page) raises StoreCorrupt and names the resource.
    """

    def checkpoint(self) -> bytes:
        """The newest checkpoint, a signed note. Raises NotFound for an empty log."""
        ...

    def tile(self, level: int, index: int, width: int, /) -> bytes:
        """The first ``width`` hashes of a tile, as they are stored: damaged ones may be cut or too long."""
        ...

    def entries(self, index: int, width: int, /) -> Bundle:
        """The first ``width`` entries of a bundle, as they are stored."""
        ...


def read_entries(source: LogSource, index: int, width: int) -> Sequence[bytes]:
    """The entries of a bundle. Raises DocumentInvalid for bytes that are no bundle of ``width`` entries."""
    bundle = source.entries(index, width)
    return parse_entries(bundle, width=width) if isinstance(bundle, bytes) else bundle


def verify_extension(previous: Checkpoint | None, following: Checkpoint, source: LogSource) -> None:
    """Check that ``following`` is ``previous`` with more entries, by a consistency proof built from the source's tiles.

    Raises LogForked when the log shrank, has two roots of one size, or shows a tree under ``following`` that does not
    begin with ``previous``; ProofInvalid when the tiles lead to neither root, which shows nothing but a broken source.
    """
    check_advance(previous, following)
    if previous is None or previous.size in (0, following.size):
        return
    size, root = following.size, following.root

    def read(level: int, index: int, width: int) -> bytes:
        """A tile of the following tree, cut to what it was in an earlier one."""
        return source.tile(level, index, tile_width(level, index, size=size))[: width * HASH_BYTES]

    prover = Prover(read)
    proof = prover.consistency_proof(previous.size, size)
    try:
        verify_consistency(proof, old_size=previous.size, old_root=previous.root, new_size=size, new_root=root)
        return
    except ProofInvalid:
        shown = prover.root(previous.size)
    # Either the tiles are broken, or they are proven to be those of the following tree and show another beginning.
    if shown != previous.root:
        try:
            verify_consistency(proof, old_size=previous.size, old_root=shown, new_size=size, new_root=root)
        except ProofInvalid:
            shown = previous.root
    if shown == previous.root:
        raise ProofInvalid(
            f"The tiles of {following.origin} do not lead to its signed root of size {size}.",
            fix="Fetch them again; if it fails again, ask the operator.",
        )
    raise LogForked(
        f"The log {following.origin} signed a tree of size {size} that does not begin with the one of size "
        f"{previous.size} that it signed before.",
        fix="Keep both checkpoints as evidence, stop using this log, and ask its operator.",
    )
