"""Agreements and certificates: the offered policy with the buyer in it, and the trade in one document."""

import pytest

from databund.core import canonical, documents
from databund.core.agreements import Certificate, agreement
from databund.core.amounts import Amount, Payment
from databund.core.ids import Bytes32
from databund.core.policies import PolicyType, parse_policy, usage_policy
from databund.errors import DocumentInvalid, PolicyInvalid
from databund.testing import samples

ORDER = samples.order()
BUYER = "did:pkh:eip155:1:0xbuyer"
POLICY = canonical.canonicalize(
    usage_policy("urn:x:policy", "urn:x:data", assigner="urn:x:me", purposes=["research"]).document()
)


def certificate() -> Certificate:
    """A certificate."""
    return Certificate(
        order=ORDER.id,
        offer=ORDER.offer_id,
        buyer=ORDER.buyer,
        units=1,
        price=Amount(2**100),
        currency=samples.address(1),
        payments=(Payment(samples.address(2), Amount(2**100)),),
        chain_id=1,
        exchange=samples.address(3),
        chain_transaction="0x12",
        block=4,
        block_hash="0x34",
        expiry=None,
        agreement=Bytes32(samples.hash32(5)),
    )


def test_an_agreement_is_the_offer_assigned() -> None:
    """The agreement has the offer's rules, each about the buyer, and the order's name."""
    offered, agreed = (parse_policy(canonical.parse(text)) for text in (POLICY, agreed_bytes()))
    assert (agreed.type, agreed.uid) == (PolicyType.AGREEMENT, f"urn:databund:order:{ORDER.id}")
    assert {rule.assignee for rule in (*agreed.permissions, *agreed.prohibitions)} == {BUYER}
    assert [rule.action for rule in agreed.permissions] == [rule.action for rule in offered.permissions]
    assert [rule.constraints for rule in agreed.permissions] == [rule.constraints for rule in offered.permissions]


def agreed_bytes() -> bytes:
    """The agreement of the sample order."""
    return agreement(POLICY, order_id=ORDER.id, assignee=BUYER)


def test_an_agreement_is_canonical() -> None:
    """The same order gives the same bytes, in the form that is hashed."""
    assert agreed_bytes() == agreed_bytes() == canonical.canonicalize(canonical.parse(agreed_bytes()))


def test_only_an_offer_becomes_an_agreement() -> None:
    """An agreement is not agreed on again, and what is no policy is refused."""
    with pytest.raises(PolicyInvalid):
        agreement(agreed_bytes(), order_id=ORDER.id, assignee=BUYER)
    with pytest.raises(PolicyInvalid):
        agreement(b"{}", order_id=ORDER.id, assignee=BUYER)


def test_an_assignee_is_an_iri() -> None:
    """A party that is no IRI is refused."""
    with pytest.raises(PolicyInvalid):
        agreement(POLICY, order_id=ORDER.id, assignee="the buyer")


def test_a_certificate_survives_its_json_form() -> None:
    """Encoding and decoding gives an equal certificate, also for amounts that JSON numbers cannot hold."""
    assert documents.decode(documents.encode(certificate()), Certificate) == certificate()


def test_a_certificate_has_no_blind_spot() -> None:
    """An unknown member is refused, so that nobody can add a line to what was certified."""
    with pytest.raises(DocumentInvalid, match="rebate"):
        documents.load({**documents.dump(certificate()), "rebate": "1"}, Certificate)
