"""Deciding: every operator with every operand, prohibitions, missing facts, duties, records."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from databund.core.canonical import canonicalize, parse
from databund.core.policies import (
    Action,
    AnyConstraint,
    Constraint,
    Duty,
    DutyAction,
    Facts,
    LeftOperand,
    Logic,
    LogicalConstraint,
    Operator,
    Policy,
    Request,
    Rule,
    evaluate,
    reevaluate,
    require,
)
from databund.core.policies.comparison import Verdict
from databund.errors import ContentMismatch, DocumentInvalid, PolicyDenied

TARGET = "urn:asset:1"
READ = Request(Action.READ, TARGET)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PURPOSES = {
    "research": (),
    "genomics": ("research", "health"),
    "health": (),
    "marketing": (),
    "email": ("marketing",),
}
PARTIES = {"urn:lab": ("hospital",), "hospital": (), "firm": ()}
PLACES = {"CN": ("XA",), "XA": (), "DE": ("EU",), "EU": (), "US": ()}


def _is(operand: str, operator: str, right: Any, unit: str | None = None) -> Constraint:
    return Constraint(left_operand=LeftOperand(operand), operator=Operator(operator), right_operand=right, unit=unit)


def _rule(action: Action = Action.USE, *constraints: AnyConstraint, **members: Any) -> Rule:
    return Rule(action=action, target=TARGET, constraints=constraints, **members)


def _permit(*constraints: AnyConstraint) -> Policy:
    return Policy(uid="urn:p", permissions=(_rule(Action.USE, *constraints),))


def _terms(operand: str, facts: dict[str, Any], rows: list[tuple[str, str, tuple[str, ...], bool | None]]) -> list[Any]:
    return [(operand, operator, right, facts | {operand: value}, holds) for value, operator, right, holds in rows]


def _quantities(operand: str, fact: str, low: Any, equal: Any, high: Any) -> list[Any]:
    """The six comparisons with a value below, at and above the right operand."""
    table = {"lt": (1, 0, 0), "lteq": (1, 1, 0), "eq": (0, 1, 0), "neq": (1, 0, 1), "gteq": (0, 1, 1), "gt": (0, 0, 1)}
    return [
        (operand, operator, equal, {fact: value}, bool(holds))
        for operator, row in table.items()
        for value, holds in zip((low, equal, high), row, strict=True)
    ]


TABLE = [
    *_quantities("count", "count", 9, 10, 11),
    *_quantities(
        "elapsedTime", "elapsed_time", timedelta(days=1) - SECOND, timedelta(days=1), timedelta(days=1, seconds=1)
    ),
    *_quantities("dateTime", "date_time", NOON - SECOND, NOON, NOON + timedelta(microseconds=1)),
    ("dateTime", "eq", NOON, {"date_time": NOON.astimezone(timezone(timedelta(hours=8)))}, True),
    ("elapsedTime", "lteq", timedelta(days=1), {"elapsed_time": timedelta(days=1, microseconds=1)}, False),
    *_terms(
        "purpose",
        {"purposes": PURPOSES},
        [
            ("research", "eq", ("research",), True),
            ("genomics", "eq", ("research",), False),
            ("genomics", "neq", ("research",), True),
            ("research", "neq", ("research",), False),
            ("genomics", "isA", ("research",), True),
            ("marketing", "isA", ("research",), False),
            ("unheard", "isA", ("research",), None),
            ("genomics", "isPartOf", ("health",), True),
            ("genomics", "isAnyOf", ("marketing", "health"), True),
            ("email", "isAnyOf", ("research", "health"), False),
            ("unheard", "isAnyOf", ("research", "unheard"), True),
            ("genomics", "isAllOf", ("research", "health"), True),
            ("genomics", "isAllOf", ("research", "marketing"), False),
            ("unheard", "isAllOf", ("research", "unheard"), None),
            ("research", "isNoneOf", ("marketing", "health"), True),
            ("email", "isNoneOf", ("marketing",), False),
            ("unheard", "isNoneOf", ("marketing",), None),
        ],
    ),
    *_terms(
        "recipient",
        {"parties": PARTIES},
        [
            ("urn:lab", "eq", ("urn:lab",), True),
            ("urn:lab", "neq", ("urn:lab",), False),
            ("urn:lab", "isA", ("hospital",), True),
            ("firm", "isA", ("hospital",), False),
            ("urn:lab", "isPartOf", ("hospital",), True),
            ("urn:lab", "isAnyOf", ("firm", "hospital"), True),
            ("firm", "isAnyOf", ("hospital",), False),
            ("urn:lab", "isAllOf", ("firm", "hospital"), False),
            ("firm", "isNoneOf", ("hospital",), True),
            ("urn:lab", "isNoneOf", ("hospital",), False),
            ("urn:stranger", "isNoneOf", ("hospital",), None),
        ],
    ),
    *_terms(
        "spatial",
        {"places": PLACES},
        [
            ("CN", "eq", ("CN",), True),
            ("CN-31", "eq", ("CN",), False),
            ("CN-31", "neq", ("CN",), True),
            ("CN-31", "isPartOf", ("CN",), True),
            ("CN-31", "isPartOf", ("XA",), True),
            ("CN-31", "isPartOf", ("EU",), False),
            ("DE-BY", "isPartOf", ("EU",), True),
            ("FR", "isPartOf", ("EU",), None),
            ("US", "isAnyOf", ("CN", "EU"), False),
            ("DE", "isAnyOf", ("CN", "EU"), True),
            ("DE", "isAllOf", ("DE", "EU"), True),
            ("US-CA", "isNoneOf", ("CN", "EU"), True),
            ("DE", "isNoneOf", ("CN", "EU"), False),
            ("FR", "isNoneOf", ("CN",), None),
        ],
    ),
]


@pytest.mark.parametrize(("operand", "operator", "right", "facts", "holds"), TABLE)
def test_constraint_table(operand: str, operator: str, right: Any, facts: dict[str, Any], holds: Verdict) -> None:
    """A permission holds only where its constraint does; a prohibition is lifted only where its constraint does not."""
    constraint = _is(operand, operator, right)
    banned = Policy(uid="urn:p", permissions=(_rule(Action.USE),), prohibitions=(_rule(Action.READ, constraint),))

    assert evaluate(_permit(constraint), READ, Facts(**facts)).permitted is (holds is True)
    assert evaluate(banned, READ, Facts(**facts)).permitted is (holds is False)


@pytest.mark.parametrize("operand", list(LeftOperand))
def test_missing_fact_denies_and_is_named(operand: LeftOperand) -> None:
    """Without its fact, no comparison permits, none lifts a prohibition, and the fact is named."""
    right = {LeftOperand.COUNT: 1, LeftOperand.ELAPSED_TIME: SECOND, LeftOperand.DATE_TIME: NOON}
    for operator in operand.operators:
        constraint = _is(operand, operator, right.get(operand, ("CN",)))
        banned = Policy(uid="urn:p", permissions=(_rule(),), prohibitions=(_rule(Action.USE, constraint),))
        for policy in (_permit(constraint), banned):
            decision = evaluate(policy, READ, Facts())
            assert not decision.permitted
            assert decision.missing == (operand.value,)
            assert operand.value in decision.denials[0].sentence
            assert operand.value in decision.denials[0].remedy


def test_counts_of_other_units_are_other_facts() -> None:
    """A count of records looks at the records, not at the executions."""
    policy = _permit(_is("count", "lteq", 100, "urn:unit:record"))

    assert evaluate(policy, READ, Facts(count=1)).missing == ("count in urn:unit:record",)
    assert evaluate(policy, READ, Facts(counts={"urn:unit:record": 100})).permitted
    assert not evaluate(policy, READ, Facts(counts={"urn:unit:record": 101})).permitted


T, F, U = _is("count", "eq", 1), _is("purpose", "eq", ("b",)), _is("spatial", "eq", ("CN",))
T2, F2 = _is("count", "lt", 2), _is("purpose", "eq", ("c",))


@pytest.mark.parametrize(
    ("logic", "constraints", "holds"),
    [
        ("and", (T, T2), True),
        ("and", (T, F), False),
        ("and", (T, U), None),
        ("and", (F, U), False),
        ("or", (T, F), True),
        ("or", (F, F2), False),
        ("or", (T, U), True),
        ("or", (F, U), None),
        ("xone", (T, F), True),
        ("xone", (T, T2), False),
        ("xone", (F, F2), False),
        ("xone", (T, U), None),
        ("xone", (T, T2, U), False),
    ],
)
def test_logic_table(logic: str, constraints: tuple[Constraint, ...], holds: Verdict) -> None:
    """and, or and xone follow three-valued logic, in permissions and in prohibitions."""
    joined = LogicalConstraint(logic=Logic(logic), constraints=constraints)
    banned = Policy(uid="urn:p", permissions=(_rule(),), prohibitions=(_rule(Action.USE, joined),))
    facts = Facts(count=1, purpose="a", purposes={"a": ()})

    assert evaluate(_permit(joined), READ, facts).permitted is (holds is True)
    assert evaluate(banned, READ, facts).permitted is (holds is False)


@pytest.mark.parametrize("action", list(Action))
def test_use_covers_everything_but_transfer(action: Action) -> None:
    """A permission to use covers each action included in it; one to read covers reading only."""
    request = Request(action, TARGET)
    reading = Policy(uid="urn:p", permissions=(_rule(Action.READ),))

    assert evaluate(_permit(), request, Facts()).permitted is (action is not Action.TRANSFER)
    assert evaluate(reading, request, Facts()).permitted is (action is Action.READ)


def test_prohibition_beats_permission() -> None:
    """A prohibited action is denied even where a permission names it, and wider uses say what stays excluded."""
    policy = Policy(uid="urn:p", permissions=(_rule(), _rule(Action.TRAIN)), prohibitions=(_rule(Action.TRAIN),))

    denied = evaluate(policy, Request(Action.TRAIN, TARGET), Facts())
    permitted = evaluate(policy, Request(Action.USE, TARGET), Facts())

    assert not denied.permitted
    assert denied.denials[0].path == "$.prohibition[0]"
    assert denied.denials[0].sentence == "databund:train is prohibited."
    assert permitted.permitted
    assert permitted.excluded == (Action.TRAIN,)


def test_prohibited_use_prohibits_what_it_includes() -> None:
    """A prohibition of use is inherited by reading."""
    policy = Policy(uid="urn:p", permissions=(_rule(Action.READ),), prohibitions=(_rule(Action.USE),))

    assert not evaluate(policy, READ, Facts()).permitted


def test_nothing_else_is_permitted() -> None:
    """Without a matching permission the answer is no, and says what is permitted."""
    policy = Policy(uid="urn:p", permissions=(_rule(Action.READ), _rule(Action.DERIVE)))

    (action,) = evaluate(policy, Request(Action.TRAIN, TARGET), Facts()).denials
    (asset,) = evaluate(policy, Request(Action.READ, "urn:other"), Facts()).denials

    assert action.sentence == "action is 'databund:train', allowed: derive, read."
    assert asset.sentence == "The policy permits nothing with urn:other."


def test_assignee_must_be_the_one_named() -> None:
    """A rule about one party permits nobody else, and an unknown requester is asked for."""
    policy = Policy(uid="urn:p", permissions=(_rule(Action.USE, assignee="urn:holder"),))

    assert evaluate(policy, Request(Action.READ, TARGET, assignee="urn:holder"), Facts()).permitted
    stranger = evaluate(policy, Request(Action.READ, TARGET, assignee="urn:stranger"), Facts())
    assert stranger.denials[0].sentence == "assignee is 'urn:stranger', allowed: urn:holder."
    unknown = evaluate(policy, READ, Facts())
    assert not unknown.permitted
    assert unknown.missing == ("assignee",)


def test_prohibition_of_one_party_needs_to_know_who_asks() -> None:
    """A prohibition about one party binds it and whoever does not say who they are, nobody else."""
    policy = Policy(uid="urn:p", permissions=(_rule(),), prohibitions=(_rule(Action.READ, assignee="urn:banned"),))

    assert not evaluate(policy, Request(Action.READ, TARGET, assignee="urn:banned"), Facts()).permitted
    assert evaluate(policy, READ, Facts()).missing == ("assignee",)
    assert evaluate(policy, Request(Action.READ, TARGET, assignee="urn:other"), Facts()).permitted


def test_denial_names_the_constraint_in_a_plain_sentence() -> None:
    """The path leads to the constraint in the policy's document; the sentence says what is and what is allowed."""
    policy = _permit(_is("count", "lteq", 10), _is("purpose", "isAnyOf", ("research",)))

    (denial,) = evaluate(policy, READ, Facts(count=1, purpose="marketing")).denials

    document: Any = policy.document()
    assert denial.path == "$.permission[0].constraint[1]"
    assert document["permission"][0]["constraint"][1]["leftOperand"] == "purpose"
    assert denial.sentence == "purpose is 'marketing', allowed: research."
    assert denial.remedy.startswith("Ask for research, state what the purpose 'marketing' belongs to")


