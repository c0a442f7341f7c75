"""Blobs over a real server: sent by one process, read by clients that are slow, cut off, or gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from blake3 import blake3

from benchmarks.nodes import HOST, NodeProcess
from benchmarks.processes import cpu_seconds
from databund.crypto.identities import Identity

MIB = 2**20
SPARSE = 200 * 1024 * MIB
"""So large that reading all of it would take minutes."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node process whose store has a small blob and a huge one full of zeros, under a name that is not its root."""
    home = tmp_path_factory.mktemp("node")
    (home / "objects").mkdir()
    content = bytes(range(256)) * 12_345
    (home / "objects" / f"0x{blake3(content).hexdigest()}").write_bytes(content)
    with (home / "objects" / f"0x{'1' * 64}").open("wb") as file:
        file.truncate(SPARSE)
    with NodeProcess(home, Identity.generate().reveal()) as running:
        running.run()
        yield running


@pytest.mark.parametrize("start", [0, 1, MIB - 1, MIB, 3_160_319])
def test_a_blob_arrives_from_any_byte(node: NodeProcess, start: int) -> None:
    """What a server process sends from a byte on is what is stored there."""
    content = bytes(range(256)) * 12_345
    answer = httpx.get(f"{node.url}/blobs/0x{blake3(content).hexdigest()}", headers={"Range": f"bytes={start}-"})
    assert answer.status_code == 206
    assert answer.content == content[start:]


def test_nothing_is_read_for_a_client_that_is_gone(node: NodeProcess) -> None:
    """When the client leaves in the middle of a huge blob, the node stops reading it."""
    with socket.create_connection((HOST, node.port), timeout=10) as client:
        client.sendall(f"GET /blobs/0x{'1' * 64} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        received = 0
        while received < 20 * MIB:
            received += len(client.recv(MIB))
    assert httpx.get(f"{node.url}/healthz").status_code == 200
    time.sleep(0.5)
    before = cpu_seconds(node.pid)
    time.sleep(0.5)
    assert cpu_seconds(node.pid) - before < 0.25


def test_a_slow_client_costs_no_memory(node: NodeProcess) -> None:
    """While a client takes its time, the node waits with what it has, and answers others."""
    with socket.create_connection((HOST, node.port), timeout=10) as client:
        client.sendall(f"GET /blobs/0x{'1' * 64} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        client.recv(MIB)
        time.sleep(1)
        memory = Path(f"/proc/{node.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
        assert int(memory) < 512 * 1024
        assert httpx.get(f"{node.url}/healthz").status_code == 200
