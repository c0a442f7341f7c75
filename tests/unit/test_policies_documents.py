"""Reading ODRL: what of the W3C's examples we decide, and what is refused at which path."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from databund.core.canonical import canonicalize, parse
from databund.core.policies import (
    PROFILE,
    Action,
    Constraint,
    Duty,
    DutyAction,
    Label,
    LeftOperand,
    LogicalConstraint,
    Operator,
    Policy,
    PolicyType,
    Rule,
    parse_policy,
    to_document,
)
from databund.errors import PolicyInvalid

EXAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "odrl" / "examples.json").read_text())
CONTEXT = "http://www.w3.org/ns/odrl.jsonld"
ODRL = "http://www.w3.org/ns/odrl/2/"


def _example(number: int, **changes: Any) -> Any:
    """An example of the W3C, its illustrative profile replaced by ours."""
    document = copy.deepcopy(EXAMPLES[str(number)])
    if "profile" in document:
        document["profile"] = PROFILE
    return document | changes


def _policy(**members: Any) -> Any:
    rule = {"target": "urn:a", "action": "use"}
    return {"@context": CONTEXT, "uid": "urn:p", "permission": [rule]} | members


def _constrained(**constraint: Any) -> Any:
    return _policy(permission=[{"target": "urn:a", "action": "use", "constraint": [constraint]}])


def _right(operand: str, value: Any, operator: str = "eq", **more: Any) -> Any:
    policy = parse_policy(_constrained(leftOperand=operand, operator=operator, rightOperand=value, **more))
    (constraint,) = policy.permissions[0].constraints
    assert isinstance(constraint, Constraint)
    return constraint.right_operand


def test_example_1_is_a_set_with_one_permission() -> None:
    """Example 1 permits everyone to use one asset."""
    policy = parse_policy(EXAMPLES["1"])

    assert policy == Policy(
        uid="http://example.com/policy:1010",
        permissions=(Rule(action=Action.USE, target="http://example.com/asset:9898.movie"),),
    )


def test_example_4_is_an_offer_of_its_assigner() -> None:
    """Example 4 offers display; the assigner of its only rule is the policy's."""
    policy = parse_policy(_example(4))

    assert (policy.type, policy.assigner) == (PolicyType.OFFER, "http://example.com/party:0001")
    assert policy.permissions[0].action is Action.DISPLAY


def test_example_13_needs_a_time_and_a_timezone() -> None:
    """Example 13 ends at a bare date, which is refused; the same with a time and a timezone is decided."""
    document = _example(13)
    constraint = document["permission"][0]["constraint"][0]
    with pytest.raises(PolicyInvalid, match=r"^\$\.permission\[0\]\.constraint\[0\]\.rightOperand: .*date"):
        parse_policy(document)

    constraint["rightOperand"] = {"@value": "2018-01-01T00:00:00+01:00", "@type": "xsd:dateTime"}

    assert canonicalize(to_document(parse_policy(document))).count(b"2017-12-31T23:00:00Z") == 1


def test_example_23_carries_the_duty_and_its_consequence() -> None:
    """Example 23 owes attribution to a named party, and tracking when that is not done."""
    (duty,) = parse_policy(_example(23)).permissions[0].duties

    assert duty == Duty(
        action=DutyAction.ATTRIBUTE,
        party="http://australia.gov.au/",
        consequences=(Duty(action=DutyAction.ACCEPT_TRACKING, party="http://example.com/dept:100"),),
    )


def test_example_24_carries_the_remedy_of_a_prohibition() -> None:
    """Example 24, about an action we decide, owes anonymization when the prohibition is infringed."""
    document = _example(24)
    document["prohibition"][0]["action"] = "derive"

    (rule,) = parse_policy(document).prohibitions

    assert rule.remedies == (Duty(action=DutyAction.ANONYMIZE, target="http://example.com/data:77"),)


def test_examples_28_and_29_are_one_policy() -> None:
    """The compact form of example 28 and its atomic form of example 29 are equal and have one digest."""
    compact, atomic = _example(28, action="read"), _example(29)
    for rule in atomic["permission"]:
        rule["action"] = "odrl:read"

    assert parse_policy(compact) == parse_policy(atomic)
    assert parse_policy(compact).digest() == parse_policy(atomic).digest()