@pytest.mark.parametrize(
    ("constraint", "facts", "sentence"),
    [
        (_is("count", "lteq", 10), Facts(count=11), "count is 11, allowed: at most 10."),
        (
            _is("dateTime", "lt", NOON),
            Facts(date_time=NOON),
            "dateTime is 2026-06-01T12:00:00Z, allowed: before 2026-06-01T12:00:00Z.",
        ),
        (
            _is("elapsedTime", "lteq", timedelta(days=30)),
            Facts(elapsed_time=timedelta(days=31)),
            "elapsedTime is P31D, allowed: at most P30D.",
        ),
        (
            _is("purpose", "isNoneOf", ("广告", "marketing")),
            Facts(purpose="广告", purposes={"广告": ()}),
            "purpose is '广告', allowed: anything but marketing, 广告.",
        ),
        (
            _is("purpose", "isNoneOf", ("marketing",)),
            Facts(purpose="x"),
            "purpose is 'x', and what the purpose 'x' belongs to is not declared, allowed: anything but marketing.",
        ),
        (
            LogicalConstraint(logic=Logic.OR, constraints=(F, _is("count", "lt", 1))),
            Facts(count=1, purpose="a"),
            "count is 1; purpose is 'a', allowed: any of (count: less than 1; purpose: b).",
        ),
        (
            _is("purpose", "isAnyOf", tuple(f"p{number:02}" for number in range(20))),
            Facts(purpose="x"),
            "purpose is 'x', allowed: p00, p01, p02, p03, p04, p05, p06, p07 and 12 more.",
        ),
    ],
)
def test_sentences(constraint: AnyConstraint, facts: Facts, sentence: str) -> None:
    """Each kind of constraint is explained in words."""
    assert [denial.sentence for denial in evaluate(_permit(constraint), READ, facts).denials] == [sentence]


