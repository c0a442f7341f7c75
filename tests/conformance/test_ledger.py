"""The ledger's adapter passes its port's suite on the embedded node, and on anvil with and without fees."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from databund.chain.connection import IMMEDIATE, Connection, Finality, http_provider
from databund.chain.embedded import EmbeddedNode
from databund.chain.embedded.provider import EmbeddedProvider
from databund.crypto.identities import Identity
from databund.testing.ledger_suite import LedgerSuite, Market
from tests.conformance.ledgers import give_gas, open_market
from tests.servers import anvil


class TestEmbedded(LedgerSuite):
    """On the embedded node."""

    @pytest.fixture(scope="class")
    @classmethod
    def market(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
        """An exchange on a chain of its own."""
        file = tmp_path_factory.mktemp("ledger") / "chain.db"
        with EmbeddedNode.create(file, chain_id=31337, now=lambda: int(time.time())) as node:
            yield open_market(Connection.open(EmbeddedProvider(node), finality=IMMEDIATE), Identity.generate())


class TestAnvil(LedgerSuite):
    """On anvil, where gas has a price."""

    @pytest.fixture(scope="class")
    @classmethod
    def market(cls, anvil_url: str) -> Market:
        """An exchange of an operator who has ether."""
        provider, operator = http_provider(anvil_url), Identity.generate()
        give_gas(provider, operator.address)
        return open_market(Connection.open(provider, finality=IMMEDIATE), operator)


@pytest.mark.anvil
class TestAnvilInBlocks(LedgerSuite):
    """On anvil without fees, with a block every 0.1 s, each final after two more."""

    @pytest.fixture(scope="class")
    @classmethod
    def market(cls) -> Iterator[Market]:
        """An exchange on a network that makes blocks by the clock."""
        with anvil("--base-fee", "0", "--gas-price", "0", "--block-time", "0.1") as url:
            connection = Connection.open(http_provider(url), finality=Finality(confirmations=2))
            yield open_market(connection, Identity.generate())