def test_lists_multiply_into_atomic_rules() -> None:
    """Two targets and two actions make four rules, as in examples 26 and 27."""
    policy = parse_policy(_policy(permission={"target": ["urn:a", "urn:b"], "action": ["read", "derive"]}))

    assert {(rule.target, rule.action) for rule in policy.permissions} == {
        ("urn:a", Action.READ),
        ("urn:a", Action.DERIVE),
        ("urn:b", Action.READ),
        ("urn:b", Action.DERIVE),
    }


@pytest.mark.parametrize(
    ("number", "path"),
    [
        (4, "$.profile"),
        (9, "$.@context[1].vcard"),
        (13, "$.profile"),
        (34, "$.profile"),
    ],
)
def test_examples_are_refused_as_published(number: int, path: str) -> None:
    """An unknown profile or context stops the reading, as ODRL §3.2 demands."""
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(EXAMPLES[str(number)])

    assert caught.value.what.startswith(path + ":")


@pytest.mark.parametrize(
    ("number", "path"),
    [
        (14, "$.permission[0].action[0].refinement"),
        (16, "$.permission[0].target.source"),
        (22, "$.permission[0].duty[0].constraint[0].leftOperand"),
        (24, "$.prohibition[0].action"),
        (29, "$.permission[0].action"),
        (32, "$.inheritFrom"),
        (34, "$.conflict"),
    ],
)
def test_examples_with_undecidable_parts_are_refused_at_their_path(number: int, path: str) -> None:
    """Refinements, collections, gating duties, other actions, inheritance and permission-first are refused."""
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(_example(number))

    assert caught.value.what.startswith(path + ":")
    assert caught.value.fix


@pytest.mark.parametrize("action", ["read", "odrl:read", ODRL + "read", {"@id": "odrl:read"}])
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a]])
def test_terms_are_read_in_every_spelling(action: Any, wrap: Any) -> None:
    """Plain, prefixed, full and @id forms, alone or in a list, name the same action."""
    policy = parse_policy(_policy(permission={"odrl:target": {"@id": "urn:a"}, "odrl:action": wrap(action)}))

    assert policy == Policy(uid="urn:p", permissions=(Rule(action=Action.READ, target="urn:a"),))


def test_rdf_value_names_an_action() -> None:
    """The form that ODRL uses beside refinements is read when there is no refinement."""
    rule = {"target": "urn:a", "action": [{"rdf:value": {"@id": "odrl:derive"}}]}

    assert parse_policy(_policy(permission=rule)).permissions[0].action is Action.DERIVE


@pytest.mark.parametrize("action", ["databund:train", PROFILE + "#train", {"@id": "databund:train"}])
def test_our_own_action_is_read_with_its_prefix_only(action: Any) -> None:
    """databund:train is known by prefix and IRI; a bare train is not a term of ODRL."""
    assert parse_policy(_policy(permission={"target": "urn:a", "action": action})).permissions[0].action is Action.TRAIN
    with pytest.raises(PolicyInvalid, match="databund:train"):
        parse_policy(_policy(permission={"target": "urn:a", "action": "train"}))


@pytest.mark.parametrize(
    ("operand", "operator", "given", "normal"),
    [
        ("count", "lteq", 10, 10),
        ("count", "lteq", {"@value": "10", "@type": "xsd:integer"}, 10),
        ("elapsedTime", "lteq", "PT36H", {"@type": "xsd:duration", "@value": "P1DT12H"}),
        ("elapsedTime", "eq", {"@value": "PT0S", "@type": "xsd:duration"}, {"@type": "xsd:duration", "@value": "PT0S"}),
        ("dateTime", "gteq", "2017-12-31T06:00Z", {"@type": "xsd:dateTime", "@value": "2017-12-31T06:00:00Z"}),
        (
            "dateTime",
            "lt",
            "2027-01-01T08:00:00.250+08:00",
            {"@type": "xsd:dateTime", "@value": "2027-01-01T00:00:00.25Z"},
        ),
        ("purpose", "eq", "科研", "科研"),
        ("purpose", "isA", {"@id": "databund:research"}, {"@id": PROFILE + "#research"}),
        ("purpose", "isAnyOf", "research", ["research"]),
        ("purpose", "isNoneOf", {"@list": ["b", "a", "b"]}, ["a", "b"]),
        ("recipient", "isPartOf", "did:example:team", {"@id": "did:example:team"}),
        ("spatial", "isPartOf", "CN", {"@id": "https://www.iso.org/obp/ui/#iso:code:3166:CN"}),
        (
            "spatial",
            "eq",
            {"@id": "https://www.iso.org/obp/ui/#iso:code:3166:AU-QLD"},
            {"@id": "https://www.iso.org/obp/ui/#iso:code:3166:AU-QLD"},
        ),
    ],
)
def test_right_operands_have_one_normal_form(operand: str, operator: str, given: Any, normal: Any) -> None:
    """Each accepted spelling of a right operand is written in one way, which reads back the same."""
    policy = parse_policy(_constrained(leftOperand=operand, operator=operator, rightOperand=given))
    document: Any = to_document(policy)

    assert document["permission"][0]["constraint"][0]["rightOperand"] == normal
    assert parse_policy(document) == policy


