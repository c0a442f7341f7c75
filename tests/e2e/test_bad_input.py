"""Bad input, row by row: a clear error with a code and what to do, nothing lost, nothing half done.

Each test is named after its row. The node is a real one; where a row needs a process of its own, see
``test_killed.py`` and ``test_cli.py``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest
from blake3 import blake3

from databund import bootstrap, config
from databund.core.amounts import Amount
from databund.core.ids import Bytes32, DatasetId, DeliveryId, Hex
from databund.core.messages import DeliveryRequest, OfferPosting, OfferView, OrderRequest
from databund.core.offers import Domain, Offer, SignedOffer
from databund.core.orders import Order, OrderState
from databund.crypto.identities import Identity
from databund.errors import (
    AmountInvalid,
    ContentMismatch,
    DatabundError,
    FileChanged,
    FileUnusable,
    HomeInUse,
    HomeTooNew,
    InsufficientFunds,
    KeyInvalid,
    LicenseExpired,
    LicenseMissing,
    NodeUnreachable,
    NotFound,
    OfferCancelled,
    OfferExpired,
    OfferForged,
    PolicyDenied,
    SealBroken,
    StoreFull,
    SupplyExhausted,
    UsesExhausted,
    WrongChain,
)
from databund.sdk.client import Client
from tests.nodes import ABOUT, URL, NodeInProcess, node_in_process, table, terms


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeInProcess]:
    """One node for all tests of this module; every test has parties of its own."""
    with node_in_process(tmp_path_factory.mktemp("bad")) as node:
        yield node


def offered(running: NodeInProcess, price: str = "10", **changes: object) -> tuple[Client, OfferView]:
    """A fresh provider with a dataset and an offer of it."""
    provider = running.client()
    view = provider.publish(table(running.folder / secrets.token_hex(4)), ABOUT)
    return provider, provider.offer(view.dataset, terms(provider, price, **changes))


def balance(client: Client) -> int:
    """What a participant holds, in base units."""
    return client.balance(client.identity.address).balance


def last_entry(running: NodeInProcess) -> bytes:
    """The newest entry of the node's log."""
    with running.node.database.read() as tables:
        return tables.log.entries(0, 10_000)[-1]


def explains(error: DatabundError) -> bool:
    """Whether an error says what happened and what to do next."""
    return bool(error.what and error.fix) and error.code != DatabundError.code


# --- files -------------------------------------------------------------------------------------------------------


def test_unreadable_file(running: NodeInProcess, tmp_path: Path) -> None:
    """A file that is not there is named, and nothing is published."""
    provider = running.client()

    with pytest.raises(FileUnusable) as refusal:
        provider.publish(tmp_path / "absent.bin", ABOUT)

    assert explains(refusal.value)
    assert "absent.bin" in refusal.value.what
    with pytest.raises(NotFound):
        provider.dataset(DatasetId.of(provider.identity.address, ABOUT.name))


def test_empty_file(running: NodeInProcess, tmp_path: Path) -> None:
    """An empty file is refused before anything is uploaded."""
    (tmp_path / "empty.bin").touch()

    with pytest.raises(FileUnusable) as refusal:
        running.client().publish(tmp_path / "empty.bin", ABOUT)

    assert explains(refusal.value)


def test_empty_folder(running: NodeInProcess, tmp_path: Path) -> None:
    """A folder without files is refused."""
    with pytest.raises(FileUnusable):
        running.client().publish(tmp_path, ABOUT)


def test_changing_file(running: NodeInProcess, tmp_path: Path) -> None:
    """A file that grows while it is sealed is refused, and its half-made blob removed."""
    path, provider = tmp_path / "growing.bin", running.client()
    path.write_bytes(b"x" * 3_000_000)

    def grow(step: str, _done: int, _total: int) -> None:
        if step == "seal":
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(FileChanged) as refusal:
        provider.publish(path, ABOUT, progress=grow)

    assert explains(refusal.value)
    assert list((running.folder / str(provider.identity.address) / "work").iterdir()) == []


# --- prices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["-1", "0", "1e999", "9" * 60, "1.0000001", "free", ""])
def test_negative_zero_or_huge_price(running: NodeInProcess, text: str) -> None:
    """A price that is no price is refused before anything is signed."""
    with pytest.raises(AmountInvalid) as refusal:
        terms(running.client(), text)

    assert explains(refusal.value)


# --- offers ------------------------------------------------------------------------------------------------------


def test_expired_offer(running: NodeInProcess) -> None:
    """An offer can be bought until its last second, and not after; no money moves."""
    provider, offer = offered(running, open_s=2)
    consumer = running.funded()
    time.sleep(3.1)

    with pytest.raises(OfferExpired) as refusal:
        consumer.buy(offer.id)

    assert explains(refusal.value)
    assert (balance(consumer), balance(provider)) == (100_000_000, 0)


