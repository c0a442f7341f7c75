"""Reconciliation: the audit log and the chain, proven complete against each other.

Both are read once, in their own order, and side by side: an entry that names a block waits for the chain to come to
it. What has met its counterpart and is over is forgotten, so memory grows with the trades that are still open, and by
about a hundred bytes for each that is finished. What is left without a counterpart at the end is a gap.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from databund.core import documents
from databund.core.chain_events import AnchorRecorded, ChainEvent, Fate, LicenseSold, OfferWithdrawn, Place
from databund.core.events import Event, EventKind
from databund.core.gaps import ASK, ASK_CHAIN, RESTART, WITHDRAW, Facts, Gap, GapKind, GapList, Tally

__all__ = ["reconcile"]


def reconcile(
    entries: Iterable[tuple[int, Event]], chain: Iterable[ChainEvent], *, facts: Facts, tally: Tally | None = None
) -> Iterator[Gap]:
    """The gaps between the log's entries (with their indexes) and the chain's events, each in its order.

    Nothing may have happened that only one of the two knows; what is too new to be known by both is counted in
    ``tally`` as pending. Gaps inside either come when they are seen, what is missing comes at the end.
    """
    comparison = _Comparison(chain, facts, tally or Tally())
    for index, event in entries:
        comparison.add(index, event)
        yield from comparison.found()
    comparison.finish()
    yield from comparison.found()


_AMOUNT = re.compile("0|[1-9][0-9]{0,38}")
_Payments = dict[str, int]


@dataclass(slots=True)
class _Entered:
    """A LICENSED or OBSERVED entry."""

    index: int
    about: Mapping[str, Any]
    observed: bool = False


@dataclass(slots=True)
class _Settled:
    index: int
    chain_transaction: str
    payments: _Payments


@dataclass(slots=True)
class _Order:
    """What the log says of an order that is not over, and the sale that the chain has of it."""

    index: int
    about: Mapping[str, Any] | None
    entered: _Entered | None = None
    refused: int | None = None
    settled: _Settled | None = None
    certified: bool = False
    sale: LicenseSold | None = None


@dataclass
class _Comparison:
    chain: Iterable[ChainEvent]
    facts: Facts
    tally: Tally
    orders: dict[str, _Order] = field(default_factory=dict)
    closed: set[bytes] = field(default_factory=set)
    sales: dict[str, LicenseSold] = field(default_factory=dict)
    direct: dict[str, list[LicenseSold]] = field(default_factory=dict)
    observed: list[_Entered] = field(default_factory=list)
    listed: set[bytes] = field(default_factory=set)
    withdrawn: dict[str, OfferWithdrawn] = field(default_factory=dict)
    withdrawals: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    anchored: dict[str, AnchorRecorded] = field(default_factory=dict)
    anchors: dict[str, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    false_anchors: set[str] = field(default_factory=set)
    named: int = 0
    at: int = -1
    gaps: GapList = field(default_factory=GapList)

    def __post_init__(self) -> None:
        self._events = iter(self.chain)
        self._ahead: ChainEvent | None = next(self._events, None)
        self._origin = hashlib.sha256(self.facts.origin.encode()).digest()

    def found(self) -> Iterator[Gap]:
        """The gaps seen since the last call."""
        for gap in self.gaps.taken():
            self.tally.gaps += 1
            yield gap

    # The log's side

    def add(self, index: int, event: Event) -> None:
        """Take the next entry."""
        self.tally.entries += 1
        about: Mapping[str, Any] = event.about
        if event.kind in (EventKind.LICENSED, EventKind.OBSERVED, EventKind.ANCHORED):
            block = about["block"] if type(about["block"]) is int else 0
            self.named = max(self.named, block)
            self._read_chain(block)
        match event.kind:
            case EventKind.LISTED:
                self._list(index, about)
            case EventKind.WITHDRAWN:
                self._withdraw(index, about)
            case EventKind.ORDERED:
                self._order(index, about)
            case EventKind.LICENSED:
                self._license(_Entered(index, about))
            case EventKind.OBSERVED:
                self._observe(_Entered(index, about, observed=True))
            case EventKind.REFUSED:
                self._refuse(index, about)
            case EventKind.DELIVERED:
                self._deliver(index, about)
            case EventKind.SETTLED:
                self._settle(index, about)
            case EventKind.CERTIFIED:
                self._certify(index, about)
            case EventKind.ANCHORED:
                self._anchor(index, about)
            case _:
                pass

    def _list(self, index: int, about: Mapping[str, Any]) -> None:
        here = self.facts.domain
        if (about["chain_id"], about["exchange"]) != (here.chain_id, str(here.exchange)):
            self.gaps.add(
                GapKind.LISTED_ELSEWHERE,
                f"Entry {index} lists the offer {about['offer']} for chain {about['chain_id']} and exchange "
                f"{about['exchange']}; this log is of chain {here.chain_id} and exchange {here.exchange}.",
                fix=ASK,
                entry=index,
            )
        self.listed.add(_short(about["offer"]))

    def _withdraw(self, index: int, about: Mapping[str, Any]) -> None:
        offer = str(about["offer"])
        if self.withdrawn.pop(offer, None) is None:
            self.withdrawals[offer] = (index, about["chain_transaction"])

    def _order(self, index: int, about: Mapping[str, Any]) -> None:
        name = str(about["order"])
        self.tally.orders += 1
        if name in self.orders or _short(name) in self.closed:
            self.gaps.add(
                GapKind.ORDER_TWICE, f"Entry {index} places the order {name} again.", fix=ASK, entry=index, order=name
            )
            return
        if about["currency"] != str(self.facts.currency):
            self.gaps.add(
                GapKind.ORDER_CURRENCY,
                f"Entry {index} prices the order {name} in {about['currency']}; the exchange clears in "
                f"{self.facts.currency}.",
                fix=ASK,
                entry=index,
                order=name,
            )
        order = self.orders[name] = _Order(index, about)
        if (sale := self.sales.pop(name, None)) is not None:
            order.sale = sale
            self._compare_order(name, order)

    def _license(self, entered: _Entered) -> None:
        name = str(entered.about["order"])
        order = self.orders.get(name)
        if (order is not None and order.entered is not None) or _short(name) in self.closed:
            self._twice(name, entered)
            return
        if order is None:
            self.gaps.add(
                GapKind.LICENSE_UNORDERED,
                f"Entry {entered.index} licenses the order {name}, which was never placed.",
                fix=ASK,
                entry=entered.index,
                order=name,
            )
            order = self.orders[name] = _Order(entered.index, None, sale=self.sales.pop(name, None))
        order.entered = entered
        self._meet(name, order)

    def _observe(self, entered: _Entered) -> None:
        order = entered.about["order"]
        if order is None:
            if not self._meet_direct(entered):
                self.observed.append(entered)
            return
        name = str(order)
        if name in self.orders or _short(name) in self.closed:
            self._twice(name, entered)
            return
        known = self.orders[name] = _Order(entered.index, None, entered=entered, sale=self.sales.pop(name, None))
        self._meet(name, known)

    def _refuse(self, index: int, about: Mapping[str, Any]) -> None:
        order = self.orders.get(str(about["order"]))
        if order is not None:
            order.refused = index

    def _deliver(self, index: int, about: Mapping[str, Any]) -> None:
        if about["order"] is None:
            return
        name = str(about["order"])
        order = self.orders.get(name)
        if _short(name) not in self.closed and (order is None or order.entered is None):
            self.gaps.add(
                GapKind.DELIVERY_UNLICENSED,
                f"Entry {index} delivers for the order {name}, which was not licensed.",
                fix=ASK,
                entry=index,
                order=name,
            )

    def _settle(self, index: int, about: Mapping[str, Any]) -> None:
        name = str(about["order"])
        order = self.orders.get(name)
        self.tally.settlements += 1
        if order is None or order.entered is None or order.settled is not None:
            self.gaps.add(
                GapKind.SETTLEMENT_UNLICENSED,
                f"Entry {index} settles the order {name}, which was not licensed or is settled already.",
                fix=ASK,
                entry=index,
                order=name,
            )
            return
        order.settled = _Settled(index, str(about["chain_transaction"]), _sums(about["payments"]))
        if order.sale is not None:
            self._compare_settlement(name, order.settled, order.sale)
        self._close(name, order)

    def _certify(self, index: int, about: Mapping[str, Any]) -> None:
        name = str(about["order"])
        order = self.orders.get(name)
        if order is None or order.settled is None:
            self.gaps.add(
                GapKind.CERTIFICATE_UNSETTLED,
                f"Entry {index} certifies the order {name}, which was not settled before.",
                fix=ASK,
                entry=index,
                order=name,
            )
            return
        order.certified = True
        self._close(name, order)

    def _anchor(self, index: int, about: Mapping[str, Any]) -> None:
        name = str(about["chain_transaction"])
        event = self.anchored.pop(name, None)
        if event is None:
            self.anchors[name] = (index, about)
        else:
            self._compare_anchor(index, about, event)

    def _twice(self, name: str, entered: _Entered) -> None:
        how = "observed" if entered.observed else "licensed"
        self.gaps.add(
            GapKind.LICENSE_TWICE,
            f"Entry {entered.index} enters the sale of the order {name} again, as {how}.",
            fix=ASK,
            entry=entered.index,
            chain_transaction=str(entered.about["chain_transaction"]),
            order=name,
        )

    # The chain's side

    def _read_chain(self, block: int) -> None:
        """Take the chain's events up to and with a block."""
        while self._ahead is not None and self._ahead.place.block <= block:
            self._take(self._ahead)
            self._ahead = next(self._events, None)

    def _take(self, event: ChainEvent) -> None:
        match event:
            case LicenseSold():
                self.tally.sales += 1
                self._sell(event)
            case OfferWithdrawn():
                self.tally.withdrawals += 1
                if self.withdrawals.pop(str(event.offer_id), None) is None:
                    self.withdrawn[str(event.offer_id)] = event
            case AnchorRecorded() if event.sender == self.facts.anchorer and event.origin == self._origin:
                self.tally.anchors += 1
                self._check_anchor(event)
            case _:
                pass

    def _sell(self, sale: LicenseSold) -> None:
        if sale.order_id is None:
            self.direct.setdefault(sale.place.chain_transaction, []).append(sale)
            return
        name = str(sale.order_id)
        order = self.orders.get(name)
        if order is None:
            self.sales[name] = sale
            return
        order.sale = sale
        self._meet(name, order)
        if order.about is not None and order.entered is None:
            self._compare_order(name, order)

    def _check_anchor(self, event: AnchorRecorded) -> None:
        name = event.place.chain_transaction
        if event.size > self.facts.size:
            if self.facts.complete_to is None:
                self.tally.pending += 1
                return
            self.false_anchors.add(name)
            self.gaps.add(
                GapKind.ANCHOR_TOO_LARGE,
                f"The chain has an anchor of {event.size} entries; this log has {self.facts.size}.",
                fix="The log is an older copy, or entries were cut off: ask the operator for the whole log.",
                chain_transaction=name,
            )
        elif (root := self.facts.root_at(event.size)) != event.root:
            self.false_anchors.add(name)
            self.gaps.add(
                GapKind.ANCHOR_ROOT,
                f"The chain has the root {event.root.hex()} anchored for {event.size} entries; this log's is "
                f"{root.hex()}.",
                fix="The log was rewritten since: keep it and its checkpoint as evidence, and ask the operator.",
                chain_transaction=name,
            )
        entered = self.anchors.pop(name, None)
        if entered is None:
            self.anchored[name] = event
        else:
            self._compare_anchor(*entered, event)

    # Where both meet

    def _meet(self, name: str, order: _Order) -> None:
        """Compare what the log says of a sale with what the chain says, once both are there."""
        sale, entered = order.sale, order.entered
        if sale is None or entered is None:
            return
        about = entered.about
        self._compare_order(name, order)
        seen = sale.place
        checks = (
            (GapKind.LICENSE_CHAIN_TRANSACTION, "chain_transaction", "chain transaction", seen.chain_transaction),
            (GapKind.LICENSE_BLOCK, "block", "block", seen.block),
            (GapKind.LICENSE_OFFER, "offer", "offer", str(sale.offer_id)),
            (GapKind.LICENSE_EXPIRY, "expiry", "expiry", sale.expiry),
        )
        for kind, member, word, truth in checks:
            if about[member] != truth:
                self.gaps.differs(kind, name, entered.index, (word, about[member], truth), seen)
        if entered.observed:
            self._compare_observed(name, entered, sale)
            del self.orders[name]
            self.closed.add(_short(name))
            return
        if order.settled is not None:
            self._compare_settlement(name, order.settled, sale)
        self._close(name, order)

    def _compare_order(self, name: str, order: _Order) -> None:
        """Compare what was ordered with what was sold, once."""
        about, sale = order.about, order.sale
        if about is None or sale is None:
            return
        order.about = None
        checks = (
            (GapKind.ORDER_OFFER, "offer", str(sale.offer_id)),
            (GapKind.ORDER_UNITS, "units", sale.units),
            (GapKind.ORDER_PRICE, "price", str(int(sale.price))),
        )
        for kind, member, truth in checks:
            if about[member] != truth:
                self.gaps.differs(kind, name, order.index, (member, about[member], truth), sale.place)

    def _compare_observed(self, name: str | None, entered: _Entered, sale: LicenseSold) -> None:
        about = entered.about
        checks = (("buyer", str(sale.buyer)), ("units", str(sale.units)), ("price", str(int(sale.price))))
        for member, truth in checks:
            if str(about[member]) != truth:
                self.gaps.differs(GapKind.SALE_DIFFERS, name, entered.index, (member, about[member], truth), sale.place)

    def _meet_direct(self, entered: _Entered) -> bool:
        """Match a direct purchase with the entry that observed it; equal ones of a chain transaction share one."""
        about = entered.about
        waiting = self.direct.get(str(about["chain_transaction"]), [])
        if not waiting:
            return False
        truths = [(str(sale.offer_id), str(sale.buyer), str(sale.units), str(int(sale.price))) for sale in waiting]
        said = (about["offer"], about["buyer"], str(about["units"]), about["price"])
        sale = waiting[truths.index(said)] if said in truths else waiting[0]
        left = [other for other in waiting if msgspec.structs.replace(other, place=sale.place) != sale]
        if left:
            self.direct[sale.place.chain_transaction] = left
        else:
            del self.direct[sale.place.chain_transaction]
        seen = (("block", sale.place.block), ("offer", str(sale.offer_id)), ("expiry", sale.expiry))
        for member, truth in seen:
            if about[member] != truth:
                self.gaps.differs(GapKind.SALE_DIFFERS, None, entered.index, (member, about[member], truth), sale.place)
        self._compare_observed(None, entered, sale)
        return True

    def _compare_settlement(self, name: str, settled: _Settled, sale: LicenseSold) -> None:
        place = sale.place
        if settled.chain_transaction != place.chain_transaction:
            what = ("chain transaction", settled.chain_transaction, place.chain_transaction)
            self.gaps.differs(GapKind.SETTLEMENT_CHAIN_TRANSACTION, name, settled.index, what, place)
        truth: _Payments = {}
        for payment in sale.payments:
            truth[str(payment.account)] = truth.get(str(payment.account), 0) + payment.amount
        missing, strange = truth.keys() - settled.payments.keys(), settled.payments.keys() - truth.keys()
        for account in sorted(truth.keys() & settled.payments.keys()):
            if settled.payments[account] != truth[account]:
                paid = (f"payment to {account}", settled.payments[account], truth[account])
                self.gaps.differs(GapKind.SETTLEMENT_AMOUNT, name, settled.index, paid, place)
        for account in sorted(strange):
            invented = (f"payment to {account}", settled.payments[account], None)
            self.gaps.differs(GapKind.SETTLEMENT_RECIPIENT, name, settled.index, invented, place)
        for account in sorted(missing) if not strange else ():
            forgotten = (f"payment to {account}", None, truth[account])
            self.gaps.differs(GapKind.SETTLEMENT_MISSING, name, settled.index, forgotten, place)

    def _compare_anchor(self, index: int, about: Mapping[str, Any], event: AnchorRecorded) -> None:
        place = event.place
        checks = (
            ("size", event.size),
            ("root", event.root.hex()),
            ("block", place.block),
            ("block_hash", place.block_hash),
        )
        for member, truth in checks:
            if about[member] != truth:
                what = (member.replace("_", " "), about[member], truth)
                self.gaps.differs(GapKind.ANCHOR_UNFOUNDED, None, index, what, place)

    def _close(self, name: str, order: _Order) -> None:
        """Forget an order that is over on both sides."""
        if order.certified and order.sale is not None:
            del self.orders[name]
            self.closed.add(_short(name))

    # The end

    def finish(self) -> None:
        """Read the chain to its end, and name what found no counterpart."""
        limit = self.named if self.facts.complete_to is None else self.facts.complete_to
        while self._ahead is not None:
            self._take(self._ahead)
            self._ahead = next(self._events, None)
        self.observed = [entered for entered in self.observed if not self._meet_direct(entered)]
        left = {sale.place.chain_transaction: name for name, sale in self.sales.items()} | {
            order.sale.place.chain_transaction: name
            for name, order in self.orders.items()
            if order.sale is not None and order.entered is None
        }
        for name, order in self.orders.items():
            self._finish_order(name, order, left, limit)
        for entered in self.observed:
            self._unfounded(None, entered, left, limit)
        for sale in [*self.sales.values(), *(sale for sales in self.direct.values() for sale in sales)]:
            if self._is_due(sale.place, limit):
                order_name = None if sale.order_id is None else str(sale.order_id)
                how = "Under no order" if order_name is None else f"Under the order {order_name}"
                self.gaps.add(
                    GapKind.SALE_UNRECORDED,
                    f"{how} the chain sold {sale.units} units of the offer {sale.offer_id} to {sale.buyer} in block "
                    f"{sale.place.block}; the log has no entry of it.",
                    fix=RESTART,
                    chain_transaction=sale.place.chain_transaction,
                    order=order_name,
                )
        self._finish_withdrawals(limit)
        self._finish_anchors(limit)

    def _finish_order(self, name: str, order: _Order, left: Mapping[str, str], limit: int) -> None:
        if order.entered is not None:
            if order.sale is None:
                self._unfounded(name, order.entered, left, limit)
            return
        if order.sale is None:
            self.tally.pending += order.refused is None
        elif self._is_due(order.sale.place, limit):
            refused = order.refused is not None
            said = f"refused by entry {order.refused}" if refused else f"placed by entry {order.index} and left open"
            self.gaps.add(
                GapKind.ORDER_REFUSED if refused else GapKind.ORDER_UNFINISHED,
                f"The order {name} is {said}, but the chain sold it in block {order.sale.place.block}.",
                fix=RESTART,
                entry=order.refused if refused else order.index,
                chain_transaction=order.sale.place.chain_transaction,
                order=name,
            )

    def _unfounded(self, name: str | None, entered: _Entered, left: Mapping[str, str], limit: int) -> None:
        """Name why an entry of a sale has none on the chain."""
        chain_transaction = str(entered.about["chain_transaction"])
        if self.facts.may_follow(entered.about, limit):
            self.tally.pending += 1
            return
        subject = f"Entry {entered.index} says that the chain transaction {chain_transaction} sold a license"
        fate = self.facts.fate(chain_transaction)
        if chain_transaction in left:
            kind, what = GapKind.LICENSE_ORDER, f"of the order {name}; it sold that of {left[chain_transaction]}"
        elif fate is Fate.FAILED:
            kind, what = GapKind.LICENSE_FAILED, "; it failed"
        elif fate is Fate.SUCCEEDED:
            kind, what = GapKind.LICENSE_NO_SALE, "; it did something else"
        else:
            kind, what = GapKind.LICENSE_UNFOUNDED, "; the chain has no such chain transaction in a final block"
        self.gaps.add(
            kind,
            f"{subject}{what if what.startswith(';') else ' ' + what}.",
            fix=ASK_CHAIN,
            entry=entered.index,
            chain_transaction=chain_transaction,
            order=name,
        )

    def _finish_withdrawals(self, limit: int) -> None:
        for offer, event in self.withdrawn.items():
            # Nobody could have bought here what was never listed here, so its withdrawal is nothing to this log.
            if _short(offer) in self.listed and self._is_due(event.place, limit):
                self.gaps.add(
                    GapKind.WITHDRAWAL_UNRECORDED,
                    f"The offer {offer} was withdrawn on the chain in block {event.place.block}; the log has it open.",
                    fix=RESTART,
                    chain_transaction=event.place.chain_transaction,
                )
        for offer, (index, chain_transaction) in self.withdrawals.items():
            if chain_transaction is not None and self.facts.fate(str(chain_transaction)) is Fate.PENDING:
                self.tally.pending += 1
                continue
            self.gaps.add(
                GapKind.WITHDRAWAL_UNFOUNDED,
                f"Entry {index} withdraws the offer {offer}; on the chain nobody withdrew it.",
                fix=WITHDRAW,
                entry=index,
                chain_transaction=chain_transaction,
            )

    def _finish_anchors(self, limit: int) -> None:
        for name, event in self.anchored.items():
            if name not in self.false_anchors and self._is_due(event.place, limit):
                self.gaps.add(
                    GapKind.ANCHOR_UNRECORDED,
                    f"The chain has an anchor of {event.size} entries in block {event.place.block}, which the log does "
                    "not know.",
                    fix=RESTART,
                    chain_transaction=name,
                )
        for name, (index, about) in self.anchors.items():
            if self.facts.may_follow(about, limit):
                self.tally.pending += 1
                continue
            self.gaps.add(
                GapKind.ANCHOR_UNFOUNDED,
                f"Entry {index} says that {about['size']} entries were anchored by {name}; the chain has no such "
                "anchor.",
                fix=ASK_CHAIN,
                entry=index,
                chain_transaction=name,
            )

    def _is_due(self, place: Place, limit: int) -> bool:
        """Whether the log must know what happened there; what is newer is pending."""
        if place.block > limit:
            self.tally.pending += 1
        return place.block <= limit


def _sums(payments: documents.Json) -> _Payments:
    """What a SETTLED entry says each account received; a payment of another form counts as one to nobody."""
    sums: _Payments = {}
    for payment in payments if isinstance(payments, list) else [None]:
        account, amount = "nobody", 0
        if isinstance(payment, dict) and _AMOUNT.fullmatch(str(payment.get("amount", ""))):
            account, amount = str(payment.get("account")), int(str(payment["amount"]))
        sums[account] = sums.get(account, 0) + amount
    return sums


def _short(name: object) -> bytes:
    """Enough of an id's hash to know it again."""
    return hashlib.sha256(str(name).encode()).digest()[:16]