def test_data_type_beside_the_operand_is_understood() -> None:
    """ODRL's dataType member types a plain literal."""
    assert _right("count", "7", dataType="xsd:integer") == 7


def test_count_may_have_a_unit() -> None:
    """A count of something else than executions names its unit by IRI."""
    document = _constrained(leftOperand="count", operator="lteq", rightOperand=5, unit="databund:record")

    (constraint,) = parse_policy(document).permissions[0].constraints

    assert isinstance(constraint, Constraint)
    assert constraint.unit == PROFILE + "#record"


def test_logical_constraints_nest() -> None:
    """and, or and xone hold inline constraints, as lists or JSON-LD lists, within each other."""
    one = {"leftOperand": "count", "operator": "lt", "rightOperand": 1}
    two = {"leftOperand": "purpose", "operator": "eq", "rightOperand": "research"}
    policy = parse_policy(_constrained(**{"odrl:or": {"@list": [two, {"xone": [one, two]}]}}))

    assert isinstance(policy.permissions[0].constraints[0], LogicalConstraint)
    assert parse_policy(to_document(policy)) == policy


def test_labels_keep_their_languages() -> None:
    """Chinese and English titles and descriptions survive the round trip through bytes."""
    title = [{"@language": "zh", "@value": "气象数据使用许可"}, {"@language": "en", "@value": "Weather data license"}]
    policy = parse_policy(_policy(**{"dc:title": title, "dct:description": "中文 and English"}))

    again = parse_policy(parse(canonicalize(to_document(policy))))

    assert again == policy
    assert again.titles == (
        Label(text="Weather data license", language="en"),
        Label(text="气象数据使用许可", language="zh"),
    )
    assert again.descriptions == (Label(text="中文 and English"),)


