"""The ports `Ledger` and `Relayer` over an exchange in memory, and the faults that a chain transaction can meet.

The bytes of a chain transaction are its whole call in JSON, so they can be sent again by another adapter, as after a
crash. They are not signed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from enum import Enum

import msgspec

from databund.core import documents
from databund.core.amounts import Amount, Currency
from databund.core.chain_events import ChainEvent, Fate
from databund.core.ids import Address, Bytes32, Hex, OfferId, OrderId, keccak256
from databund.core.licenses import License
from databund.core.offers import Domain, SignedOffer, price_of
from databund.core.orders import Purchase
from databund.crypto.signatures import recover_typed_hash
from databund.errors import ChainRejected, ChainUnavailable, NotFound, SignatureInvalid, WrongChain
from databund.ports import Block, Call, ChainOutcome, ChainTransaction, OfferState
from databund.testing.memory_exchange import Act, Anchoring, Cancellation, Issue, MemoryExchange, Sale

__all__ = ["Fault", "MemoryChain", "MemoryChainEvents", "MemoryLedger", "MemoryRelayer"]


class Fault(Enum):
    """What can befall a chain transaction when it is sent."""

    UNAVAILABLE = "the node does not answer, and got nothing"
    ANSWER_LOST = "the chain transaction is included, but the answer is lost"
    SLOW = "the wait ends before there is a block; it is included when it is sent again"
    NONCE_TAKEN = "another chain transaction of the signer is included under its nonce"


class MemoryChain:
    """A node: it holds back what comes before its nonce, and includes the rest at once. Threads may share it.

    ``faults`` befall the next chain transactions that are sent, one each, in their order.
    """

    def __init__(self, exchange: MemoryExchange, *faults: Fault) -> None:
        self.exchange = exchange
        self.faults = deque(faults)
        self.turn = threading.Condition()
        self._waiting: dict[tuple[Address, int], ChainTransaction] = {}

    def included(self, signer: Address) -> int:
        """The next nonce."""
        return self.exchange.included.get(signer, 0)

    def send(self, sent: ChainTransaction, *, timeout_s: float) -> ChainOutcome | None:
        """Send, include what can be, and wait. Raises `ChainUnavailable`, `ChainRejected`."""
        with self.turn:
            fault = self.faults.popleft() if self.faults else None
            if fault is Fault.UNAVAILABLE:
                raise _unavailable()
            if fault is Fault.SLOW:
                return None
            if fault is Fault.NONCE_TAKEN and self.included(sent.signer) == sent.nonce:
                self.exchange.included[sent.signer] = sent.nonce + 1
            if self.included(sent.signer) <= sent.nonce:
                self._waiting.setdefault((sent.signer, sent.nonce), sent)
                self._include(sent.signer)
            if fault is Fault.ANSWER_LOST:
                raise _unavailable()
            self.turn.wait_for(lambda: self.included(sent.signer) > sent.nonce, timeout_s)
            outcome = self.exchange.receipts.get(sent.hash)
            if outcome is None and self.included(sent.signer) > sent.nonce:
                raise ChainRejected(
                    f"Nonce {sent.nonce} of {sent.signer} was used by another chain transaction than {sent.hash}.",
                    fix="Use the relayer's key in one place only, then prepare the call again.",
                )
            return outcome

    def _include(self, signer: Address) -> None:
        while (sent := self._waiting.pop((signer, self.included(signer)), None)) is not None:
            self.exchange.include(_decode(sent.raw), signer=signer, transaction_hash=sent.hash)
        self.turn.notify_all()


class MemoryLedger:
    """The port `Ledger`. While ``online`` is false, the node does not answer."""

    def __init__(self, chain: MemoryChain, *, online: bool = True) -> None:
        self._chain = chain
        self.online = online

    def domain(self) -> Domain:
        """The chain and the exchange that offers are signed for."""
        return self._chain.exchange.domain

    def currency(self) -> Currency:
        """The settlement currency."""
        return self._chain.exchange.currency

    def offer_state(self, offer_id: OfferId) -> OfferState:
        """What is known of an offer."""
        return self._exchange().offer_state(offer_id)

    def license(self, holder: Address, offer_id: OfferId) -> License:
        """The holder's record."""
        return self._exchange().license(holder, offer_id)

    def balance(self, account: Address) -> Amount:
        """What the account holds of the settlement currency."""
        return self._exchange().balance(account)

    def anchored(self, origin: str, sender: Address) -> tuple[int, bytes] | None:
        """The tree head that ``sender`` left last for the log ``origin``."""
        return self._exchange().anchored(origin, sender)

    def check_signature(self, account: Address, digest: Bytes32, *, signature: bytes) -> None:
        """Raise `OfferForged` unless ``account`` signed; a smart contract is asked if its key did not."""
        try:
            if recover_typed_hash(digest, signature) == account:
                return
        except SignatureInvalid:
            pass
        self._exchange().check_wallet(account, digest, signature)

    def _exchange(self) -> MemoryExchange:
        if not self.online:
            raise _unavailable()
        return self._chain.exchange


