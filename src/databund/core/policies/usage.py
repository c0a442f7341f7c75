"""Ready-made policies: the terms most data licenses need, from a few plain choices.

Whatever is not chosen stays closed: supplying the data to third parties and training models on it are prohibited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from databund.core.policies.literals import read_iri, read_place, read_term
from databund.core.policies.model import Constraint, Duty, Label, Policy, RightOperand, Rule
from databund.core.policies.vocabulary import Action, DutyAction, LeftOperand, Operator, PolicyType
from databund.errors import PolicyInvalid

__all__ = ["agreement", "usage_policy"]


def usage_policy(
    uid: str,
    target: str,
    *,
    assigner: str,
    purposes: Iterable[str] = (),
    recipients: Iterable[str] = (),
    places: Iterable[str] = (),
    uses: int | None = None,
    until: datetime | None = None,
    duration: timedelta | None = None,
    train: bool = False,
    redistribute: bool = False,
    attribution: str | None = None,
    title: Mapping[str, str] | None = None,
) -> Policy:
    """Offer the use of ``target`` (an IRI) on the given conditions; a condition that is not given does not bind.

    ``purposes`` and ``recipients`` are terms or IRIs, ``places`` ISO 3166 codes; each permits what belongs to one of
    them. ``uses`` counts executions, ``until`` is an instant with a timezone (excluded), ``duration`` runs from the
    start of the license. ``attribution`` is the IRI of the party to credit. ``title`` maps language tags to texts.
    Raises PolicyInvalid for a value of the wrong form.
    """
    try:
        terms = (
            _any_of(LeftOperand.PURPOSE, map(read_term, purposes)),
            _any_of(LeftOperand.RECIPIENT, map(read_term, recipients)),
            _any_of(LeftOperand.SPATIAL, map(read_place, places)),
        )
        uid, target, assigner = read_iri(uid), read_iri(target), read_iri(assigner)
        credited = None if attribution is None else read_iri(attribution)
    except ValueError as error:
        raise PolicyInvalid(f"The policy cannot be made: {error}", fix="Correct the value.") from error
    limits = (
        _limit(LeftOperand.COUNT, Operator.LTEQ, uses),
        _limit(LeftOperand.DATE_TIME, Operator.LT, until),
        _limit(LeftOperand.ELAPSED_TIME, Operator.LTEQ, duration),
    )
    closed = [*([] if redistribute else [Action.DISTRIBUTE]), *([] if train else [Action.TRAIN])]
    return Policy(
        uid=uid,
        type=PolicyType.OFFER,
        permissions=(
            Rule(
                action=Action.USE,
                target=target,
                assigner=assigner,
                constraints=tuple(constraint for constraint in (*terms, *limits) if constraint),
                duties=(Duty(action=DutyAction.ATTRIBUTE, party=credited),) if credited else (),
            ),
        ),
        prohibitions=tuple(Rule(action=action, target=target, assigner=assigner) for action in closed),
        titles=tuple(Label(text=text, language=language) for language, text in (title or {}).items()),
    )


def agreement(offer: Policy, *, uid: str, assignee: str) -> Policy:
    """Make the agreement of an offer with one party: the same rules, each about ``assignee``.

    Raises PolicyInvalid when ``offer`` is not an offer, or already names another party.
    """
    if offer.type is not PolicyType.OFFER:
        raise PolicyInvalid(f"{offer.uid} is a {offer.type}, not an Offer.", fix="Pass the offer that was bought.")
    rules: tuple[Rule | Duty, ...] = (*offer.permissions, *offer.prohibitions, *offer.obligations)
    named = {rule.assignee for rule in rules}
    if not named <= {None, assignee}:
        raise PolicyInvalid(f"{offer.uid} is made to another party.", fix="Ask the provider for an offer to you.")
    try:
        uid, assignee = read_iri(uid), read_iri(assignee)
    except ValueError as error:
        raise PolicyInvalid(f"The agreement cannot be made: {error}", fix="Correct the value.") from error
    return replace(
        offer,
        uid=uid,
        type=PolicyType.AGREEMENT,
        permissions=tuple(replace(rule, assignee=assignee) for rule in offer.permissions),
        prohibitions=tuple(replace(rule, assignee=assignee) for rule in offer.prohibitions),
        obligations=tuple(replace(duty, assignee=assignee) for duty in offer.obligations),
    )


def _any_of(operand: LeftOperand, terms: Iterable[str]) -> Constraint | None:
    listed = tuple(terms)
    return Constraint(left_operand=operand, operator=Operator.IS_ANY_OF, right_operand=listed) if listed else None


def _limit(operand: LeftOperand, operator: Operator, value: RightOperand | None) -> Constraint | None:
    return None if value is None else Constraint(left_operand=operand, operator=operator, right_operand=value)
