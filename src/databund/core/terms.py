"""Terms: how an offer commits to a usage policy, and the policy to a dataset version.

The policy's target names the dataset and the SHA-256 of its descriptor (which holds the manifest); the offer's
``terms_hash`` is SHA-256 of the policy. So the one signature of the offer covers price, policy, names and bytes.
"""

from __future__ import annotations

import hashlib

from databund.core import canonical, documents
from databund.core.datasets import Dataset
from databund.core.ids import Address, Bytes32
from databund.core.offers import Offer
from databund.core.policies import Action, Denial, Facts, Policy, PolicyType, Request, evaluate, parse_policy
from databund.errors import OfferInvalid, PolicyDenied, PolicyInvalid

__all__ = ["check_open_to", "check_terms", "party_of", "target_of", "terms_hash"]


def target_of(dataset: Dataset) -> str:
    """The ODRL target of a dataset version: ``urn:databund:dataset:<id>:<SHA-256 of the descriptor>``."""
    return f"urn:databund:dataset:{dataset.id}:{documents.digest(dataset).hex()}"


def terms_hash(policy: bytes) -> Bytes32:
    """What an offer commits to: SHA-256 of the policy's RFC 8785 bytes."""
    return Bytes32(hashlib.sha256(policy).digest())


def party_of(account: Address, chain_id: int) -> str:
    """The IRI of an account in policies and agreements: its DID by the did:pkh method (CAIP-10)."""
    return f"did:pkh:eip155:{chain_id}:{account}"


def check_terms(offer: Offer, policy: bytes, dataset: Dataset) -> Policy:
    """Check that offer, policy and dataset version belong together, and return the policy.

    Raises `OfferInvalid` naming what does not fit, `PolicyInvalid`, or `DocumentInvalid`.
    """
    parsed = parse_policy(canonical.parse(policy))
    checks = (
        (parsed.canonical == policy, "the policy is not in its normal form"),
        (terms_hash(policy) == offer.terms_hash, "the policy is not the one the offer commits to"),
        (parsed.target == target_of(dataset), "the policy is about another dataset version"),
        (parsed.type is PolicyType.OFFER, "the policy is not an ODRL Offer"),
        (offer.dataset == dataset.id, "the offer is for another dataset"),
        (offer.provider == dataset.provider, "the offer's provider is not the dataset's"),
        (offer.content_root == dataset.content_root, "the offer is for another version of the dataset"),
    )
    for fits, fault in checks:
        if not fits:
            raise OfferInvalid(f"The offer {offer.id} cannot be listed: {fault}.", fix="Create the offer again.")
    return parsed


def check_open_to(policy: Policy, party: str) -> None:
    """Raise `PolicyDenied` when no delivery to ``party`` (an IRI) could ever be permitted, whatever it will declare.

    What is not known before the sale (purpose, place, time, number of uses) is taken to fit.
    """
    if policy.target is None:
        raise PolicyInvalid(f"The policy {policy.uid} has no single target.", fix="Ask the provider for a new offer.")
    request = Request(action=Action.REPRODUCE, target=policy.target, assignee=party)
    decision = evaluate(policy, request, Facts(recipient=party, parties={party: ()}))  # an account is in no group
    final = {_rule_of(denial): denial for denial in decision.denials if not denial.missing}
    open_permissions = {_rule_of(denial) for denial in decision.denials} - final.keys()
    for rule, denial in final.items():
        if rule.startswith("$.prohibition") or not any(path.startswith("$.permission") for path in open_permissions):
            raise PolicyDenied(
                f"The offer's terms cannot be met: {denial.sentence}", fix="Choose an offer whose terms you can meet."
            )


def _rule_of(denial: Denial) -> str:
    """The path of the rule that a denial is about: ``$.permission[0]`` of ``$.permission[0].constraint[1]``."""
    return ".".join(denial.path.split(".")[:2])
