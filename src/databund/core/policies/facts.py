"""What a decision is about (the request) and what is known when it is made (the facts).

A fact that is not given is unknown, and an unknown fact never permits. Identifiers in both travel into decision
records and from there into the audit log: give pseudonymous ones, never names of people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TypeVar

from databund.core.canonical import MAX_INTEGER, JsonValue
from databund.core.policies.literals import (
    MAX_DURATION,
    read_duration,
    read_instant,
    read_iri,
    read_place,
    read_term,
    write_duration,
    write_instant,
)
from databund.core.policies.vocabulary import Action, LeftOperand
from databund.errors import DocumentInvalid

__all__ = ["FactValue", "Facts", "Hierarchy", "Request", "load_facts", "load_request"]

FactValue = str | int | timedelta | datetime
Hierarchy = Mapping[str, Iterable[str]]
"""Each declared term with the terms it directly belongs to; none for a term at the top. A term that is not declared
may belong to anything, so a constraint that needs to know is undecided."""

T = TypeVar("T")
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks to do what with which asset; ``target`` and ``assignee`` are IRIs, as in the policy.

    Raises DocumentInvalid for anything that is not an absolute IRI.
    """

    action: Action
    target: str
    assignee: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", _checked("target", self.target, read_iri))
        if self.assignee is not None:
            object.__setattr__(self, "assignee", _checked("assignee", self.assignee, read_iri))

    def document(self) -> dict[str, JsonValue]:
        """The request as JSON."""
        members = {"action": self.action.value, "target": self.target, "assignee": self.assignee}
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one request; None is unknown.

    ``count`` is the number of executions and includes the one asked for; ``counts`` are those of other units, by the
    unit's IRI. ``elapsed_time`` runs from the start of the license and counts begun seconds; ``date_time`` is the
    instant of the act.
    ``spatial`` is the ISO 3166 code of where it happens; a subdivision belongs to its country without being declared,
    and groups of countries use the codes that ISO leaves to users (XA to XZ) or reserves (EU).
    ``purposes``, ``parties`` and ``places`` are the hierarchies of the terms. Raises DocumentInvalid for a value of
    the wrong form.
    """

    purpose: str | None = None
    count: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict, hash=False)
    elapsed_time: timedelta | None = None
    date_time: datetime | None = None
    recipient: str | None = None
    spatial: str | None = None
    purposes: Hierarchy = field(default_factory=dict, hash=False)
    parties: Hierarchy = field(default_factory=dict, hash=False)
    places: Hierarchy = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, read in (("purpose", read_term), ("recipient", read_term), ("spatial", read_place)):
            if (term := getattr(self, name)) is not None:
                object.__setattr__(self, name, _checked(name, term, read))
        for name, read in (("purposes", read_term), ("parties", read_term), ("places", read_place)):
            object.__setattr__(self, name, _hierarchy(name, getattr(self, name), read))
        counts = {_checked("counts", unit, read_iri): count for unit, count in self.counts.items()}
        object.__setattr__(self, "counts", MappingProxyType(counts))
        for count in (self.count, *counts.values()):
            _require("count", count is None or (type(count) is int and 0 <= count <= MAX_INTEGER))
        if (elapsed := self.elapsed_time) is not None:
            _require("elapsedTime", timedelta() <= elapsed <= MAX_DURATION)
            object.__setattr__(self, "elapsed_time", -(-elapsed // _SECOND) * _SECOND)
        if (instant := self.date_time) is not None:
            _require("dateTime (it needs a timezone)", instant.tzinfo is not None)
            object.__setattr__(self, "date_time", instant.astimezone(UTC))

    def value(self, operand: LeftOperand, unit: str | None = None) -> FactValue | None:
        """The value of a left operand, or None where it is unknown."""
        if operand is LeftOperand.COUNT and unit is not None:
            return self.counts.get(unit)
        values: dict[LeftOperand, FactValue | None] = {
            LeftOperand.PURPOSE: self.purpose,
            LeftOperand.COUNT: self.count,
            LeftOperand.ELAPSED_TIME: self.elapsed_time,
            LeftOperand.DATE_TIME: self.date_time,
            LeftOperand.RECIPIENT: self.recipient,
            LeftOperand.SPATIAL: self.spatial,
        }
        return values[operand]

    def ancestors(self, operand: LeftOperand, term: str) -> tuple[frozenset[str], bool]:
        """Everything ``term`` belongs to, itself included, and whether the hierarchy knows that this is all."""
        hierarchy = {
            LeftOperand.PURPOSE: self.purposes,
            LeftOperand.RECIPIENT: self.parties,
            LeftOperand.SPATIAL: self.places,
        }[operand]
        found: set[str] = set()
        complete, waiting = True, [term]
        while waiting:
            term = waiting.pop()
            if term in found:
                continue
            found.add(term)
            subdivision = operand is LeftOperand.SPATIAL and "-" in term
            complete = complete and (term in hierarchy or subdivision)
            waiting += [*hierarchy.get(term, ()), *([term[:2]] if subdivision else [])]
        return frozenset(found), complete

    def only(self, used: Iterable[tuple[LeftOperand, str | None]]) -> Facts:
        """The facts that a decision looked at, by operand and unit, with the part of the hierarchies it needed."""
        looked = set(used)
        terms = {operand: value for operand, _ in looked if isinstance(value := self.value(operand), str)}
        reach = {operand: self.ancestors(operand, term)[0] for operand, term in terms.items()}

        def part(operand: LeftOperand, hierarchy: Hierarchy) -> Hierarchy:
            return {term: hierarchy[term] for term in reach.get(operand, ()) if term in hierarchy}

        def kept(operand: LeftOperand, value: T | None) -> T | None:
            return value if (operand, None) in looked else None

        return Facts(
            purpose=kept(LeftOperand.PURPOSE, self.purpose),
            count=kept(LeftOperand.COUNT, self.count),
            counts={unit: count for unit, count in self.counts.items() if (LeftOperand.COUNT, unit) in looked},
            elapsed_time=kept(LeftOperand.ELAPSED_TIME, self.elapsed_time),
            date_time=kept(LeftOperand.DATE_TIME, self.date_time),
            recipient=kept(LeftOperand.RECIPIENT, self.recipient),
            spatial=kept(LeftOperand.SPATIAL, self.spatial),
            purposes=part(LeftOperand.PURPOSE, self.purposes),
            parties=part(LeftOperand.RECIPIENT, self.parties),
            places=part(LeftOperand.SPATIAL, self.places),
        )

    def document(self) -> dict[str, JsonValue]:
        """The facts as JSON; what is unknown or empty is left away."""
        members: dict[str, JsonValue] = {
            "purpose": self.purpose,
            "count": self.count,
            "counts": dict(self.counts),
            "elapsedTime": None if self.elapsed_time is None else write_duration(self.elapsed_time),
            "dateTime": None if self.date_time is None else write_instant(self.date_time),
            "recipient": self.recipient,
            "spatial": self.spatial,
            "purposes": {term: list(parents) for term, parents in self.purposes.items()},
            "parties": {term: list(parents) for term, parents in self.parties.items()},
            "places": {term: list(parents) for term, parents in self.places.items()},
        }
        return {name: value for name, value in members.items() if value is not None and value != {}}


def load_request(document: JsonValue) -> Request:
    """Read what :meth:`Request.document` wrote. Raises DocumentInvalid."""
    members = _members(document, {"action", "target", "assignee"})
    action, target = members.get("action"), members.get("target")
    _require("request", isinstance(action, str) and action in list(Action) and isinstance(target, str))
    assignee = members.get("assignee")
    _require("assignee", assignee is None or isinstance(assignee, str))
    return Request(Action(str(action)), str(target), assignee=assignee if isinstance(assignee, str) else None)


def load_facts(document: JsonValue) -> Facts:
    """Read what :meth:`Facts.document` wrote. Raises DocumentInvalid."""
    names = {"purpose", "count", "counts", "elapsedTime", "dateTime", "recipient", "spatial"}
    members = _members(document, names | {"purposes", "parties", "places"})
    elapsed, instant = _optional_text(members, "elapsedTime"), _optional_text(members, "dateTime")
    count = members.get("count")
    _require("count", count is None or type(count) is int)
    counts = _members(members.get("counts", {}), None)
    return Facts(
        purpose=_optional_text(members, "purpose"),
        count=count if isinstance(count, int) else None,
        counts={unit: value if isinstance(value, int) else -1 for unit, value in counts.items()},
        elapsed_time=None if elapsed is None else _checked("elapsedTime", elapsed, read_duration),
        date_time=None if instant is None else _checked("dateTime", instant, read_instant),
        recipient=_optional_text(members, "recipient"),
        spatial=_optional_text(members, "spatial"),
        purposes=_load_hierarchy(members, "purposes"),
        parties=_load_hierarchy(members, "parties"),
        places=_load_hierarchy(members, "places"),
    )


def _load_hierarchy(members: Mapping[str, JsonValue], name: str) -> Hierarchy:
    loaded: dict[str, list[str]] = {}
    for term, parents in _members(members.get(name, {}), None).items():
        listed = parents if isinstance(parents, list | tuple) else [None]
        loaded[term] = [parent for parent in listed if isinstance(parent, str)]
        _require(name, len(loaded[term]) == len(listed))
    return loaded


def _hierarchy(name: str, hierarchy: Hierarchy, read: Callable[[str], str]) -> Hierarchy:
    checked: dict[str, tuple[str, ...]] = {}
    for term, parents in hierarchy.items():
        _require(name, not isinstance(parents, str))
        checked[_checked(name, term, read)] = tuple(sorted({_checked(name, parent, read) for parent in parents}))
    return MappingProxyType(checked)


def _members(document: JsonValue, names: set[str] | None) -> Mapping[str, JsonValue]:
    if not isinstance(document, Mapping) or (names is not None and not names.issuperset(document)):
        raise DocumentInvalid("The record does not have the form of a decision.", fix="Pass the record unchanged.")
    return document


def _optional_text(members: Mapping[str, JsonValue], name: str) -> str | None:
    value = members.get(name)
    _require(name, value is None or isinstance(value, str))
    return value if isinstance(value, str) else None


def _checked(name: str, text: str, read: Callable[[str], T]) -> T:
    try:
        return read(text)
    except (ValueError, TypeError) as error:
        raise DocumentInvalid(f"The fact {name} cannot be used: {error}", fix="Correct the fact.") from error


def _require(name: str, holds: object) -> None:
    if not holds:
        raise DocumentInvalid(f"The fact {name} has a value of the wrong form.", fix="Correct the fact.")
