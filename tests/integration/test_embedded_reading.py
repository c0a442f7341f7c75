"""Questions to the embedded node: state now and then, calls, estimates, receipts, logs and proofs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_hash.auto import keccak
from trie.hexary import HexaryTrie

from databund.chain.embedded import EmbeddedNode, JsonRpcError
from tests.integration.embedded_chain import CHAIN_ID, Clock, Wallet, create, encoded, probe


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


@pytest.fixture
def address(node: EmbeddedNode, wallet: Wallet) -> str:
    """The probe, deployed in block 1."""
    return wallet.deploy(node)


def _call(node: EmbeddedNode, address: str, function: str, *arguments: Any, block: object = "latest") -> int:
    message = {"to": address, "data": encoded(function, *arguments)}
    return int(str(node.request("eth_call", [message, block])), 16)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("eth_chainId", hex(CHAIN_ID)),
        ("net_version", str(CHAIN_ID)),
        ("eth_gasPrice", "0x0"),
        ("eth_maxPriorityFeePerGas", "0x0"),
        ("eth_syncing", False),
        ("eth_accounts", []),
        ("eth_blockNumber", "0x0"),
    ],
)
def test_constants(node: EmbeddedNode, method: str, answer: object) -> None:
    """What never changes on this chain is answered without parameters."""
    assert node.request(method) == answer


def test_the_client_names_itself(node: EmbeddedNode) -> None:
    """The client version names databund and the engine."""
    assert str(node.request("web3_clientVersion")).startswith("databund/")


def test_unknown_methods_are_named(node: EmbeddedNode) -> None:
    """A method that does not exist is answered with its name and the protocol's code."""
    with pytest.raises(JsonRpcError, match="eth_sign does not exist") as caught:
        node.request("eth_sign", [])
    assert caught.value.code == -32601


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_getBalance", []),
        ("eth_getBalance", ["0x11"]),
        ("eth_getBalance", ["0x" + "11" * 20, "newest"]),
        ("eth_getBalance", ["0x" + "11" * 20, 1]),
        ("eth_getBalance", ["0x" + "11" * 20, {"number": "0x0"}]),
        ("eth_getBlockByNumber", ["latest", "yes"]),
        ("eth_getBlockByHash", ["0x11"]),
        ("eth_call", ["0x11"]),
        ("eth_call", [{"data": "0x01", "input": "0x02"}]),
        ("eth_call", [{"accessList": {}}]),
        ("eth_call", [{"authorizationList": [{}]}]),
        ("eth_call", [{}, "latest", {"0x" + "11" * 20: {"balance": "0x1"}}]),
        ("eth_getLogs", [[]]),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "0x0"}]),
        ("eth_getLogs", [{"blockHash": "0x" + "11" * 32, "fromBlock": "0x0"}]),
        ("eth_getLogs", [{"topics": [None] * 5}]),
        ("eth_getLogs", [{"address": ["0x" + "11" * 20] * 1001}]),
        ("eth_getProof", ["0x" + "11" * 20, ["0x0"] * 1025, "latest"]),
        ("eth_sendRawTransaction", [7]),
        ("eth_sendRawTransactionSync", ["0x", 0]),
        ("eth_chainId", ["latest"]),
    ],
)
def test_bad_parameters_are_refused(node: EmbeddedNode, method: str, params: list[object]) -> None:
    """Parameters that are missing, too many or malformed are answered with the protocol's code."""
    with pytest.raises(JsonRpcError) as caught:
        node.request(method, params)
    assert caught.value.code == -32602


def test_state_is_read_at_any_block(node: EmbeddedNode, wallet: Wallet, address: str) -> None:
    """A call, a storage slot and a nonce can be read as they were after each block, by number and by hash."""
    receipts = [wallet.send(node, to=address, data=encoded("store", 5, value)) for value in (10, 20, 30)]
    blocks: list[Any] = [receipt["blockNumber"] for receipt in receipts]
    blocks += [{"blockHash": receipts[0]["blockHash"]}, {"blockNumber": "0x3"}, "safe", "finalized", "pending"]
    assert [_call(node, address, "values", 5, block=block) for block in blocks] == [10, 20, 30, 10, 20, 30, 30, 30]
    slot = keccak((5).to_bytes(32, "big") + bytes(32)).hex()
    stored = node.request("eth_getStorageAt", [address, "0x" + slot, "0x2"])
    assert stored == "0x" + (10).to_bytes(32, "big").hex()
    assert node.request("eth_getTransactionCount", [wallet.account.address, "0x2"]) == "0x2"


