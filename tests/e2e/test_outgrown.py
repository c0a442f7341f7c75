"""Where one machine ends: the same trade on PostgreSQL, an S3-compatible store and an EVM network over JSON-RPC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from databund.core.orders import OrderState
from databund.errors import ChainUnavailable, OfferCancelled
from databund.sdk import audit
from tests.nodes import ABOUT, node_in_process, table, terms


@pytest.mark.anvil
@pytest.mark.postgres
@pytest.mark.s3
def test_a_trade_on_postgresql_s3_and_anvil(
    tmp_path: Path, fresh_postgres_url: str, s3_url: str, start_anvil: Callable[..., str]
) -> None:
    """Three settings move everything off the one machine, and nothing else changes."""
    chain = start_anvil("--base-fee", "0", "--gas-price", "0")
    settings = {"database": fresh_postgres_url, "objects": s3_url, "chain": chain, "finality": "immediate"}
    with node_in_process(tmp_path, **settings) as running:
        provider, consumer = running.client(), running.funded()
        view = provider.publish(table(tmp_path / "data"), ABOUT)
        offer = provider.offer(view.dataset, terms(provider, duration_s=60))

        order = consumer.buy(offer.id)
        consumer.download(offer.id, tmp_path / "copy")
        certificate = consumer.certificate(order.id)["certificate"]
        consumer.export_audit(tmp_path / "audit.zip")

        assert order.state is OrderState.LICENSED
        assert (tmp_path / "copy" / "table.csv").read_bytes() == (tmp_path / "data" / "table.csv").read_bytes()
        assert certificate["chain_id"] == _chain_id(chain)
        assert audit.verify(tmp_path / "audit.zip", key=consumer.info.log_key).size == 8
        provider.withdraw(offer.id)
        with pytest.raises(OfferCancelled):
            running.funded().buy(offer.id)
        with pytest.raises(ChainUnavailable, match="network of its own"):
            provider.register_title(ABOUT.name, uri="urn:x")


def _chain_id(url: str) -> int:
    answer = httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []})
    return int(answer.json()["result"], 16)


def test_a_node_opens_again_with_everything_it_had(tmp_path: Path) -> None:
    """Closing and opening a home loses nothing: offers, orders, licenses, money and the log go on."""
    with node_in_process(tmp_path) as running:
        operator, provider, consumer = running.operator, running.client(), running.funded()
        view = provider.publish(table(tmp_path / "data"), ABOUT)
        offer = provider.offer(view.dataset, terms(provider))
        order = consumer.buy(offer.id)
        info = consumer.info

    with node_in_process(tmp_path, operator=operator) as again:
        consumer = again.client(consumer.identity)
        assert consumer.info == info
        assert consumer.order(order.id).state is OrderState.LICENSED
        consumer.download(offer.id, tmp_path / "copy")
        consumer.export_audit(tmp_path / "audit.zip")

    assert audit.verify(tmp_path / "audit.zip", key=info.log_key).size == 6
