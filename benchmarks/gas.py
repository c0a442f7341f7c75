"""Gas: what listing and selling cost on the chain, read from the receipts of real chain transactions.

The offer has one split (a fee of 1 %) and the signature of an ordinary account. Buyer, provider and fee account already
hold the currency and keep some of it, since filling an empty account costs more for reasons of its own. What is stated
is the dearest of several samples: gas depends a little on how many bytes of a hash are zero. A direct sale is
``approve`` for more than the price, then ``buy``; its figure is the ``buy``, and ``approve`` stands beside it.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint

from benchmarks.trading import PRICE, signed_offer, signed_purchase
from databund.chain.connection import IMMEDIATE, Connection, http_provider
from databund.chain.deployment import deploy
from databund.chain.relayer import ChainRelayer
from databund.chain.sending import Sender
from databund.chain.smart_contracts import SmartContract
from databund.core.amounts import Amount
from databund.core.ids import Address
from databund.core.offers import Offer, SignedOffer
from databund.crypto.identities import Identity
from databund.ports import Call
from tests import servers

__all__ = ["Figures", "Sales", "run"]

_SAMPLES, _QUICK_SAMPLES = 20, 5
_TIMEOUT_S = 30.0
_GAS_MONEY = 10**20  # wei; only anvil asks for it


@dataclass(frozen=True)
class Sales:
    """Gas used: listing an offer, a direct sale, a renewal by the same buyer, a relayed sale, and an approval."""

    publish: int
    sale_new: int
    sale_renewal: int
    relayed_new: int
    relayed_renewal: int
    approve: int


@dataclass(frozen=True)
class Figures:
    """``ours`` is the embedded node, ``anvil`` another engine's opinion (None where anvil is not installed)."""

    ours: Sales
    anvil: Sales | None


def run(*, quick: bool) -> Figures:
    """Sell on the embedded node, and on anvil where it is installed."""
    samples = _QUICK_SAMPLES if quick else _SAMPLES
    with _embedded() as provider:
        ours = _Market.open(provider).measure(samples)
    if servers.foundry_program("anvil") is None:
        return Figures(ours, anvil=None)
    with servers.anvil() as url:
        return Figures(ours, anvil=_Market.open(http_provider(url)).measure(samples))


@contextlib.contextmanager
def _embedded() -> Iterator[BaseProvider]:
    from databund.chain.embedded import EmbeddedNode
    from databund.chain.embedded.provider import EmbeddedProvider

    with tempfile.TemporaryDirectory(prefix="databund-gas-") as folder:
        path = Path(folder, "chain.db")
        with EmbeddedNode.create(path, chain_id=31_337, now=lambda: int(time.time())) as node:
            yield EmbeddedProvider(node)


@dataclass
class _Market:
    """An exchange with one provider, and a hand to send what anybody signs."""

    provider: BaseProvider
    connection: Connection
    operator: Identity
    seller: Identity = field(default_factory=Identity.generate)

    @classmethod
    def open(cls, provider: BaseProvider) -> _Market:
        market = cls(provider, Connection.open(provider, finality=IMMEDIATE), Identity.generate())
        market.fund(market.operator)
        market.fund(market.seller)
        return market

    def fund(self, account: Identity) -> None:
        """Give an account money for gas, where gas costs something."""
        if any(self.connection.fees().values()):
            self.provider.make_request(RPCEndpoint("anvil_setBalance"), [str(account.address), hex(_GAS_MONEY)])

    def measure(self, samples: int) -> Sales:
        """The dearest of ``samples`` trades, after one that fills the accounts."""
        self.deployment = deploy(
            self.connection, self.operator, currency_name="Benchmark credit", currency_symbol="CREDIT"
        )
        self.relayer = ChainRelayer(self.connection, self.deployment, self.operator)
        self.exchange, self.money = SmartContract.load("Exchange"), SmartContract.load("SettlementToken")
        self.trade()
        rows = [self.trade() for _ in range(samples)]
        return Sales(*(max(column) for column in zip(*rows, strict=True)))

    def trade(self) -> tuple[int, int, int, int, int, int]:
        """List an offer; sell it and its renewal directly to one buyer, and relayed to another."""
        here, before = self.deployment, self.connection.newest_block()
        offer = signed_offer(here.domain, here.currency, self.seller, fee=self.operator.address)
        publish = self.gas_since(before)
        direct, relayed = self.buyer(), self.buyer()
        approve = self.sent(direct, here.currency.address, self.money.call("approve", here.exchange, 3 * int(PRICE)))
        new, renewal = self.buy(direct, offer), self.buy(direct, offer)
        return publish, new, renewal, self.relay(relayed, offer), self.relay(relayed, offer), approve

    def buyer(self) -> Identity:
        """A new account that can pay for more than it will buy."""
        buyer = Identity.generate()
        self.fund(buyer)
        self.used(self.relayer.prepare_issue(buyer.address, Amount(3 * PRICE)))
        return buyer

    def buy(self, buyer: Identity, offer: SignedOffer) -> int:
        """A direct sale of one unit."""
        data = self.exchange.call("buy", _words(offer.offer), bytes(offer.signature), 1)
        return self.sent(buyer, self.deployment.exchange, data)

    def relay(self, buyer: Identity, offer: SignedOffer) -> int:
        """A relayed sale of one unit."""
        return self.used(self.relayer.prepare_purchase(offer, signed_purchase(offer, self.deployment.currency, buyer)))

    def used(self, call: Call) -> int:
        """Gas of a call that the operator relays."""
        chain_transaction = self.relayer.sign(call, nonce=self.relayer.next_nonce())
        outcome = self.relayer.outcome(chain_transaction, timeout_s=_TIMEOUT_S)
        assert outcome is not None, "the chain transaction is not final"
        assert outcome.succeeded, "the chain transaction failed"
        return self.gas_of(chain_transaction.hash)

    def sent(self, signer: Identity, to: Address, data: bytes) -> int:
        """Gas of a call that an account sends itself."""
        sender = Sender(self.connection, signer)
        gas, nonce = sender.try_call(to, data), self.connection.included(signer.address)
        chain_transaction = sender.sign(to, data, gas=gas, nonce=nonce)
        receipt = sender.settle(chain_transaction, timeout_s=_TIMEOUT_S)
        assert receipt is not None, "the chain transaction is not final"
        assert int(receipt["status"], 16) == 1, "the chain transaction failed"
        return self.gas_of(chain_transaction.hash)

    def gas_of(self, chain_transaction: str) -> int:
        """What the receipt says."""
        receipt = self.connection.receipt(chain_transaction)
        assert receipt is not None, "the chain transaction has no receipt"
        return int(receipt["gasUsed"], 16)

    def gas_since(self, block: int) -> int:
        """What all blocks after ``block`` used."""
        newer = range(block + 1, self.connection.newest_block() + 1)
        return sum(int(self.connection.ask("eth_getBlockByNumber", hex(n), False)["gasUsed"], 16) for n in newer)


def _words(offer: Offer) -> list[Any]:
    """The offer as the ABI's tuple: the members of its typed data, in their order."""
    return [_abi(member) for member in offer.message().values()]


def _abi(member: Any) -> Any:
    if isinstance(member, list):
        return [tuple(map(_abi, split.values())) for split in member]
    return bytes.fromhex(member[2:]) if isinstance(member, str) else member
