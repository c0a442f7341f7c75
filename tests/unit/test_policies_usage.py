"""Ready-made policies: conservative without choices, and each choice does what it says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databund.core.policies import (
    Action,
    Duty,
    DutyAction,
    Facts,
    Policy,
    PolicyType,
    Request,
    agreement,
    evaluate,
    parse_policy,
    to_document,
    usage_policy,
)
from databund.errors import PolicyInvalid

TARGET, PROVIDER = "urn:dataset:1", "did:example:provider"
END = datetime(2027, 1, 1, tzinfo=UTC)


def _offer(**choices: Any) -> Policy:
    return usage_policy("urn:offer:1", TARGET, assigner=PROVIDER, **choices)


def _permits(policy: Policy, action: Action = Action.READ, **facts: Any) -> bool:
    return evaluate(policy, Request(action, TARGET, assignee="did:example:me"), Facts(**facts)).permitted


def test_without_choices_use_is_permitted_and_passing_on_is_not() -> None:
    """The default permits use, and prohibits to distribute, to train and to transfer."""
    offer = _offer()

    assert offer.type is PolicyType.OFFER
    assert {action for action in Action if _permits(offer, action)} == {
        Action.USE,
        Action.READ,
        Action.REPRODUCE,
        Action.DISPLAY,
        Action.DERIVE,
        Action.AGGREGATE,
    }


@pytest.mark.parametrize(("choice", "action"), [("train", Action.TRAIN), ("redistribute", Action.DISTRIBUTE)])
def test_what_is_closed_can_be_opened(choice: str, action: Action) -> None:
    """Training and passing on are permitted by their own choice, and by no other."""
    opened = _offer(**{choice: True})

    assert not _permits(_offer(), action)
    assert {closed for closed in (Action.TRAIN, Action.DISTRIBUTE) if _permits(opened, closed)} == {action}


@pytest.mark.parametrize(
    ("choice", "within", "beyond"),
    [
        ({"purposes": ["research", "科研"]}, {"purpose": "科研"}, {"purpose": "marketing"}),
        ({"recipients": ["did:example:lab"]}, {"recipient": "did:example:lab"}, {"recipient": "did:example:firm"}),
        ({"places": ["CN"]}, {"spatial": "CN-31"}, {"spatial": "US"}),
        ({"uses": 3}, {"count": 3}, {"count": 4}),
        ({"until": END}, {"date_time": END - timedelta(microseconds=1)}, {"date_time": END}),
        (
            {"duration": timedelta(days=30)},
            {"elapsed_time": timedelta(days=30)},
            {"elapsed_time": timedelta(days=30, microseconds=1)},
        ),
    ],
)
def test_each_condition_binds(choice: dict[str, Any], within: dict[str, Any], beyond: dict[str, Any]) -> None:
    """A condition permits what is within it, and denies what is beyond it or not known."""
    offer = _offer(**choice)

    assert _permits(offer, **within)
    assert not _permits(offer, **beyond)
    assert not _permits(offer)


def test_attribution_is_owed() -> None:
    """Use under attribution owes the named party its credit."""
    decision = evaluate(_offer(attribution="did:example:credited"), Request(Action.READ, TARGET), Facts())

    assert [owed.duty for owed in decision.owed] == [Duty(action=DutyAction.ATTRIBUTE, party="did:example:credited")]


def test_offer_is_its_own_document() -> None:
    """A made policy reads back from its document, titles in two languages included."""
    offer = _offer(
        purposes=["research"], places=["CN", "DE-BY"], uses=3, until=END, title={"zh": "气象", "en": "Weather"}
    )

    assert parse_policy(to_document(offer)) == offer


def test_agreement_binds_the_offer_to_one_party() -> None:
    """The agreement has the offer's rules about one assignee, and permits nobody else."""
    bound = agreement(_offer(purposes=["research"]), uid="urn:agreement:1", assignee="did:example:me")
    stranger = Request(Action.READ, TARGET, assignee="did:example:other")

    assert (bound.type, bound.assigner, bound.assignee) == (PolicyType.AGREEMENT, PROVIDER, "did:example:me")
    assert parse_policy(to_document(bound)) == bound
    assert _permits(bound, purpose="research")
    assert not evaluate(bound, stranger, Facts(purpose="research")).permitted


def test_agreement_needs_an_open_offer() -> None:
    """An agreement is no offer, and an offer to one party is not turned to another."""
    offer = _offer()
    to_me = replace(offer, permissions=tuple(replace(rule, assignee="urn:me") for rule in offer.permissions))

    with pytest.raises(PolicyInvalid, match="not an Offer"):
        agreement(agreement(offer, uid="urn:a", assignee="urn:me"), uid="urn:b", assignee="urn:me")
    with pytest.raises(PolicyInvalid, match="another party"):
        agreement(to_me, uid="urn:a", assignee="urn:other")
    with pytest.raises(PolicyInvalid, match="not an absolute IRI"):
        agreement(offer, uid="urn:a", assignee="me")


@pytest.mark.parametrize(
    "choice",
    [
        {"purposes": ["two words"]},
        {"places": ["China"]},
        {"attribution": "somebody"},
        {"uses": -1},
        {"until": datetime(2027, 1, 1)},
        {"duration": timedelta(days=1, microseconds=1)},
        {"title": {"?": "x"}},
    ],
    ids=str,
)
def test_choices_of_the_wrong_form_are_refused(choice: dict[str, Any]) -> None:
    """A choice that ODRL could not carry is refused when the policy is made."""
    with pytest.raises(PolicyInvalid):
        _offer(**choice)
