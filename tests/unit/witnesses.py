"""What the tests of witnessing share: a witness over heads in memory, a log in a database in memory, and requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from databund.app.witnessing import Cosigner, Witness
from databund.ports import Heads
from databund.testing.memory_database import MemoryDatabase
from databund.testing.memory_heads import MemoryHeads
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.notes import SignatureType, Verifier
from databund.tlog.tiles import consistency_proof
from databund.tlog.witnessing import AddCheckpoint
from tests.unit.tlog_keys import ORIGIN, Key, MemoryLog, log_of, witness_key

NOW = 1_790_000_000
LOG = Key(ORIGIN)


@dataclass
class Time:
    """A clock that stands where it is put."""

    now: int = NOW

    def __call__(self) -> int:
        """The time, POSIX seconds."""
        return self.now


def keys_of(name: str) -> tuple[Key, Key]:
    """The Ed25519 and the ML-DSA-44 key of the witness of this name."""
    return witness_key(name), witness_key(name, SignatureType.ML_DSA_44)


def witness(
    name: str = "witness.example",
    *,
    heads: Heads | None = None,
    clock: Callable[[], int] | None = None,
    logs: dict[str, list[Verifier]] | None = None,
) -> Witness:
    """A witness of the one log."""
    cosigners = [Cosigner(key.vkey, key.sign) for key in keys_of(name)]
    return Witness(heads or MemoryHeads(), cosigners, logs or {ORIGIN: [LOG.verifier()]}, clock or Time())


def request(old: int, log: MemoryLog, *, key: Key = LOG, checkpoint: Checkpoint | None = None) -> bytes:
    """A correct request to cosign this log, whose witness has the size ``old``."""
    checkpoint = checkpoint or log.checkpoint()
    proof = consistency_proof(old, log.edge.size, read=log.read) if old else ()
    return AddCheckpoint(old, proof, sign_checkpoint(checkpoint, [key.signer()]).to_bytes()).to_bytes()


@dataclass
class StoredLog:
    """A log of a node in a database in memory, that grows by numbered entries."""

    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    log: MemoryLog = field(default_factory=MemoryLog)

    def grow(self, size: int) -> StoredLog:
        """Append entries up to this size, under a signed checkpoint."""
        first = self.log.edge.size
        entries = log_of(size).entries[first:]
        self.log.append(*entries)
        note = sign_checkpoint(self.log.checkpoint(), [LOG.signer()]).to_bytes()
        with self.database.write() as tables:
            tables.log.write(first, entries, tiles=dict(self.log.tiles), checkpoint=note)
        return self
