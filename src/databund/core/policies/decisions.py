"""Decisions: whether a policy permits a request, why, and what would change it.

Deterministic and pure: the same policy, request and facts give the same decision, and a decision's record gives it
again (promise P2). Permitted is what at least one permission allows and no prohibition forbids; an unknown fact
neither lifts a prohibition nor fulfills a permission. Whether the requester holds a license, and whether it is
still unspent, is decided elsewhere; the facts only carry its counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from databund.core.canonical import JsonValue, canonicalize
from databund.core.policies.comparison import Operand, Result, Verdict, all_of, compare, operands
from databund.core.policies.facts import Facts, Request, load_facts, load_request
from databund.core.policies.model import Duty, Policy, Rule
from databund.core.policies.vocabulary import Action
from databund.errors import ContentMismatch, DocumentInvalid, PolicyDenied

__all__ = ["RECORD_FORMAT", "Decision", "Denial", "OwedDuty", "evaluate", "reevaluate", "require"]

RECORD_FORMAT = "https://w3id.org/databund/odrl/1#decision"
"""The ``format`` member of a decision's record."""

_DECISIVE = ("policy", "request", "facts", "permitted", "rules", "granted_by", "denials", "owed", "excluded")


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason to deny: where it stands in the policy's normal form, why, what to do, and which facts are unknown."""

    path: str
    sentence: str
    remedy: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OwedDuty:
    """A duty that using the permission brings, and where it stands in the policy's normal form."""

    path: str
    duty: Duty


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome of :func:`evaluate`.

    ``rules`` are the paths of the rules that fired; ``granted_by`` is the permission that counts, the one with the
    fewest duties. ``facts`` are those that were looked at, no others. ``excluded`` are narrower actions that stay
    prohibited, perhaps on conditions, although the request is permitted: a permitted ``use`` does not permit to train
    where that is prohibited. ``change`` says in sentences what would turn the decision.
    """

    permitted: bool
    policy_uid: str
    policy_digest: bytes
    request: Request
    facts: Facts
    rules: tuple[str, ...]
    granted_by: str | None
    denials: tuple[Denial, ...]
    owed: tuple[OwedDuty, ...]
    excluded: tuple[Action, ...]
    change: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The facts whose absence stood in the way, in alphabetical order."""
        return tuple(sorted({name for denial in self.denials for name in denial.missing}))

    def record(self) -> dict[str, JsonValue]:
        """The decision as JSON, enough to decide again from it and the policy."""
        return {
            "format": RECORD_FORMAT,
            "policy": {"uid": self.policy_uid, "sha256": self.policy_digest.hex()},
            "request": self.request.document(),
            "facts": self.facts.document(),
            "permitted": self.permitted,
            "rules": list(self.rules),
            "granted_by": self.granted_by,
            "denials": [{"path": denial.path, "missing": list(denial.missing)} for denial in self.denials],
            "owed": [{"path": owed.path, "duty": owed.duty.document()} for owed in self.owed],
            "excluded": [action.value for action in self.excluded],
            "sentences": [denial.sentence for denial in self.denials],
            "change": list(self.change),
        }


def evaluate(policy: Policy, request: Request, facts: Facts) -> Decision:
    """Decide whether ``policy`` permits ``request`` under ``facts``; denying is a result, not an error."""
    forbidding = list(_judged(policy.prohibitions, "prohibition", request, facts))
    granting = list(_judged(policy.permissions, "permission", request, facts))
    bans = [rule for rule in forbidding if rule.verdict is not False]
    grants = [rule for rule in granting if rule.verdict is True]
    chosen = min(grants, key=lambda rule: (len(rule.rule.duties), rule.index), default=None)
    denials = [_ban(rule) for rule in bans]
    if chosen is None:
        denials += _refusals(policy, request, granting)
    permitted = not denials
    looked = set(chain.from_iterable(rule.operands for rule in (*forbidding, *granting)))
    return Decision(
        permitted=permitted,
        policy_uid=policy.uid,
        policy_digest=policy.digest(),
        request=request,
        facts=facts.only(looked),
        rules=tuple(rule.path for rule in (*bans, *grants)),
        granted_by=chosen.path if chosen and permitted else None,
        denials=tuple(denials),
        owed=_owed(policy, request, chosen) if chosen and permitted else (),
        excluded=_excluded(policy, request) if permitted else (),
        change=_conditions(chosen) if chosen and permitted else tuple(dict.fromkeys(d.remedy for d in denials)),
    )


def require(policy: Policy, request: Request, facts: Facts) -> Decision:
    """Return the decision when it permits. Raises PolicyDenied with the first reason and its remedy otherwise."""
    decision = evaluate(policy, request, facts)
    if not decision.permitted:
        first = decision.denials[0]
        raise PolicyDenied(first.sentence, fix=first.remedy)
    return decision


def reevaluate(record: JsonValue, policy: Policy) -> Decision:
    """Decide again from a decision's record and the policy it names.

    Raises DocumentInvalid when the record has another form, and ContentMismatch when the policy is another one or
    the decision comes out differently. Wording is not compared: sentences may improve, decisions may not move.
    """
    if not isinstance(record, Mapping) or record.get("format") != RECORD_FORMAT:
        raise DocumentInvalid("This is not the record of a decision.", fix="Pass what Decision.record() gave.")
    named = record.get("policy")
    if not isinstance(named, Mapping) or named.get("sha256") != policy.digest().hex():
        raise ContentMismatch(
            f"The decision was not made under the policy {policy.uid}.", fix="Pass the policy of that digest."
        )
    decision = evaluate(policy, load_request(record.get("request")), load_facts(record.get("facts")))
    again = decision.record()
    if _decisive(record, _DECISIVE) != _decisive(again, _DECISIVE):
        moved = next(name for name in _DECISIVE if _decisive(record, (name,)) != _decisive(again, (name,)))
        raise ContentMismatch(
            f"The recorded decision differs from the policy's in {moved!r}.",
            fix="Do not rely on the record; ask who wrote it.",
        )
    return decision


