"""What a client makes of a damaged note, a refused sign-in, a mistyped purpose, and a URL that is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from databund.core.ids import OfferId
from databund.errors import ConfigInvalid, DocumentInvalid, FileUnusable, NodeUnreachable, SignInRequired
from databund.sdk.client import Client
from tests.nodes import ABOUT, URL, NodeInProcess, node_in_process, table, terms


class RefusesSignIns(httpx.BaseTransport):
    """Answers every sign-in as a node does whose clock is wrong."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on, but for a sign-in."""
        if request.url.path != "/sign-in/tokens":
            return self._inner.handle_request(request)
        problem = {"code": "sign_in.required", "detail": "The challenge is too old.", "fix": "Sign in again."}
        return httpx.Response(401, json=problem, request=request)


class Floods(httpx.BaseTransport):
    """Answers with zeros that end only long after the limit, and counts the pieces that were taken."""

    taken = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send up to 1 GiB."""
        return httpx.Response(200, content=self._pieces(), request=request)

    def _pieces(self) -> Iterator[bytes]:
        for _ in range(1024):
            self.taken += 1
            yield bytes(2**20)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeInProcess]:
    """One node for all tests of this module; every test has parties of its own."""
    with node_in_process(tmp_path_factory.mktemp("robust")) as node:
        yield node


@pytest.fixture
def offer(running: NodeInProcess, tmp_path: Path) -> OfferId:
    """An offer with three uses, for research."""
    provider = running.client()
    view = provider.publish(table(tmp_path), replace(ABOUT, name="robust"))
    return provider.offer(view.dataset, terms(provider, uses=3, purposes=("research",))).id


def test_a_refused_sign_in_costs_no_use(running: NodeInProcess, offer: OfferId, tmp_path: Path) -> None:
    """A delivery that nobody heard of is found again, even when a sign-in was refused in between."""
    consumer = running.funded()
    consumer.buy(offer)
    with pytest.raises(KeyboardInterrupt), consumer.downloading(offer, tmp_path / "bought", purpose="research"):
        raise KeyboardInterrupt
    transport = RefusesSignIns(running.http._transport)
    home = running.folder / str(consumer.identity.address)
    with pytest.raises(SignInRequired):
        Client(URL, home=home, identity=consumer.identity, transport=transport).download(offer, tmp_path / "bought")

    assert consumer.download(offer, tmp_path / "bought", purpose="research")[1].use == 1


def test_a_mistyped_purpose_can_be_corrected(running: NodeInProcess, offer: OfferId, tmp_path: Path) -> None:
    """What was declared wrongly once does not stick to the attempts that follow."""
    consumer = running.funded()
    consumer.buy(offer)
    with pytest.raises(DocumentInvalid, match="purpose"):
        consumer.download(offer, tmp_path / "bought", purpose="")

    assert consumer.download(offer, tmp_path / "bought", purpose="research")[1].use == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b"\xff"])
def test_a_damaged_note_is_named(running: NodeInProcess, offer: OfferId, damage: bytes) -> None:
    """The error names the file and says what to look up before it is removed; nothing is signed anew behind it."""
    consumer = running.funded()
    note = consumer._pending.order(offer, consumer.identity.address, 1)
    note.parent.mkdir(parents=True)
    note.write_bytes(damage)

    with pytest.raises(FileUnusable, match="may be under way") as caught:
        consumer.buy(offer)

    assert str(note) in caught.value.what


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h:abc", "http://x\n", "http://" + "a" * 300, "ftp://x", "//x", ""]
)
def test_what_is_no_url_is_refused(url: str, tmp_path: Path) -> None:
    """A URL that no node can have is an error of ours, before anything is sent."""
    with pytest.raises(ConfigInvalid, match="is not the URL of a node"):
        Client(url, home=tmp_path)


def test_a_flood_is_cut_off(tmp_path: Path) -> None:
    """A node that answers without end is left at the limit, with little more than that in memory."""
    transport = Floods()
    with pytest.raises(NodeUnreachable, match="too much"):
        _ = Client(URL, home=tmp_path, transport=transport).info

    assert transport.taken <= 66


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    """Messages travel to terminals and logs, so a URL with a password is refused without showing it."""
    with pytest.raises(ConfigInvalid) as caught:
        Client("http://user:hunter2@127.0.0.1:8750", home=tmp_path)

    assert "hunter2" not in str(caught.value)