def test_code_is_there_from_its_block_on(node: EmbeddedNode, address: str) -> None:
    """Before the block that created it, an address holds no code."""
    assert node.request("eth_getCode", [address, "0x0"]) == "0x"
    assert len(str(node.request("eth_getCode", [address]))) > 100


def test_a_block_that_does_not_exist_holds_nothing(node: EmbeddedNode, address: str) -> None:
    """State at a future block is an error; a future block and an unknown hash are null."""
    with pytest.raises(JsonRpcError, match="header not found"):
        node.request("eth_getBalance", [address, "0x99"])
    unknown = "0x" + "11" * 32
    assert node.request("eth_getBlockByNumber", ["0x99", False]) is None
    asked = ("eth_getBlockByHash", "eth_getTransactionByHash", "eth_getTransactionReceipt")
    assert [node.request(method, [unknown]) for method in asked] == [None] * 3


def test_a_call_sees_the_present(node: EmbeddedNode, address: str, clock: Clock) -> None:
    """At the newest block a call sees the time of day, though no block was made since; at a number, the block's."""
    clock.time += 1000
    assert _call(node, address, "time") == clock.time
    assert _call(node, address, "time", block="0x1") == clock.time - 1000


def test_a_call_sees_past_hashes(node: EmbeddedNode, address: str) -> None:
    """BLOCKHASH gives the hash of an earlier block, and zero for the present one."""
    genesis: Any = node.request("eth_getBlockByNumber", ["0x0", False])
    assert _call(node, address, "past", 0) == int(genesis["hash"], 16)
    assert _call(node, address, "past", 1) == 0


def test_a_call_changes_nothing(node: EmbeddedNode, address: str) -> None:
    """A call that stores is forgotten at once, and needs neither nonce nor wei."""
    node.request("eth_call", [{"to": address, "data": encoded("store", 1, 1)}])
    assert _call(node, address, "values", 1) == 0


def test_a_reason_is_handed_on(node: EmbeddedNode, address: str) -> None:
    """A revert with a sentence is code 3, with the sentence in the message and the raw data beside it."""
    with pytest.raises(JsonRpcError, match=r"^execution reverted: because$") as caught:
        _call(node, address, "explain")
    assert caught.value.code == 3
    assert str(caught.value.data).startswith("0x08c379a0")


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_a_custom_error_is_handed_on(node: EmbeddedNode, address: str, method: str) -> None:
    """A revert with a custom error is code 3 with the encoded error as data."""
    with pytest.raises(JsonRpcError, match=r"^execution reverted$") as caught:
        node.request(method, [{"to": address, "data": encoded("refuse", 9)}])
    assert caught.value.data == "0x" + keccak(b"Refused(uint256)")[:4].hex() + (9).to_bytes(32, "big").hex()


def test_running_out_of_gas_is_not_a_revert(node: EmbeddedNode, address: str) -> None:
    """A call that never ends is an error of its own, without revert data."""
    with pytest.raises(JsonRpcError, match="out of gas") as caught:
        node.request("eth_call", [{"to": address, "data": encoded("burn"), "gas": "0x186a0"}])
    assert (caught.value.code, caught.value.data) == (-32000, None)


