"""The value model of a usage policy: policies, rules, duties and constraints, always in normal form.

ODRL information model 2.2 (https://www.w3.org/TR/odrl-model/), the atomic form of §2.7: one action, one target, one
assigner and one assignee in a rule. Members whose order has no meaning are sorted by their canonical JSON and
repetitions dropped when a value is made, so equal policies are equal values with equal documents and one hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Protocol, TypeAlias, TypeVar

from databund.core.canonical import MAX_INTEGER, JsonValue, canonicalize
from databund.core.policies.literals import MAX_DURATION, write_duration, write_instant
from databund.core.policies.vocabulary import (
    ODRL_CONTEXT,
    PLACE,
    PREFIXES,
    PROFILE,
    Action,
    DutyAction,
    LeftOperand,
    Operator,
    PolicyType,
)
from databund.errors import PolicyInvalid

__all__ = [
    "AnyConstraint",
    "Constraint",
    "Duty",
    "Label",
    "Logic",
    "LogicalConstraint",
    "Policy",
    "RightOperand",
    "Rule",
    "to_document",
]

RightOperand: TypeAlias = tuple[str, ...] | int | timedelta | datetime
"""Terms (always a tuple, sorted), a count, a duration in whole seconds, or an instant with a timezone."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


class _Written(Protocol):
    def document(self) -> dict[str, JsonValue]: ...


W = TypeVar("W", bound=_Written)


def _normal(items: Iterable[W]) -> tuple[W, ...]:
    different = tuple(dict.fromkeys(items))
    if len(different) < 2:
        return different
    return tuple(sorted(different, key=lambda item: canonicalize(item.document())))


def _documents(items: Iterable[_Written]) -> list[JsonValue]:
    return [item.document() for item in items]