CONSTRAINT = "$.permission[0].constraint[0]"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "$"),
        (None, "$"),
        ({"uid": float("nan")}, "$"),
        ({"uid": "urn:p"}, "$.@context"),
        (_policy(**{"@context": []}), "$.@context"),
        (_policy(**{"@context": [CONTEXT, "https://example.com/context.jsonld"]}), "$.@context[1]"),
        (_policy(**{"@context": [CONTEXT, {"odrl": "https://example.com/"}]}), "$.@context[1].odrl"),
        (_policy(**{"@context": [CONTEXT, {"use": ODRL + "transfer"}]}), "$.@context[1].use"),
        (_policy(**{"@context": [CONTEXT, {"@vocab": "https://example.com/"}]}), "$.@context[1].@vocab"),
        (_policy(uid="no iri"), "$.uid"),
        (_policy(uid=1), "$.uid"),
        (_policy(**{"@id": "urn:q"}), "$.@id"),
        ({"@context": CONTEXT, "permission": [{"target": "urn:a", "action": "use"}]}, "$.uid"),
        (_policy(**{"@type": "Ticket"}), "$.type"),
        (_policy(**{"@type": "Offer"}), "$"),
        (_policy(**{"@type": "Agreement", "assigner": "urn:x"}), "$"),
        (_policy(permission=[]), "$"),
        (_policy(permission=["urn:rule"]), "$.permission[0]"),
        (_policy(permission=[{"target": "urn:a"}]), "$.permission[0].action"),
        (_policy(permission=[{"action": "use"}]), "$.permission[0].target"),
        (_policy(permission=[{"target": [], "action": "use"}]), "$.permission[0].target"),
        (_policy(permission=[{"target": "urn:a", "action": []}]), "$.permission[0].action"),
        (_policy(permission=[{"target": "urn:a", "action": "play"}]), "$.permission[0].action"),
        (_policy(permission=[{"target": "urn:a", "action": "use", "output": "urn:b"}]), "$.permission[0].output"),
        (_policy(permission=[{"target": "urn:a", "action": "use", "remedy": []}]), "$.permission[0].remedy"),
        (_policy(permission=[{"target": "urn:a", "action": "use", "@type": "Duty"}]), "$.permission[0].type"),
        (
            _policy(permission=[{"target": ["urn:a"] * 200, "action": ["use"] * 2}]),
            "$.permission[0]",
        ),
        (_policy(prohibition=[{"target": "urn:a", "action": "derive"}]), "$.conflict"),
        (_policy(conflict="invalid"), "$.conflict"),
        (_policy(profile=["https://example.com/profile"]), "$.profile[0]"),
        (_policy(**{"dct:title": {"@value": "x", "@language": "?"}}), "$.dct:title"),
        (_policy(obligation=[{"action": "compensate"}]), "$.obligation[0].action"),
        (_policy(obligation=[{"action": "delete", "informedParty": "urn:x"}]), "$.obligation[0].informedParty"),
        (
            _policy(obligation=[{"action": "delete", "consequence": {"action": "inform", "consequence": {}}}]),
            "$.obligation[0].consequence.consequence",
        ),
        (_constrained(leftOperand="event", operator="lt", rightOperand="urn:e"), CONSTRAINT + ".leftOperand"),
        (_constrained(leftOperand="count", operator="hasPart", rightOperand=1), CONSTRAINT + ".operator"),
        (_constrained(leftOperand="count", operator="isA", rightOperand=1), CONSTRAINT + ".operator"),
        (_constrained(leftOperand="spatial", operator="isA", rightOperand="CN"), CONSTRAINT + ".operator"),
        (_constrained(leftOperand="purpose", operator="lt", rightOperand="a"), CONSTRAINT + ".operator"),
        (_constrained(leftOperand="count", operator="eq"), CONSTRAINT + ".rightOperand"),
        (_constrained(leftOperand="count", operator="eq", rightOperand="10"), CONSTRAINT + ".rightOperand"),
        (_constrained(leftOperand="count", operator="eq", rightOperand=True), CONSTRAINT + ".rightOperand"),
        (_constrained(leftOperand="count", operator="eq", rightOperand=1.5), CONSTRAINT + ".rightOperand"),
        (_constrained(leftOperand="count", operator="eq", rightOperand=-1), CONSTRAINT),
        (_constrained(leftOperand="count", operator="eq", rightOperand=[1, 2]), CONSTRAINT + ".rightOperand"),
        (
            _constrained(leftOperand="count", operator="eq", rightOperand={"@value": "1", "@type": "xsd:decimal"}),
            CONSTRAINT + ".rightOperand",
        ),
        (_constrained(leftOperand="elapsedTime", operator="lt", rightOperand="P1M"), CONSTRAINT + ".rightOperand"),
        (_constrained(leftOperand="elapsedTime", operator="lt", rightOperand="P1Y"), CONSTRAINT + ".rightOperand"),
        (_constrained(leftOperand="elapsedTime", operator="lt", rightOperand="PT"), CONSTRAINT + ".rightOperand"),
        (
            _constrained(leftOperand="elapsedTime", operator="lt", rightOperand="P999999DT1S"),
            CONSTRAINT + ".rightOperand",
        ),
        (
            _constrained(leftOperand="dateTime", operator="lt", rightOperand="2027-01-01T00:00:00"),
            CONSTRAINT + ".rightOperand",
        ),
        (
            _constrained(leftOperand="dateTime", operator="lt", rightOperand="2027-02-30T00:00:00Z"),
            CONSTRAINT + ".rightOperand",
        ),
        (
            _constrained(leftOperand="dateTime", operator="lt", rightOperand="0001-01-01T00:00:00+14:00"),
            CONSTRAINT + ".rightOperand",
        ),
        (_constrained(leftOperand="purpose", operator="isAnyOf", rightOperand=[]), CONSTRAINT + ".rightOperand"),
        (
            _constrained(leftOperand="purpose", operator="isAnyOf", rightOperand=["a", "b c"]),
            CONSTRAINT + ".rightOperand[1]",
        ),
        (
            _constrained(leftOperand="purpose", operator="eq", rightOperand={"@id": "relative"}),
            CONSTRAINT + ".rightOperand",
        ),
        (_constrained(leftOperand="spatial", operator="eq", rightOperand="China"), CONSTRAINT + ".rightOperand"),
        (
            _constrained(leftOperand="count", operator="eq", rightOperandReference="urn:r"),
            CONSTRAINT + ".rightOperandReference",
        ),
        (_constrained(leftOperand="count", operator="eq", rightOperand=1, status=1), CONSTRAINT + ".status"),
        (
            _constrained(leftOperand="dateTime", operator="lt", rightOperand="2027-01-01T00:00Z", unit="urn:u"),
            CONSTRAINT,
        ),
        (_constrained(andSequence=[]), CONSTRAINT + ".andSequence"),
        (_constrained(**{"or": ["urn:c"]}), CONSTRAINT + ".or[0]"),
        (_constrained(**{"or": [{"leftOperand": "count", "operator": "eq", "rightOperand": 1}]}), CONSTRAINT),
        (_constrained(**{"xone": [{"leftOperand": "count", "operator": "eq", "rightOperand": 1}] * 2}), CONSTRAINT),
        (_constrained(**{"or": [], "and": []}), CONSTRAINT),
    ],
)
def test_what_cannot_be_decided_is_refused_at_its_path(document: Any, path: str) -> None:
    """Every unknown, missing, ambiguous or oversized part stops the reading and names where it stands."""
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(document)

    assert caught.value.what.startswith(path + ":")
    assert caught.value.fix


