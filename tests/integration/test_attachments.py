"""Attachments over HTTP: who reads, who erases, and that a personal purpose is nowhere but in its attachment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from databund.core import canonical
from databund.core.attachments import AttachmentStory, ErasureReason, verify_commitment
from databund.core.events import Event, EventKind
from databund.core.ids import Commitment
from databund.errors import ContentMismatch, DocumentInvalid, NotFound, NotOwner, PolicyDenied, SignInRequired
from databund.sdk import audit
from databund.sdk.client import Client
from databund.sdk.connection import Connection
from databund.tlog.checkpoints import read_unverified
from databund.tlog.tiles import EntryBundle, changed_tiles
from tests.nodes import ABOUT, NodeInProcess, node_in_process, table, terms

PURPOSE = "urn:study:the-knee-of-my-neighbor-jane-doe"
NOBODY = Commitment(bytes(32))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[NodeInProcess]:
    """A node."""
    with node_in_process(tmp_path) as node:
        yield node


def traded(running: NodeInProcess) -> Client:
    """A buyer who went through a whole trade, for a purpose of personal words."""
    provider, buyer = running.client(), running.funded()
    dataset = provider.publish(table(running.folder / "data"), ABOUT).dataset
    order = buyer.buy(provider.offer(dataset, terms(provider)).id)
    buyer.download(order.offer_id, running.folder / "opened", purpose=PURPOSE)
    buyer.certificate(order.id)
    return buyer


def refused(running: NodeInProcess) -> None:
    """A buyer whose personal purpose the policy, which names another one, denies."""
    provider, buyer = running.client(), running.funded()
    dataset = provider.publish(table(running.folder / "other", rows=5), ABOUT).dataset
    offer = provider.offer(dataset, terms(provider, purposes=("research",)))
    buyer.buy(offer.id)
    with pytest.raises(PolicyDenied):
        buyer.download(offer.id, running.folder / "refused", purpose=PURPOSE)


def events(running: NodeInProcess) -> list[Event]:
    """The log's entries."""
    with running.node.database.read() as tables:
        return [Event.read(entry) for entry in tables.log.entries(0, 1000)]


def attached(running: NodeInProcess) -> Commitment:
    """What the one decision names."""
    (decided,) = (event for event in events(running) if event.kind is EventKind.DECIDED)
    return Commitment.parse(str(decided.about["attachment"]))


def files(running: NodeInProcess) -> bytes:
    """Every byte that the node keeps."""
    return b"\n".join(path.read_bytes() for path in (running.folder / "node").rglob("*") if path.is_file())


def test_the_buyer_and_the_operator_read_it(running: NodeInProcess) -> None:
    """Both get salt and content, which the log's commitment proves."""
    buyer, commitment = traded(running), attached(running)
    for client in (buyer, running.client(running.operator)):
        disclosed = client.attachment(commitment)
        verify_commitment(commitment, disclosed.content, salt=disclosed.salt)
        document: Any = canonical.parse(disclosed.content)
        assert (document["purpose"], document["account"]) == (PURPOSE, str(buyer.identity.address))


def test_others_read_nothing(running: NodeInProcess) -> None:
    """A stranger and a visitor are refused, and what is not there is not found."""
    buyer, commitment = traded(running), attached(running)
    with pytest.raises(NotOwner):
        running.client().attachment(commitment)
    assert running.http.get(f"/attachments/{commitment}").json()["code"] == SignInRequired.code
    assert running.http.post(f"/attachments/{commitment}/erasure", json={"reason": "mistake"}).status_code == 401
    with pytest.raises(NotFound):
        buyer.attachment(NOBODY)


