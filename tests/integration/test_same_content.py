"""One sealed blob under several names: nobody can spoil another's trade or the log with it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from databund.core.datasets import Dataset
from databund.core.ids import Hex
from databund.core.messages import DatasetRegistration, DatasetView
from databund.crypto.content_keys import ContentKey
from databund.crypto.wrapping import AgeRecipient, unwrap, wrap
from databund.errors import AlreadyExists
from databund.sdk import audit
from databund.sdk.client import Client
from tests.nodes import ABOUT, node_in_process, table, terms


def _register(client: Client, dataset: Dataset, key: ContentKey) -> DatasetView:
    wrapped = Hex(wrap(key, [AgeRecipient(client.info.recipient)]))
    return client._connection.post("/datasets", DatasetRegistration(dataset, wrapped), DatasetView, signed_in=True)


def test_a_version_cannot_take_the_content_of_an_offered_one(tmp_path: Path) -> None:
    """A provider cannot put another description over the bytes it sold, which buyers then would have to refuse."""
    with node_in_process(tmp_path) as node:
        provider, buyer = node.client(), node.funded()
        dataset = provider.publish(table(tmp_path / "data"), ABOUT).dataset
        offer = provider.offer(dataset, terms(provider))
        buyer.buy(offer.id)
        with node.node.database.read() as tables:
            key = unwrap(tables.catalog.get(dataset.id).wrapped_key, node.operator.age_identity)

        with pytest.raises(AlreadyExists, match="has the content"):
            _register(provider, msgspec.structs.replace(dataset, version=2, title="Other"), key)

        assert buyer.download(offer.id, tmp_path / "bought")[0] == dataset


def test_a_buyer_that_registers_the_same_blob_leaves_the_log_verifiable(tmp_path: Path) -> None:
    """Two providers may have the same bytes; the offers of each belong to their own dataset."""
    with node_in_process(tmp_path) as node:
        provider, buyer = node.client(), node.funded()
        dataset = provider.publish(table(tmp_path / "data"), ABOUT).dataset
        offer = provider.offer(dataset, terms(provider))
        buyer.buy(offer.id)
        _, delivery = buyer.download(offer.id, tmp_path / "bought")
        key = unwrap(delivery.wrapped_key, buyer.identity.age_identity)
        _register(buyer, msgspec.structs.replace(dataset, provider=buyer.identity.address), key)
        provider.offer(dataset, terms(provider, "11"))

        audit.export(provider._connection, provider.info, tmp_path / "bundle.zip")

        assert audit.verify(tmp_path / "bundle.zip").offers_verified == 2