def test_cancelled_offer(running: NodeInProcess) -> None:
    """A withdrawn offer is off the list and void on the chain."""
    provider, offer = offered(running)
    provider.withdraw(offer.id)
    consumer = running.funded()

    with pytest.raises(OfferCancelled) as refusal:
        consumer.buy(offer.id)

    assert explains(refusal.value)
    assert running.node.ledger.offer_state(offer.id).cancelled
    assert balance(consumer) == 100_000_000


def test_forged_offer(running: NodeInProcess) -> None:
    """An offer whose price was changed after signing is not the one that was signed."""
    _, offer = offered(running)
    cheaper = msgspec.structs.replace(offer.signed.offer, unit_price=Amount(1))
    posting = OfferPosting(SignedOffer(cheaper, offer.signed.domain, offer.signed.signature), offer.policy)

    with pytest.raises(OfferForged) as refusal:
        running.client()._connection.post("/offers", posting, OfferView)

    assert explains(refusal.value)


def test_offer_signed_by_a_stranger(running: NodeInProcess) -> None:
    """Nobody lists an offer in a provider's name."""
    _, offer = offered(running)
    signature = Hex(Identity.generate().sign_typed_hash(offer.signed.digest))
    changed = msgspec.structs.replace(offer.signed.offer, salt=Bytes32(secrets.token_bytes(32)))
    posting = OfferPosting(SignedOffer(changed, offer.signed.domain, signature), offer.policy)

    with pytest.raises(OfferForged):
        running.client()._connection.post("/offers", posting, OfferView)


def test_offer_for_another_chain_id(running: NodeInProcess) -> None:
    """A signature counts on one chain only."""
    provider, offer = offered(running)
    domain = Domain(offer.signed.domain.chain_id + 1, offer.signed.domain.exchange)
    made: Offer = msgspec.structs.replace(offer.signed.offer, salt=Bytes32(secrets.token_bytes(32)))
    signature = Hex(provider.identity.sign_typed_hash(domain.digest(bytes(made.id))))

    with pytest.raises(WrongChain) as refusal:
        provider._connection.post(
            "/offers", OfferPosting(SignedOffer(made, domain, signature), offer.policy), OfferView
        )

    assert explains(refusal.value)


# --- buying ------------------------------------------------------------------------------------------------------


def test_too_little_money(running: NodeInProcess) -> None:
    """Who cannot pay is told how much is missing; there is neither order nor license."""
    _, offer = offered(running, "100.000001")
    consumer = running.funded("100")

    with pytest.raises(InsufficientFunds) as refusal:
        consumer.buy(offer.id)

    assert explains(refusal.value)
    assert consumer.orders() == []
    assert consumer.license(consumer.identity.address, offer.id).license.units == 0


