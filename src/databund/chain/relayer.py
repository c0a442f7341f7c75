"""The relayer: chain transactions that the exchange signs, so that buyers and providers need no gas."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from eth_abi.exceptions import EncodingError

from databund.chain.connection import Connection, NodeRefusal, Receipt
from databund.chain.deployment import Deployment
from databund.chain.payments import received
from databund.chain.refusals import Refusals
from databund.chain.sending import Sender
from databund.chain.smart_contracts import SmartContract
from databund.core.amounts import Amount
from databund.core.canonical import MAX_INTEGER
from databund.core.ids import Address, OrderId
from databund.core.offers import Offer, SignedOffer, price_of
from databund.core.orders import Purchase
from databund.crypto.identities import Identity
from databund.errors import ChainUnavailable, PaymentInvalid, WrongChain
from databund.ports import Call, ChainOutcome, ChainTransaction

__all__ = ["ChainRelayer"]


class ChainRelayer:
    """`ports.Relayer` over a node. Preparing costs one request where gas is free, and up to three where it is not."""

    def __init__(self, connection: Connection, deployment: Deployment, identity: Identity) -> None:
        self._connection = connection
        self._deployment = deployment
        self._sender = Sender(connection, identity)
        self._exchange = SmartContract.load("Exchange")
        self._money = SmartContract.load("SettlementToken")
        self._anchor = SmartContract.load("CheckpointAnchor")
        self._refusals = Refusals(deployment.currency)

    @property
    def signer(self) -> Address:
        """The account that signs."""
        return self._sender.address

    def next_nonce(self) -> int:
        """The number of chain transactions of the signer that the chain has included."""
        return self._connection.included(self.signer)

    def prepare_purchase(self, offer: SignedOffer, purchase: Purchase) -> Call:
        """The call of `Exchange.buyWithAuthorization`. Raises `WrongChain` for an offer made for elsewhere."""
        self._check_home(offer)
        price_of(offer.offer, purchase.units)
        wish = (
            bytes(purchase.buyer),
            purchase.units,
            bytes(purchase.salt),
            purchase.valid_after,
            purchase.valid_before,
        )
        try:
            data = self._exchange.call(
                "buyWithAuthorization", _words(offer.offer), bytes(offer.signature), wish, bytes(purchase.signature)
            )
        except EncodingError:
            raise PaymentInvalid("The payment's times are out of bounds.", fix="Give Unix seconds.") from None
        return self._tried(self._deployment.exchange, data)

    def prepare_cancellation(self, offer: SignedOffer, signature: bytes) -> Call:
        """The call of `Exchange.cancelWithSignature`. Raises `WrongChain` for an offer made for elsewhere."""
        self._check_home(offer)
        data = self._exchange.call("cancelWithSignature", _words(offer.offer), bytes(signature))
        return self._tried(self._deployment.exchange, data)

    def prepare_issue(self, account: Address, amount: Amount) -> Call:
        """The call of `SettlementToken.issue`. Raises `NotOwner` when the signer did not deploy the currency."""
        return self._tried(self._deployment.currency.address, self._money.call("issue", account, int(amount)))

    def prepare_anchor(self, origin: str, *, size: int, root: bytes) -> Call:
        """The call of `CheckpointAnchor.anchor`. Raises `LogForked` when the chain knows a later or another tree."""
        data = self._anchor.call("anchor", hashlib.sha256(origin.encode()).digest(), size, root)
        return self._tried(self._deployment.checkpoint_anchor, data)

    def cost(self, call: Call) -> int:
        """What the call may cost at most, in wei: its gas limit at the highest fee it would be signed with."""
        return self._sender.most(call.gas)

    def sign(self, call: Call, *, nonce: int, order_id: OrderId | None = None) -> ChainTransaction:
        """Sign without sending."""
        signed = self._sender.sign(call.to, call.data, gas=call.gas, nonce=nonce)
        return msgspec.structs.replace(signed, order_id=order_id)

    def outcome(self, chain_transaction: ChainTransaction, *, timeout_s: float) -> ChainOutcome | None:
        """Send (again, if need be) and wait until final; None when ``timeout_s`` ran out first.

        Raises `ChainRejected` when another chain transaction took its nonce for good, so that it can never be included.
        """
        receipt = self._sender.settle(chain_transaction, timeout_s=timeout_s)
        return None if receipt is None else self._read(receipt)

    def _check_home(self, offer: SignedOffer) -> None:
        here = self._deployment.domain
        if offer.domain != here or offer.offer.currency != self._deployment.currency.address:
            raise WrongChain(
                f"The offer {offer.offer.id} is made for chain {offer.domain.chain_id}, exchange "
                f"{offer.domain.exchange} and currency {offer.offer.currency}; this is chain {here.chain_id}, exchange "
                f"{here.exchange} and currency {self._deployment.currency.address}.",
                fix="Buy it where it was listed.",
            )

    def _tried(self, to: Address, data: bytes) -> Call:
        try:
            return Call(to, data, self._sender.try_call(to, data))
        except NodeRefusal as refusal:
            if not refusal.reverted:
                raise ChainUnavailable(
                    f"The chain's node could not try the call: {refusal.message}.",
                    fix=f"See that {self.signer} can pay for gas, and look after the node.",
                ) from None
            raise self._refusals.meaning(refusal.data) from None

    def _read(self, receipt: Receipt) -> ChainOutcome:
        transfers: list[dict[str, Any]] = []
        expiry: int | None = None
        for log in receipt["logs"]:
            emitter = Address(bytes.fromhex(log["address"][2:]))
            if emitter == self._deployment.currency.address and (transfer := self._money.event("Transfer", log)):
                transfers.append(transfer)
            elif emitter == self._deployment.exchange and (sale := self._exchange.event("LicenseSold", log)):
                expiry = sale["expiry"]
                # A buyer with code of its own is called back, and may move money that is not of the sale.
                payer = bytes(self._deployment.exchange).hex()
                transfers = [each for each in transfers if each["from"][2:].lower() == payer]
                break
        return ChainOutcome(
            hash=receipt["transactionHash"],
            block=int(receipt["blockNumber"], 16),
            block_hash=receipt["blockHash"],
            succeeded=int(receipt["status"], 16) == 1,
            payments=received(transfers, besides=self._deployment.exchange),
            # As for a term without end, whose number is larger: no log entry can count so far.
            expiry=None if expiry is None or expiry > MAX_INTEGER else expiry,
        )


def _words(offer: Offer) -> Sequence[object]:
    """The offer as the ABI's tuple, member by member of ``contracts/src/offers/Offer.sol``."""
    return (
        bytes(offer.provider),
        bytes(offer.dataset),
        bytes(offer.content_root),
        bytes(offer.terms_hash),
        bytes(offer.currency),
        int(offer.unit_price),
        offer.duration_s,
        offer.uses,
        offer.supply,
        offer.requires,
        offer.escrow_s,
        offer.transferable,
        [(bytes(split.account), split.basis_points) for split in offer.splits],
        offer.valid_until,
        bytes(offer.salt),
    )