def test_salt_and_content_are_not_cached(running: NodeInProcess) -> None:
    """No cache on the way keeps what an erasure could not reach."""
    client, commitment = traded(running), attached(running)
    authorization = client._connection._authorization()
    answer = running.http.get(f"/attachments/{commitment}", headers=authorization)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_the_operator_erases(running: NodeInProcess) -> None:
    """An erasure gives its time, also when it is asked for again; then nobody reads, and the log verifies."""
    buyer, commitment, operator = traded(running), attached(running), running.client(running.operator)
    erased = operator.erase_attachment(commitment, ErasureReason.CONSENT_WITHDRAWN)
    assert operator.erase_attachment(commitment, ErasureReason.MISTAKE) == erased
    with pytest.raises(NotFound, match="was erased on 20"):
        buyer.attachment(commitment)
    target = running.folder / "log.zip"
    buyer.export_audit(target)
    assert audit.verify(target, key=buyer.info.log_key).kinds["key.destroyed"] == 1
    story = AttachmentStory()
    for event in events(running):
        story.add(event)
    assert str(story.standings()[commitment]).endswith("(consent_withdrawn)")


def test_nobody_else_erases(running: NodeInProcess) -> None:
    """The buyer may not erase, and it stays."""
    buyer, commitment = traded(running), attached(running)
    with pytest.raises(NotOwner):
        buyer.erase_attachment(commitment, ErasureReason.CONSENT_WITHDRAWN)
    assert buyer.attachment(commitment).commitment == commitment


@pytest.mark.parametrize("body", [{}, {"reason": "Jane Doe asked"}, {"reason": None}, {"reason": "mistake", "by": "J"}])
def test_a_reason_is_one_of_a_list(running: NodeInProcess, body: dict[str, Any]) -> None:
    """A reason in somebody's own words, which the log would keep for ever, is refused."""
    operator = running.client(running.operator)
    with pytest.raises(DocumentInvalid):
        operator._connection.post(f"/attachments/{NOBODY}/erasure", body, dict[str, Any], signed_in=True)
    assert events(running) == []


def test_a_changed_answer_is_refused(running: NodeInProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client compares what a node discloses with the commitment it asked for."""
    buyer, commitment = traded(running), attached(running)
    honest = Connection.get

    def lying(connection: Connection, path: str, kind: Any, **options: Any) -> Any:
        answer = honest(connection, path, kind, **options)
        return msgspec.structs.replace(answer, content=type(answer.content)(b"{}"))

    monkeypatch.setattr(Connection, "get", lying)
    with pytest.raises(ContentMismatch):
        buyer.attachment(commitment)


def test_personal_words_are_in_no_entry_no_tile_and_no_line(
    running: NodeInProcess, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """After a whole trade a purpose is in nothing that the node serves, prints, or keeps in clear (promise P6)."""
    with caplog.at_level(0):
        traded(running)
        refused(running)
    note = running.http.get("/log/checkpoint").content
    tiles = changed_tiles(0, read_unverified(note).size)
    paths = [tile.path for tile in tiles] + [EntryBundle(tile.index, tile.width).path for tile in tiles]
    served = b"".join(running.http.get(f"/log/{path}").content for path in paths)
    printed = capfd.readouterr()
    told = (served + note, (printed.out + printed.err + caplog.text).encode(), files(running))
    assert b"urn:databund:undisclosed" in served
    for word in (PURPOSE, "jane-doe", PURPOSE.encode().hex()):
        assert [word.encode() in text for text in told] == [False] * 3


def test_an_erasure_leaves_nothing_in_the_home(running: NodeInProcess) -> None:
    """No file of the home holds key, salt or sealed content after an erasure, while the node runs."""
    commitment = (traded(running), attached(running))[1]
    with running.node.database.read() as tables:
        kept = tables.attachments.get(commitment)
    secrets = (kept.salt or b"", kept.key or b"", (kept.sealed or b"")[:64])
    assert [secret in files(running) for secret in secrets] == [True] * 3
    running.client(running.operator).erase_attachment(commitment, ErasureReason.RETENTION_ENDED)
    assert [secret in files(running) for secret in secrets] == [False] * 3