def test_a_call_ends_in_time(node: EmbeddedNode, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that runs longer than the limit is aborted, as in geth."""
    monkeypatch.setattr("databund.chain.embedded.methods.READING_S", 0.1)
    with pytest.raises(JsonRpcError, match=r"execution aborted \(timeout = 0.1s\)"):
        node.request("eth_call", [{"to": address, "data": encoded("burn")}])


def test_more_value_than_held_is_refused(node: EmbeddedNode, address: str) -> None:
    """A call that sends wei which its sender does not have fails as such."""
    with pytest.raises(JsonRpcError, match="insufficient funds for transfer"):
        node.request("eth_call", [{"to": address, "data": encoded("store", 1, 1), "value": "0x1"}])


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("store", (1, 1)), ("clear", (0, 20)), ("clear", (0, 30)), ("deep", (0,)), ("deep", (1,)), ("deep", (30,))],
)
def test_estimates_suffice(
    node: EmbeddedNode, wallet: Wallet, address: str, function: str, arguments: tuple[int, ...]
) -> None:
    """A chain transaction with the estimated gas succeeds, refunds and nested calls included, and is not far off."""
    for key in range(20):
        wallet.send(node, to=address, data=encoded("store", key, 1))
    message = {"from": wallet.account.address, "to": address, "data": encoded(function, *arguments)}
    estimate = int(str(node.request("eth_estimateGas", [message])), 16)
    receipt = wallet.send(node, to=address, data=message["data"], gas=estimate)
    assert receipt["status"] == "0x1"
    tight = wallet.send(node, to=address, data=message["data"], gas=int(receipt["gasUsed"], 16))
    assert estimate < 2 * int(receipt["gasUsed"], 16) or tight["status"] == "0x0"


def test_a_transfer_takes_21000_gas(node: EmbeddedNode) -> None:
    """The estimate of a plain transfer is exact."""
    assert node.request("eth_estimateGas", [{"to": "0x" + "11" * 20}]) == hex(21_000)


def test_a_creation_is_estimated(node: EmbeddedNode, wallet: Wallet) -> None:
    """The estimate of a creation covers its initcode and its deposit."""
    message = {"from": wallet.account.address, "data": probe.bytecode.to_0x_hex()}
    estimate = int(str(node.request("eth_estimateGas", [message])), 16)
    assert wallet.send(node, to=None, data=message["data"], gas=estimate)["status"] == "0x1"


def test_receipts_tell_what_happened(node: EmbeddedNode, wallet: Wallet, address: str) -> None:
    """A receipt has the gas of its chain transaction, its place, its logs, and the bloom of those logs."""
    receipt = wallet.send(node, to=address, data=encoded("store", 3, 4))
    assert (receipt["to"], receipt["contractAddress"], receipt["transactionIndex"]) == (address.lower(), None, "0x0")
    assert receipt["cumulativeGasUsed"] == receipt["gasUsed"]
    (log,) = receipt["logs"]
    assert log["topics"][1:] == ["0x" + f"{int(word, 16):064x}" for word in (wallet.account.address, "0x3")]
    assert log["data"] == f"0x{4:064x}"
    assert int(receipt["logsBloom"], 16).bit_count() in range(3, 13)


def test_blocks_list_what_they_hold(node: EmbeddedNode, wallet: Wallet, address: str) -> None:
    """A block read with hashes, with whole chain transactions, by hash, and its receipts agree."""
    receipt = wallet.send(node, to=address, data=encoded("store", 3, 4))
    block: Any = node.request("eth_getBlockByNumber", ["latest", False])
    full: Any = node.request("eth_getBlockByHash", [block["hash"], True])
    assert block["transactions"] == [receipt["transactionHash"]]
    assert full["transactions"] == [node.request("eth_getTransactionByHash", [receipt["transactionHash"]])]
    for name in ("latest", block["number"], block["hash"], {"blockHash": block["hash"]}):
        assert node.request("eth_getBlockReceipts", [name]) == [receipt]
    assert (block["parentHash"], block["nonce"]) == (_hash_of(node, "0x1"), "0x" + "00" * 8)


def _hash_of(node: EmbeddedNode, number: str) -> str:
    block: Any = node.request("eth_getBlockByNumber", [number, False])
    return str(block["hash"])


def _values(node: EmbeddedNode, **wanted: Any) -> list[int]:
    logs: Any = node.request("eth_getLogs", [wanted])
    return [int(log["data"], 16) for log in logs]


def test_logs_are_filtered(node: EmbeddedNode, wallet: Wallet, address: str) -> None:
    """Logs are found by block range, block hash, address and topics, with alternatives and gaps, in order."""
    other = wallet.deploy(node)
    for emitter, key, value in ((address, 1, 10), (other, 2, 20), (address, 2, 30)):
        wallet.send(node, to=emitter, data=encoded("store", key, value))
    one, two = (f"0x{key:064x}" for key in (1, 2))
    everywhere = {"fromBlock": "earliest", "toBlock": "latest"}
    assert _values(node, **everywhere) == [10, 20, 30]
    assert _values(node) == [30]
    assert _values(node, fromBlock="0x3", toBlock="0x4") == [10, 20]
    assert _values(node, blockHash=_hash_of(node, "0x4")) == [20]
    assert _values(node, **everywhere, address=address) == [10, 30]
    assert _values(node, **everywhere, address=[address, other]) == [10, 20, 30]
    assert _values(node, **everywhere, topics=[None, None, two]) == [20, 30]
    assert _values(node, **everywhere, topics=[None, [], [one, two]], address=other) == [20]
    assert _values(node, **everywhere, topics=[None, None, None, None]) == [10, 20, 30]
    assert _values(node, **everywhere, topics=["0x" + "11" * 32]) == []


def test_an_unknown_block_has_no_logs(node: EmbeddedNode) -> None:
    """Logs of a block hash that does not exist are an error, not an empty list (EIP-234)."""
    with pytest.raises(JsonRpcError, match="header not found"):
        node.request("eth_getLogs", [{"blockHash": "0x" + "11" * 32}])


def test_too_many_logs_are_refused(
    node: EmbeddedNode, wallet: Wallet, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query with more results than the limit is refused, and told to ask for fewer blocks."""
    monkeypatch.setattr("databund.chain.embedded.methods._MOST_LOGS", 2)
    for value in range(3):
        wallet.send(node, to=address, data=encoded("store", 1, value))
    with pytest.raises(JsonRpcError, match="more than 2 results") as caught:
        node.request("eth_getLogs", [{"fromBlock": "earliest"}])
    assert caught.value.code == -32005
    assert _values(node, fromBlock="0x3") == [1, 2]


def _walk(root: str, key: bytes, nodes: list[str]) -> bytes:
    """What a proof says about a key, computed by the trie's own checker from the nodes' hashes."""
    path = [rlp.decode(bytes.fromhex(each[2:])) for each in nodes]
    return HexaryTrie.get_from_proof(bytes.fromhex(root[2:]), keccak(key), path)


def test_proofs_lead_to_the_state_root(node: EmbeddedNode, wallet: Wallet, address: str) -> None:
    """An account and a storage slot can be proved against a block's state root alone, presence and absence alike."""
    wallet.send(node, to=address, data=encoded("store", 5, 77))
    slots = ["0x" + keccak(key.to_bytes(32, "big") + bytes(32)).hex() for key in (5, 6)]
    proof: Any = node.request("eth_getProof", [address, slots, "latest"])
    block: Any = node.request("eth_getBlockByNumber", ["latest", False])
    account = rlp.decode(_walk(block["stateRoot"], bytes.fromhex(address[2:]), proof["accountProof"]))
    assert account[2].hex() == proof["storageHash"][2:]
    assert [each["value"] for each in proof["storageProof"]] == [hex(77), "0x0"]
    held, empty = (
        _walk(proof["storageHash"], bytes.fromhex(slot[2:]), each["proof"])
        for slot, each in zip(slots, proof["storageProof"], strict=True)
    )
    assert (rlp.decode(held), empty) == (bytes([77]), b"")


def test_an_absent_account_is_proved_absent(node: EmbeddedNode, address: str) -> None:
    """The proof of an address that holds nothing leads to nothing."""
    nobody = "0x" + "77" * 20
    proof: Any = node.request("eth_getProof", [nobody, [], "latest"])
    block: Any = node.request("eth_getBlockByNumber", ["latest", False])
    assert _walk(block["stateRoot"], bytes.fromhex(nobody[2:]), proof["accountProof"]) == b""
    assert (proof["balance"], proof["nonce"]) == ("0x0", "0x0")


def test_fee_history_is_free(node: EmbeddedNode, address: str) -> None:
    """The fee history has one base fee more than blocks, all 0, and a reward per percentile."""
    history: Any = node.request("eth_feeHistory", ["0x5", "latest", [25, 75]])
    assert history["oldestBlock"] == "0x0"
    assert history["baseFeePerGas"] == ["0x0"] * 3
    assert history["reward"] == [["0x0", "0x0"]] * 2
    assert history["gasUsedRatio"][0] == 0
    assert 0 < history["gasUsedRatio"][1] < 1


def test_reads_run_beside_the_writer(node: EmbeddedNode, address: str) -> None:
    """Readers in many threads see whole blocks while others write: as many logs as chain transactions."""

    def write(_: int) -> None:
        wallet = Wallet()
        for value in range(5):
            wallet.send(node, to=address, data=encoded("store", 1, value))

    def read(_: int) -> bool:
        block: Any = node.request("eth_getBlockByNumber", ["latest", False])
        logs: Any = node.request("eth_getLogs", [{"blockHash": block["hash"]}])
        return block["number"] == "0x1" or len(logs) == len(block["transactions"])

    with ThreadPoolExecutor(8) as pool:
        written, seen = pool.map(write, range(4)), pool.map(read, range(60))
        assert all(seen)
        assert list(written) == [None] * 4
