"""Chain transactions handed to the embedded node: which are accepted, how often they run, and what they cost."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from web3 import Web3

from databund.chain.embedded import EmbeddedNode, JsonRpcError
from databund.chain.embedded.replay import replay
from databund.errors import AlreadyExists, ChainUnavailable, ConfigInvalid
from tests.integration.embedded_chain import CHAIN_ID, Clock, Wallet, create, encoded


@pytest.fixture
def clock() -> Clock:
    """Time under the test's control."""
    return Clock()


@pytest.fixture
def node(tmp_path: Path, clock: Clock) -> Iterator[EmbeddedNode]:
    """A new chain."""
    with create(tmp_path, clock) as node:
        yield node


@pytest.fixture
def wallet() -> Wallet:
    """A key without any wei."""
    return Wallet()


def _head(node: EmbeddedNode) -> int:
    return int(str(node.request("eth_blockNumber")), 16)


@pytest.mark.parametrize(
    "fields",
    [
        {"gasPrice": 0},
        {"gasPrice": 0, "type": 1, "accessList": [{"address": "0x" + "11" * 20, "storageKeys": ["0x" + "00" * 32]}]},
        {"type": 2},
    ],
    ids=["type 0", "type 1", "type 2"],
)
def test_types_are_accepted(node: EmbeddedNode, wallet: Wallet, fields: dict[str, Any]) -> None:
    """Types 0, 1 and 2 run free of charge from an account that has nothing, and read back as they were sent."""
    receipt = wallet.send(node, **fields)
    kind = hex(fields.get("type", 0))
    assert (receipt["status"], receipt["type"], receipt["effectiveGasPrice"]) == ("0x1", kind, "0x0")
    found: Any = node.request("eth_getTransactionByHash", [receipt["transactionHash"]])
    assert (found["type"], found["from"], found["nonce"]) == (kind, wallet.account.address.lower(), "0x0")


def test_a_wallet_delegates_to_a_smart_contract(node: EmbeddedNode, wallet: Wallet) -> None:
    """A type 4 chain transaction (EIP-7702) sent by another sets the code of the account that signed for it."""
    target, owner = wallet.deploy(node), Account.create()
    authorization = owner.sign_authorization({"chainId": CHAIN_ID, "address": target, "nonce": 0})
    receipt = wallet.send(
        node, to=owner.address, type=4, authorizationList=[authorization], data=encoded("store", 1, 7)
    )
    assert (receipt["status"], receipt["type"]) == ("0x1", "0x4")
    assert node.request("eth_getCode", [owner.address, "latest"]) == "0xef0100" + target[2:].lower()
    assert int(str(node.request("eth_call", [{"to": owner.address, "data": encoded("values", 1)}, "latest"])), 16) == 7
    sent: Any = node.request("eth_getTransactionByHash", [receipt["transactionHash"]])
    assert sent["authorizationList"][0]["address"] == target.lower()


def test_the_same_bytes_run_once(node: EmbeddedNode, wallet: Wallet) -> None:
    """Sending the same raw bytes again gives the same hash and makes no second block."""
    raw = wallet.sign()
    first = node.request("eth_sendRawTransaction", [raw])
    assert node.request("eth_sendRawTransaction", [raw]) == first
    assert _head(node) == 1


def test_the_same_bytes_at_once_run_once(node: EmbeddedNode, wallet: Wallet) -> None:
    """Many threads that send the same raw bytes at one moment all get the same hash, for one execution."""
    raw = wallet.sign()
    with ThreadPoolExecutor(8) as pool:
        hashes = set(pool.map(lambda _: node.request("eth_sendRawTransaction", [raw]), range(16)))
    assert len(hashes) == 1
    assert node.request("eth_getTransactionCount", [wallet.account.address, "latest"]) == "0x1"


_CREATION = {"to": None, "gas": 10_000_000}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nonce": 1}, "nonce too high: next nonce 0, tx nonce 1"),
        ({"chainId": 1}, f"invalid chain id for signer: have 1 want {CHAIN_ID}"),
        ({"chainId": None, "gasPrice": 0}, "only replay-protected"),
        ({"gas": 20_999}, "intrinsic gas too low: have 20999, want 21000"),
        ({"gas": 21_159, "data": "0x" + "11" * 10}, "intrinsic gas too low: have 21159, want 21400"),
        ({**_CREATION, "gas": 53_000, "data": "0x00"}, "intrinsic gas too low: have 53000, want 53006"),
        ({**_CREATION, "data": "0x" + "00" * 49_153}, "max initcode size exceeded: code size 49153, limit 49152"),
        ({"gas": 30_000_001}, "exceeds block gas limit: 30000001 > 30000000"),
        ({"value": 1}, "insufficient funds for gas * price + value: balance 0, tx cost 1"),
        ({"maxFeePerGas": 1}, "insufficient funds for gas * price + value: balance 0, tx cost 200000"),
        ({"maxPriorityFeePerGas": 1}, "max priority fee per gas higher than max fee per gas"),
    ],
)
def test_what_cannot_run_is_refused(node: EmbeddedNode, wallet: Wallet, fields: dict[str, Any], message: str) -> None:
    """Each rule that a chain transaction can break has its own refusal, in geth's words, and makes no block."""
    with pytest.raises(JsonRpcError, match=re.escape(message)) as caught:
        node.request("eth_sendRawTransaction", [wallet.sign(**fields)])
    assert caught.value.code == -32000
    assert _head(node) == 0


