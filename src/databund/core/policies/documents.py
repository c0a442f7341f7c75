"""Reading ODRL 2.2 JSON-LD as a policy we can decide.

Accepted are the forms of the W3C's examples: compact and atomic policies, single values and lists, plain terms,
prefixed terms, full IRIs and ``@id`` objects. Whatever we cannot decide is refused at its JSON path and never
skipped, because a rule that is not understood must not permit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import product
from typing import TypeVar

import msgspec

from databund.core.canonical import JsonValue, canonicalize, parse
from databund.core.policies.literals import read_duration, read_instant, read_iri, read_place, read_term
from databund.core.policies.model import (
    AnyConstraint,
    Constraint,
    Duty,
    Label,
    Logic,
    LogicalConstraint,
    Policy,
    RightOperand,
    Rule,
)
from databund.core.policies.vocabulary import (
    CORE_PROFILE,
    ODRL,
    ODRL_CONTEXT,
    PREFIXES,
    PROFILE,
    Action,
    DutyAction,
    LeftOperand,
    Operator,
    PolicyType,
    expand,
)
from databund.errors import DocumentInvalid, PolicyInvalid

__all__ = ["MAX_CONSTRAINTS", "MAX_LOGIC_DEPTH", "MAX_RULES", "MAX_TERMS", "parse_policy"]

MAX_RULES = 256
"""Atomic rules in one policy."""

MAX_CONSTRAINTS = 64
"""Members of any list of constraints, duties or labels."""

MAX_TERMS = 1_000
"""Terms in one right operand."""

MAX_LOGIC_DEPTH = 8
"""Logical constraints within each other."""

_SHARED = frozenset({"target", "assigner", "assignee", "action"})
_LABELS = frozenset({"dct:title", "dct:description"})
_PARTIES = frozenset(action.party for action in DutyAction if action.party)
_POLICY = (
    _SHARED | _LABELS | {"@context", "type", "uid", "profile", "conflict", "permission", "prohibition", "obligation"}
)
_PERMISSION = _SHARED | {"type", "constraint", "duty"}
_PROHIBITION = _SHARED | {"type", "constraint", "remedy"}
_DUTY = _SHARED | _PARTIES | {"type", "constraint", "consequence"}
_CONSTRAINT = frozenset({"type", "leftOperand", "operator", "rightOperand", "dataType", "unit"})
_TYPES = {
    LeftOperand.COUNT: ("integer", "nonNegativeInteger", "positiveInteger", "int", "long"),
    LeftOperand.ELAPSED_TIME: ("duration", "dayTimeDuration"),
    LeftOperand.DATE_TIME: ("dateTime", "dateTimeStamp"),
}
_TERM_TYPES = ("string", "anyURI")
E_ = TypeVar("E_", bound=StrEnum)
T = TypeVar("T")


def parse_policy(document: JsonValue) -> Policy:
    """Read an ODRL policy. Raises PolicyInvalid, naming the JSON path, for everything that we cannot decide."""
    try:
        canonicalize(document)
    except DocumentInvalid as error:
        raise _invalid("$", error.what, error.fix) from error
    return _read(msgspec.json.encode(document))


@lru_cache(maxsize=32)
def _read(written: bytes) -> Policy:
    """The policy of a document as JSON; remembered, because one offer is sold and delivered again and again."""
    node = _Node.read(parse(written), "$", _POLICY)
    _check_context(node)
    _check_profile(node)
    shared = {name: node.value(name) for name in _SHARED}
    permissions = [rule for item in node.nodes("permission", _PERMISSION) for rule in _rules(item, shared)]
    prohibitions = [rule for item in node.nodes("prohibition", _PROHIBITION) for rule in _rules(item, shared)]
    obligations = [duty for item in node.nodes("obligation", _DUTY) for duty in _duties(item, shared, last=False)]
    if len(permissions) + len(prohibitions) + len(obligations) > MAX_RULES:
        raise _invalid("$", f"the policy has more than {MAX_RULES} rules.", "Split it into several policies.")
    _check_conflict(node, needed=bool(permissions and prohibitions))
    return _made(
        "$",
        lambda: Policy(
            uid=_text(node.path + ".uid", node.required("uid"), read_iri),
            type=_policy_type(node),
            permissions=tuple(permissions),
            prohibitions=tuple(prohibitions),
            obligations=tuple(obligations),
            titles=_labels(node, "dct:title"),
            descriptions=_labels(node, "dct:description"),
        ),
    )


class _Node(msgspec.Struct, frozen=True):
    """A JSON object at a path, its member names in their short form."""

    path: str
    members: Mapping[str, JsonValue]

    @classmethod
    def read(cls, value: JsonValue, path: str, names: Iterable[str]) -> _Node:
        if not isinstance(value, dict):
            raise _invalid(path, "an object is expected.", "Write the ODRL node inline.")
        members: dict[str, JsonValue] = {}
        for spelled, item in value.items():
            name = _short_name(spelled)
            if name not in names:
                raise _invalid(f"{path}.{spelled[:80]}", "this member is not one we can decide.", "Leave it away.")
            if name in members:
                raise _invalid(f"{path}.{spelled}", "this member occurs twice.", "Write it once.")
            members[name] = item
        return cls(path, members)

    def value(self, name: str) -> _Value | None:
        return _Value(f"{self.path}.{name}", self.members[name]) if name in self.members else None

    def required(self, name: str) -> JsonValue:
        if name not in self.members:
            raise _invalid(f"{self.path}.{name}", "this member is missing.", "Add it.")
        return self.members[name]

    def items(self, name: str, most: int = MAX_CONSTRAINTS) -> list[_Value]:
        """The members of a list that may be empty or absent, which says the same in JSON-LD."""
        value = self.value(name)
        return [] if value is None or value.value == [] else value.items(most)

    def nodes(self, name: str, names: Iterable[str]) -> list[_Node]:
        most = MAX_RULES if names in (_PERMISSION, _PROHIBITION) else MAX_CONSTRAINTS
        return [_Node.read(item.value, item.path, names) for item in self.items(name, most)]


class _Value(msgspec.Struct, frozen=True):
    """A JSON value at a path."""

    path: str
    value: JsonValue

    def items(self, most: int) -> list[_Value]:
        """The members of a list; a single value counts as a list of one."""
        value = self.value
        if isinstance(value, dict) and set(value) == {"@list"}:
            value = value["@list"]
        if not isinstance(value, list | tuple):
            return [_Value(self.path, value)]
        if not 0 < len(value) <= most:
            raise _invalid(self.path, f"a list of 1 to {most} members is expected.", "Leave it away or split it.")
        return [_Value(f"{self.path}[{index}]", item) for index, item in enumerate(value)]


def _short_name(name: str) -> str:
    if ":" not in name:
        return {"@id": "uid", "@type": "type"}.get(name, name)
    full = expand(name)
    if full.startswith(ODRL):
        full = full.removeprefix(ODRL)
    elif full.startswith(PREFIXES["dct"]):
        full = "dct:" + full.removeprefix(PREFIXES["dct"])
    elif full.startswith(PREFIXES["rdf"]):
        full = "rdf:" + full.removeprefix(PREFIXES["rdf"])
    return full


def _check_context(node: _Node) -> None:
    seen = set()
    for item in node.items("@context"):
        if isinstance(item.value, str) and item.value in (ODRL_CONTEXT, PROFILE):
            seen.add(item.value)
        elif isinstance(item.value, dict):
            for name, meaning in item.value.items():
                if PREFIXES.get(name) != meaning:
                    raise _invalid(f"{item.path}.{name[:80]}", "this context entry is not known.", "Leave it away.")
        else:
            raise _invalid(item.path, "this context is not known; contexts are never fetched.", f"Use {ODRL_CONTEXT}.")
    if ODRL_CONTEXT not in seen:
        raise _invalid("$.@context", "the ODRL context is missing.", f"Add {ODRL_CONTEXT}.")


def _check_profile(node: _Node) -> None:
    for item in node.items("profile"):
        if _text(item.path, item.value, read_iri) not in (PROFILE, CORE_PROFILE):
            raise _invalid(item.path, f"the profile {item.value!r} is not known.", f"Use {PROFILE}.")


def _check_conflict(node: _Node, *, needed: bool) -> None:
    value = node.value("conflict")
    if value is None:
        if needed:  # ODRL's default voids a policy that contradicts itself; to us a prohibition just wins.
            raise _invalid("$.conflict", "permissions and prohibitions need a strategy.", 'Add "conflict": "prohibit".')
    elif _name(value.path, value.value) != "prohibit":
        raise _invalid(value.path, "this conflict strategy is not one we follow.", 'Write "conflict": "prohibit".')


def _policy_type(node: _Node) -> PolicyType:
    value = node.value("type")
    if value is None:
        return PolicyType.SET
    name = _name(value.path, value.value)
    return PolicyType.SET if name == "Policy" else _member(value.path, name, PolicyType)


def _check_type(node: _Node, *allowed: str) -> None:
    value = node.value("type")
    if value is not None and _name(value.path, value.value) not in allowed:
        raise _invalid(value.path, f"the type {allowed[0]} is expected here.", "Leave the type away.")


def _rules(node: _Node, shared: Mapping[str, _Value | None]) -> list[Rule]:
    permits = node.path.startswith("$.permission")
    _check_type(node, "Permission" if permits else "Prohibition", "Rule")
    constraints = _constraints(node)
    duties = [duty for item in node.nodes("duty", _DUTY) for duty in _duties(item, {}, last=False)]
    remedies = [duty for item in node.nodes("remedy", _DUTY) for duty in _duties(item, {}, last=True)]
    rules = []
    for action, target, assigner, assignee in _atoms(node, shared):
        if target is None:
            raise _invalid(node.path + ".target", "this member is missing.", "Add it.")
        rules.append(
            Rule(
                action=_member(node.path + ".action", action, Action),
                target=target,
                assigner=assigner,
                assignee=assignee,
                constraints=constraints,
                duties=tuple(duties),
                remedies=tuple(remedies),
            )
        )
    return rules


def _duties(node: _Node, shared: Mapping[str, _Value | None], *, last: bool) -> list[Duty]:
    _check_type(node, "Duty", "Rule")
    constraints = _constraints(node)
    if last and (value := node.value("consequence")):
        raise _invalid(value.path, "no consequence is allowed here.", "Leave it away.")
    consequences = [duty for item in node.nodes("consequence", _DUTY) for duty in _duties(item, {}, last=True)]
    parties = [(name, _resource(value)) for name in sorted(_PARTIES) if (value := node.value(name))]
    duties = []
    for name, target, assigner, assignee in _atoms(node, shared):
        action = _member(node.path + ".action", name, DutyAction)
        for function, _ in parties:
            if function != action.party:
                raise _invalid(f"{node.path}.{function}", f"{action} has no such party.", "Leave it away.")
        duties.append(
            Duty(
                action=action,
                target=target,
                assigner=assigner,
                assignee=assignee,
                party=parties[0][1] if parties else None,
                constraints=constraints,
                consequences=tuple(consequences),
            )
        )
    return duties


def _atoms(node: _Node, shared: Mapping[str, _Value | None]) -> list[tuple[str, str | None, str | None, str | None]]:
    """Every combination of action, target, assigner and assignee (§2.7); shared ones fill what is not there."""
    found = {name: node.value(name) or shared.get(name) for name in _SHARED}
    if found["action"] is None:
        raise _invalid(node.path + ".action", "this member is missing.", "Add it.")
    actions = [_action(item) for item in found["action"].items(MAX_RULES)]
    resources = [
        [_resource(item) for item in value.items(MAX_RULES)] if (value := found[name]) else [None]
        for name in ("target", "assigner", "assignee")
    ]
    if len(actions) * len(resources[0]) * len(resources[1]) * len(resources[2]) > MAX_RULES:
        raise _invalid(node.path, f"this makes more than {MAX_RULES} rules.", "Split the policy.")
    return [(action, *rest) for action, rest in product(actions, product(*resources))]  # type: ignore[misc]


def _action(item: _Value) -> str:
    if isinstance(item.value, dict) and set(item.value) != {"@id"}:
        node = _Node.read(item.value, item.path, {"rdf:value"})
        return _name(item.path + ".rdf:value", node.required("rdf:value"))
    return _name(item.path, item.value)


def _resource(item: _Value) -> str:
    """The IRI of one asset or party; collections are refused, as we cannot tell their members."""
    if isinstance(item.value, dict):
        node = _Node.read(item.value, item.path, {"uid", "type"})
        _check_type(node, "Party", "Asset")
        return _text(item.path + ".uid", node.required("uid"), read_iri)
    return _text(item.path, item.value, read_iri)


def _constraints(node: _Node) -> tuple[AnyConstraint, ...]:
    return tuple(_constraint(item, MAX_LOGIC_DEPTH) for item in node.items("constraint"))


def _constraint(item: _Value, depth: int) -> AnyConstraint:
    node = _Node.read(item.value, item.path, _CONSTRAINT | set(Logic))
    joins = [logic for logic in Logic if logic in node.members]
    if not joins:
        return _comparison(node)
    _check_type(node, "LogicalConstraint", "Constraint")
    if len(joins) > 1 or set(node.members) - {"type", *joins}:
        raise _invalid(node.path, "a logical constraint has one operand and nothing else.", "Nest or split it.")
    if not depth:
        raise _invalid(node.path, f"logic is nested deeper than {MAX_LOGIC_DEPTH} levels.", "Write it flatter.")
    operands = tuple(_constraint(operand, depth - 1) for operand in node.items(joins[0]))
    return _made(node.path, lambda: LogicalConstraint(logic=joins[0], constraints=operands))


def _comparison(node: _Node) -> Constraint:
    _check_type(node, "Constraint")
    left = _member(
        f"{node.path}.leftOperand", _name(f"{node.path}.leftOperand", node.required("leftOperand")), LeftOperand
    )
    operator = _member(f"{node.path}.operator", _name(f"{node.path}.operator", node.required("operator")), Operator)
    if operator not in left.operators:
        known = ", ".join(sorted(left.operators))
        raise _invalid(f"{node.path}.operator", f"{left} cannot be compared by {operator}.", f"Use one of: {known}.")
    right = _right_operand(node, left, operator)
    unit = node.value("unit")
    return _made(
        node.path,
        lambda: Constraint(
            left_operand=left, operator=operator, right_operand=right, unit=_resource(unit) if unit else None
        ),
    )


def _right_operand(node: _Node, left: LeftOperand, operator: Operator) -> RightOperand:
    items = _Value(f"{node.path}.rightOperand", node.required("rightOperand")).items(MAX_TERMS)
    if not operator.takes_list and len(items) > 1:
        raise _invalid(f"{node.path}.rightOperand", f"{operator} takes one value.", "Use isAnyOf for several.")
    data_type = node.value("dataType")
    declared = None if data_type is None else _name(data_type.path, data_type.value)
    if left.is_term:
        return tuple(_term(item, left, declared) for item in items)
    return _quantity(items[0], left, declared)


def _term(item: _Value, left: LeftOperand, declared: str | None) -> str:
    read = read_place if left is LeftOperand.SPATIAL else read_term
    if isinstance(item.value, dict) and set(item.value) == {"@id"}:
        return _text(item.path, item.value["@id"], lambda text: read(read_iri(text)))
    return _text(item.path, _literal(item, _TERM_TYPES, declared), read)


def _quantity(item: _Value, left: LeftOperand, declared: str | None) -> int | timedelta | datetime:
    value = _literal(item, _TYPES[left], declared)
    if left is LeftOperand.ELAPSED_TIME:
        return _text(item.path, value, read_duration)
    if left is LeftOperand.DATE_TIME:
        return _text(item.path, value, read_instant)
    typed = declared is not None or isinstance(item.value, dict)
    if typed and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        return int(value)
    if type(value) is int:
        return value
    raise _invalid(item.path, "a count is a whole number.", "Write it as a number, such as 10.")


def _literal(item: _Value, types: tuple[str, ...], declared: str | None) -> JsonValue:
    """The value of a literal, plain or typed; the type must be one that the left operand has."""
    value = item.value
    if isinstance(value, dict):
        node = _Node.read(value, item.path, {"@value", "type"})
        written = node.value("type")
        declared = _name(written.path, written.value) if written else declared
        value = node.required("@value")
    if declared is not None and declared.removeprefix(PREFIXES["xsd"]) not in types:
        raise _invalid(item.path, f"the type {declared[:80]} is not one we compare here.", f"Use xsd:{types[0]}.")
    return value


def _labels(node: _Node, name: str) -> tuple[Label, ...]:
    return tuple(_label(item) for item in node.items(name))


def _label(item: _Value) -> Label:
    if isinstance(item.value, dict):
        node = _Node.read(item.value, item.path, {"@value", "@language"})
        language = node.value("@language")
        text = _text(item.path + ".@value", node.required("@value"), str)
        tag = None if language is None else _text(language.path, language.value, str)
        return _made(item.path, lambda: Label(text=text, language=tag))
    return Label(text=_text(item.path, item.value, str))


def _name(path: str, value: JsonValue) -> str:
    """The short form of a vocabulary term, given as a term, a prefixed name, an IRI or an ``@id`` object."""
    if isinstance(value, dict) and set(value) == {"@id"}:
        value = value["@id"]
    if not isinstance(value, str):
        raise _invalid(path, "one term of the vocabulary is expected.", "Write one term, such as odrl:use.")
    full = expand(value)
    if full.startswith(ODRL):
        return full.removeprefix(ODRL)
    if full.startswith(PREFIXES["databund"]):
        return "databund:" + full.removeprefix(PREFIXES["databund"])
    return full


def _member(path: str, name: str, kind: type[E_]) -> E_:
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(kind)
        raise _invalid(path, f"{name[:80]!r} is not a term we can decide.", f"Use one of: {known}.") from None


def _text(path: str, value: JsonValue, read: Callable[[str], T]) -> T:
    if not isinstance(value, str):
        raise _invalid(path, "a text is expected.", "Write a string.")
    try:
        return read(value)
    except ValueError as error:
        raise _invalid(path, str(error), "Correct it.") from error


def _made(path: str, make: Callable[[], T]) -> T:
    """Make a value of the model; what the model refuses is named with its path."""
    try:
        return make()
    except PolicyInvalid as error:
        if error.what.startswith("$"):
            raise
        raise _invalid(path, error.what, error.fix) from error


def _invalid(path: str, what: str, fix: str) -> PolicyInvalid:
    return PolicyInvalid(f"{path}: {what}", fix=fix)
