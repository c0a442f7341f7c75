"""Reports: what a period of the log says of each dataset, as an auditor files it.

Who did what, how often, under which decision and rule; orders and what became of them; money settled; licenses that
the chain showed without an order of this node; keys destroyed. Everything is counted from the entries of a verified
log, and the report names the log, the tree that it counted, and how that was verified.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from databund.core import documents
from databund.core.amounts import Payment
from databund.core.events import Event, EventKind
from databund.errors import DocumentInvalid
from databund.sdk.log_files import rule_of
from databund.sdk.reading import Record

__all__ = ["Act", "DatasetAccount", "LogHeader", "Report", "report"]

UNKNOWN = "unknown"
_STATES = {
    EventKind.ORDERED: "placed",
    EventKind.LICENSED: "licensed",
    EventKind.REFUSED: "refused",
    EventKind.DELIVERED: "delivered",
    EventKind.SETTLED: "settled",
    EventKind.CERTIFIED: "certified",
}
_PARTY = "did:pkh:"


class LogHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Which log was read, up to which tree, and how that tree was verified, in words. ``root`` is in hex."""

    origin: str
    size: int
    root: str
    verified: str


class Act(msgspec.Struct, kw_only=True):
    """One kind of act by one account on one dataset under one decision, counted.

    ``decision`` is permit, deny, or None for acts that are not decided; ``rule`` the rule that decided. ``first`` and
    ``last`` are Unix seconds.
    """

    dataset: str
    by: str
    kind: str
    decision: str | None
    rule: str | None
    times: int
    first: int
    last: int


class DatasetAccount(msgspec.Struct, kw_only=True):
    """What became of one dataset. ``settled`` is what accounts received, in base units of each currency."""

    dataset: str
    versions: int = 0
    offers: int = 0
    orders: dict[str, int] = {}
    settled: dict[str, str] = {}
    licenses_observed: int = 0


class Report(msgspec.Struct, kw_only=True):
    """A period of a log. ``since`` and ``until`` are Unix seconds, None where the period is open."""

    log: LogHeader
    since: int | None
    until: int | None
    dataset: str | None
    entries: int
    first: int | None
    last: int | None
    set_back: int
    datasets: list[DatasetAccount]
    acts: list[Act]
    keys_destroyed: list[dict[str, str | int]]
    anchors: int


def report(
    records: Iterable[Record], log: LogHeader, *, since: int | None, until: int | None, dataset: str | None = None
) -> Report:
    """Count the records of a whole log. Raises DocumentInvalid for an entry that is not one of ours.

    Entries before ``since`` (inclusive) are not counted, but they tell to which dataset later ones belong; those from
    ``until`` (exclusive) on are left out. ``dataset`` is an id in full, or None for all.
    """
    tally = _Tally(since, until, None if dataset is None else "0x" + dataset.lower().removeprefix("0x"))
    for record in records:
        if record.event is None:
            raise DocumentInvalid(
                f"Entry {record.index} is not an event of databund.", fix="Reports are made of logs of databund nodes."
            )
        tally.add(record.event)
    return tally.report(log)


@dataclass
class _Account:
    versions: int = 0
    offers: int = 0
    orders: dict[str, str] = field(default_factory=dict)
    settled: dict[str, int] = field(default_factory=dict)
    observed: int = 0


