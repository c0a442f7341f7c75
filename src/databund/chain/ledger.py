"""The ledger: what the smart contracts of an exchange say, over any node that speaks JSON-RPC."""

from __future__ import annotations

import hashlib

from databund.chain.connection import Connection
from databund.chain.deployment import Deployment
from databund.chain.smart_contracts import SmartContract
from databund.core.amounts import Amount, Currency
from databund.core.ids import Address, Bytes32, OfferId
from databund.core.licenses import License
from databund.core.offers import Domain
from databund.crypto.signatures import recover_typed_hash
from databund.errors import OfferForged, SignatureInvalid, WrongChain
from databund.ports import OfferState

__all__ = ["PERPETUAL", "ChainLedger"]

PERPETUAL = 2**64 - 1
"""The expiry of a license that never ends, as `LicenseToken` stores it."""

_IS_VALID_SIGNATURE = bytes.fromhex("1626ba7e")  # ERC-1271: the function's selector, and its answer


class ChainLedger:
    """`ports.Ledger` over a node: one request per question."""

    def __init__(self, connection: Connection, deployment: Deployment) -> None:
        self._connection = connection
        self._deployment = deployment
        self._exchange = SmartContract.load("Exchange")
        self._licenses = SmartContract.load("LicenseToken")
        self._money = SmartContract.load("SettlementToken")
        self._anchor = SmartContract.load("CheckpointAnchor")

    def domain(self) -> Domain:
        """The chain and the `Exchange` that offers are signed for."""
        return self._deployment.domain

    def currency(self) -> Currency:
        """The settlement currency of this exchange."""
        return self._deployment.currency

    def offer_state(self, offer_id: OfferId) -> OfferState:
        """What is known of an offer."""
        data = self._exchange.call("offerState", bytes(offer_id))
        cancelled, sold = self._exchange.result("offerState", self._read(self._deployment.exchange, data))
        return OfferState(cancelled=cancelled, sold=sold)

    def license(self, holder: Address, offer_id: OfferId) -> License:
        """The holder's record."""
        data = self._licenses.call("licenseOf", holder, int(offer_id))
        units, expiry, uses = self._licenses.result("licenseOf", self._read(self._deployment.license_token, data))
        return License(holder, offer_id, units, None if expiry == PERPETUAL else expiry, uses)

    def balance(self, account: Address) -> Amount:
        """What the account holds of the settlement currency. Raises `AmountInvalid` beyond what we trade."""
        data = self._money.call("balanceOf", account)
        return Amount(*self._money.result("balanceOf", self._read(self._deployment.currency.address, data)))

    def anchored(self, origin: str, sender: Address) -> tuple[int, bytes] | None:
        """The tree head (size, root) that ``sender`` left last for the log ``origin``; None when there is none."""
        data = self._anchor.call("latest", sender, hashlib.sha256(origin.encode()).digest())
        size, root, time = self._anchor.result("latest", self._read(self._deployment.checkpoint_anchor, data))
        return (size, root) if time else None

    def check_signature(self, account: Address, digest: Bytes32, *, signature: bytes) -> None:
        """Raise `OfferForged` unless ``account`` signed; a smart contract is asked (ERC-1271) if its key did not."""
        try:
            if recover_typed_hash(digest, signature) == account:
                return
        except SignatureInvalid:
            pass
        padding = -len(signature) % 32
        question = bytes(digest) + (64).to_bytes(32) + len(signature).to_bytes(32) + signature + bytes(padding)
        answer = self._connection.read(account, _IS_VALID_SIGNATURE + question)
        if answer[:32] != _IS_VALID_SIGNATURE.ljust(32, b"\0"):
            raise OfferForged(
                f"The signature is not by {account}.", fix="Sign with its key, over exactly what is sent."
            )

    def _read(self, to: Address, data: bytes) -> bytes:
        output = self._connection.read(to, data)
        if not output:
            raise WrongChain(
                f"The newest final block of chain {self._connection.chain_id} has no exchange at {to}.",
                fix="Correct the ledger's URL; right after a deployment, wait until it is final.",
            )
        return output