class MemoryChainEvents:
    """The port `ChainEvents`. While ``online`` is false, the node does not answer."""

    def __init__(self, chain: MemoryChain, *, online: bool = True) -> None:
        self._chain = chain
        self.online = online

    def newest(self) -> Block:
        """The newest block; all are final."""
        return self._blocks()[-1]

    def block(self, number: int) -> Block:
        """A block by its number. Raises `NotFound`."""
        blocks = self._blocks()
        if number >= len(blocks):
            raise NotFound(f"There is no block {number}.", fix="Read up to the newest one.")
        return blocks[number]

    def between(self, first: int, last: int) -> Sequence[ChainEvent]:
        """The events of the blocks ``first`` to ``last``. Raises `NotFound` beyond the newest block."""
        self.block(last)
        return [event for event in self._chain.exchange.events if first <= event.place.block <= last]

    def fate(self, chain_transaction: str) -> Fate:
        """What became of a chain transaction; none waits for a block here."""
        self._blocks()
        outcome = self._chain.exchange.receipts.get(chain_transaction)
        if outcome is None:
            return Fate.ABSENT
        return Fate.SUCCEEDED if outcome.succeeded else Fate.FAILED

    def _blocks(self) -> list[Block]:
        if not self.online:
            raise _unavailable()
        return self._chain.exchange.blocks()


class MemoryRelayer:
    """The port `Relayer` for one signer. While ``online`` is false, the node does not answer.

    ``gas_price`` is what one call costs, in wei.
    """

    def __init__(self, chain: MemoryChain, signer: Address, *, online: bool = True) -> None:
        self._chain = chain
        self._signer = signer
        self.gas_price = 0
        self.online = online

    @property
    def signer(self) -> Address:
        """The account that signs."""
        return self._signer

    def next_nonce(self) -> int:
        """The number of chain transactions of the signer that are included."""
        self._check_online()
        return self._chain.included(self._signer)

    def prepare_purchase(self, offer: SignedOffer, purchase: Purchase) -> Call:
        """The call that settles a purchase. Raises `WrongChain`, and what the smart contract would refuse for."""
        self._check_home(offer)
        price_of(offer.offer, purchase.units)
        return self._tried(self._chain.exchange.domain.exchange, Sale(offer, purchase))

    def prepare_cancellation(self, offer: SignedOffer, signature: bytes) -> Call:
        """The call that withdraws an offer. Raises `WrongChain`, `OfferForged`, `OfferCancelled`."""
        self._check_home(offer)
        return self._tried(self._chain.exchange.domain.exchange, Cancellation(offer, Hex(signature)))

    def prepare_issue(self, account: Address, amount: Amount) -> Call:
        """The call that credits an account. Raises `NotOwner` when the signer is not the operator."""
        return self._tried(self._chain.exchange.currency.address, Issue(account, amount))

    def prepare_anchor(self, origin: str, *, size: int, root: bytes) -> Call:
        """The call that leaves a tree head. Raises `LogForked` when a later or another one is there."""
        return self._tried(self._chain.exchange.domain.exchange, Anchoring(origin, size, Hex(root)))

    def cost(self, call: Call) -> int:  # noqa: ARG002  # the port's; every call costs the same here
        """What the call may cost at most."""
        return self.gas_price

    def sign(self, call: Call, *, nonce: int, order_id: OrderId | None = None) -> ChainTransaction:
        """Make the bytes, without sending them."""
        raw = call.data + f" {self._signer} {nonce}".encode()
        return ChainTransaction("0x" + keccak256(raw).hex(), self._signer, nonce, raw, order_id)

    def outcome(self, chain_transaction: ChainTransaction, *, timeout_s: float) -> ChainOutcome | None:
        """Send (again, if need be) and wait; None when ``timeout_s`` ran out first. Raises `ChainRejected`."""
        self._check_online()
        return self._chain.send(chain_transaction, timeout_s=timeout_s)

    def _tried(self, to: Address, act: Act) -> Call:
        self._check_online()
        with self._chain.turn:
            self._chain.exchange.check(act, signer=self._signer)
        return Call(to, msgspec.json.encode(act, enc_hook=documents.to_json), gas=0)

    def _check_home(self, offer: SignedOffer) -> None:
        here = self._chain.exchange
        if offer.domain != here.domain or offer.offer.currency != here.currency.address:
            raise WrongChain(f"The offer {offer.offer.id} is made for elsewhere.", fix="Buy it where it was listed.")

    def _check_online(self) -> None:
        if not self.online:
            raise _unavailable()


def _decode(raw: bytes) -> Act:
    call, _, _ = raw.rsplit(b" ", 2)
    act: Act = msgspec.json.decode(call, type=Act, dec_hook=documents.from_json)
    return act


def _unavailable() -> ChainUnavailable:
    return ChainUnavailable("The chain's node does not answer.", fix="Try again.")
