"""What the tests of the embedded node share: a clock, a wallet, and a smart contract to try it on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from databund.chain.embedded import EmbeddedNode

CHAIN_ID = 31337
PROBE = json.loads((Path(__file__).parent / "embedded_probe" / "Probe.json").read_text())
probe = Web3().eth.contract(abi=PROBE["abi"], bytecode=PROBE["bytecode"])


@dataclass
class Clock:
    """Time that moves when a test moves it."""

    time: int = 1_800_000_000

    def __call__(self) -> int:
        """The time, in seconds."""
        return self.time


@dataclass
class Wallet:
    """A key made for the test, and the nonce it uses next."""

    account: LocalAccount = field(default_factory=Account.create)
    nonce: int = 0

    def sign(self, **fields: Any) -> str:
        """Sign a chain transaction, of type 2 and free of charge unless the fields say otherwise; hexadecimal."""
        legacy = {"gasPrice": 0} if "gasPrice" in fields else {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        plain = {"chainId": CHAIN_ID, "gas": 200_000, "to": self.account.address, "value": 0, "nonce": self.nonce}
        filled = {name: value for name, value in {**plain, **legacy, **fields}.items() if value is not None}
        return "0x" + self.account.sign_transaction(filled).raw_transaction.hex()

    def send(self, node: EmbeddedNode, **fields: Any) -> dict[str, Any]:
        """Sign, send, and return the receipt."""
        receipt = node.request("eth_sendRawTransactionSync", [self.sign(**fields)])
        self.nonce += 1
        assert isinstance(receipt, dict)
        return receipt

    def deploy(self, node: EmbeddedNode) -> str:
        """Deploy the probe and return its address."""
        receipt = self.send(node, to=None, data=PROBE["bytecode"], gas=2_000_000)
        assert receipt["status"] == "0x1"
        return Web3.to_checksum_address(receipt["contractAddress"])


def create(folder: Path, now: Clock | None = None, **options: Any) -> EmbeddedNode:
    """A new chain in a folder."""
    return EmbeddedNode.create(folder / "chain.db", chain_id=CHAIN_ID, now=now or Clock(), **options)


def reopen(folder: Path, now: Clock | None = None) -> EmbeddedNode:
    """The chain that is in a folder already."""
    return EmbeddedNode.open(folder / "chain.db", now=now or Clock())


def encoded(function: str, *arguments: Any) -> str:
    """The input of a call of the probe."""
    return probe.encode_abi(function, list(arguments))
