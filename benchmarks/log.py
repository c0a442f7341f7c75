"""The audit log: durable, checkpointed entries per second, and what proofs, verification and a full check cost.

A writer stages one entry (about 385 bytes, an event like those of deliveries) in a database transaction of its own and
waits until the entry is durable, in the tree and under a signed checkpoint that may be shown. Appending is measured at
10,000 entries and again at the end of a log of 2^20 (quick) or 10^7, which is filled with large database transactions
in between. The store is SQLite in a file with ``synchronous=FULL``, the head a file beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from statistics import median, quantiles

from benchmarks import tessera
from benchmarks.files import workplace
from benchmarks.nodes import NodeProcess
from benchmarks.purchase import listed
from benchmarks.trading import PRICE
from databund.app.auditing import Auditor
from databund.core.amounts import Amount
from databund.core.events import Event, EventKind
from databund.crypto.identities import Identity
from databund.crypto.signatures import verify_ed25519
from databund.sdk.client import Client
from databund.sdk.evidence import verify_bytes
from databund.storage.database import SqlDatabase
from databund.storage.heads import FileHeads
from databund.storage.log_reading import StoredLog
from databund.testing import samples
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.cosignatures import cosignature_signer
from databund.tlog.fsck import Checks, fsck
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer, ed25519_verifier
from databund.tlog.proofs import EntryProof
from databund.tlog.tiles import TILE_WIDTH, Prover

__all__ = ["Figures", "Tessera", "run"]

WRITERS = 64
_ORIGIN = "log.example"
_EARLY, _QUICK_SIZE, _SIZE = 10_000, 2**20, 10_000_000
_FILLING = 8192
_BURST_S, _BURSTS = 0.25, 9
_PROOFS, _TILES, _VERIFICATIONS = 2000, 64, 300
_AT = 1_790_000_000


@dataclass(frozen=True)
class Tessera:
    """Tessera's POSIX driver under the same writers, and under a crowd of them: entries per second, p99 in ms."""

    entries_s: float
    p99_ms: float
    crowd_entries_s: float
    crowd_p99_ms: float


@dataclass(frozen=True)
class Figures:
    """See docs/reference/benchmarks.md."""

    durable_entries_s: float
    p99_ms: float
    p50_ms: float
    acts_s: float
    single_writer_s: float
    proof_us: float
    proof_cold_us: float
    verify_us: float
    fsck_entries_s: float
    growth_ratio: float
    growth_to: int
    bundle_bytes: int
    evidence_bytes: int
    ratio_to_tessera: float | None
    ratio_to_crowd: float | None
    tessera: Tessera | None