def _present(**members: JsonValue) -> dict[str, JsonValue]:
    return {name: value for name, value in members.items() if value not in (None, [])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One comparison (§2.5.1). ``unit`` is the IRI of what a count counts; without it, executions of the action."""

    left_operand: LeftOperand
    operator: Operator
    right_operand: RightOperand
    unit: str | None = None

    def __post_init__(self) -> None:
        left, operator = self.left_operand, self.operator
        if operator not in left.operators:
            known = ", ".join(sorted(left.operators))
            raise PolicyInvalid(f"{left} cannot be compared by {operator}.", fix=f"Use one of: {known}.")
        if isinstance(self.right_operand, tuple):
            object.__setattr__(self, "right_operand", tuple(sorted(set(self.right_operand))))
        if not self._is_typed():
            raise PolicyInvalid(f"The right operand of {left} {operator} has the wrong type.", fix=_EXPECTED[left])
        if self.unit is not None and left is not LeftOperand.COUNT:
            raise PolicyInvalid(f"{left} has no unit that we can decide.", fix="Leave the unit away.")

    def _is_typed(self) -> bool:
        value = self.right_operand
        if self.left_operand.is_term:
            return isinstance(value, tuple) and (len(value) > 0 if self.operator.takes_list else len(value) == 1)
        if self.left_operand is LeftOperand.COUNT:
            return type(value) is int and 0 <= value <= MAX_INTEGER
        if self.left_operand is LeftOperand.ELAPSED_TIME:
            return isinstance(value, timedelta) and timedelta() <= value <= MAX_DURATION and not value.microseconds
        return isinstance(value, datetime) and value.tzinfo is not None

    def document(self) -> dict[str, JsonValue]:
        """The constraint in ODRL JSON-LD."""
        return _present(
            leftOperand=self.left_operand.value,
            operator=self.operator.value,
            rightOperand=self._right_document(),
            unit=self.unit,
        )

    def _right_document(self) -> JsonValue:
        value = self.right_operand
        if isinstance(value, tuple):
            prefix = PLACE if self.left_operand is LeftOperand.SPATIAL else ""
            terms: list[JsonValue] = [{"@id": prefix + term} if prefix or ":" in term else term for term in value]
            return terms if self.operator.takes_list else terms[0]
        if isinstance(value, timedelta):
            return {"@type": "xsd:duration", "@value": write_duration(value)}
        if isinstance(value, datetime):
            return {"@type": "xsd:dateTime", "@value": write_instant(value)}
        return value


_EXPECTED = {
    LeftOperand.PURPOSE: "Give a term or IRI; a list of them to isAnyOf, isAllOf and isNoneOf.",
    LeftOperand.RECIPIENT: "Give a term or IRI; a list of them to isAnyOf, isAllOf and isNoneOf.",
    LeftOperand.SPATIAL: "Give an ISO 3166 code; a list of them to isAnyOf, isAllOf and isNoneOf.",
    LeftOperand.COUNT: "Give a whole number from 0 to 2^53-1.",
    LeftOperand.ELAPSED_TIME: "Give a duration in days, hours, minutes and whole seconds, such as P30D.",
    LeftOperand.DATE_TIME: "Give a date and time with a timezone, such as 2027-01-01T00:00:00Z.",
}


class Logic(StrEnum):
    """How a logical constraint joins its operands (§2.5.2)."""

    AND = "and"
    OR = "or"
    XONE = "xone"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalConstraint:
    """Two or more different constraints joined by and, or, or exactly-one."""

    logic: Logic
    constraints: tuple[AnyConstraint, ...]

    def __post_init__(self) -> None:
        normal = _normal(self.constraints)
        if len(normal) < 2 or len(normal) != len(self.constraints):
            raise PolicyInvalid(
                f"{self.logic} joins two or more different constraints.", fix="Give each constraint once, at least two."
            )
        object.__setattr__(self, "constraints", normal)

    def document(self) -> dict[str, JsonValue]:
        """The logical constraint in ODRL JSON-LD."""
        return {self.logic.value: _documents(self.constraints)}


AnyConstraint: TypeAlias = Constraint | LogicalConstraint


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What must be done (§2.6.3). A duty without parties or target has those of its rule.

    ``party`` is whom the act is towards, for the actions that have one. ``constraints`` say when or how; they are
    carried to the owed duty and not decided. ``consequences`` are owed when the duty is not done.
    """

    action: DutyAction
    target: str | None = None
    assigner: str | None = None
    assignee: str | None = None
    party: str | None = None
    constraints: tuple[AnyConstraint, ...] = ()
    consequences: tuple[Duty, ...] = ()

    def __post_init__(self) -> None:
        if self.party is not None and self.action.party is None:
            raise PolicyInvalid(f"The duty {self.action} is towards nobody.", fix="Leave the party away.")
        if any(duty.consequences for duty in self.consequences):
            raise PolicyInvalid("A consequence has a consequence.", fix="ODRL allows one level of consequences.")
        object.__setattr__(self, "constraints", _normal(self.constraints))
        object.__setattr__(self, "consequences", _normal(self.consequences))

    def document(self) -> dict[str, JsonValue]:
        """The duty in ODRL JSON-LD."""
        document = _present(
            action=self.action.value,
            target=self.target,
            assigner=self.assigner,
            assignee=self.assignee,
            constraint=_documents(self.constraints),
            consequence=_documents(self.consequences),
        )
        if self.party is not None and self.action.party is not None:
            document[self.action.party] = self.party
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A permission or a prohibition (§2.6). A rule without assignee is about everyone.

    ``duties`` belong to permissions, ``remedies`` to prohibitions; the policy checks it.
    """

    action: Action
    target: str
    assigner: str | None = None
    assignee: str | None = None
    constraints: tuple[AnyConstraint, ...] = ()
    duties: tuple[Duty, ...] = ()
    remedies: tuple[Duty, ...] = ()

    def __post_init__(self) -> None:
        for name in ("constraints", "duties", "remedies"):
            object.__setattr__(self, name, _normal(getattr(self, name)))

    def document(self) -> dict[str, JsonValue]:
        """The rule in ODRL JSON-LD, atomic."""
        return _present(
            action=self.action.value,
            target=self.target,
            assigner=self.assigner,
            assignee=self.assignee,
            constraint=_documents(self.constraints),
            duty=_documents(self.duties),
            remedy=_documents(self.remedies),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Text for people in one language (BCP 47), or in none that is stated."""

    text: str
    language: str | None = None

    def __post_init__(self) -> None:
        if self.language is not None and not _LANGUAGE.fullmatch(self.language):
            raise PolicyInvalid(f"{self.language[:80]!r} is not a language tag.", fix="Use BCP 47, such as en or zh.")

    def document(self) -> dict[str, JsonValue]:
        """The label as a JSON-LD value object."""
        return {"@value": self.text} if self.language is None else {"@language": self.language, "@value": self.text}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A group of rules (§2.1). Prohibitions override permissions; there is no other conflict strategy here.

    Raises PolicyInvalid without any rule, and for an offer without one assigner or an agreement without one assigner
    and one assignee.
    """

    uid: str
    type: PolicyType = PolicyType.SET
    permissions: tuple[Rule, ...] = ()
    prohibitions: tuple[Rule, ...] = ()
    obligations: tuple[Duty, ...] = ()
    titles: tuple[Label, ...] = ()
    descriptions: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        for name in ("permissions", "prohibitions", "obligations", "titles", "descriptions"):
            object.__setattr__(self, name, _normal(getattr(self, name)))
        if not self._rules:
            raise PolicyInvalid("The policy has no rule.", fix="Give a permission, a prohibition or an obligation.")
        if self.type is not PolicyType.SET and self.assigner is None:
            raise PolicyInvalid(f"The {self.type} has no single assigner.", fix="Name one assigner for all its rules.")
        if self.type is PolicyType.AGREEMENT and self.assignee is None:
            raise PolicyInvalid("The Agreement has no single assignee.", fix="Name one assignee for all its rules.")
        if any(rule.remedies for rule in self.permissions):
            raise PolicyInvalid("A permission has a remedy.", fix="Remedies belong to prohibitions; use a duty.")
        if any(rule.duties for rule in self.prohibitions):
            raise PolicyInvalid("A prohibition has a duty.", fix="Duties belong to permissions; use a remedy.")
        if any(duty.consequences for rule in self.prohibitions for duty in rule.remedies):
            raise PolicyInvalid("A remedy has a consequence.", fix="ODRL allows none; leave it away.")

    @property
    def _rules(self) -> tuple[Rule | Duty, ...]:
        return (*self.permissions, *self.prohibitions, *self.obligations)

    @property
    def assigner(self) -> str | None:
        """The party that issues every rule, or None where there is none or several."""
        return self._shared("assigner")

    @property
    def assignee(self) -> str | None:
        """The party that every rule is about, or None where there is none or several."""
        return self._shared("assignee")

    @property
    def target(self) -> str | None:
        """The asset that every rule is about, or None where there are several."""
        return self._shared("target")

    def _shared(self, name: str) -> str | None:
        values = {getattr(rule, name) for rule in self._rules}
        value: str | None = values.pop()
        return None if values else value

    def document(self) -> dict[str, JsonValue]:
        """The policy in ODRL JSON-LD: its normal form, where what all rules share stands once (§2.7.1)."""
        shared = {name: getattr(self, name) for name in ("assigner", "assignee", "target")}
        hoisted = {name for name, value in shared.items() if value is not None}
        lists: dict[str, tuple[Rule | Duty, ...]] = {
            "permission": self.permissions,
            "prohibition": self.prohibitions,
            "obligation": self.obligations,
        }
        return {
            "@context": [ODRL_CONTEXT, {name: PREFIXES[name] for name in ("databund", "dct")}],
            "@type": self.type.value,
            "uid": self.uid,
            "profile": PROFILE,
            "conflict": "prohibit",
            **_present(**shared),
            **{name: [_without(rule, hoisted) for rule in rules] for name, rules in lists.items() if rules},
            **_present(**{"dct:title": _documents(self.titles), "dct:description": _documents(self.descriptions)}),
        }

    @cached_property
    def canonical(self) -> bytes:
        """The canonical JSON of the normal form, which is written once."""
        return canonicalize(self.document())

    def digest(self) -> bytes:
        """The 32 bytes of SHA-256 over the canonical JSON of the normal form: the terms hash of an offer."""
        return sha256(self.canonical).digest()


def _without(rule: Rule | Duty, names: set[str]) -> dict[str, JsonValue]:
    return {name: value for name, value in rule.document().items() if name not in names}


def to_document(policy: Policy) -> dict[str, JsonValue]:
    """Return the normal form of ``policy`` in ODRL JSON-LD; ``parse_policy`` gives the same policy back."""
    return policy.document()