def test_deep_logic_is_refused() -> None:
    """Logical constraints nest eight levels and no further."""
    constraint: Any = {"leftOperand": "count", "operator": "eq", "rightOperand": 1}
    for level in range(10):
        constraint = {"or": [constraint, {"leftOperand": "count", "operator": "lt", "rightOperand": level + 2}]}

    with pytest.raises(PolicyInvalid, match="deeper than 8"):
        parse_policy(_constrained(**constraint))


def test_too_many_rules_are_refused() -> None:
    """A policy of more than 256 rules is refused."""
    rules = [{"target": f"urn:a:{number}", "action": "use"} for number in range(200)]

    with pytest.raises(PolicyInvalid, match=r"^\$: .*256"):
        parse_policy(_policy(permission=rules, prohibition=rules, conflict="prohibit"))


def test_empty_lists_say_nothing() -> None:
    """An empty list of rules, duties or constraints is the same as none."""
    bare = {"target": "urn:a", "action": "use", "constraint": [], "duty": []}

    assert parse_policy(_policy(permission=[bare], prohibition=[], obligation=[])) == parse_policy(_policy())


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"left_operand": LeftOperand.COUNT, "operator": Operator.IS_A, "right_operand": 1}, "cannot be compared"),
        ({"left_operand": LeftOperand.COUNT, "operator": Operator.EQ, "right_operand": True}, "wrong type"),
        ({"left_operand": LeftOperand.PURPOSE, "operator": Operator.EQ, "right_operand": ("a", "b")}, "wrong type"),
        ({"left_operand": LeftOperand.PURPOSE, "operator": Operator.IS_ANY_OF, "right_operand": ()}, "wrong type"),
    ],
)
def test_constraints_of_the_wrong_form_cannot_be_made(members: Any, reason: str) -> None:
    """The model checks itself, so a policy made in code is as sound as one that was read."""
    with pytest.raises(PolicyInvalid, match=reason):
        Constraint(**members)


def test_rules_of_the_wrong_kind_cannot_be_made() -> None:
    """A permission has no remedy, a prohibition no duty, a remedy no consequence."""
    tell = Duty(action=DutyAction.INFORM)
    owing = Duty(action=DutyAction.DELETE, consequences=(tell,))
    use = {"action": Action.USE, "target": "urn:a"}

    with pytest.raises(PolicyInvalid, match="permission has a remedy"):
        Policy(uid="urn:p", permissions=(Rule(**use, remedies=(tell,)),))  # type: ignore[arg-type]
    with pytest.raises(PolicyInvalid, match="prohibition has a duty"):
        Policy(uid="urn:p", prohibitions=(Rule(**use, duties=(tell,)),))  # type: ignore[arg-type]
    with pytest.raises(PolicyInvalid, match="remedy has a consequence"):
        Policy(uid="urn:p", prohibitions=(Rule(**use, remedies=(owing,)),))  # type: ignore[arg-type]