@pytest.mark.parametrize(
    "raw",
    ["0x", "0x00", "0x02", "0x02c0", "0x05c0", "0x7f", "0xc0", "0xff", "0x02" + "ff" * 40, "0xf86c808504a817c800"],
)
def test_what_is_no_chain_transaction_is_refused(node: EmbeddedNode, raw: str) -> None:
    """Bytes that are no signed chain transaction are refused as such."""
    with pytest.raises(JsonRpcError, match="not a signed chain transaction") as caught:
        node.request("eth_sendRawTransaction", [raw])
    assert caught.value.code == -32000


def test_blobs_are_refused_by_name(node: EmbeddedNode, wallet: Wallet) -> None:
    """A blob chain transaction (type 3) is refused, and told why."""
    versioned = ["0x01" + "22" * 31]
    raw = wallet.sign(type=3, maxFeePerBlobGas=1, blobVersionedHashes=versioned, to="0x" + "11" * 20)
    with pytest.raises(JsonRpcError, match="blob transactions"):
        node.request("eth_sendRawTransaction", [raw])


def test_a_broken_signature_is_refused(node: EmbeddedNode, wallet: Wallet) -> None:
    """A signature whose s is above the curve's order recovers to nobody."""
    raw = wallet.sign()
    with pytest.raises(JsonRpcError, match="invalid sender"):
        node.request("eth_sendRawTransaction", [raw[:-64] + "ff" * 32])


def test_an_old_nonce_is_refused(node: EmbeddedNode, wallet: Wallet) -> None:
    """Another chain transaction with a nonce already used is refused."""
    wallet.send(node)
    with pytest.raises(JsonRpcError, match="nonce too low: next nonce 1, tx nonce 0"):
        node.request("eth_sendRawTransaction", [wallet.sign(nonce=0, data="0x01")])


def test_a_nonce_gap_names_the_expected_nonce(node: EmbeddedNode, wallet: Wallet) -> None:
    """eth_sendRawTransactionSync answers a nonce gap with code 6 and the expected nonce (EIP-7966)."""
    wallet.send(node)
    with pytest.raises(JsonRpcError) as caught:
        node.request("eth_sendRawTransactionSync", [wallet.sign(nonce=5)])
    assert (caught.value.code, caught.value.data) == (6, "0x1")


def test_one_bad_chain_transaction_spares_the_others(node: EmbeddedNode) -> None:
    """Of many sent at once, the impossible one is refused and every other is recorded."""
    good, bad = [Wallet() for _ in range(12)], Wallet()
    with ThreadPoolExecutor(13) as pool:
        refused = pool.submit(node.request, "eth_sendRawTransaction", [bad.sign(value=1)])
        receipts = list(pool.map(lambda wallet: wallet.send(node), good))
    assert isinstance(refused.exception(), JsonRpcError)
    assert {receipt["status"] for receipt in receipts} == {"0x1"}


def test_a_failed_execution_is_recorded(node: EmbeddedNode, wallet: Wallet) -> None:
    """A chain transaction that reverts is part of the chain with status 0, and uses its nonce."""
    address = wallet.deploy(node)
    receipt = wallet.send(node, to=address, data=encoded("explain"))
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])
    assert node.request("eth_getTransactionCount", [wallet.account.address, "latest"]) == "0x2"


def test_gas_stays_free_after_a_full_block(node: EmbeddedNode, wallet: Wallet) -> None:
    """The base fee is 0 after a block that is almost full, where EIP-1559 alone would raise it to 1."""
    address = wallet.deploy(node)
    receipt = wallet.send(node, to=address, data=encoded("burn"), gas=16_000_000)
    assert (receipt["status"], receipt["gasUsed"]) == ("0x0", hex(16_000_000))
    assert wallet.send(node)["status"] == "0x1"
    block: Any = node.request("eth_getBlockByNumber", ["latest", False])
    assert block["baseFeePerGas"] == "0x0"