def test_conditional_prohibition_is_explained() -> None:
    """A prohibition on a condition says the condition, and what would lift it when the fact is unknown."""
    banned = _rule(Action.READ, _is("purpose", "isA", ("marketing",)))
    policy = Policy(uid="urn:p", permissions=(_rule(),), prohibitions=(banned,))

    (known,) = evaluate(policy, READ, Facts(purpose="marketing")).denials
    (unknown,) = evaluate(policy, READ, Facts()).denials

    assert known.sentence == "read is prohibited (purpose is 'marketing', prohibited: marketing)."
    assert unknown.sentence == "read is prohibited (purpose is not known, prohibited: marketing), not known: purpose."
    assert unknown.remedy == "State purpose; the prohibition may then not apply."


def test_require_returns_or_raises_the_reason() -> None:
    """The raising form gives the decision, or PolicyDenied with the sentence and the remedy."""
    policy = _permit(_is("purpose", "isAnyOf", ("research",)))

    assert require(policy, READ, Facts(purpose="research")).permitted
    with pytest.raises(PolicyDenied) as caught:
        require(policy, READ, Facts())
    assert caught.value.what == "purpose is not known, allowed: research."
    assert caught.value.fix == "State purpose (allowed: research), or get a license with other terms."


def test_duties_of_the_lightest_permission_are_owed() -> None:
    """Duties come from the permission that counts, and from obligations that concern the requester."""
    credit, delete = Duty(action=DutyAction.ATTRIBUTE, party="urn:x"), Duty(action=DutyAction.DELETE)
    others = Duty(action=DutyAction.INFORM, assignee="urn:other")
    policy = Policy(
        uid="urn:p",
        permissions=(_rule(Action.READ, duties=(credit, delete)), _rule(Action.USE, duties=(credit,))),
        obligations=(delete, others),
    )

    decision = evaluate(policy, Request(Action.READ, TARGET, assignee="urn:me"), Facts())

    assert {owed.duty for owed in decision.owed} == {credit, delete}
    assert len(decision.rules) == 2
    assert decision.granted_by == "$.permission[1]"
    assert evaluate(policy, Request(Action.TRANSFER, TARGET), Facts()).owed == ()


