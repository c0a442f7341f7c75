"""The evidence of a trade on a real node: its own chain, its own database, and a verifier in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from databund.core.archives import unpack
from databund.core.orders import OrderState
from databund.sdk.evidence import verify
from tests.nodes import ABOUT, NodeInProcess, node_in_process, table, terms

PURPOSE = "research"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeInProcess]:
    """A node with an embedded chain."""
    with node_in_process(tmp_path_factory.mktemp("evidence")) as running:
        yield running


@pytest.fixture(scope="module")
def evidence(node: NodeInProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence that the buyer got of a certified trade, as a file."""
    folder = tmp_path_factory.mktemp("trade")
    provider, buyer = node.funded(), node.funded()
    view = provider.publish(table(folder), ABOUT)
    offer = provider.offer(view.dataset, terms(provider, purposes=(PURPOSE,)))
    order = buyer.buy(offer.id)
    buyer.download(offer.id, folder / "out", purpose=PURPOSE)
    buyer.certificate(order.id)
    file = folder / "evidence.zip"
    file.write_bytes(buyer.evidence(order.id))
    return file


def test_a_real_trade_is_proven(node: NodeInProcess, evidence: Path) -> None:
    """From the embedded chain's own block header to the certificate, everything fits."""
    report = verify(evidence, key=node.node.info.log_key)

    assert report.state is OrderState.CERTIFIED
    assert report.certificate is not None
    assert report.chain is not None
    assert report.chain.block_hash == report.certificate.block_hash
    assert report.decisions_rerun == 1


def test_the_shipped_file_proves_it_alone(node: NodeInProcess, evidence: Path, tmp_path: Path) -> None:
    """The verifier from inside the bundle, in a process that cannot see databund, says what is proven and what not."""
    script = tmp_path / "verify.py"
    script.write_bytes(unpack(evidence.read_bytes())["verify.py"])
    command = [sys.executable, "-I", str(script), str(evidence)]

    trusted = subprocess.run([*command, "--key", node.node.info.log_key], capture_output=True, text=True, check=False)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(evidence.read_bytes()[:-1])
    refused = subprocess.run([*command[:-1], str(damaged)], capture_output=True, text=True, check=False)

    assert (trusted.returncode, trusted.stderr) == (0, "")
    assert "the order is certified" in trusted.stdout
    assert "that the block is on the chain" in trusted.stdout
    assert "the file's own word" not in trusted.stdout
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("NOT PROVEN: ")
