"""Terms: one signature covers price, policy, dataset version and bytes; whatever does not fit is named."""

import hashlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from databund.core import canonical, documents
from databund.core.datasets import Dataset
from databund.core.offers import Offer
from databund.core.policies import Action, PolicyType, Rule, parse_policy, usage_policy
from databund.core.terms import check_open_to, check_terms, party_of, target_of, terms_hash
from databund.errors import DocumentInvalid, OfferInvalid, PolicyDenied, PolicyInvalid
from databund.testing import samples

DATASET = samples.dataset()


def policy_for(dataset: Dataset = DATASET, **conditions: Any) -> bytes:
    """The normal form of a policy for a dataset version."""
    policy = usage_policy("urn:x:policy", target_of(dataset), assigner="urn:x:me", **conditions)
    return canonical.canonicalize(policy.document())


def offer_of(policy: bytes, **changes: Any) -> Offer:
    """An offer that commits to a policy."""
    return msgspec.structs.replace(samples.listing().signed.offer, terms_hash=terms_hash(policy), **changes)


def test_what_belongs_together_is_taken() -> None:
    """Offer, policy and dataset version that fit give the policy."""
    policy = policy_for(purposes=["research"])
    parsed = check_terms(offer_of(policy), policy, DATASET)
    assert (parsed.type, parsed.target) == (PolicyType.OFFER, target_of(DATASET))


def test_the_terms_hash_is_plain_sha256() -> None:
    """Anyone can compute what an offer commits to."""
    assert bytes(terms_hash(b"{}")) == hashlib.sha256(b"{}").digest()


def test_the_target_commits_to_the_descriptor() -> None:
    """A dataset with another title, although of the same name and bytes, is another target."""
    assert target_of(DATASET) != target_of(samples.dataset(title="Other"))
    assert target_of(DATASET) == f"urn:databund:dataset:{DATASET.id}:{documents.digest(DATASET).hex()}"


def test_a_party_is_a_did() -> None:
    """An account is named by did:pkh with its chain (CAIP-10)."""
    assert party_of(DATASET.provider, 31_337) == f"did:pkh:eip155:31337:{DATASET.provider}"


@pytest.mark.parametrize(
    ("fault", "offer", "policy", "dataset"),
    [
        ("is not in its normal form", None, policy_for() + b" ", DATASET),
        ("is not the one the offer commits to", offer_of(policy_for()), policy_for(uses=1), DATASET),
        ("is about another dataset version", None, policy_for(samples.dataset(title="Other")), DATASET),
        ("offer is for another dataset", offer_of(policy_for(), dataset=samples.dataset(2).id), policy_for(), DATASET),
        ("provider is not the dataset's", offer_of(policy_for(), provider=samples.address(9)), policy_for(), DATASET),
        (
            "offer is for another version",
            offer_of(policy_for(), content_root=samples.dataset(version=2).content_root),
            policy_for(),
            DATASET,
        ),
    ],
)
def test_what_does_not_fit_is_named(fault: str, offer: Offer | None, policy: bytes, dataset: Dataset) -> None:
    """Each of the checks has a case in which it alone fails, and names what does not fit."""
    with pytest.raises(OfferInvalid, match=fault) as caught:
        check_terms(offer or offer_of(policy), policy, dataset)
    assert caught.value.fix == "Create the offer again."


def test_only_an_offer_is_offered() -> None:
    """A policy of another type is refused."""
    document = canonical.parse(policy_for())
    assert isinstance(document, dict)
    policy = canonical.canonicalize({**document, "@type": "Set"})
    with pytest.raises(OfferInvalid, match="is not an ODRL Offer"):
        check_terms(offer_of(policy), policy, DATASET)


@pytest.mark.parametrize(
    ("policy", "error"),
    [(b"", DocumentInvalid), (b"{", DocumentInvalid), (b"{}", PolicyInvalid), (b"[]", PolicyInvalid)],
)
def test_what_is_no_policy_is_refused(policy: bytes, error: type[Exception]) -> None:
    """Bytes that are no JSON or no ODRL are refused as such."""
    with pytest.raises(error):
        check_terms(offer_of(policy), policy, DATASET)


@pytest.mark.parametrize("change", [{"title": "T"}, {"version": 2}, {"keywords": ("k",)}, {"license": "MIT"}])
def test_a_changed_dataset_needs_a_new_offer(change: dict[str, Any]) -> None:
    """Terms that were made for a descriptor do not fit when anything in it is changed."""
    policy = policy_for()
    with pytest.raises(OfferInvalid, match="another dataset version"):
        check_terms(offer_of(policy), policy, msgspec.structs.replace(DATASET, **change))


ME, OTHER = "did:pkh:eip155:1:0x0000000000000000000000000000000000000001", "urn:other"


@pytest.mark.parametrize(
    "conditions", [{}, {"recipients": [ME]}, {"recipients": [ME, OTHER]}, {"purposes": ["research"], "places": ["CN"]}]
)
def test_terms_that_can_be_met_are_open(conditions: dict[str, Any]) -> None:
    """What is not known before the sale is taken to fit."""
    check_open_to(parse_policy(canonical.parse(policy_for(**conditions))), ME)


@pytest.mark.parametrize("conditions", [{"recipients": [OTHER]}, {"recipients": [OTHER], "purposes": ["research"]}])
def test_terms_that_cannot_be_met_are_not_sold(conditions: dict[str, Any]) -> None:
    """A buyer whom no declaration could help is told before anything is paid."""
    with pytest.raises(PolicyDenied, match="cannot be met"):
        check_open_to(parse_policy(canonical.parse(policy_for(**conditions))), ME)


def test_a_prohibition_for_good_closes_the_offer() -> None:
    """A prohibition that no declaration lifts counts, whatever is permitted."""
    policy = parse_policy(canonical.parse(policy_for()))
    ban = Rule(action=Action.REPRODUCE, target=policy.target or "", assigner=policy.assigner)

    with pytest.raises(PolicyDenied, match="prohibited"):
        check_open_to(replace(policy, prohibitions=(*policy.prohibitions, ban)), ME)


def test_one_open_permission_is_enough() -> None:
    """Of several permissions, one that could still be granted keeps the offer open."""
    closed = parse_policy(canonical.parse(policy_for(recipients=[OTHER])))
    open_ = parse_policy(canonical.parse(policy_for(purposes=["research"])))

    check_open_to(replace(closed, permissions=(*closed.permissions, *open_.permissions)), ME)