def test_only_facts_that_were_looked_at_are_kept() -> None:
    """A record holds no fact that the decision did not need, not even in the hierarchies."""
    policy = _permit(_is("purpose", "isAnyOf", ("research",)))
    facts = Facts(purpose="genomics", purposes=PURPOSES, spatial="CN", places=PLACES, count=1)

    decision = evaluate(policy, READ, facts)

    assert decision.facts.document() == {
        "purpose": "genomics",
        "purposes": {"genomics": ["health", "research"], "health": [], "research": []},
    }


def _rich() -> tuple[Policy, Facts]:
    policy = Policy(
        uid="urn:p",
        permissions=(
            _rule(
                Action.USE,
                _is("purpose", "isA", ("research",)),
                _is("count", "lteq", 5),
                _is("count", "lteq", 9, "urn:unit:record"),
                _is("dateTime", "lt", NOON),
                _is("elapsedTime", "lteq", timedelta(days=2)),
                _is("recipient", "isPartOf", ("hospital",)),
                _is("spatial", "isNoneOf", ("EU",)),
                assignee="urn:me",
                duties=(Duty(action=DutyAction.ATTRIBUTE, party="urn:x"),),
            ),
        ),
        prohibitions=(_rule(Action.TRAIN),),
    )
    facts = Facts(
        purpose="genomics",
        count=5,
        counts={"urn:unit:record": 9},
        date_time=NOON - timedelta(microseconds=1),
        elapsed_time=timedelta(days=2),
        recipient="urn:lab",
        spatial="CN-31",
        purposes=PURPOSES,
        parties=PARTIES,
        places=PLACES,
    )
    return policy, facts


