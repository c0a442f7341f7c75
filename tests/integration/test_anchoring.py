"""Anchoring on real chains: the embedded node, where gas is free, and anvil, where it is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from databund.app.anchoring import Anchoring
from databund.app.auditing import Auditor
from databund.app.relaying import Relaying
from databund.chain.chain_events import ChainEventReader
from databund.chain.connection import IMMEDIATE, Connection, http_provider
from databund.chain.deployment import Deployment
from databund.chain.embedded import EmbeddedNode
from databund.chain.embedded.provider import EmbeddedProvider
from databund.chain.ledger import ChainLedger
from databund.chain.relayer import ChainRelayer
from databund.core.chain_events import AnchorRecorded
from databund.core.events import Event, EventKind
from databund.crypto.identities import Identity
from databund.crypto.signatures import verify_ed25519
from databund.errors import LogForked
from databund.ports import ChainOutcome, ChainTransaction
from databund.storage.database import SqlDatabase
from databund.testing.memory_heads import MemoryHeads
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer, ed25519_verifier
from tests.conformance.ledgers import deployed, give_gas

ORIGIN = "exchange.example/audit"


class Crash(Exception):
    """The process ends."""


class Crashing(ChainRelayer):
    """A relayer in a process that ends when it is about to send."""

    def outcome(self, chain_transaction: ChainTransaction, *, timeout_s: float) -> ChainOutcome | None:
        """End here."""
        raise Crash(chain_transaction.hash, timeout_s)


class Exchange:
    """An exchange on a chain, whose log lies in SQLite."""

    def __init__(self, connection: Connection, operator: Identity, folder: Path) -> None:
        self.connection, self.operator, self.folder = connection, operator, folder
        self.deployment: Deployment = deployed(connection, operator)
        self.ledger = ChainLedger(connection, self.deployment)

    def auditor(self) -> Auditor:
        """The log's writer, as in a new process."""
        key = VerifierKey(ORIGIN, SignatureType.ED25519, self.operator.log_key.public)
        signer, verifier = ed25519_signer(key, self.operator.log_key.sign), ed25519_verifier(key, verify_ed25519)
        return Auditor(ORIGIN, signer, verifier, MemoryHeads())

    def anchoring(
        self, *, database: str = "log", relayer: type[ChainRelayer] = ChainRelayer, max_cost: int | None = None
    ) -> Anchoring:
        """Anchoring, as in a new process."""
        auditor = self.auditor()
        records = SqlDatabase.open(f"sqlite:///{self.folder / database}.db", create=True, sealer=auditor)
        relaying = Relaying(records, relayer(self.connection, self.deployment, self.operator))
        return Anchoring(
            records, relaying, self.ledger, auditor, ORIGIN, lambda: 1_800_000_000, period_s=0, max_cost=max_cost
        )

    def anchored(self) -> tuple[int, bytes] | None:
        """What the chain has."""
        return self.ledger.anchored(ORIGIN, self.operator.address)


def grow(anchoring: Anchoring, number: int) -> None:
    """Make an entry."""
    event = Event(EventKind.WITHDRAWN, number, "somebody", {"offer": str(number), "chain_transaction": None})
    with anchoring.database.write() as tables:
        anchoring.auditor.append(tables, event)


def last_entry(anchoring: Anchoring) -> Event:
    """The newest entry of the log."""
    with anchoring.database.read() as tables:
        return Event.read(tables.log.entries(0, 1_000)[-1])


@pytest.fixture(params=["embedded", pytest.param("anvil", marks=pytest.mark.anvil)])
def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchange]:
    """An exchange on either node."""
    operator = Identity.generate()
    if request.param == "embedded":
        with EmbeddedNode.create(tmp_path / "chain.db", chain_id=31337, now=lambda: int(time.time())) as node:
            yield Exchange(Connection.open(EmbeddedProvider(node), finality=IMMEDIATE), operator, tmp_path)
        return
    provider = http_provider(request.getfixturevalue("anvil_url"))
    give_gas(provider, operator.address)
    yield Exchange(Connection.open(provider, finality=IMMEDIATE), operator, tmp_path)


def test_log_and_chain_name_each_other(exchange: Exchange) -> None:
    """The chain holds the log's tree head, and the entry about it names the block in which the chain has it."""
    anchoring = exchange.anchoring()
    for number in range(2):
        grow(anchoring, number)
        assert anchoring.step() == 1
    entry = last_entry(anchoring)
    assert exchange.anchored() == (3, bytes.fromhex(str(entry.about["root"])))
    block = entry.about["block"]
    assert isinstance(block, int)
    (event,) = ChainEventReader(exchange.connection, exchange.deployment).between(block, block)
    assert isinstance(event, AnchorRecorded)
    assert (event.size, event.root.hex()) == (entry.about["size"], entry.about["root"])
    assert (event.place.block_hash, event.place.chain_transaction) == (
        entry.about["block_hash"],
        entry.about["chain_transaction"],
    )
    anchoring.check()


def test_a_crash_between_storing_and_sending_heals(exchange: Exchange) -> None:
    """What was stored is sent by the next process, as the same bytes, and entered once."""
    crashing = exchange.anchoring(relayer=Crashing)
    grow(crashing, 1)
    with pytest.raises(Crash):
        crashing.step()
    assert exchange.anchored() is None
    stored = crashing.status().newest
    assert stored is not None
    crashing.database.close()

    anchoring = exchange.anchoring()
    anchoring.check()
    assert [anchoring.step() for _ in range(2)] == [1, 0]
    assert last_entry(anchoring).about["chain_transaction"] == stored.chain_transaction
    assert exchange.anchored() == (stored.size, stored.root)


def test_a_restored_older_database_is_refused(exchange: Exchange) -> None:
    """A database from before the newest anchor is refused at the start, although its own head moved with it."""
    anchoring = exchange.anchoring()
    for number in range(3):
        grow(anchoring, number)
    anchoring.step()
    older = exchange.anchoring(database="older")
    grow(older, 0)
    with pytest.raises(LogForked, match="this log has 1"):
        older.check()
    with pytest.raises(LogForked):
        older.step()


def test_what_an_anchor_costs_is_known(exchange: Exchange) -> None:
    """Where gas is free an anchor costs nothing; elsewhere more than the operator allows, and it waits."""
    anchoring = exchange.anchoring(max_cost=0)
    grow(anchoring, 1)
    free = not any(exchange.connection.fees().values())
    assert anchoring.step() == (1 if free else 0)
    assert (anchoring.status().deferred is None) is free
    if not free:
        anchoring.max_cost = 10**18
        assert anchoring.step() == 1
        spent = 10**20 - int(exchange.connection.ask("eth_getBalance", str(exchange.operator.address), "latest"), 16)
        call = anchoring.relaying.relayer.prepare_anchor(ORIGIN, size=9, root=bytes(32))
        assert 0 < anchoring.relaying.relayer.cost(call) < spent  # the deployment was dearer by far
