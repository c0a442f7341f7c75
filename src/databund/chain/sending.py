"""Sending: a signed chain transaction is brought to a final block, and bringing it twice is harmless.

A node may forget a chain transaction, hold it back behind an earlier nonce, or answer after the connection broke. None
of this is told apart by the wording of its errors, which every node chooses for itself: what counts is whether there
is a receipt, and whose chain transaction took the nonce. The same bytes are sent again until one of both is known.

Fees are the network's when a chain transaction is signed, with room for the base fee to double; a dearer replacement
would be other bytes than the stored ones, so there is none, and a chain transaction waits until fees fall again.
``eth_sendRawTransactionSync`` is not used: it can outlast the caller's deadline behind a nonce gap, and the embedded
node answers the plain method after its commit anyway.
"""

from __future__ import annotations

import time

from databund.chain.connection import Connection, NodeRefusal, Receipt
from databund.core.ids import Address
from databund.crypto.identities import Identity
from databund.errors import ChainRejected, ChainUnavailable
from databund.ports import ChainTransaction

__all__ = ["Sender"]

_SHORTEST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 1.0
_PLENTY = 2_000_000  # ten times what a sale takes, and far less than a block


class Sender:
    """One account's chain transactions on one network, signed here."""

    def __init__(self, connection: Connection, identity: Identity) -> None:
        self._connection = connection
        self._identity = identity
        self._fees: dict[str, int] | None = None

    @property
    def address(self) -> Address:
        """The account that signs and pays for gas."""
        return self._identity.address

    def try_call(self, to: Address | None, data: bytes) -> int:
        """Try a call, or a deployment without ``to``, on the newest state; its gas limit. Raises `NodeRefusal`.

        An estimate runs the call many times over to find the least gas. Where gas is free it is run once with plenty.
        """
        if self._fees is None or any(self._fees.values()):
            self._fees = self._connection.fees()
        if to is not None and not any(self._fees.values()):
            try:
                self._connection.try_call(self.address, to, data, gas=_PLENTY)
            except NodeRefusal as refusal:
                if refusal.data:
                    raise
            else:
                return _PLENTY
        return self._connection.estimate_gas(self.address, to, data)

    def most(self, gas: int) -> int:
        """What this much gas may cost at most, in wei, at the fees of the last try."""
        if self._fees is None:
            self._fees = self._connection.fees()
        return gas * (self._fees.get("maxFeePerGas") or self._fees.get("gasPrice") or 0)

    def sign(self, to: Address | None, data: bytes, *, gas: int, nonce: int) -> ChainTransaction:
        """Sign with the fees of the last try."""
        if self._fees is None:
            self._fees = self._connection.fees()
        signed = self._identity.sign_chain_transaction(
            {
                "chainId": self._connection.chain_id,
                "nonce": nonce,
                "to": b"" if to is None else str(to),
                "value": 0,
                "gas": gas,
                "data": data,
                **self._fees,
            }
        )
        return ChainTransaction(hash=str(signed.hash), signer=self.address, nonce=nonce, raw=signed.raw)

    def settle(self, chain_transaction: ChainTransaction, *, timeout_s: float) -> Receipt | None:
        """Send and wait until final; None when ``timeout_s`` ran out first.

        Raises `ChainRejected` when another chain transaction took the nonce for good, and `ChainUnavailable` when the
        node still refuses at the end although the nonce is the next one.
        """
        deadline = time.monotonic() + timeout_s
        pause = _SHORTEST_PAUSE_S
        refusal = self._send(chain_transaction)
        while True:
            receipt = self._connection.receipt(chain_transaction.hash)
            if receipt is None and refusal is not None:
                self._check_nonce(chain_transaction)
            if receipt is not None and self._connection.is_final(receipt):
                return receipt
            if time.monotonic() + pause > deadline:
                break
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            if receipt is None:
                refusal = self._send(chain_transaction)
        if receipt is None and refusal is not None:
            self._check_refusal(chain_transaction, refusal)
        return None

    def _send(self, chain_transaction: ChainTransaction) -> NodeRefusal | None:
        try:
            self._connection.request("eth_sendRawTransaction", "0x" + chain_transaction.raw.hex())
        except NodeRefusal as refusal:
            return refusal
        return None

    def _check_nonce(self, chain_transaction: ChainTransaction) -> None:
        taken = self._connection.included(chain_transaction.signer, final=True) > chain_transaction.nonce
        if taken and self._connection.receipt(chain_transaction.hash) is None:
            raise ChainRejected(
                f"Nonce {chain_transaction.nonce} of {chain_transaction.signer} was used by another chain transaction "
                f"than {chain_transaction.hash}.",
                fix="Use the relayer's key in one place only, then prepare the call again.",
            )

    def _check_refusal(self, chain_transaction: ChainTransaction, refusal: NodeRefusal) -> None:
        """Raise the node's refusal, unless it was about waiting: for an earlier nonce, or for a block."""
        waits = self._connection.included(chain_transaction.signer) < chain_transaction.nonce
        if not waits and self._connection.ask("eth_getTransactionByHash", chain_transaction.hash) is None:
            raise ChainUnavailable(
                f"The chain's node does not take the chain transaction {chain_transaction.hash}: {refusal.message}.",
                fix=f"See that {self.address} can pay for gas; the same bytes are sent again.",
            )