def test_what_does_not_fit_takes_the_next_block(node: EmbeddedNode) -> None:
    """Chain transactions that together exceed a block's gas are spread over blocks; none is refused."""
    wallets = [Wallet() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        receipts = list(pool.map(lambda wallet: wallet.send(node, gas=29_990_000), wallets))
    assert sorted(int(receipt["blockNumber"], 16) for receipt in receipts) == [1, 2, 3, 4, 5, 6]


def test_time_never_runs_backwards_nor_ahead(node: EmbeddedNode, wallet: Wallet, clock: Clock) -> None:
    """A block bears the time it was made at; many may share a second, and a clock set back does not take it back."""
    times = []
    for step in (0, 0, 7, -100):
        clock.time += step
        wallet.send(node)
        block: Any = node.request("eth_getBlockByNumber", ["latest", False])
        times.append(int(block["timestamp"], 16) - 1_800_000_000)
    assert times == [0, 0, 7, 7]


def test_what_arrives_together_shares_blocks(tmp_path: Path) -> None:
    """While a block is made, those that arrive wait for the next one together (group commit)."""
    held, entered = threading.Event(), threading.Event()

    def slow_clock() -> int:
        entered.set()
        held.wait(10)
        return 1_800_000_000

    held.set()
    with create(tmp_path, slow_clock) as node, ThreadPoolExecutor(9) as pool:  # type: ignore[arg-type]
        held.clear()
        entered.clear()
        first = pool.submit(Wallet().send, node)
        assert entered.wait(10)
        others = [pool.submit(node.request, "eth_sendRawTransaction", [Wallet().sign()]) for _ in range(8)]
        while node._waiting.qsize() < 8:
            threading.Event().wait(0.001)
        held.set()
        assert first.result()["blockNumber"] == "0x1"
        assert len({other.result() for other in others}) == 8
        assert node.request("eth_blockNumber") == "0x2"


def test_the_deepest_calls_are_made(node: EmbeddedNode, wallet: Wallet) -> None:
    """A smart contract that calls itself as deep as a block's gas reaches runs to its end."""
    calls_itself = bytes.fromhex("5f5f5f5f5f305af100")  # five zeros, ADDRESS, GAS, CALL, STOP
    initcode = b"\x68" + calls_itself + bytes.fromhex("5f5260096017f3")
    created = wallet.send(node, to=None, data="0x" + initcode.hex())
    address = Web3.to_checksum_address(created["contractAddress"])
    assert node.request("eth_getCode", [address]) == "0x" + calls_itself.hex()
    receipt = wallet.send(node, to=address, gas=30_000_000)
    assert (receipt["status"], int(receipt["gasUsed"], 16) > 80_000) == ("0x1", True)


def test_what_runs_too_long_is_refused(
    tmp_path: Path, node: EmbeddedNode, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain transaction that takes longer than the limit is refused without a trace; those around it are recorded."""
    address = wallet.deploy(node)
    monkeypatch.setattr("databund.chain.embedded.node.WRITING_S", 0.3)
    with pytest.raises(JsonRpcError, match=re.escape("execution aborted (timeout = 0.3s)")):
        wallet.send(node, to=address, data=encoded("burn"), gas=30_000_000)
    assert wallet.send(node, to=address, data=encoded("store", 1, 1))["status"] == "0x1"
    assert replay(tmp_path / "chain.db").blocks == 3


@pytest.mark.parametrize(
    ("address", "data"),
    [("09", (250_001).to_bytes(4, "big") + bytes(209)), ("08", bytes(192 * 7)), ("0f", bytes(384 * 7))],
    ids=["blake2f", "bn254 pairing", "bls12-381 pairing"],
)
def test_slow_precompiles_are_refused(node: EmbeddedNode, wallet: Wallet, address: str, data: bytes) -> None:
    """One call of a precompile that would block the chain for seconds is refused, in a call and in a send."""
    fields = {"to": Web3.to_checksum_address("0x" + address.zfill(40)), "data": "0x" + data.hex()}
    with pytest.raises(JsonRpcError, match="takes too long here"):
        node.request("eth_call", [fields])
    with pytest.raises(JsonRpcError, match="takes too long here"):
        wallet.send(node, **fields, gas=1_000_000)
    assert wallet.send(node)["status"] == "0x1"


def test_the_allocation_is_there_from_the_start(tmp_path: Path, wallet: Wallet) -> None:
    """An address of the allocation holds its wei at block 0 and can send it."""
    with create(tmp_path, allocation={bytes.fromhex(wallet.account.address[2:]): 5}) as node:
        wallet.send(node, value=3, to="0x" + "11" * 20)
        balances = [node.request("eth_getBalance", [wallet.account.address, block]) for block in ("earliest", "latest")]
    assert balances == ["0x5", "0x2"]


def test_a_chain_is_not_created_twice(node: EmbeddedNode, tmp_path: Path) -> None:
    """Creating a chain where there is one is refused, after the first is closed as well."""
    node.close()
    with pytest.raises(AlreadyExists, match=r"chain\.db holds a chain already"):
        create(tmp_path)


@pytest.mark.parametrize("options", [{"chain_id": 0}, {"chain_id": 2**53}, {"allocation": {b"short": 1}}])
def test_impossible_chains_are_not_created(tmp_path: Path, options: dict[str, Any]) -> None:
    """A chain id or an allocation that nobody could use is refused before a file is made."""
    with pytest.raises(ConfigInvalid):
        EmbeddedNode.create(tmp_path / "chain.db", **{"chain_id": 1, "now": Clock(), **options})
    assert list(tmp_path.iterdir()) == []


def test_a_closed_node_says_so(node: EmbeddedNode, wallet: Wallet) -> None:
    """After closing, twice even, requests are refused as unavailable."""
    node.close()
    node.close()
    with pytest.raises(ChainUnavailable, match="closed"):
        node.request("eth_sendRawTransaction", [wallet.sign()])
