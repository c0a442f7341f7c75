"""Acts that were answered, but of which nobody has heard: doing them again finds the same, and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from databund.core.ids import OfferId
from databund.sdk.client import Client
from tests.nodes import ABOUT, URL, NodeInProcess, node_in_process, table, terms


class Died(Exception):
    """What a client that is killed does not get to say."""


class LosesOneAnswer(httpx.BaseTransport):
    """Lets every request through, and loses the first answer to ``path``."""

    def __init__(self, inner: httpx.BaseTransport, path: str) -> None:
        self._inner, self._path, self.lost = inner, path, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        answer = self._inner.handle_request(request)
        if request.url.path == self._path and not self.lost:
            self.lost += 1
            raise httpx.ReadError("lost")
        return answer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeInProcess]:
    """One node for all tests of this module; every test has parties of its own."""
    with node_in_process(tmp_path_factory.mktemp("pending")) as node:
        yield node


@pytest.fixture
def offer(running: NodeInProcess, tmp_path: Path) -> OfferId:
    """An offer for 10.00 with three uses."""
    provider = running.client()
    view = provider.publish(table(tmp_path), replace(ABOUT, name="pending"))
    return provider.offer(view.dataset, terms(provider, uses=3)).id


def _balance(client: Client) -> int:
    return client.balance(client.identity.address).balance


def test_an_order_nobody_heard_of_is_found_again(running: NodeInProcess, offer: OfferId) -> None:
    """A client that dies with the answer in its hands pays once, however often it buys again."""
    consumer = running.funded()
    before = _balance(consumer)
    with pytest.raises(Died), consumer.buying(offer) as first:
        raise Died
    with pytest.raises(Died), consumer.buying(offer) as second:
        raise Died
    assert first == second == consumer.buy(offer)
    assert before - _balance(consumer) == consumer.find_offer(offer).signed.offer.unit_price


def test_an_order_that_was_heard_of_is_another(running: NodeInProcess, offer: OfferId) -> None:
    """Whoever heard of an order and buys again renews the license, and pays again."""
    consumer = running.funded()
    assert consumer.buy(offer).id != consumer.buy(offer).id
    assert consumer.license(consumer.identity.address, offer).license.units == 2


def test_a_delivery_nobody_heard_of_is_found_again(running: NodeInProcess, offer: OfferId, tmp_path: Path) -> None:
    """A client that dies after its download spends one use, however often it downloads again."""
    consumer = running.funded()
    consumer.buy(offer)
    with pytest.raises(Died), consumer.downloading(offer, tmp_path / "data") as (_, first):
        raise Died
    _, second = consumer.download(offer, tmp_path / "data")
    assert second == first
    assert consumer.license(consumer.identity.address, offer).spent == 1


def test_a_lost_token_is_asked_for_again(running: NodeInProcess) -> None:
    """When the answer to a sign-in is lost, the client signs in anew; its message counted once."""
    inner = running.client()
    transport = LosesOneAnswer(inner._connection._http._transport, "/sign-in/tokens")
    client = Client(URL, home=running.folder / "lost", identity=inner.identity, transport=transport)
    assert client.orders() == []
    assert transport.lost == 1
