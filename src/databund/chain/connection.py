"""The connection to a node: any EVM network that answers JSON-RPC through a web3.py provider.

web3.py's own methods convert and format every answer; here only the few values that are needed are read, so that one
purchase costs little more than the node's own work. Capabilities are probed once, at connect. What a node must answer:
eth_blockNumber, call, chainId, estimateGas, getBlockByNumber, getCode, getLogs, getTransactionByHash,
getTransactionCount, getTransactionReceipt, sendRawTransaction, and where gas costs something maxPriorityFeePerGas or
gasPrice.
Source: https://ethereum.github.io/execution-apis.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from web3 import HTTPProvider
from web3.exceptions import Web3Exception
from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint

from databund.core.ids import Address
from databund.errors import ChainUnavailable

__all__ = ["FINALIZED", "IMMEDIATE", "Connection", "Finality", "NodeRefusal", "Receipt", "http_provider"]

# web3.py brings py_ecc, which sets Python's limit to 100,000 frames; so deep a JSON text overflows the C stack in any
# parser of this process. The embedded chain needs 7,000.
sys.setrecursionlimit(min(sys.getrecursionlimit(), 7_000))

Receipt = Mapping[str, Any]
"""A receipt as JSON-RPC gives it: hexadecimal strings."""


class NodeRefusal(Exception):
    """The node's answer "no". It is part of the protocol, not of databund's error tree; it never leaves this package.

    ``reverted`` when a smart contract said it, with the revert ``data``; otherwise the node could not, or would not.
    """

    def __init__(self, message: str, data: bytes | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data or b""
        self.reverted = data is not None or "revert" in message.lower()


@dataclass(frozen=True, slots=True)
class Finality:
    """When a network's block can be relied on.

    With ``tag``, when the node's block of this tag has reached it; otherwise with ``confirmations`` blocks on top.
    """

    confirmations: int = 0
    tag: str | None = None


IMMEDIATE: Final = Finality()
"""Every block is final: the embedded node, QBFT, a development node."""

FINALIZED: Final = Finality(tag="finalized")
"""The network says it itself: Ethereum and the networks that settle on it."""

_CAUTIOUS: Final = Finality(confirmations=64)


def http_provider(url: str, *, timeout_s: float = 20.0) -> BaseProvider:
    """A web3.py provider for a node at ``url``. It tries once: who calls a port decides whether to try again."""
    return HTTPProvider(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)


class Connection:
    """A node that was reached and probed. Every method raises `ChainUnavailable` when the node does not answer."""

    def __init__(self, provider: BaseProvider, *, chain_id: int, finality: Finality) -> None:
        self._provider = provider
        self.chain_id = chain_id
        self.finality = finality

    @classmethod
    def open(cls, provider: BaseProvider, *, finality: Finality | None = None) -> Connection:
        """Reach the node and learn what it can do.

        ``finality`` is the network's policy. Without one it is the ``finalized`` tag where the node knows it, and 64
        confirmations where it does not.
        """
        found = cls(provider, chain_id=0, finality=finality or FINALIZED)
        found.chain_id = int(found.ask("eth_chainId"), 16)
        if finality is None and not found._knows("finalized"):
            found.finality = _CAUTIOUS
        return found

    def ask(self, method: str, *params: object) -> Any:
        """The answer to a question that a working node does not refuse."""
        try:
            return self.request(method, *params)
        except NodeRefusal as refusal:
            raise _no_answer(method, refusal) from None

    def request(self, method: str, *params: object) -> Any:
        """The answer to a request. Raises `NodeRefusal`."""
        try:
            answer = self._provider.make_request(RPCEndpoint(method), list(params))
        except (OSError, ValueError, Web3Exception) as error:
            # Neither the message nor the cause travels on: they name the node's URL, which may hold an access key.
            raise ChainUnavailable(
                f"The chain's node did not answer {method} ({type(error).__name__}).",
                fix="Start the node, or correct its URL, then try again.",
            ) from None
        if "error" in answer:
            raise _refusal(answer["error"])
        return answer.get("result")

    def read(self, to: Address, data: bytes) -> bytes:
        """What a smart contract's view returns at the newest final block; nothing when there is none, or it reverts."""
        message = {"to": str(to), "data": "0x" + data.hex()}
        try:
            return bytes.fromhex(self.request("eth_call", message, self._final_block())[2:])
        except NodeRefusal as refusal:
            if refusal.reverted:
                return b""
            raise _no_answer("eth_call", refusal) from None

    def try_call(self, sender: Address, to: Address, data: bytes, *, gas: int) -> None:
        """Try a call on the newest state. Raises `NodeRefusal` when it fails."""
        self.request(
            "eth_call", {"from": str(sender), "to": str(to), "data": "0x" + data.hex(), "gas": hex(gas)}, "latest"
        )

    def estimate_gas(self, sender: Address, to: Address | None, data: bytes) -> int:
        """Try a call on the newest state; the gas it needs, half as much again as it takes now.

        What others do before it is included can make it dearer: an account emptied meanwhile costs 17,100 gas to fill.
        Raises `NodeRefusal` when the call fails.
        """
        message = {"from": str(sender), "data": "0x" + data.hex()} | ({} if to is None else {"to": str(to)})
        return int(self.request("eth_estimateGas", message), 16) * 3 // 2

    def code(self, account: Address) -> bytes:
        """The code of a smart contract on the newest state; empty where there is none."""
        return bytes.fromhex(self.ask("eth_getCode", str(account), "latest")[2:])

    def included(self, account: Address, *, final: bool = False) -> int:
        """How many chain transactions of the account are in blocks, or in final ones: its next nonce."""
        return int(self.ask("eth_getTransactionCount", str(account), self._final_block() if final else "latest"), 16)

    def receipt(self, transaction_hash: str) -> Receipt | None:
        """The receipt of a chain transaction that is in a block; None while it is in none."""
        receipt: Receipt | None = self.ask("eth_getTransactionReceipt", transaction_hash)
        return receipt

    def is_final(self, receipt: Receipt) -> bool:
        """Whether the receipt's block can be relied on."""
        if self.finality == IMMEDIATE:
            return True
        if int(receipt["blockNumber"], 16) > self.newest_final():
            return False
        again = self.receipt(receipt["transactionHash"])  # the block may have been replaced before it became final
        return again is not None and again["blockHash"] == receipt["blockHash"]

    def newest_block(self) -> int:
        """The number of the newest block."""
        return int(self.ask("eth_blockNumber"), 16)

    def newest_final(self) -> int:
        """The number of the newest block that can be relied on."""
        if self.finality.tag is None:
            return max(self.newest_block() - self.finality.confirmations, 0)
        block = self.ask("eth_getBlockByNumber", self.finality.tag, False)
        return int(block["number"], 16) if block else 0

    def fees(self) -> dict[str, int]:
        """The fee fields of a chain transaction signed now: EIP-1559, or legacy where the network has no base fee."""
        base = self.ask("eth_getBlockByNumber", "latest", False).get("baseFeePerGas")
        if base is None:
            return {"gasPrice": int(self.ask("eth_gasPrice"), 16)}
        if int(base, 16) == 0:
            return {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        tip = int(self.ask("eth_maxPriorityFeePerGas"), 16)
        return {"maxFeePerGas": 2 * int(base, 16) + tip, "maxPriorityFeePerGas": tip}

    def _final_block(self) -> str:
        if self.finality == IMMEDIATE:
            return "latest"
        return self.finality.tag or hex(self.newest_final())

    def _knows(self, tag: str) -> bool:
        try:
            return self.request("eth_getBlockByNumber", tag, False) is not None
        except NodeRefusal:
            return False


def _no_answer(method: str, refusal: NodeRefusal) -> ChainUnavailable:
    return ChainUnavailable(
        f"The chain's node refused {method}: {refusal.message}.", fix="Look after the node, then try again."
    )


def _refusal(error: Any) -> NodeRefusal:
    """A JSON-RPC error. Nodes put revert data into ``data`` as a string, or one level deeper."""
    if not isinstance(error, Mapping):
        return NodeRefusal(str(error)[:200])
    data = error.get("data")
    if isinstance(data, Mapping):
        data = data.get("data")
    try:
        revert = bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else None
    except ValueError:
        revert = None
    return NodeRefusal(str(error.get("message", "no reason given"))[:200], revert)