class _Tally:
    def __init__(self, since: int | None, until: int | None, dataset: str | None) -> None:
        self._since, self._until, self._dataset = since, until, dataset
        self._dataset_of: dict[str, str] = {}
        self._offer_of: dict[str, tuple[str, str]] = {}
        self._accounts: dict[str, _Account] = {}
        self._acts: dict[tuple[str, str, str, str | None, str | None], Act] = {}
        self._destroyed: list[dict[str, str | int]] = []
        self._entries = self._anchors = self._set_back = 0
        self._first: int | None = None
        self._last: int | None = None
        self._before = 0

    def add(self, event: Event) -> None:
        about = event.about
        if event.kind is EventKind.LISTED:
            self._dataset_of[str(about["offer"])] = str(about["dataset"])
        if event.kind is EventKind.ORDERED:
            self._offer_of[str(about["order"])] = (str(about["offer"]), str(about["currency"]))
        set_back, self._before = event.at < self._before, event.at
        if (self._since is not None and event.at < self._since) or (
            self._until is not None and event.at >= self._until
        ):
            return
        dataset = self._named(event)
        if self._dataset is not None and dataset != self._dataset:
            return
        self._entries += 1
        self._set_back += set_back
        self._first = event.at if self._first is None else min(self._first, event.at)
        self._last = event.at if self._last is None else max(self._last, event.at)
        match event.kind:
            case EventKind.DESTROYED:
                self._destroyed.append(
                    {"attachment": str(about["attachment"]), "reason": str(about["reason"]), "at": event.at}
                )
            case EventKind.ANCHORED:
                self._anchors += 1
            case _:
                self._count(event, dataset)
                self._act(event, dataset)

    def report(self, log: LogHeader) -> Report:
        return Report(
            log=log,
            since=self._since,
            until=self._until,
            dataset=self._dataset,
            entries=self._entries,
            first=self._first,
            last=self._last,
            set_back=self._set_back,
            datasets=[_account(dataset, account) for dataset, account in sorted(self._accounts.items())],
            acts=[self._acts[key] for key in sorted(self._acts, key=lambda key: [part or "" for part in key])],
            keys_destroyed=self._destroyed,
            anchors=self._anchors,
        )

    def _named(self, event: Event) -> str:
        """The dataset that an event is about, by way of its offer or its order."""
        about = event.about
        if "dataset" in about:
            return str(about["dataset"])
        offer = about.get("offer")
        if offer is None and about.get("order") is not None:
            offer, _ = self._offer_of.get(str(about["order"]), (None, ""))
        return self._dataset_of.get(str(offer), UNKNOWN)

    def _count(self, event: Event, dataset: str) -> None:
        account, about = self._accounts.setdefault(dataset, _Account()), event.about
        account.versions += event.kind is EventKind.REGISTERED
        account.offers += event.kind is EventKind.LISTED
        account.observed += event.kind is EventKind.OBSERVED
        if event.kind in _STATES and about.get("order") is not None:
            account.orders[str(about["order"])] = _state(event.kind, account.orders.get(str(about["order"])))
        if event.kind is EventKind.SETTLED:
            _, currency = self._offer_of.get(str(about["order"]), ("", UNKNOWN))
            paid = sum(int(payment.amount) for payment in documents.load(about["payments"], list[Payment]))
            account.settled[currency] = account.settled.get(currency, 0) + paid

    def _act(self, event: Event, dataset: str) -> None:
        by, decision, rule = _judged(event)
        key = (dataset, by, str(event.kind), decision, rule)
        act = self._acts.get(key)
        if act is None:
            self._acts[key] = Act(
                dataset=dataset,
                by=by,
                kind=str(event.kind),
                decision=decision,
                rule=rule,
                times=1,
                first=event.at,
                last=event.at,
            )
            return
        act.times += 1
        act.first, act.last = min(act.first, event.at), max(act.last, event.at)


def _judged(event: Event) -> tuple[str, str | None, str | None]:
    """Who acted, and for a decision what it was and which rule decided; who asked acted, not the node that decided."""
    match event.kind:
        case EventKind.DECIDED:
            record = event.about["decision"]
            request = record.get("request") if isinstance(record, dict) else None
            party = request.get("assignee") if isinstance(request, dict) else None
            return _account_of(party) or event.by, "permit" if event.about["permitted"] else "deny", rule_of(record)
        case EventKind.DENIED:
            return event.by, "deny", str(event.about["reason"])
        case _:
            return event.by, None, None


def _account_of(party: object) -> str | None:
    return party.rpartition(":")[2] if isinstance(party, str) and party.startswith(_PARTY) else None


def _state(kind: EventKind, before: str | None) -> str:
    """The state of an order after an entry; a further delivery of one that is settled changes nothing."""
    further = kind is EventKind.DELIVERED and before in ("settled", "certified")
    return before if further and before is not None else _STATES[kind]


def _account(dataset: str, account: _Account) -> DatasetAccount:
    states: dict[str, int] = {}
    for state in account.orders.values():
        states[state] = states.get(state, 0) + 1
    return DatasetAccount(
        dataset=dataset,
        versions=account.versions,
        offers=account.offers,
        orders=states,
        settled={currency: str(amount) for currency, amount in account.settled.items()},
        licenses_observed=account.observed,
    )