def test_the_same_order_twice(running: NodeInProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same signed order sent twice gives the same license and one payment."""
    _, offer = offered(running)
    consumer = running.funded()
    sent: list[OrderRequest] = []
    post = consumer._connection.post

    def record(path: str, body: object, kind: type, **options: object) -> object:
        if isinstance(body, OrderRequest):
            sent.append(body)
        return post(path, body, kind, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(consumer._connection, "post", record)
    first = consumer.buy(offer.id)

    second = post("/orders", sent[0], Order)

    assert (second.id, second.chain_transaction) == (first.id, first.chain_transaction)
    assert balance(consumer) == 90_000_000
    assert consumer.license(consumer.identity.address, offer.id).license.units == 1


def test_supply_sold_out(running: NodeInProcess) -> None:
    """The last unit is sold once."""
    _, offer = offered(running, supply=1)
    running.funded().buy(offer.id)
    late = running.funded()

    with pytest.raises(SupplyExhausted) as refusal:
        late.buy(offer.id)

    assert explains(refusal.value)
    assert balance(late) == 100_000_000


def test_node_unreachable_mid_purchase(running: NodeInProcess) -> None:
    """When the answer is lost, buying again finds the same order: one payment."""
    _, offer = offered(running)
    consumer = running.funded()
    transport = _Cut(consumer._connection._http._transport, after="/orders")
    cut = Client(URL, home=running.folder / "cut", identity=consumer.identity, transport=transport)
    with pytest.raises(NodeUnreachable) as refusal:
        cut.buy(offer.id)
    assert explains(refusal.value)

    transport.broken = False
    order = cut.buy(offer.id)

    assert order.state is OrderState.LICENSED
    assert balance(consumer) == 90_000_000
    assert len(consumer.orders()) == 1


# --- licenses ----------------------------------------------------------------------------------------------------


def test_somebody_elses_license(running: NodeInProcess, tmp_path: Path) -> None:
    """A license opens the data for its holder only."""
    _, offer = offered(running)
    running.funded().buy(offer.id)

    with pytest.raises(LicenseMissing) as refusal:
        running.client().download(offer.id, tmp_path)

    assert explains(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_expired_license(running: NodeInProcess, tmp_path: Path) -> None:
    """A license that ran out releases no key."""
    _, offer = offered(running, duration_s=1)
    consumer = running.funded()
    consumer.buy(offer.id)
    time.sleep(3.1)

    with pytest.raises(LicenseExpired) as refusal:
        consumer.download(offer.id, tmp_path)

    assert explains(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_uses_used_up(running: NodeInProcess, tmp_path: Path) -> None:
    """Counted uses end, and a new purchase adds more."""
    _, offer = offered(running, uses=1)
    consumer = running.funded()
    consumer.buy(offer.id)
    consumer.download(offer.id, tmp_path / "first")

    with pytest.raises(UsesExhausted) as refusal:
        consumer.download(offer.id, tmp_path / "second")
    assert explains(refusal.value)
    assert b'"reason":"license.uses_exhausted"' in last_entry(running)

    consumer.buy(offer.id)
    assert consumer.download(offer.id, tmp_path / "second")[1].use == 2


def test_a_purpose_the_policy_does_not_allow(running: NodeInProcess, tmp_path: Path) -> None:
    """The denied constraint is named, and the denial is in the log."""
    _, offer = offered(running, purposes=("research",))
    consumer = running.funded()
    consumer.buy(offer.id)

    with pytest.raises(PolicyDenied) as refusal:
        consumer.download(offer.id, tmp_path, purpose="marketing")

    assert "marketing" in refusal.value.what
    assert b'"permitted":false' in last_entry(running)
    # The log keeps no free text: what the policy does not name could say anything about anybody.
    assert b"marketing" not in last_entry(running)


# --- bytes -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big_offer(running: NodeInProcess) -> OfferView:
    """An offer of a blob of several segments."""
    folder = running.folder / "big"
    folder.mkdir()
    (folder / "noise.bin").write_bytes(secrets.token_bytes(3_500_000))
    provider = running.client()
    view = provider.publish(folder / "noise.bin", replace(ABOUT, name="noise"))
    return provider.offer(view.dataset, terms(provider))


@pytest.mark.parametrize("damage", ["corrupted", "truncated", "reordered", "extended"])
def test_damaged_ciphertext(running: NodeInProcess, big_offer: OfferView, tmp_path: Path, damage: str) -> None:
    """Bytes that are not the promised ones are thrown away before anything is opened; a second try works."""
    consumer = running.funded()
    consumer.buy(big_offer.id)
    transport = _Damage(consumer._connection._http._transport, damage)
    victim = Client(URL, home=running.folder / damage, identity=consumer.identity, transport=transport)

    with pytest.raises(ContentMismatch) as refusal:
        victim.download(big_offer.id, tmp_path)

    assert explains(refusal.value)
    assert list(tmp_path.iterdir()) == []
    transport.damage = ""
    victim.download(big_offer.id, tmp_path)
    assert (tmp_path / "noise.bin").read_bytes() == (running.folder / "big" / "noise.bin").read_bytes()


def test_a_download_cut_at_any_byte_resumes(running: NodeInProcess, big_offer: OfferView, tmp_path: Path) -> None:
    """Wherever the connection is cut, the download goes on from there, and the file is equal."""
    consumer = running.funded()
    consumer.buy(big_offer.id)
    size = consumer.dataset(big_offer.signed.offer.dataset).dataset.manifest.size
    for number, cut in enumerate((1, 40, 2**20 - 1, 2**20, 2**20 + 1, size - 1)):
        transport = _CutBody(consumer._connection._http._transport, cut)
        client = Client(URL, home=running.folder / f"cut{number}", identity=consumer.identity, transport=transport)

        client.download(big_offer.id, tmp_path / str(number))

        assert (tmp_path / str(number) / "noise.bin").stat().st_size == 3_500_000
        assert transport.starts[:2] == [0, cut]


def test_wrong_key(running: NodeInProcess, big_offer: OfferView, tmp_path: Path) -> None:
    """A content key that was wrapped to somebody else does not open."""
    from databund.crypto.blobs import open_blob
    from databund.crypto.content_keys import ContentKey
    from databund.crypto.wrapping import unwrap

    consumer = running.funded()
    consumer.buy(big_offer.id)
    request = DeliveryRequest(
        id=DeliveryId(secrets.token_bytes(32)),
        offer_id=big_offer.id,
        recipient=str(Identity.generate().age_recipient),
    )
    from databund.core.deliveries import Delivery

    delivery = consumer._connection.post("/deliveries", request, Delivery, signed_in=True)
    with pytest.raises(KeyInvalid) as refusal:
        unwrap(delivery.wrapped_key, consumer.identity.age_identity)
    assert explains(refusal.value)

    dataset = consumer.dataset(big_offer.signed.offer.dataset).dataset
    blob = running.node.objects.path(str(dataset.content_root))
    assert blob is not None
    with pytest.raises(SealBroken) as broken:
        open_blob(Path(blob), dataset.manifest, ContentKey.generate(), tmp_path)
    assert explains(broken.value)
    assert list(tmp_path.iterdir()) == []


def test_a_content_key_of_another_blob(running: NodeInProcess) -> None:
    """A dataset whose key does not open its blob is never registered, so it is never sold."""
    from databund.core.messages import DatasetRegistration, DatasetView
    from databund.crypto.content_keys import ContentKey
    from databund.crypto.wrapping import AgeRecipient, wrap

    provider = running.client()
    view = provider.publish(table(running.folder / "keyed"), replace(ABOUT, name="keyed"))
    wrong = wrap(ContentKey.generate(), [AgeRecipient(provider.info.recipient)])
    next_version = msgspec.structs.replace(view.dataset, version=2)

    registration = DatasetRegistration(next_version, Hex(wrong))
    with pytest.raises(SealBroken) as refusal:
        provider._connection.post("/datasets", registration, DatasetView, signed_in=True)

    assert explains(refusal.value)
    assert provider.dataset(view.id).dataset.version == 1


# --- homes -------------------------------------------------------------------------------------------------------


def test_two_nodes_on_one_home_folder(running: NodeInProcess) -> None:
    """The second node is refused; the first goes on."""
    settings = config.load({"home": running.folder / "node"}, environment={})

    with pytest.raises(HomeInUse) as refusal, bootstrap.open_node(settings, running.operator):
        pass

    assert explains(refusal.value)
    assert running.http.get("/readyz").status_code == 200


def test_a_home_folder_of_a_newer_version(tmp_path: Path) -> None:
    """A layout we do not know is left alone."""
    (tmp_path / "home.json").write_bytes(b'{"format": 999}')

    with pytest.raises(HomeTooNew) as refusal:
        bootstrap.open_home(tmp_path)

    assert explains(refusal.value)
    assert (tmp_path / "home.json").read_bytes() == b'{"format": 999}'


def test_disk_full_at_the_node(running: NodeInProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A blob that does not fit leaves nothing behind, and the node goes on."""
    import errno
    import os

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    provider = running.client()
    before = sorted(path.name for path in (running.folder / "node" / "objects").rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreFull) as refusal:
            provider._connection.put(f"/blobs/0x{blake3(b'x').hexdigest()}", lambda: iter([b"x"]), size=1)

    assert explains(refusal.value)
    assert sorted(path.name for path in (running.folder / "node" / "objects").rglob("*")) == before


# --- transports that fail on purpose -----------------------------------------------------------------------------


class _Cut(httpx.BaseTransport):
    """Lets the request through and loses the answer."""

    def __init__(self, inner: httpx.BaseTransport, *, after: str) -> None:
        self._inner, self._after, self.broken = inner, after, True

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if self.broken and request.method == "POST" and request.url.path == self._after:
            raise httpx.ReadError("cut")
        return answer


class _Damage(httpx.BaseTransport):
    """Sends other bytes than the node does for a blob."""

    def __init__(self, inner: httpx.BaseTransport, damage: str) -> None:
        self._inner, self.damage = inner, damage

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if not self.damage or not request.url.path.startswith("/blobs/"):
            return answer
        body = bytearray(answer.read())
        match self.damage:
            case "corrupted":
                body[len(body) // 2] ^= 1
            case "truncated":
                del body[-1:]
            case "reordered":
                body[: 2**21] = body[2**20 : 2**21] + body[: 2**20]
            case _:
                body += b"x"
        return httpx.Response(answer.status_code, stream=_Body(bytes(body)))


class _CutBody(httpx.BaseTransport):
    """Cuts the first answer for a blob after some bytes."""

    def __init__(self, inner: httpx.BaseTransport, cut: int) -> None:
        self._inner, self._cut, self.starts = inner, cut, list[int]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if not request.url.path.startswith("/blobs/"):
            return answer
        asked = request.headers.get("range")
        self.starts.append(int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0)
        body = answer.read()
        if len(self.starts) > 1:
            return httpx.Response(answer.status_code, stream=_Body(body))
        return httpx.Response(answer.status_code, stream=_Torn(body[: self._cut]))


class _Body(httpx.SyncByteStream):
    """Some bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body


class _Torn(_Body):
    """Some bytes, then a lost connection."""

    def __iter__(self) -> Iterator[bytes]:
        yield self._body
        raise httpx.ReadError("cut")
