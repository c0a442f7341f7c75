"""Whether a constraint holds for some facts: yes, no, or not known.

Three-valued logic (Kleene) as in ODRL §2.5: a comparison with an unknown fact is not known, and so is whatever depends
on it. Taking a fact away therefore never turns a no into a yes or a yes into a no.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from databund.core.policies.facts import Facts, FactValue
from databund.core.policies.literals import write_duration, write_instant
from databund.core.policies.model import AnyConstraint, Constraint, Logic, RightOperand
from databund.core.policies.vocabulary import LeftOperand, Operator
from databund.errors import PolicyInvalid

__all__ = ["Operand", "Result", "Verdict", "all_of", "allowed", "compare", "operands"]

Verdict = bool | None
"""True, False, or None: not known."""

Operand = tuple[LeftOperand, str | None]
"""A left operand and its unit."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_TERMS = 8
_WORDS = {
    Operator.NEQ: "anything but ",
    Operator.IS_NONE_OF: "anything but ",
    Operator.IS_ALL_OF: "all of ",
    Operator.LT: "less than ",
    Operator.LTEQ: "at most ",
    Operator.GT: "more than ",
    Operator.GTEQ: "at least ",
}
_TIME_WORDS = {
    Operator.NEQ: "any time but ",
    Operator.LT: "before ",
    Operator.LTEQ: "until ",
    Operator.GT: "after ",
    Operator.GTEQ: "from ",
}


@dataclass(frozen=True, slots=True)
class Result:
    """How one constraint came out: the verdict, what the facts say, and what the terms allow.

    ``missing`` names facts without a value, ``undeclared`` terms whose place in the hierarchy is not known.
    """

    path: str
    verdict: Verdict
    state: str
    allowed: str
    missing: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """What kept the constraint undecided, if anything did."""
        return (*self.missing, *self.undeclared) if self.verdict is None else ()


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Kleene's conjunction: false wins, then unknown; true for none at all."""
    found = set(verdicts)
    return False if False in found else None if None in found else True


def compare(constraint: AnyConstraint, facts: Facts, *, path: str) -> Result:
    """Decide one constraint; ``path`` is where it stands in the policy's normal form."""
    if isinstance(constraint, Constraint):
        return _compare(constraint, facts, path)
    logic = constraint.logic
    parts = [compare(part, facts, path=f"{path}.{logic}[{index}]") for index, part in enumerate(constraint.constraints)]
    return Result(
        path,
        _joined(logic, [part.verdict for part in parts]),
        "; ".join(dict.fromkeys(part.state for part in parts)),
        allowed(constraint),
        tuple(sorted({name for part in parts for name in part.missing})),
        tuple(sorted({name for part in parts for name in part.undeclared})),
    )


def operands(constraint: AnyConstraint) -> frozenset[Operand]:
    """Every left operand that the constraint looks at."""
    if isinstance(constraint, Constraint):
        return frozenset({(constraint.left_operand, constraint.unit)})
    return frozenset().union(*map(operands, constraint.constraints))


def allowed(constraint: AnyConstraint) -> str:
    """What the constraint allows, in words: ``research, education``, ``at most 10``, ``before 2027-…``."""
    if isinstance(constraint, Constraint):
        value, operator = constraint.right_operand, constraint.operator
        words = _TIME_WORDS if isinstance(value, datetime) else _WORDS
        return words.get(operator, "") + _shown(value)
    how = {Logic.AND: "all of", Logic.OR: "any of", Logic.XONE: "exactly one of"}[constraint.logic]
    return f"{how} ({'; '.join(_described(part) for part in constraint.constraints)})"


def _described(constraint: AnyConstraint) -> str:
    return f"{_named(constraint)}: {allowed(constraint)}" if isinstance(constraint, Constraint) else allowed(constraint)


def _joined(logic: Logic, verdicts: list[Verdict]) -> Verdict:
    if logic is Logic.AND:
        return all_of(verdicts)
    if logic is Logic.OR:
        return True if True in verdicts else None if None in verdicts else False
    if verdicts.count(True) > 1:
        return False
    return None if None in verdicts else verdicts.count(True) == 1


def _compare(constraint: Constraint, facts: Facts, path: str) -> Result:
    left, name = constraint.left_operand, _named(constraint)
    value = facts.value(left, constraint.unit)
    if value is None:
        return Result(path, None, f"{name} is not known", allowed(constraint), (name,))
    state = f"{name} is {_shown(value, quote=True)}"
    if not isinstance(value, str) or not isinstance(constraint.right_operand, tuple):
        return Result(path, _ordered(value, constraint.operator, constraint.right_operand), state, allowed(constraint))
    verdict = _related(value, constraint.operator, constraint.right_operand, facts.ancestors(left, value))
    if verdict is not None:
        return Result(path, verdict, state, allowed(constraint))
    unknown = f"what the {left} {value!r} belongs to"
    if constraint.operator is Operator.IS_NONE_OF:
        state += f", and {unknown} is not declared"
    return Result(path, None, state, allowed(constraint), (), (unknown,))


def _ordered(value: FactValue, operator: Operator, right: RightOperand) -> bool:
    given, limit = _measure(value), _measure(right)
    return {
        Operator.EQ: given == limit,
        Operator.NEQ: given != limit,
        Operator.LT: given < limit,
        Operator.LTEQ: given <= limit,
        Operator.GT: given > limit,
        Operator.GTEQ: given >= limit,
    }[operator]


def _measure(value: FactValue | RightOperand) -> int:
    """A quantity as a whole number; both sides are of one type, as the model and the facts made sure."""
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, int):
        return value
    raise PolicyInvalid(f"{value!r} is no quantity.", fix="Compare it with eq, neq or a set operator.")


def _related(value: str, operator: Operator, right: tuple[str, ...], reach: tuple[frozenset[str], bool]) -> Verdict:
    ancestors, complete = reach
    if operator is Operator.EQ:
        return value == right[0]
    if operator is Operator.NEQ:
        return value != right[0]
    absent: Verdict = False if complete else None
    within = [True if term in ancestors else absent for term in right]
    if operator is Operator.IS_ALL_OF:
        return all_of(within)
    any_of = _joined(Logic.OR, within)
    if operator is Operator.IS_NONE_OF:
        return None if any_of is None else not any_of
    return any_of


def _named(constraint: Constraint) -> str:
    return f"{constraint.left_operand} in {constraint.unit}" if constraint.unit else constraint.left_operand.value


def _shown(value: FactValue | RightOperand, *, quote: bool = False) -> str:
    if isinstance(value, tuple):
        more = f" and {len(value) - _SHOWN_TERMS} more" if len(value) > _SHOWN_TERMS else ""
        return ", ".join(value[:_SHOWN_TERMS]) + more
    if isinstance(value, timedelta):
        return write_duration(value)
    if isinstance(value, datetime):
        return write_instant(value)
    return repr(value) if quote and isinstance(value, str) else str(value)
