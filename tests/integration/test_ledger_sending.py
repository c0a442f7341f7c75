"""Sending on networks that are not as calm as the embedded one: pools, reorganizations, fees, competing keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from web3 import HTTPProvider
from web3.types import RPCEndpoint, RPCResponse

from databund.chain.connection import FINALIZED, IMMEDIATE, Connection, Finality, http_provider
from databund.chain.ledger import ChainLedger
from databund.chain.relayer import ChainRelayer
from databund.core.amounts import Amount
from databund.core.ids import Address
from databund.crypto.identities import Identity
from databund.errors import ChainRejected, ChainUnavailable, NotOwner, WrongChain
from databund.ports import ChainTransaction
from tests.conformance.ledgers import deployed, give_gas

pytestmark = pytest.mark.anvil


class WithoutBaseFee(HTTPProvider):
    """The way to a node whose blocks name no base fee."""

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer without it."""
        answer = super().make_request(method, params)
        if method == "eth_getBlockByNumber":
            del answer["result"]["baseFeePerGas"]
        return answer


@dataclass
class Network:
    """An exchange on an anvil of its own, and anvil's own controls."""

    url: str
    finality: Finality = IMMEDIATE

    def __post_init__(self) -> None:
        self.operator = Identity.generate()
        self.provider = http_provider(self.url)
        give_gas(self.provider, self.operator.address)
        self.deployment = deployed(Connection.open(self.provider, finality=IMMEDIATE), self.operator)
        self.connection = Connection.open(self.provider, finality=self.finality)
        self.relayer = ChainRelayer(self.connection, self.deployment, self.operator)

    def control(self, method: str, *params: object) -> None:
        """Have anvil do something that no network offers."""
        assert "error" not in self.provider.make_request(RPCEndpoint(method), list(params))

    def issue(self, amount: int = 1, *, nonce: int | None = None) -> ChainTransaction:
        """A signed chain transaction that is not sent."""
        call = self.relayer.prepare_issue(Address(b"\1" * 20), Amount(amount))
        return self.relayer.sign(call, nonce=self.relayer.next_nonce() if nonce is None else nonce)


@pytest.fixture
def start(start_anvil: Callable[..., str]) -> Callable[..., Network]:
    """Start a network."""
    return lambda *arguments, finality=IMMEDIATE: Network(start_anvil(*arguments), finality)


def test_a_dropped_chain_transaction_is_sent_again(start: Callable[..., Network]) -> None:
    """What the node forgot while it waited is given to it again."""
    network = start()
    network.control("evm_setAutomine", False)
    signed = network.issue()
    assert network.relayer.outcome(signed, timeout_s=0.1) is None
    network.control("anvil_dropTransaction", signed.hash)
    assert network.relayer.outcome(signed, timeout_s=0.1) is None
    network.control("evm_mine")
    outcome = network.relayer.outcome(signed, timeout_s=5)
    assert outcome is not None
    assert outcome.succeeded


def test_an_outcome_waits_for_confirmations(start: Callable[..., Network]) -> None:
    """A receipt alone is no outcome where blocks can be replaced."""
    network = start(finality=Finality(confirmations=2))
    signed = network.issue()
    assert network.relayer.outcome(signed, timeout_s=0.1) is None
    network.control("anvil_mine", "0x1")
    assert network.relayer.outcome(signed, timeout_s=0.1) is None
    network.control("anvil_mine", "0x1")
    outcome = network.relayer.outcome(signed, timeout_s=5)
    assert outcome is not None
    assert outcome.succeeded


def test_a_reorganization_is_survived(start: Callable[..., Network]) -> None:
    """A chain transaction whose block was replaced is sent again, and its outcome names the block that stays."""
    network = start(finality=Finality(confirmations=1))
    signed = network.issue()
    assert network.relayer.outcome(signed, timeout_s=0.1) is None
    network.control("anvil_reorg", 1, [])
    assert network.relayer.outcome(signed, timeout_s=0.1) is None
    network.control("anvil_mine", "0x1")
    outcome = network.relayer.outcome(signed, timeout_s=5)
    assert outcome is not None
    assert network.connection.ask("eth_getBlockByHash", outcome.block_hash, False)["number"] == hex(outcome.block)


def test_reading_waits_for_finality(start: Callable[..., Network]) -> None:
    """What is not final is not told; before the exchange itself is final there is nothing to ask."""
    network = start(finality=FINALIZED)  # anvil's finalized block is 64 behind
    ledger, account = ChainLedger(network.connection, network.deployment), Address(b"\1" * 20)
    with pytest.raises(WrongChain, match="until it is final"):
        ledger.balance(account)
    network.control("anvil_mine", "0x48")
    assert network.relayer.outcome(network.issue(), timeout_s=0.1) is None
    assert ledger.balance(account) == 0
    network.control("anvil_mine", "0x48")
    assert ledger.balance(account) == 1


def test_the_finality_of_an_unknown_network_is_the_nodes(start: Callable[..., Network]) -> None:
    """Without a policy the node's own finalized tag decides."""
    assert Connection.open(start().provider).finality == FINALIZED


def test_a_nonce_used_elsewhere_is_noticed(start: Callable[..., Network]) -> None:
    """A chain transaction whose nonce another one took can never come, and that is said at once."""
    network = start()
    lost, other = network.issue(1), network.issue(2)
    assert network.relayer.outcome(other, timeout_s=5) is not None
    with pytest.raises(ChainRejected, match="another chain transaction"):
        network.relayer.outcome(lost, timeout_s=5)


def test_a_relayer_without_gas_is_told(start: Callable[..., Network]) -> None:
    """Where gas costs something and the relayer has nothing, the reason reaches the operator; nothing is lost."""
    network = start()
    signed = network.issue()
    network.control("anvil_setBalance", str(network.operator.address), "0x0")
    with pytest.raises(ChainUnavailable, match=r"(?i)insufficient funds") as caught:
        network.relayer.outcome(signed, timeout_s=0.1)
    assert str(network.operator.address) in caught.value.fix
    give_gas(network.provider, network.operator.address)
    assert network.relayer.outcome(signed, timeout_s=5) is not None


def test_only_the_operator_issues(start: Callable[..., Network]) -> None:
    """Another key than the one that deployed the currency cannot issue it."""
    network = start()
    stranger = ChainRelayer(network.connection, network.deployment, Identity.generate())
    with pytest.raises(NotOwner):
        stranger.prepare_issue(Address(b"\1" * 20), Amount(1))


def test_a_network_without_a_base_fee_is_paid_by_gas_price(start: Callable[..., Network]) -> None:
    """Where blocks name no base fee (before EIP-1559), chain transactions are of the old type, and land."""
    network = start()
    connection = Connection.open(WithoutBaseFee(network.url), finality=IMMEDIATE)
    relayer = ChainRelayer(connection, network.deployment, network.operator)
    call = relayer.prepare_issue(Address(b"\1" * 20), Amount(1))
    outcome = relayer.outcome(relayer.sign(call, nonce=relayer.next_nonce()), timeout_s=5)
    assert outcome is not None
    assert connection.ask("eth_getTransactionByHash", outcome.hash)["type"] == "0x0"


def test_an_access_key_is_not_told(start: Callable[..., Network]) -> None:
    """The URL of a node may hold a key, so no error names it."""
    network = start()
    absent = http_provider("http://127.0.0.1:9/v3/very-secret")
    connection = Connection(absent, chain_id=31337, finality=IMMEDIATE)
    with pytest.raises(ChainUnavailable) as caught:
        ChainLedger(connection, network.deployment).balance(network.operator.address)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
