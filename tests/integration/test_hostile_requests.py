"""Requests that are cut, slow, raced or nested beyond reason: they harm nobody but their sender."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from benchmarks.nodes import HOST, NodeProcess
from databund.core.ids import Address
from databund.crypto.identities import Identity
from databund.sdk.client import Client
from tests.nodes import NodeInProcess, node_in_process

OPERATOR = Identity.generate()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node in a process of its own, behind a real HTTP server."""
    with NodeProcess(tmp_path_factory.mktemp("node"), OPERATOR.reveal()) as node:
        node.run()
        yield node


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeInProcess]:
    """A node in this process."""
    with node_in_process(tmp_path_factory.mktemp("hostile")) as node:
        yield node


def test_slow_uploads_hold_up_nobody_else(server: NodeProcess, tmp_path_factory: pytest.TempPathFactory) -> None:
    """While many uploads stand still, blobs are sent and keyed requests are answered."""
    with Client(server.url, home=tmp_path_factory.mktemp("slow"), identity=OPERATOR) as client:
        token = client._connection._authorization()["Authorization"]
    stuck = [socket.create_connection((HOST, server.port), timeout=10) for _ in range(60)]
    try:
        for number, upload in enumerate(stuck):
            head = (
                f"PUT /blobs/0x{number:064x} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 9999\r\n"
            )
            upload.sendall(f"{head}\r\nx".encode())
        time.sleep(1)
        body = json.dumps({"address": str(OPERATOR.address)})
        keyed = httpx.post(
            f"{server.url}/sign-in/challenges", content=body, headers={**JSON, "Idempotency-Key": "slow"}, timeout=5
        )
        blob = httpx.get(f"{server.url}/blobs/0x{'0' * 64}", timeout=5)
    finally:
        for upload in stuck:
            upload.close()

    assert (keyed.status_code, blob.status_code) == (201, 404)


def test_a_cut_request_does_not_take_its_key(server: NodeProcess) -> None:
    """When a connection breaks inside a body, the same key works for the whole body."""
    with socket.create_connection((HOST, server.port), timeout=10) as client:
        head = "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: cut\r\n"
        client.sendall(f'{head}Content-Length: 500\r\n\r\n{{"offer_id"'.encode())
        time.sleep(0.3)
    time.sleep(0.5)

    answer = httpx.post(f"{server.url}/orders", content=b"{}", headers={**JSON, "Idempotency-Key": "cut"})

    assert answer.json()["code"] == "document.invalid"


def test_raced_requests_under_one_key_are_all_answered(running: NodeInProcess) -> None:
    """Whoever sends different requests under one key at once hears of each whether it was done."""
    token = running.client(running.operator)._connection._authorization()
    account = Identity.generate().address

    def credit(number: int) -> httpx.Response:
        body = {"account": str(account), "amount": "1", "reference": f"0x{number:064x}"}
        headers = {**JSON, **token, "Idempotency-Key": "raced"}
        return running.http.post("/accounts/credits", content=json.dumps(body), headers=headers)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(credit, range(1, 9)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert _balance(running, account) == sum(answer.status_code == 201 for answer in answers)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/orders", {}), ("/rpc", {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}), ("/deliveries", {})],
)
def test_what_did_nothing_is_not_kept(running: NodeInProcess, path: str, body: object) -> None:
    """Refusals and reads of the chain are answered anew under one key, so that strangers cannot fill the database."""
    headers = {**JSON, "Idempotency-Key": f"nothing {path}"}

    answers = [running.http.post(path, content=json.dumps(body), headers=headers) for _ in range(2)]

    assert answers[0].content == answers[1].content
    assert "idempotency-replayed" not in answers[1].headers


@pytest.mark.parametrize("path", ["/sign-in/challenges", "/offers", "/orders"])
def test_a_deep_body_is_a_bad_request(running: NodeInProcess, path: str) -> None:
    """JSON that is nested beyond what can be read is refused as such, not as a defect of the node."""
    answer = running.http.post(path, content=b"[" * 100_000 + b"]" * 100_000, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (400, "document.invalid")


def _balance(running: NodeInProcess, account: Address) -> int:
    return int(running.node.ledger.balance(account))