class Log:
    """A log in a folder."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        key = VerifierKey(_ORIGIN, SignatureType.ED25519, identity.log_key.public)
        self.verifier = ed25519_verifier(key, verify_ed25519)
        signer = ed25519_signer(key, identity.log_key.sign)
        self.auditor = Auditor(_ORIGIN, signer, self.verifier, FileHeads(folder / "heads"))
        self.path = folder / "log.db"
        self.database = SqlDatabase.open(f"sqlite:///{self.path}", create=True, sealer=self.auditor)
        self._numbers = count()

    def append(self) -> float:
        """Append one event and return the seconds until it was acknowledged."""
        begun = time.perf_counter()
        event = _event(next(self._numbers))
        with self.database.write() as tables:
            self.auditor.append(tables, event)
        return time.perf_counter() - begun

    def act(self) -> float:
        """The same with a row of business in the same database transaction: an order."""
        begun = time.perf_counter()
        number = next(self._numbers)
        event = _event(number)
        order = samples.order(number)
        with self.database.write() as tables:
            tables.orders.add(order)
            self.auditor.append(tables, event)
        return time.perf_counter() - begun

    def fill(self, size: int) -> None:
        """Grow to ``size`` entries."""
        with self.database.read() as tables:
            first = tables.log.size()
        for start in range(first, size, _FILLING):
            with self.database.write() as tables:
                for number in range(start, min(start + _FILLING, size)):
                    tables.log.append(_FILLER % number)

    def close(self) -> None:
        """Release the database."""
        self.database.close()


def run(*, quick: bool) -> Figures:
    """Append, grow, prove, check."""
    size = _QUICK_SIZE if quick else _SIZE
    seconds = 2.5 if quick else 15.0
    identity = Identity.generate()
    with workplace("log") as folder:
        with _opened(folder, identity) as log:
            log.fill(_EARLY)
            _together(log.append, seconds=0.5)
            single, _ = _together(log.append, seconds=seconds, writers=1)
            early = _cost(log)
            log.fill(size)
            late = _cost(log)
            rate, latencies = _together(log.append, seconds=seconds)
            acts, _ = _together(log.act, seconds=seconds)
            cold, warm = _proving(log)
            checked = _checking(log)
        theirs = tessera.measure(folder, seconds=8.0 if quick else 60.0, writers=WRITERS)
        evidence, verifying = _evidence(folder)
    p50, p99 = (quantiles(latencies, n=100)[at - 1] * 1e3 for at in (50, 99))
    peer = None if theirs is None else _peer(theirs)
    return Figures(
        durable_entries_s=round(rate),
        p99_ms=round(p99, 1),
        p50_ms=round(p50, 1),
        acts_s=round(acts),
        single_writer_s=round(single),
        proof_us=round(warm, 1),
        proof_cold_us=round(cold, 1),
        verify_us=round(verifying),
        fsck_entries_s=round(checked),
        growth_ratio=round(late / early, 2),
        growth_to=size,
        bundle_bytes=_log_proof_bytes(identity),
        evidence_bytes=evidence,
        ratio_to_tessera=None if peer is None else round(rate / peer.entries_s, 2),
        ratio_to_crowd=None if peer is None else round(rate / peer.crowd_entries_s, 2),
        tessera=peer,
    )


@contextmanager
def _opened(folder: Path, identity: Identity) -> Iterator[Log]:
    log = Log(folder, identity)
    try:
        yield log
    finally:
        log.close()


def _together(work: Callable[[], float], *, seconds: float, writers: int = WRITERS) -> tuple[float, list[float]]:
    """Let writers work at the same time: how often a second they were done, and the seconds each time took."""
    taken: list[float] = []
    until = time.perf_counter() + seconds

    def write() -> None:
        while time.perf_counter() < until:
            taken.append(work())

    threads = [threading.Thread(target=write) for _ in range(writers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(taken) / (time.perf_counter() - begun), taken


def _cost(log: Log) -> float:
    """Seconds for an entry in bursts of all writers; the median, for the machine is shared."""
    return median(1 / _together(log.append, seconds=_BURST_S)[0] for _ in range(_BURSTS))


def _proving(log: Log) -> tuple[float, float]:
    """Microseconds to build an inclusion proof: from tiles not read before, and from tiles that are remembered."""
    with log.database.read() as tables:
        size = tables.log.size()

        def read(level: int, index: int, _width: int) -> bytes:
            return tables.log.tile(level, index)

        def timed(prover: Prover, indexes: list[int]) -> float:
            taken: list[float] = []
            for index in indexes:
                begun = time.perf_counter()
                prover.inclusion_proof(index, size)
                taken.append(time.perf_counter() - begun)
            return median(taken) * 1e6

        choose = Random(1)  # noqa: S311  # the same entries in every run
        anywhere = [choose.randrange(size) for _ in range(_PROOFS)]
        recent = [size - 1 - choose.randrange(_TILES * TILE_WIDTH) for _ in range(_PROOFS)]
        cold = timed(Prover(read, remembered_tiles=8), anywhere)
        prover = Prover(read)
        timed(prover, recent)
        return cold, timed(prover, recent)


def _checking(log: Log) -> float:
    """Entries per second of a full check of everything that is stored."""
    stored = StoredLog.open(f"sqlite:///{log.path}")
    try:
        begun = time.perf_counter()
        found = fsck(stored, Checks(origin=_ORIGIN, log=[log.verifier]))
        return found.size / (time.perf_counter() - begun)
    finally:
        stored.close()


def _event(number: int) -> Event:
    about = {
        "delivery": f"0x{number:064x}",
        "order": None,
        "offer": "0x" + "ab" * 32,
        "content_root": "0x" + "cd" * 32,
        "recipient": "age1" + "q" * 58,
        "use": 1,
    }
    return Event(EventKind.DELIVERED, _AT, "0x" + "0" * 40, about)


_FILLER = _event(0).entry().replace(b"%064x" % 0, b"%064x")
"""An entry like those of `_event`, with room for its number; made without the cost of an event."""


def _peer(theirs: tessera.Figures) -> Tessera:
    crowd = theirs["crowd"]
    return Tessera(
        entries_s=round(theirs["entries_s"]),
        p99_ms=round(theirs["p99_ms"], 1),
        crowd_entries_s=round(crowd["entries_s"]),
        crowd_p99_ms=round(crowd["p99_ms"], 1),
    )


def _evidence(folder: Path) -> tuple[int, float]:
    """The evidence of a real trade: its bytes, and the microseconds that verifying it takes."""
    operator, consumer = Identity.generate(), Identity.generate()
    home = folder / "operator"
    with NodeProcess(home, operator.reveal()) as node:
        url = node.run()
        view, _ = listed(url, folder)
        with Client(url, home=folder / "bank", identity=operator) as bank:
            bank.credit(consumer.address, Amount(2 * PRICE))
        with Client(url, home=folder / "consumer", identity=consumer) as client:
            with client.buying(view.id) as bought:
                order = bought.id
            with client.downloading(view.id, folder / "opened", purpose="research"):
                pass
            client.certificate(order)
            data, key = client.evidence(order), client.info.log_key
    taken: list[float] = []
    for _ in range(_VERIFICATIONS):
        begun = time.perf_counter()
        verify_bytes(data, key=key)
        taken.append(time.perf_counter() - begun)
    return len(data), median(taken) * 1e6


def _log_proof_bytes(identity: Identity) -> int:
    """The bytes of a log proof in a log of 2^20 entries, under a checkpoint with one cosignature."""
    size, witness = 2**20, Identity.generate().witness_key
    vkey = VerifierKey(_ORIGIN, SignatureType.ED25519, identity.log_key.public)
    cosigner = VerifierKey("witness.example", SignatureType.COSIGNATURE_V1, witness.public)
    signers = [
        ed25519_signer(vkey, identity.log_key.sign),
        cosignature_signer(cosigner, witness.sign, timestamp_s=_AT),
    ]
    note = sign_checkpoint(Checkpoint(_ORIGIN, size, bytes(32)), signers).to_bytes()
    return len(EntryProof(size - 2, (bytes(32),) * 20, note).to_bytes())
