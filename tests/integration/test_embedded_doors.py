"""The two doors of the embedded node: web3.py in the process, and JSON-RPC over HTTP for everybody else."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError, ContractLogicError, Web3RPCError

from databund.chain.embedded import EmbeddedNode
from databund.chain.embedded.provider import EmbeddedProvider
from databund.chain.embedded.rpc import MAX_BATCH, MAX_BODY_BYTES, RpcApp, handle
from tests.integration.embedded_chain import CHAIN_ID, PROBE, Wallet, create


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EmbeddedNode]:
    """A new chain."""
    with create(tmp_path) as node:
        yield node


@pytest.fixture
def url(node: EmbeddedNode) -> Iterator[str]:
    """The node served by granian on a loopback port."""
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        port = probing.getsockname()[1]
    server = Server(RpcApp(node), address="127.0.0.1", port=port, interface=Interfaces.ASGI)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    _await_port(port)
    yield f"http://127.0.0.1:{port}"
    loop.call_soon_threadsafe(server.stop)
    thread.join(10)
    loop.close()


def _await_port(port: int) -> None:
    for _ in range(500):
        with socket.socket() as probing:
            if probing.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.01)
    raise TimeoutError("granian did not start.")


def _post(url: str, body: object, **options: Any) -> httpx.Response:
    return httpx.post(url, json=body, trust_env=False, **options)


def _ask(node: EmbeddedNode, request: object) -> Any:
    return json.loads(handle(node, json.dumps(request).encode()))


def _request(method: str, *params: object, **members: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params), **members}


@pytest.mark.parametrize("key", [1, "one", None, 1.5])
def test_an_answer_bears_the_request_id(node: EmbeddedNode, key: object) -> None:
    """The answer has the version, the id as it came, and the result."""
    assert _ask(node, _request("eth_chainId", id=key)) == {"jsonrpc": "2.0", "id": key, "result": hex(CHAIN_ID)}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}', -32601),
        (b" " * (MAX_BODY_BYTES + 1), -32600),
    ],
)
def test_bad_requests_have_their_codes(node: EmbeddedNode, body: bytes, code: int) -> None:
    """Each kind of bad request is answered with the code that JSON-RPC 2.0 gives it."""
    answer = json.loads(handle(node, body))
    assert answer["error"]["code"] == code
    assert "result" not in answer


def test_a_batch_is_answered_in_order(node: EmbeddedNode) -> None:
    """A batch gives one answer per request that has an id, bad ones included; notifications give none."""
    silent = {"jsonrpc": "2.0", "method": "eth_chainId"}
    answers = _ask(node, [_request("eth_chainId"), silent, 7, _request("eth_gasPrice", id=2)])
    assert [answer.get("result", answer.get("error", {}).get("code")) for answer in answers] == [
        "0x7a69",
        -32600,
        "0x0",
    ]


def test_notifications_are_not_answered(node: EmbeddedNode) -> None:
    """A request without id runs and gets no answer, alone or in a batch of its kind."""
    sent = {"jsonrpc": "2.0", "method": "eth_sendRawTransaction", "params": [Wallet().sign()]}
    assert handle(node, json.dumps(sent).encode()) == b""
    assert handle(node, json.dumps([sent]).encode()) == b""
    assert node.request("eth_blockNumber") == "0x1"


def test_long_batches_are_refused(node: EmbeddedNode) -> None:
    """A batch longer than the limit is refused as a whole."""
    assert _ask(node, [_request("eth_chainId")] * (MAX_BATCH + 1))["error"]["code"] == -32005


def test_our_faults_are_not_told(node: EmbeddedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected failure inside is answered as an internal error, without its words."""

    def fail(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(node, "request", fail)
    assert _ask(node, _request("eth_chainId"))["error"] == {"code": -32603, "message": "internal error"}


def test_our_errors_keep_their_code(node: EmbeddedNode) -> None:
    """An error of databund's tree travels with its stable code as data."""
    node.close()
    error = _ask(node, _request("eth_chainId"))["error"]
    assert (error["code"], error["data"]) == (-32000, {"code": "chain.unavailable"})


def test_only_json_by_post_is_served(url: str) -> None:
    """Another method or content type is refused, so that no page of another site can write to the node."""
    assert httpx.get(url, trust_env=False).status_code == 405
    plain = httpx.post(url, content=b"{}", headers={"content-type": "text/plain"}, trust_env=False)
    assert plain.status_code == 415
    assert "access-control-allow-origin" not in _post(url, _request("eth_chainId")).headers


def test_large_bodies_are_refused(url: str) -> None:
    """A body beyond the limit is refused before it is read as JSON."""
    answer = httpx.post(
        url, content=b" " * (MAX_BODY_BYTES + 1), headers={"content-type": "application/json"}, trust_env=False
    )
    assert answer.status_code == 413


def test_http_answers_requests_and_batches(url: str) -> None:
    """Over HTTP a request and a batch are answered with 200, and notifications with an empty 204."""
    assert _post(url, _request("eth_chainId")).json()["result"] == hex(CHAIN_ID)
    assert len(_post(url, [_request("eth_chainId")] * 3).json()) == 3
    silent = _post(url, {"jsonrpc": "2.0", "method": "eth_chainId"})
    assert (silent.status_code, silent.content) == (204, b"")


def _trade(w3: Web3) -> None:
    """What a program does with web3.py, by its ordinary calls alone: deploy, write, read, be refused."""
    wallet = Wallet()
    sender: dict[str, Any] = {"from": wallet.account.address}

    def commit(call: Any) -> Any:
        built = call.build_transaction({**sender, "nonce": w3.eth.get_transaction_count(wallet.account.address)})
        assert (built["maxFeePerGas"], built["maxPriorityFeePerGas"]) == (0, 0)
        sent = w3.eth.send_raw_transaction(wallet.account.sign_transaction(built).raw_transaction)
        return w3.eth.wait_for_transaction_receipt(sent)

    created = commit(w3.eth.contract(abi=PROBE["abi"], bytecode=PROBE["bytecode"]).constructor())
    probe = w3.eth.contract(address=created["contractAddress"], abi=PROBE["abi"])
    receipt = commit(probe.functions.store(7, 42))
    (event,) = probe.events.Stored().process_receipt(receipt)
    assert (event["args"]["who"], event["args"]["value"]) == (wallet.account.address, 42)
    assert probe.functions.values(7).call() == 42
    assert probe.functions.values(7).call(block_identifier=created["blockNumber"]) == 0
    (found,) = probe.events.Stored().get_logs(from_block=0, argument_filters={"key": 7})
    assert found["transactionHash"] == receipt["transactionHash"]
    block = w3.eth.get_block("latest", full_transactions=True)
    assert (block["hash"], block["transactions"][0]["hash"]) == (receipt["blockHash"], receipt["transactionHash"])
    assert w3.eth.get_block_receipts(block["number"]) == [receipt]
    assert w3.eth.get_transaction(receipt["transactionHash"])["maxFeePerGas"] == 0
    assert w3.eth.get_proof(probe.address, [7], "latest")["address"] == probe.address
    assert w3.eth.fee_history(2, "latest", [50])["baseFeePerGas"] == [0, 0, 0]
    assert (w3.eth.chain_id, w3.eth.gas_price, w3.eth.accounts, w3.eth.syncing) == (CHAIN_ID, 0, [], False)
    assert w3.is_connected()
    with pytest.raises(ContractLogicError, match="because"):
        probe.functions.explain().call()
    with pytest.raises(ContractCustomError):
        probe.functions.refuse(1).estimate_gas()
    with pytest.raises(Web3RPCError, match="nonce too low"):
        w3.eth.send_raw_transaction(wallet.sign(nonce=0, data="0x01"))
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block("latest"))
        batch.add(probe.functions.values(7))
        assert batch.execute() == [w3.eth.get_block("latest"), 42]


def test_web3_works_in_the_process(node: EmbeddedNode) -> None:
    """web3.py works unchanged over the provider."""
    _trade(Web3(EmbeddedProvider(node)))


def test_web3_works_over_http(url: str) -> None:
    """web3.py works unchanged over HTTP."""
    provider = HTTPProvider(url)
    _trade(Web3(provider))
    provider._request_session_manager.session_cache.clear()


def test_importing_is_cheap() -> None:
    """Importing the package loads neither the EVM nor web3.py."""
    program = "import sys, databund.chain.embedded; print(*sorted({'eth', 'web3', 'trie'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