@pytest.mark.parametrize("action", [Action.READ, Action.TRAIN, Action.TRANSFER])
def test_record_decides_again_to_the_same(action: Action) -> None:
    """A record that went through canonical JSON gives the same decision again, permit and deny (P2)."""
    policy, facts = _rich()
    decision = evaluate(policy, Request(action, TARGET, assignee="urn:me"), facts)

    again = reevaluate(parse(canonicalize(decision.record())), policy)

    assert decision.permitted is (action is Action.READ)
    assert again == decision
    assert canonicalize(again.record()) == canonicalize(decision.record())


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("permitted", False),
        ("permitted", 1),
        ("rules", []),
        ("granted_by", None),
        ("owed", []),
        ("excluded", []),
        ("denials", [{"path": "$", "missing": []}]),
        ("facts", {}),
        ("request", {"action": "databund:train", "target": TARGET}),
    ],
)
def test_changed_record_is_found_out(member: str, value: Any) -> None:
    """A record of which any decisive member was changed does not decide again to itself."""
    policy, facts = _rich()
    record: Any = evaluate(policy, Request(Action.USE, TARGET, assignee="urn:me"), facts).record()

    with pytest.raises(ContentMismatch):
        reevaluate(record | {member: value}, policy)


def test_record_of_another_policy_is_refused() -> None:
    """A decision is only repeated under the very policy it was made under."""
    policy, facts = _rich()
    record = evaluate(policy, READ, facts).record()

    with pytest.raises(ContentMismatch, match="not made under"):
        reevaluate(record, _permit())


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"request": None},
        {"request": {"action": "fly", "target": TARGET}},
        {"request": {"action": "read", "target": TARGET, "assignee": 1}},
        {"request": {"action": "read", "target": "no iri"}},
        {"facts": []},
        {"facts": {"mood": "good"}},
        {"facts": {"count": True}},
        {"facts": {"count": -1}},
        {"facts": {"counts": {"urn:u": "1"}}},
        {"facts": {"purpose": 1}},
        {"facts": {"purpose": "two words"}},
        {"facts": {"dateTime": "2026-01-01"}},
        {"facts": {"elapsedTime": "P1M"}},
        {"facts": {"spatial": "China"}},
        {"facts": {"purposes": {"a": "b"}}},
        {"facts": {"purposes": {"a": [1]}}},
    ],
    ids=json.dumps,
)
def test_malformed_record_is_refused(change: Any) -> None:
    """A record of another form raises DocumentInvalid."""
    policy = _permit()
    record: Any = evaluate(policy, READ, Facts()).record()

    with pytest.raises(DocumentInvalid):
        reevaluate(record | change, policy)


@pytest.mark.parametrize(
    "facts",
    [
        {"date_time": datetime(2026, 1, 1)},
        {"count": -1},
        {"count": True},
        {"counts": {"no iri": 1}},
        {"elapsed_time": -SECOND},
        {"purpose": ""},
        {"spatial": "cn"},
        {"purposes": {"a": "b"}},
    ],
    ids=str,
)
def test_facts_of_the_wrong_form_are_refused(facts: dict[str, Any]) -> None:
    """A naive time, a negative count or a place that is no code cannot become a fact."""
    with pytest.raises(DocumentInvalid):
        Facts(**facts)


def test_terms_of_facts_are_expanded_like_those_of_policies() -> None:
    """A known prefix means the same in a fact and in a policy, so a prefix cannot dodge a prohibition."""
    marketing = _is("purpose", "neq", ("https://w3id.org/databund/odrl/1#marketing",))

    assert not evaluate(_permit(marketing), READ, Facts(purpose="databund:marketing")).permitted


def test_circular_hierarchies_end() -> None:
    """A hierarchy that goes in circles is followed once around."""
    facts = Facts(purpose="a", purposes={"a": ("b",), "b": ("a",)})

    assert evaluate(_permit(_is("purpose", "isA", ("b",))), READ, facts).permitted
    assert not evaluate(_permit(_is("purpose", "isA", ("c",))), READ, facts).permitted
