"""Reading the chain's events where nodes refuse, blocks are not final, and strangers use the smart contracts too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web3.types import RPCEndpoint, RPCResponse

from databund.chain.chain_events import ChainEventReader
from databund.chain.connection import IMMEDIATE, Connection, Finality
from databund.chain.deployment import Deployment
from databund.chain.embedded import EmbeddedNode
from databund.chain.embedded.provider import EmbeddedProvider
from databund.chain.relayer import _words
from databund.chain.sending import Sender
from databund.chain.smart_contracts import SmartContract
from databund.core.amounts import Amount
from databund.core.chain_events import Fate, LicenseSold
from databund.core.ids import Address
from databund.crypto.identities import Identity
from databund.errors import ChainUnavailable, NotFound
from databund.testing.ledger_suite import Market
from tests.conformance.ledgers import open_market


class Narrow(EmbeddedProvider):
    """The way to a node that tells the events of only so many blocks at once."""

    most = 10**9
    asked = 0

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one request, or refuse it."""
        if method == "eth_getLogs":
            self.asked += 1
            if int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= self.most:
                return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "too many blocks"}}  # type: ignore[typeddict-item]
        return super().make_request(method, params)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Narrow]:
    """A node in this process."""
    with EmbeddedNode.create(tmp_path / "chain.db", chain_id=31337, now=lambda: int(time.time())) as node:
        yield Narrow(node)


@pytest.fixture
def market(provider: Narrow) -> Market:
    """An exchange on it."""
    return open_market(Connection.open(provider, finality=IMMEDIATE), Identity.generate())


def reader(market: Market, provider: Narrow, finality: Finality = IMMEDIATE) -> ChainEventReader:
    """A reader of its own, with another idea of finality."""
    deployment: Deployment = market.events._deployment  # type: ignore[attr-defined]
    return ChainEventReader(Connection.open(provider, finality=finality), deployment)


def send(connection: Connection, by: Identity, to: Address | None, data: bytes) -> dict[str, Any]:
    """A chain transaction of somebody's own."""
    sender = Sender(connection, by)
    gas = sender.try_call(to, data)
    receipt = sender.settle(sender.sign(to, data, gas=gas, nonce=connection.included(by.address)), timeout_s=30)
    assert receipt is not None
    assert receipt["status"] == "0x1"
    return dict(receipt)


def test_a_node_that_refuses_many_blocks_is_asked_for_fewer(market: Market, provider: Narrow) -> None:
    """The same events come, whatever number of blocks a node is willing to tell at once."""
    first, last = (market.cancel(market.offer(), market.provider).block for _ in range(2))
    whole = market.events.between(0, last)
    assert len(whole) == 2
    for provider.most in (3, 1):
        assert market.events.between(0, last) == whole
    assert first < last


def test_a_node_that_refuses_every_block_is_unavailable(market: Market, provider: Narrow) -> None:
    """A node that tells no events at all is named, after few questions."""
    provider.most, last = 0, market.events.newest().number
    with pytest.raises(ChainUnavailable, match="refused the events of block 0: too many blocks"):
        market.events.between(0, last)
    assert provider.asked <= last.bit_length() + 1


def test_what_is_not_final_is_not_told(market: Market, provider: Narrow) -> None:
    """Events of blocks that may still be replaced are not found, and their chain transactions are pending."""
    outcome = market.cancel(market.offer(), market.provider)
    cautious = reader(market, provider, Finality(confirmations=1))
    assert cautious.newest().number == outcome.block - 1
    assert cautious.fate(outcome.hash) is Fate.PENDING
    with pytest.raises(NotFound, match="not final"):
        cautious.between(0, outcome.block)
    market.cancel(market.offer(), market.provider)
    assert len(cautious.between(0, outcome.block)) == 1
    assert cautious.fate(outcome.hash) is Fate.SUCCEEDED


def test_a_direct_sale_names_what_it_paid(market: Market, provider: Narrow) -> None:
    """A sale without an order has the payments of its buyer, however many sales its chain transactions have."""
    buyer, offer = market.buyer(), market.offer()
    connection = Connection.open(provider, finality=IMMEDIATE)
    deployment: Deployment = market.events._deployment  # type: ignore[attr-defined]
    money, exchange = SmartContract.load("SettlementToken"), SmartContract.load("Exchange")
    send(connection, buyer, deployment.currency.address, money.call("approve", deployment.exchange, 2**100))
    data = exchange.call("buy", _words(offer.offer), bytes(offer.signature), 2)
    receipt = send(connection, buyer, deployment.exchange, data)
    block = int(receipt["blockNumber"], 16)
    (sale,) = market.events.between(block, block)
    assert isinstance(sale, LicenseSold)
    assert (sale.order_id, sale.buyer, sale.units) == (None, buyer.address, 2)
    assert sum(payment.amount for payment in sale.payments) == sale.price == 2 * offer.offer.unit_price
    assert {payment.account for payment in sale.payments} == {market.provider.address, market.fee_account}


def test_a_sale_in_another_currency_is_no_event_of_this_exchange(market: Market, provider: Narrow) -> None:
    """Anybody may sell for a token of their own through the smart contract; that is nobody's trade here."""
    connection, issuer = Connection.open(provider, finality=IMMEDIATE), market.provider
    token = SmartContract.load("SettlementToken")
    created = send(connection, issuer, None, token.creation("Junk", "JUNK", issuer.address))
    junk = Address(bytes.fromhex(created["contractAddress"][2:]))
    deployment: Deployment = market.events._deployment  # type: ignore[attr-defined]
    offer = market.offer(currency=junk, unit_price=Amount(0))
    data = SmartContract.load("Exchange").call("buy", _words(offer.offer), bytes(offer.signature), 1)
    receipt = send(connection, issuer, deployment.exchange, data)
    assert len(receipt["logs"]) >= 2
    block = int(receipt["blockNumber"], 16)
    assert market.events.between(block, block) == []
