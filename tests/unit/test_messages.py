"""Messages: requests are read strictly, answers leniently, and neither shows a secret."""

from typing import Any

import msgspec
import pytest

from databund.core import documents, messages
from databund.core.amounts import Amount, Currency
from databund.core.ids import Bytes32, DeliveryId, Hex
from databund.core.licenses import License
from databund.core.messages import (
    Account,
    Challenge,
    ChallengeRequest,
    CreditRequest,
    DatasetRegistration,
    DatasetView,
    DeliveryRequest,
    LicenseView,
    NodeInfo,
    OfferPosting,
    OfferView,
    OrderRequest,
    SignInRequest,
    Token,
    Withdrawal,
)
from databund.core.offers import Domain, Split
from databund.core.orders import Purchase
from databund.errors import DocumentInvalid
from databund.testing import samples

SIGNED = samples.listing().signed
ADDRESS, SIGNATURE = samples.address(1), Hex(b"\1" * 65)
REQUESTS: list[Any] = [
    ChallengeRequest(ADDRESS),
    SignInRequest(ADDRESS, "message", SIGNATURE),
    DatasetRegistration(samples.dataset(), Hex(b"age")),
    OfferPosting(SIGNED, {"@type": "Offer"}),
    Withdrawal(SIGNATURE),
    OrderRequest(
        SIGNED.offer.id,
        Purchase(buyer=ADDRESS, units=1, salt=Bytes32(bytes(32)), valid_after=0, valid_before=9, signature=SIGNATURE),
    ),
    DeliveryRequest(id=DeliveryId(bytes(32)), offer_id=SIGNED.offer.id, recipient="age1x", purpose="research"),
    CreditRequest(ADDRESS, Amount(2**100), Bytes32(bytes(32))),
]
ANSWERS: list[Any] = [
    NodeInfo(
        version="1",
        operator=ADDRESS,
        domain=Domain(1, ADDRESS),
        currency=Currency(ADDRESS, "CREDIT", 6, "Credit"),
        license_token=ADDRESS,
        title=ADDRESS,
        checkpoint_anchor=ADDRESS,
        since_block=4,
        fee=Split(ADDRESS, 100),
        recipient="age1x",
        origin="exchange.example/audit",
        log_key="key",
    ),
    Challenge("message"),
    Token("secret", 1),
    DatasetView(samples.dataset().id, "ab", samples.dataset()),
    OfferView(SIGNED.offer.id, SIGNED, {}, 1, None),
    LicenseView(License(ADDRESS, SIGNED.offer.id, 1, None, 0), 0),
    Account(ADDRESS, Amount(2**100)),
]


def _name(message: object) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", [*REQUESTS, *ANSWERS], ids=_name)
def test_a_message_survives_its_json_form(message: Any) -> None:
    """Encoding and decoding gives an equal message."""
    assert documents.decode(documents.encode(message), type(message)) == message


@pytest.mark.parametrize("message", REQUESTS, ids=_name)
def test_a_request_has_no_unknown_member(message: Any) -> None:
    """A member that we would ignore is refused: who sent it meant something by it."""
    with pytest.raises(DocumentInvalid, match="surplus"):
        documents.load({**documents.dump(message), "surplus": 1}, type(message))


@pytest.mark.parametrize("message", ANSWERS, ids=_name)
def test_an_answer_may_grow(message: Any) -> None:
    """A client takes the answer of a newer node, whose members it may not know."""
    assert documents.load({**documents.dump(message), "surplus": 1}, type(message)) == message


@pytest.mark.parametrize("message", REQUESTS, ids=_name)
def test_a_request_names_what_is_missing(message: Any) -> None:
    """Each member without a default is asked for by its name."""
    required = [field.name for field in msgspec.structs.fields(message) if field.required]
    for name in required:
        document = documents.dump(message)
        del document[name]
        with pytest.raises(DocumentInvalid, match=name):
            documents.load(document, type(message))


def test_every_message_is_tested() -> None:
    """No message of the module is left out of this file."""
    assert {_name(message) for message in (*REQUESTS, *ANSWERS)} == set(messages.__all__)


def test_a_token_hides_itself() -> None:
    """The repr of a token does not show it, also inside another value."""
    assert "secret" not in repr([Token("secret", 1)])
