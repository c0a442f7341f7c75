"""Attaching: personal data lies beside the log, is shown to whom it is about, and is erased with an entry."""

from contextlib import suppress
from itertools import count

import pytest

from databund.app.attaching import Attaching, attach
from databund.core import canonical
from databund.core.attachments import AttachmentStory, ErasureReason, Presence, verify_commitment
from databund.core.ids import Commitment
from databund.crypto.attachments import seal
from databund.errors import NotFound, NotOwner, PolicyDenied, StoreUnavailable, Unavailable
from databund.testing.faults import InterruptedDatabase, Interruption
from tests.unit.marketplace import BUYER, NOW, OPERATOR, PROVIDER, STRANGER, Marketplace

PURPOSE = "urn:study:the-knee-of-my-neighbor-jane-doe"
WITHDRAWN = ErasureReason.CONSENT_WITHDRAWN


@pytest.fixture
def market() -> Marketplace:
    """A new market."""
    return Marketplace()


def attaching(market: Marketplace, interruption: Interruption | None = None) -> Attaching:
    """The use case over the market."""
    database = InterruptedDatabase(market.database, interruption or Interruption(0))
    return Attaching(database, market.auditor, OPERATOR.address, market.clock)


def delivered(market: Marketplace, purpose: str = PURPOSE) -> Commitment:
    """Buy, and take the data for a purpose of the buyer's own words."""
    offer = market.bought().signed.offer
    market.delivering.deliver(BUYER.address, market.request(offer.id, purpose=purpose))
    return Commitment.parse(str(market.entries()[-2].about["attachment"]))


def test_a_purpose_lies_beside_the_log(market: Marketplace) -> None:
    """The entry of a decision commits to the declared purpose and the delivery, in RFC 8785 bytes."""
    commitment = delivered(market)
    salt, content = attaching(market).read(OPERATOR.address, commitment)
    request = market.request(market.orders()[0].offer_id)
    about = {"account": str(BUYER.address), "delivery": str(request.id), "purpose": PURPOSE}
    assert content == canonical.canonicalize(about)
    verify_commitment(commitment, content, salt=salt)


def test_a_denied_purpose_is_kept_too(market: Marketplace) -> None:
    """A purpose that the policy denies is attached to the denial, of which there is no delivery."""
    offer = market.bought({"purposes": ["research"]}).signed.offer
    with pytest.raises(PolicyDenied):
        market.delivering.deliver(BUYER.address, market.request(offer.id, purpose=PURPOSE))
    commitment = Commitment.parse(str(market.entries()[-1].about["attachment"]))
    assert PURPOSE.encode() in attaching(market).read(BUYER.address, commitment)[1]


@pytest.mark.parametrize("purpose", [None, "research"])
def test_what_the_policy_names_needs_no_attachment(market: Marketplace, purpose: str | None) -> None:
    """No purpose, or one that the policy itself names, leaves nothing beside the log."""
    offer = market.bought({"purposes": ["research"]} if purpose else None).signed.offer
    market.delivering.deliver(BUYER.address, market.request(offer.id, purpose=purpose))
    assert market.entries()[-2].about["attachment"] is None
    assert not market.database._records.attachments


def test_it_is_shown_to_whom_it_is_about(market: Marketplace) -> None:
    """The operator and the account itself read it; the provider and strangers do not."""
    commitment, reading = delivered(market), attaching(market)
    assert reading.read(BUYER.address, commitment) == reading.read(OPERATOR.address, commitment)
    for actor in (PROVIDER, STRANGER):
        with pytest.raises(NotOwner, match="is not about"):
            reading.read(actor.address, commitment)


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"{}", b'{"account":"me"}', b'{"account":null}'])
def test_what_names_nobody_is_the_operators(market: Marketplace, content: bytes) -> None:
    """A content that names no account is shown to the operator alone."""
    attachment = seal(content, at=NOW)
    with market.database.write() as tables:
        tables.attachments.add(attachment)
    assert attaching(market).read(OPERATOR.address, attachment.commitment)[1] == content
    with pytest.raises(NotOwner):
        attaching(market).read(BUYER.address, attachment.commitment)


def test_an_unknown_one_is_not_found(market: Marketplace) -> None:
    """Neither reading nor erasing finds what was never there."""
    with pytest.raises(NotFound):
        attaching(market).read(OPERATOR.address, Commitment(bytes(32)))
    with pytest.raises(NotFound):
        attaching(market).erase(OPERATOR.address, Commitment(bytes(32)), reason=WITHDRAWN)
    assert market.entries() == []


