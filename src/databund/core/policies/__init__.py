"""Usage policies: what may be done with an asset, by whom, when and what for.

ODRL 2.2 (https://www.w3.org/TR/odrl-model/), a profile of it that can always be decided. A policy is read from JSON-LD
by :func:`parse_policy`, or made by :func:`usage_policy`; :func:`evaluate` decides a request under it.
"""

from databund.core.policies.decisions import Decision, Denial, OwedDuty, evaluate, reevaluate, require
from databund.core.policies.documents import parse_policy
from databund.core.policies.facts import Facts, Hierarchy, Request
from databund.core.policies.model import (
    AnyConstraint,
    Constraint,
    Duty,
    Label,
    Logic,
    LogicalConstraint,
    Policy,
    Rule,
    to_document,
)
from databund.core.policies.usage import agreement, usage_policy
from databund.core.policies.vocabulary import PROFILE, Action, DutyAction, LeftOperand, Operator, PolicyType

__all__ = [
    "PROFILE",
    "Action",
    "AnyConstraint",
    "Constraint",
    "Decision",
    "Denial",
    "Duty",
    "DutyAction",
    "Facts",
    "Hierarchy",
    "Label",
    "LeftOperand",
    "Logic",
    "LogicalConstraint",
    "Operator",
    "OwedDuty",
    "Policy",
    "PolicyType",
    "Request",
    "Rule",
    "agreement",
    "evaluate",
    "parse_policy",
    "reevaluate",
    "require",
    "to_document",
    "usage_policy",
]
