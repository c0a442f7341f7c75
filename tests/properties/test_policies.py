"""Properties of usage policies: order never matters, what is unknown never permits, prohibitions win, texts survive."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from databund.core.canonical import canonicalize, parse
from databund.core.policies import (
    Action,
    AnyConstraint,
    Constraint,
    Duty,
    DutyAction,
    Facts,
    Label,
    LeftOperand,
    Logic,
    LogicalConstraint,
    Policy,
    Request,
    Rule,
    evaluate,
    parse_policy,
    reevaluate,
    to_document,
)
from databund.errors import PolicyInvalid

TARGETS, PARTIES = ["urn:a", "urn:b"], ["urn:me", "urn:you"]
TERMS = {
    LeftOperand.PURPOSE: ["research", "genomics", "科研", "urn:x:marketing"],
    LeftOperand.RECIPIENT: ["urn:lab", "hospital", "firm"],
    LeftOperand.SPATIAL: ["CN", "CN-31", "DE", "EU"],
}
DURATIONS = st.integers(0, 3).map(lambda hours: timedelta(hours=hours))
INSTANTS = st.integers(0, 3).map(lambda hours: datetime(2026, 1, 1, hours, tzinfo=UTC))
COUNTS = st.integers(0, 3)


@st.composite
def _comparisons(draw: st.DrawFn) -> Constraint:
    left = draw(st.sampled_from(list(LeftOperand)))
    operator = draw(st.sampled_from(sorted(left.operators)))
    quantities: dict[LeftOperand, st.SearchStrategy[Any]] = {
        LeftOperand.COUNT: COUNTS,
        LeftOperand.ELAPSED_TIME: DURATIONS,
        LeftOperand.DATE_TIME: INSTANTS,
    }
    if left in quantities:
        return Constraint(left_operand=left, operator=operator, right_operand=draw(quantities[left]))
    most = 3 if operator.takes_list else 1
    terms = draw(st.lists(st.sampled_from(TERMS[left]), min_size=1, max_size=most))
    return Constraint(left_operand=left, operator=operator, right_operand=tuple(terms))


def _joined(inner: st.SearchStrategy[AnyConstraint]) -> st.SearchStrategy[AnyConstraint]:
    unique = st.lists(inner, min_size=2, max_size=3, unique=True).map(tuple)
    return st.builds(LogicalConstraint, logic=st.sampled_from(Logic), constraints=unique)


constraints = st.lists(st.recursive(_comparisons(), _joined, max_leaves=4), max_size=2).map(tuple)
actions = st.sampled_from(Action)
duties = st.lists(
    st.sampled_from([Duty(action=DutyAction.DELETE), Duty(action=DutyAction.ATTRIBUTE, party="urn:credit")]), max_size=2
).map(tuple)
permissions = st.builds(
    Rule,
    action=actions,
    target=st.sampled_from(TARGETS),
    assignee=st.none() | st.sampled_from(PARTIES),
    constraints=constraints,
    duties=duties,
)
prohibitions = permissions.map(lambda rule: replace(rule, remedies=rule.duties, duties=()))
labels = st.lists(
    st.builds(
        Label, text=st.text("气象数据 Weather é", max_size=9), language=st.none() | st.sampled_from(["zh", "en"])
    ),
    max_size=2,
).map(tuple)
policies = st.builds(
    Policy,
    uid=st.just("urn:p"),
    permissions=st.lists(permissions, min_size=1, max_size=3).map(tuple),
    prohibitions=st.lists(prohibitions, max_size=2).map(tuple),
    obligations=duties,
    titles=labels,
)
requests = st.builds(Request, actions, st.sampled_from(TARGETS), assignee=st.none() | st.sampled_from(PARTIES))


def _hierarchies(operand: LeftOperand) -> st.SearchStrategy[Any]:
    terms = st.sampled_from(TERMS[operand])
    return st.dictionaries(terms, st.lists(terms, max_size=2), max_size=4)


facts = st.builds(
    Facts,
    purpose=st.none() | st.sampled_from(TERMS[LeftOperand.PURPOSE]),
    count=st.none() | COUNTS,
    elapsed_time=st.none() | DURATIONS,
    date_time=st.none() | INSTANTS,
    recipient=st.none() | st.sampled_from(TERMS[LeftOperand.RECIPIENT]),
    spatial=st.none() | st.sampled_from(TERMS[LeftOperand.SPATIAL]),
    purposes=_hierarchies(LeftOperand.PURPOSE),
    parties=_hierarchies(LeftOperand.RECIPIENT),
    places=_hierarchies(LeftOperand.SPATIAL),
)


def _poorer(known: Facts) -> list[Facts]:
    """The same facts with one of them, or what one term belongs to, taken away."""
    single = ("purpose", "count", "elapsed_time", "date_time", "recipient", "spatial")
    fewer = [replace(known, **{name: None}) for name in single]
    for name in ("purposes", "parties", "places"):
        hierarchy = getattr(known, name)
        fewer += [
            replace(known, **{name: {term: hierarchy[term] for term in hierarchy if term != gone}})
            for gone in hierarchy
        ]
    return fewer


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        return {name: _shuffled(item, order) for name, item in order.sample(list(value.items()), len(value))}
    if isinstance(value, list):
        return [_shuffled(item, order) for item in order.sample(value, len(value))]
    return value


@given(policies)
def test_documents_read_back(policy: Policy) -> None:
    """The normal form, through bytes, gives an equal policy with the same digest."""
    again = parse_policy(parse(canonicalize(to_document(policy))))

    assert again == policy
    assert again.digest() == policy.digest()


@given(policies, requests, facts, st.randoms(use_true_random=False))
def test_order_never_matters(policy: Policy, request: Request, known: Facts, order: random.Random) -> None:
    """Shuffling every list of a document changes neither the policy, nor its digest, nor a decision."""
    shuffled = parse_policy(_shuffled(to_document(policy), order))

    assert shuffled.digest() == policy.digest()
    assert evaluate(shuffled, request, known) == evaluate(policy, request, known)


@given(policies, requests, facts)
def test_unknown_facts_never_permit(policy: Policy, request: Request, known: Facts) -> None:
    """Taking any fact away, or who asks, never turns a denial into a permission (P5)."""
    if evaluate(policy, request, known).permitted:
        return

    assert not evaluate(policy, replace(request, assignee=None), known).permitted
    for poorer in _poorer(known):
        assert not evaluate(policy, request, poorer).permitted


@given(policies, requests, facts, constraints)
def test_prohibition_beats_permission(
    policy: Policy, request: Request, known: Facts, conditions: tuple[AnyConstraint, ...]
) -> None:
    """Adding a prohibition never permits more, and an unconditional one of the action always denies."""
    ban = Rule(action=request.action, target=request.target)
    banned = replace(policy, prohibitions=(*policy.prohibitions, ban))
    limited = replace(policy, prohibitions=(*policy.prohibitions, replace(ban, constraints=conditions)))

    assert not evaluate(banned, request, known).permitted
    assert evaluate(policy, request, known).permitted or not evaluate(limited, request, known).permitted


@given(policies, requests, facts)
def test_records_decide_again(policy: Policy, request: Request, known: Facts) -> None:
    """Every record, through bytes, decides again to an equal decision (P2)."""
    decision = evaluate(policy, request, known)

    assert reevaluate(parse(canonicalize(decision.record())), policy) == decision


@given(policies, requests, facts)
def test_denials_are_explained(policy: Policy, request: Request, known: Facts) -> None:
    """A denial has a sentence, a remedy, and a path that leads into the policy's document; a permission has none."""
    decision = evaluate(policy, request, known)

    assert decision.permitted is not bool(decision.denials)
    for denial in decision.denials:
        assert denial.sentence.endswith(".")
        assert denial.remedy.endswith(".")
        assert _found(to_document(policy), denial.path) is not None


def _found(document: Any, path: str) -> Any:
    for step in path.removeprefix("$").replace("[", ".").replace("]", "").split(".")[1:]:
        if step == "permission" and step not in document:
            return True  # "Nothing is permitted" has this path in a policy without permissions.
        document = document[int(step)] if step.isdigit() else document[step]
    return document


@given(
    st.recursive(
        st.none() | st.integers(-2, 2) | st.sampled_from(["use", "urn:a", "count", "eq", "prohibit", "CN"]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "uid",
                        "permission",
                        "target",
                        "action",
                        "constraint",
                        "or",
                        "leftOperand",
                        "operator",
                        "rightOperand",
                        "@id",
                        "@value",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_read_or_refused(value: Any) -> None:
    """The reader gives a policy or PolicyInvalid with a path, whatever the document."""
    document = {"@context": "http://www.w3.org/ns/odrl.jsonld", "uid": "urn:p", "permission": value}
    if isinstance(value, dict) and "permission" in value:
        document |= value
    try:
        reason = ""
        policy = parse_policy(document)
    except PolicyInvalid as error:
        reason = error.what

    assert reason.startswith("$") or policy.permissions
