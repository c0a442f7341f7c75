"""The smart contracts: the committed artifacts are what the sources give, and they do on a chain what they promise.

Chain transactions here are signed with keys made by the test and mined by anvil; gas is the receipt's, so it includes
the intrinsic cost and the calldata. Typed data is signed by eth-account, which knows nothing of our hashing.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from web3 import HTTPProvider, Web3
from web3.contract.contract import Contract, ContractFunction
from web3.types import TxReceipt

from tests.servers import ROOT, foundry_program

CONTRACTS = ROOT / "contracts"
ARTIFACTS = ROOT / "src" / "databund" / "chain" / "artifacts"
NAMES = ("CheckpointAnchor", "DatasetTitle", "Exchange", "LicenseToken", "SettlementToken")

# The gas of one sale, whole chain transaction: what the design promises.
NEW_BUYER_GAS = 118_000
RENEWAL_GAS = 84_000
RELAYED_GAS = 148_000

_OFFER_TYPES = {
    "Split": [("account", "address"), ("basisPoints", "uint16")],
    "Offer": [
        ("provider", "address"),
        ("dataset", "bytes32"),
        ("contentRoot", "bytes32"),
        ("termsHash", "bytes32"),
        ("currency", "address"),
        ("unitPrice", "uint256"),
        ("duration", "uint64"),
        ("uses", "uint64"),
        ("supply", "uint64"),
        ("requires", "uint256"),
        ("escrow", "uint64"),
        ("transferable", "bool"),
        ("splits", "Split[]"),
        ("validUntil", "uint64"),
        ("salt", "bytes32"),
    ],
}
_PAYMENT_TYPES = {
    "ReceiveWithAuthorization": [
        ("from", "address"),
        ("to", "address"),
        ("value", "uint256"),
        ("validAfter", "uint256"),
        ("validBefore", "uint256"),
        ("nonce", "bytes32"),
    ]
}


def _typed(types: dict[str, list[tuple[str, str]]]) -> dict[str, list[dict[str, str]]]:
    return {name: [{"name": key, "type": kind} for key, kind in members] for name, members in types.items()}


def _artifact(name: str) -> dict[str, Any]:
    artifact: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return artifact


@dataclass
class Market:
    """One deployed exchange with its money, a provider, an operator who takes a fee, and a relayer."""

    web3: Web3
    operator: LocalAccount = field(default_factory=Account.create)
    provider: LocalAccount = field(default_factory=Account.create)
    relayer: LocalAccount = field(default_factory=Account.create)
    salts: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        for account in (self.operator, self.provider, self.relayer):
            self.fund(account)
        self.money = self.deploy("SettlementToken", "Credit", "CRD", self.operator.address)
        self.exchange = self.deploy("Exchange", self.operator.address, "")
        self.licenses = self.web3.eth.contract(
            address=self.exchange.functions.LICENSES().call(), abi=_artifact("LicenseToken")["abi"]
        )
        for account in (self.operator, self.provider):
            self.send(self.operator, self.money.functions.issue(account.address, 1_000_000))

    def fund(self, account: LocalAccount) -> None:
        """Give an account the gas it needs."""
        self.web3.provider.make_request("anvil_setBalance", [account.address, hex(10**20)])  # type: ignore[arg-type]

    def deploy(self, name: str, *arguments: object) -> Contract:
        """Deploy a committed artifact as the operator."""
        artifact = _artifact(name)
        contract = self.web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        receipt = self._mine(
            self.operator, contract.constructor(*arguments).build_transaction(self._fees(self.operator))
        )
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])

    def send(self, sender: LocalAccount, call: ContractFunction) -> TxReceipt:
        """Sign a call, have it mined, and return its receipt; a reverted one fails the test."""
        return self._mine(sender, call.build_transaction(self._fees(sender)))

    def buyer(self, allowance: int = 10**12) -> LocalAccount:
        """A new account with money, an allowance for the exchange, and nothing else."""
        account: LocalAccount = Account.create()
        self.fund(account)
        self.send(self.operator, self.money.functions.issue(account.address, 10**12))
        self.send(account, self.money.functions.approve(self.exchange.address, allowance))
        return account

    def offer(self, *, fee: bool = True, **terms: object) -> dict[str, Any]:
        """A fresh offer of one year for 10.00, with one split of 1 % for the operator."""
        offer = {
            "provider": self.provider.address,
            "dataset": keccak(text="dataset"),
            "contentRoot": keccak(text="content"),
            "termsHash": keccak(text="terms"),
            "currency": self.money.address,
            "unitPrice": 10_000_000,
            "duration": 31_536_000,
            "uses": 0,
            "supply": 0,
            "requires": 0,
            "escrow": 0,
            "transferable": False,
            "splits": [{"account": self.operator.address, "basisPoints": 100}] if fee else [],
            "validUntil": 2**53 - 1,
            "salt": keccak(next(self.salts).to_bytes(32, "big")),
        }
        return offer | terms

    def signed(self, offer: dict[str, Any]) -> bytes:
        """The provider's signature over an offer, as a wallet makes it."""
        domain = {
            "name": "databund",
            "version": "1",
            "chainId": self.web3.eth.chain_id,
            "verifyingContract": self.exchange.address,
        }
        return bytes(self.provider.sign_typed_data(domain, _typed(_OFFER_TYPES), offer).signature)

    def buy(self, buyer: LocalAccount, offer: dict[str, Any], units: int = 1) -> TxReceipt:
        """Buy directly."""
        return self.send(buyer, self.exchange.functions.buy(offer, self.signed(offer), units))

    def relay(self, buyer: LocalAccount, offer: dict[str, Any], units: int = 1) -> TxReceipt:
        """Have the relayer bring a payment that the buyer signed."""
        offer_id = self.exchange.functions.hashOffer(offer).call()
        salt = keccak(next(self.salts).to_bytes(32, "big"))
        payment = {
            "from": buyer.address,
            "to": self.exchange.address,
            "value": offer["unitPrice"] * units,
            "validAfter": 0,
            "validBefore": 2**40,
            "nonce": self.exchange.functions.orderId(offer_id, buyer.address, units, salt).call(),
        }
        domain = {
            "name": "Credit",
            "version": "1",
            "chainId": self.web3.eth.chain_id,
            "verifyingContract": self.money.address,
        }
        signature = bytes(buyer.sign_typed_data(domain, _typed(_PAYMENT_TYPES), payment).signature)
        purchase = (buyer.address, units, salt, 0, 2**40)
        call = self.exchange.functions.buyWithAuthorization(offer, self.signed(offer), purchase, signature)
        return self.send(self.relayer, call)

    def entitled(self, holder: LocalAccount, offer: dict[str, Any]) -> bool:
        """Whether the license token says that the holder may use the offer's content."""
        offer_id = int.from_bytes(self.exchange.functions.hashOffer(offer).call(), "big")
        return bool(self.licenses.functions.isEntitled(holder.address, offer_id).call())

    def _fees(self, sender: LocalAccount) -> dict[str, Any]:
        nonce = self.web3.eth.get_transaction_count(sender.address)
        return {"from": sender.address, "nonce": nonce, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 0}

    def _mine(self, sender: LocalAccount, transaction: Any) -> TxReceipt:
        sent = self.web3.eth.send_raw_transaction(sender.sign_transaction(transaction).raw_transaction)
        receipt = self.web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.01)
        assert receipt["status"] == 1
        return receipt