def test_erasing_leaves_an_entry(market: Marketplace) -> None:
    """An erasure is logged with its reason, and afterwards nobody reads the content."""
    commitment, reading = delivered(market), attaching(market)
    assert reading.erase(OPERATOR.address, commitment, reason=WITHDRAWN) == NOW
    last = market.entries()[-1]
    assert (last.kind, last.at, last.by) == ("key.destroyed", NOW, str(OPERATOR.address))
    assert last.about == {"attachment": str(commitment), "reason": "consent_withdrawn"}
    with pytest.raises(NotFound, match="was erased on 2027-01-15"):
        reading.read(BUYER.address, commitment)


def test_the_log_stays_whole(market: Marketplace) -> None:
    """After an erasure the log says when, and is broken nowhere."""
    commitment = delivered(market)
    attaching(market).erase(OPERATOR.address, commitment, reason=ErasureReason.LEGAL_ORDER)
    story = AttachmentStory()
    for event in market.entries():
        story.add(event)
    assert {key: value.presence for key, value in story.standings().items()} == {commitment: Presence.ERASED}


def test_erasing_again_changes_nothing(market: Marketplace) -> None:
    """A second erasure, also for another reason and much later, gives the first time and leaves no entry."""
    commitment = delivered(market)
    attaching(market).erase(OPERATOR.address, commitment, reason=WITHDRAWN)
    market.now += 86_400
    assert attaching(market).erase(OPERATOR.address, commitment, reason=ErasureReason.MISTAKE) == NOW
    assert market.kinds().count("key.destroyed") == 1


def test_only_the_operator_erases(market: Marketplace) -> None:
    """Neither the account that it is about nor the provider erases; it stays."""
    commitment = delivered(market)
    for actor in (BUYER, PROVIDER, STRANGER):
        with pytest.raises(NotOwner):
            attaching(market).erase(actor.address, commitment, reason=WITHDRAWN)
    assert attaching(market).read(BUYER.address, commitment)
    assert "key.destroyed" not in market.kinds()


@pytest.mark.parametrize("after", [False, True], ids=["not reached", "answer lost"])
def test_an_erasure_is_whole_or_not_there(*, after: bool) -> None:
    """Wherever an erasure is interrupted, entry and erasure are both there or neither, and doing it again ends it."""
    for at in count(1):
        market, interruption = Marketplace(), Interruption(at, after=after)
        commitment = delivered(market)
        try:
            attaching(market, interruption).erase(OPERATOR.address, commitment, reason=WITHDRAWN)
        except StoreUnavailable:
            with market.database.read() as tables:
                erased = tables.attachments.get(commitment).erased_at is not None
            assert erased == ("key.destroyed" in market.kinds())
        attaching(market).erase(OPERATOR.address, commitment, reason=WITHDRAWN)
        assert market.kinds().count("key.destroyed") == 1
        if interruption.where is None:
            break
    assert at > 3


@pytest.mark.parametrize("after", [False, True], ids=["not reached", "answer lost"])
def test_an_attachment_has_its_entry(*, after: bool) -> None:
    """Wherever a delivery is interrupted, there is no attachment that no entry names, and none is missing."""
    for at in count(1):
        market = Marketplace()
        offer = market.bought().signed.offer
        market.wire(interruption := Interruption(at, after=after))
        for _ in range(2):
            with suppress(Unavailable):
                market.delivering.deliver(BUYER.address, market.request(offer.id, purpose=PURPOSE))
        named = [event.about["attachment"] for event in market.entries() if event.kind == "decision.made"]
        assert named == [str(commitment) for commitment in market.database._records.attachments]
        assert len(named) == 1
        if interruption.where is None:
            break
    assert at > 8


def test_what_is_undone_is_not_there(market: Marketplace) -> None:
    """An attachment whose block raises is not kept."""
    made: list[Commitment] = []

    def fail() -> None:
        with market.database.write() as tables:
            made.append(attach(tables, BUYER.address, {"purpose": PURPOSE}, at=NOW))
            raise StoreUnavailable("The disk is gone.", fix="Try again.")

    with pytest.raises(StoreUnavailable):
        fail()
    with pytest.raises(NotFound):
        attaching(market).read(OPERATOR.address, made[0])