def _decisive(record: Mapping[str, JsonValue], names: Iterable[str]) -> bytes:
    return canonicalize({name: record.get(name) for name in names})


@dataclass(frozen=True, slots=True)
class _Judged:
    """A rule about the requested action and asset, and how it came out."""

    rule: Rule
    path: str
    index: int
    assignee: Verdict
    results: tuple[Result, ...]

    @property
    def verdict(self) -> Verdict:
        return all_of([self.assignee, *(result.verdict for result in self.results)])

    @property
    def missing(self) -> tuple[str, ...]:
        names = {name for result in self.results if result.verdict is None for name in result.unknown}
        return tuple(sorted(names | ({"assignee"} if self.assignee is None else set())))

    @property
    def operands(self) -> frozenset[Operand]:
        return frozenset().union(*map(operands, self.rule.constraints))


def _judged(rules: tuple[Rule, ...], kind: str, request: Request, facts: Facts) -> Iterable[_Judged]:
    for index, rule in enumerate(rules):
        assignee = _is_about(rule.assignee, request)
        if request.target != rule.target or not request.action.within(rule.action) or assignee is False:
            continue
        path = f"$.{kind}[{index}]"
        results = [
            compare(constraint, facts, path=f"{path}.constraint[{place}]")
            for place, constraint in enumerate(rule.constraints)
        ]
        yield _Judged(rule, path, index, assignee, tuple(results))


def _is_about(assignee: str | None, request: Request) -> Verdict:
    if assignee is None:
        return True
    return None if request.assignee is None else request.assignee == assignee


def _ban(judged: _Judged) -> Denial:
    action = judged.rule.action
    where = "; ".join(f"{result.state}, prohibited: {result.allowed}" for result in judged.results)
    unknown = f", not known: {', '.join(judged.missing)}" if judged.missing else ""
    remedy = f"Ask for another action, or get a license that does not prohibit {action}."
    if judged.missing:
        remedy = f"State {', '.join(judged.missing)}; the prohibition may then not apply."
    return Denial(
        judged.path, f"{action} is prohibited{f' ({where})' if where else ''}{unknown}.", remedy, judged.missing
    )


def _refusals(policy: Policy, request: Request, candidates: list[_Judged]) -> list[Denial]:
    """Why no permission holds; the permission that lacks least comes first."""
    if not candidates:
        return [_unmentioned(policy, request)]
    lacks = [(list(_lacks(policy, judged)), judged.index) for judged in candidates]
    nearest = sorted(lacks, key=lambda lack: (len(lack[0]), lack[1]))
    return [denial for denials, _ in nearest for denial in denials]


def _lacks(policy: Policy, judged: _Judged) -> Iterable[Denial]:
    if judged.assignee is None:
        yield Denial(
            "$.assignee" if policy.assignee else f"{judged.path}.assignee",
            f"assignee is not known, allowed: {judged.rule.assignee}.",
            "State who asks.",
            ("assignee",),
        )
    yield from (_lack(result) for result in judged.results if result.verdict is not True)


def _lack(result: Result) -> Denial:
    ask = f"Ask for {result.allowed}"
    if result.verdict is None and result.missing:
        ask = f"State {', '.join(result.missing)} (allowed: {result.allowed})"
    elif result.verdict is None:
        ask += f", state {', '.join(result.undeclared)}"
    return Denial(
        result.path,
        f"{result.state}, allowed: {result.allowed}.",
        f"{ask}, or get a license with other terms.",
        result.unknown,
    )


def _unmentioned(policy: Policy, request: Request) -> Denial:
    rules = [rule for rule in policy.permissions if rule.target == request.target]
    if not rules:
        return Denial(
            "$.permission",
            f"The policy permits nothing with {request.target}.",
            "Ask for an asset that the policy is about, or get a license for this one.",
        )
    mine = [rule for rule in rules if request.action.within(rule.action)]
    if mine:
        allowed = ", ".join(sorted({rule.assignee for rule in mine if rule.assignee}))
        return Denial(
            "$.permission",
            f"assignee is {request.assignee!r}, allowed: {allowed}.",
            "Ask as the holder of the license, or get one.",
        )
    allowed = ", ".join(sorted({rule.action for rule in rules}))
    return Denial(
        "$.permission",
        f"action is {request.action.value!r}, allowed: {allowed}.",
        f"Ask for one of: {allowed}; or get a license that permits {request.action}.",
    )


def _owed(policy: Policy, request: Request, granted: _Judged) -> tuple[OwedDuty, ...]:
    own = [OwedDuty(f"{granted.path}.duty[{index}]", duty) for index, duty in enumerate(granted.rule.duties)]
    general = [
        OwedDuty(f"$.obligation[{index}]", duty)
        for index, duty in enumerate(policy.obligations)
        if duty.target in (None, request.target) and _is_about(duty.assignee, request) is not False
    ]
    return (*own, *general)


def _excluded(policy: Policy, request: Request) -> tuple[Action, ...]:
    narrower = {
        rule.action
        for rule in policy.prohibitions
        if rule.target == request.target
        and rule.action is not request.action
        and rule.action.within(request.action)
        and _is_about(rule.assignee, request) is not False
    }
    return tuple(sorted(narrower))


def _conditions(granted: _Judged) -> tuple[str, ...]:
    return tuple(
        f"Denied when this no longer holds: {result.state}, allowed: {result.allowed}." for result in granted.results
    )