@pytest.fixture(scope="module")
def market(anvil_url: str) -> Market:
    """An exchange deployed from the committed artifacts."""
    return Market(Web3(HTTPProvider(anvil_url)))


@pytest.mark.forge
def test_artifacts_are_what_the_sources_give(tmp_path: Path) -> None:
    """Compiling again gives every committed artifact to the byte, so nobody has to trust who committed them."""
    _run("node", "build-artifacts.mjs", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.json" for name in NAMES}
    for name in NAMES:
        assert (ARTIFACTS / f"{name}.json").read_text() == (tmp_path / f"{name}.json").read_text(), (
            f"{name} differs from its sources; run: make artifacts"
        )


@pytest.mark.forge
def test_the_smart_contracts_pass_their_own_tests() -> None:
    """Every unit, fuzz and invariant test in contracts/test passes, and the formatter has nothing to change."""
    forge = str(foundry_program("forge"))
    _run(forge, "fmt", "--check")
    assert "0 failed, 0 skipped" in _run(forge, "test")


@pytest.mark.forge
def test_the_gas_snapshot_is_current() -> None:
    """The committed gas figures are those of the code, so that a change of them is seen in review."""
    _run(str(foundry_program("forge")), "snapshot", "--check", "--isolate", "--match-contract", "GasTest")


def test_the_lock_file_names_no_registry() -> None:
    """What npm installs is pinned by hash alone, so that any registry or mirror can serve it."""
    packages = json.loads((CONTRACTS / "package-lock.json").read_text())["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert installed
    assert all("resolved" not in package and package["integrity"] for package in installed.values())


@pytest.mark.parametrize("name", NAMES)
def test_artifacts_fit_into_a_block(name: str) -> None:
    """Every network takes the code: at most 24,576 bytes deployed (EIP-170) and 49,152 to deploy (EIP-3860)."""
    artifact = _artifact(name)
    assert artifact["name"] == name
    assert artifact["compiler"]["evmVersion"] == "cancun"
    assert 0 < len(bytes.fromhex(artifact["deployedBytecode"][2:])) <= 24_576
    assert 0 < len(bytes.fromhex(artifact["bytecode"][2:])) <= 49_152


def test_sale_to_a_new_buyer_is_cheap(market: Market) -> None:
    """A sale of a fresh offer to a new buyer stays within its gas, and everybody has what is theirs."""
    offer, buyer = market.offer(), market.buyer()
    paid = market.money.functions.balanceOf(market.provider.address).call()
    assert market.buy(buyer, offer)["gasUsed"] <= NEW_BUYER_GAS
    assert market.money.functions.balanceOf(market.provider.address).call() == paid + 9_900_000
    assert market.entitled(buyer, offer)


def test_renewal_is_cheap(market: Market) -> None:
    """A renewal by an existing holder stays within its gas."""
    offer, buyer = market.offer(), market.buyer()
    market.buy(buyer, offer)
    assert market.buy(buyer, offer)["gasUsed"] <= RENEWAL_GAS


def test_relayed_sale_is_cheap(market: Market) -> None:
    """A relayed sale to a new buyer, who signs and pays no gas, stays within its gas."""
    offer, buyer = market.offer(), market.buyer(allowance=0)
    assert market.relay(buyer, offer)["gasUsed"] <= RELAYED_GAS
    assert market.entitled(buyer, offer)
    assert not market.entitled(market.relayer, offer)


def test_limited_supply_costs_one_more_word(market: Market) -> None:
    """Counting a limited supply stays within the same gas where the buyer gave the exchange a standing allowance."""
    offer = market.offer(supply=100)
    assert market.buy(market.buyer(allowance=2**256 - 1), offer)["gasUsed"] <= NEW_BUYER_GAS
    assert market.exchange.functions.offerState(market.exchange.functions.hashOffer(offer).call()).call() == [False, 1]


def _run(*command: str) -> str:
    """Run a tool in contracts/ to its end and return what it said; its failure is the test's."""
    env = {**os.environ, "NO_COLOR": "1", "FOUNDRY_PROFILE": "default"}
    done = subprocess.run(command, cwd=CONTRACTS, capture_output=True, text=True, timeout=900, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
