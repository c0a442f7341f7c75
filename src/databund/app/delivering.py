"""Delivering: the content key of a dataset is released to a license holder, once for each use.

The license is read from the chain, the usage policy is decided, and the use is counted, all before the key is wrapped
to the holder; the decision (permit and deny) and the delivery leave their entries in the same database transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from databund.app.attaching import attach
from databund.app.auditing import Auditor
from databund.core import canonical
from databund.core.deliveries import Delivery
from databund.core.events import Event, EventKind
from databund.core.ids import Address, Commitment, OfferId
from databund.core.licenses import License
from databund.core.messages import DeliveryRequest
from databund.core.orders import Order, OrderEvent, OrderState
from databund.core.policies import (
    Action,
    Constraint,
    Decision,
    Facts,
    LeftOperand,
    LogicalConstraint,
    Policy,
    Request,
    evaluate,
    parse_policy,
)
from databund.core.terms import party_of
from databund.crypto.identities import Identity
from databund.crypto.wrapping import AgeRecipient, unwrap, wrap
from databund.errors import AlreadyExists, Denied, PolicyDenied, PolicyInvalid
from databund.ports import Database, Ledger, Listing, Tables

__all__ = ["Delivering"]

_UNDISCLOSED = "urn:databund:undisclosed"


@dataclass(frozen=True)
class Delivering:
    """Release of content keys to signed-in license holders."""

    database: Database
    ledger: Ledger
    auditor: Auditor
    identity: Identity
    clock: Callable[[], int]

    def deliver(self, holder: Address, request: DeliveryRequest) -> Delivery:
        """Release the content key; the same id again gives the same release.

        It belongs to the oldest order for which nothing was delivered yet, else to the newest; the time that a policy
        may limit counts from the newest. Raises `LicenseMissing`, `LicenseExpired`, `UsesExhausted`, `PolicyDenied`,
        `NotFound`, `DocumentInvalid` (what is declared is no term or place), `KeyInvalid` (the recipient is none), or
        `AlreadyExists` (the id belongs to another delivery).
        """
        license_ = self.ledger.license(holder, request.offer_id)
        with self.database.write() as tables:
            answer = self._answer(tables, license_, request, now=self.clock())
        if isinstance(answer, Denied):
            raise answer
        return answer

    def _answer(self, tables: Tables, license_: License, request: DeliveryRequest, *, now: int) -> Delivery | Denied:
        """The delivery, or the denial to raise once its entry is committed."""
        holder = license_.holder
        known = tables.deliveries.get(request.id)
        if known is not None:
            return _same(known, holder, request)
        listing = tables.listings.get(request.offer_id)
        spent = tables.deliveries.spent(holder, request.offer_id)
        try:
            license_.check_usable(now, spent=spent)
        except Denied as denial:
            # Strangers, who never had a license, leave no entry: keys cost nothing, and entries stay for ever.
            if license_.units:
                self.auditor.append(tables, self._denied(license_, denial, spent=spent, now=now))
            return denial
        orders = _settled_orders(tables, holder, request.offer_id)
        order = next((order for order in reversed(orders) if order.state is OrderState.LICENSED), None)
        order = order or next(iter(orders), None)
        elapsed = timedelta(seconds=max(now - orders[0].placed_at, 0)) if orders else None
        decision, logged = _decide(listing, holder, request, use=spent + 1, elapsed=elapsed, now=now)
        attachment = None if logged is decision else _attached(tables, holder, request, at=now)
        self.auditor.append(tables, self._decided(logged, request, order, attachment, now=now))
        if not (decision.permitted and logged.permitted):
            first = (decision.denials or logged.denials)[0]
            return PolicyDenied(first.sentence, fix=first.remedy)
        return self._release(tables, listing, holder, request, use=spent + 1, order=order, now=now)

    def _release(
        self,
        tables: Tables,
        listing: Listing,
        holder: Address,
        request: DeliveryRequest,
        *,
        use: int,
        order: Order | None,
        now: int,
    ) -> Delivery:
        offer = listing.signed.offer
        release = tables.catalog.get(offer.dataset, content_root=offer.content_root)
        key = unwrap(release.wrapped_key, self.identity.age_identity)
        delivery = Delivery(
            id=request.id,
            offer_id=offer.id,
            holder=holder,
            recipient=request.recipient,
            use=use,
            at=now,
            wrapped_key=wrap(key, [AgeRecipient(request.recipient)]),
            order_id=None if order is None else order.id,
        )
        tables.deliveries.add(delivery)
        if order is not None and order.state is OrderState.LICENSED:
            tables.orders.save(order.moved(OrderEvent.DELIVER), was=OrderState.LICENSED)
        self.auditor.append(
            tables,
            Event(
                EventKind.DELIVERED,
                now,
                str(holder),
                {
                    "delivery": str(delivery.id),
                    "order": None if order is None else str(order.id),
                    "offer": str(offer.id),
                    "content_root": str(offer.content_root),
                    "recipient": request.recipient,
                    "use": use,
                },
            ),
        )
        return delivery

    def _denied(self, license_: License, denial: Denied, *, spent: int, now: int) -> Event:
        return Event(
            EventKind.DENIED,
            now,
            str(self.identity.address),
            {
                "offer": str(license_.offer_id),
                "reason": denial.code,
                "units": license_.units,
                "expiry": license_.expiry,
                "uses": license_.uses,
                "spent": spent,
            },
        )

    def _decided(
        self,
        decision: Decision,
        request: DeliveryRequest,
        order: Order | None,
        attachment: Commitment | None,
        *,
        now: int,
    ) -> Event:
        record = decision.record()
        return Event(
            EventKind.DECIDED,
            now,
            str(self.identity.address),
            {
                "offer": str(request.offer_id),
                "order": None if order is None else str(order.id),
                "permitted": decision.permitted,
                "decision": record,
                "attachment": None if attachment is None else str(attachment),
            },
        )


def _attached(tables: Tables, holder: Address, request: DeliveryRequest, *, at: int) -> Commitment:
    """The purpose in the holder's own words, beside the log."""
    about = {"delivery": str(request.id), "purpose": str(request.purpose)}
    return attach(tables, holder, about, at=at)


def _decide(
    listing: Listing, holder: Address, request: DeliveryRequest, *, use: int, elapsed: timedelta | None, now: int
) -> tuple[Decision, Decision]:
    """The decision for the holder to read, and the same one for the log.

    A purpose is free text, and what the policy does not name may say anything about anybody. For the log it is only
    "undisclosed", which the policy treats alike; then the two are different objects, and the text is attached.
    """
    policy = parse_policy(canonical.parse(listing.policy))
    if policy.target is None:
        raise PolicyInvalid(f"The policy {policy.uid} has no single target.", fix="Ask the provider for a new offer.")
    party = party_of(holder, listing.signed.domain.chain_id)
    asked = Request(action=Action.REPRODUCE, target=policy.target, assignee=party)
    facts = Facts(
        purpose=request.purpose,
        count=use,
        elapsed_time=elapsed,
        date_time=datetime.fromtimestamp(now, UTC),
        recipient=party,
        spatial=request.place,
    )
    decision = evaluate(policy, asked, facts)
    if facts.purpose is None or facts.purpose in _named_purposes(policy):
        return decision, decision
    return decision, evaluate(policy, asked, replace(facts, purpose=_UNDISCLOSED))


def _named_purposes(policy: Policy) -> set[str]:
    waiting: list[object] = [c for rule in (*policy.permissions, *policy.prohibitions) for c in rule.constraints]
    named: set[str] = set()
    while waiting:
        constraint = waiting.pop()
        if isinstance(constraint, LogicalConstraint):
            waiting.extend(constraint.constraints)
        elif isinstance(constraint, Constraint) and constraint.left_operand is LeftOperand.PURPOSE:
            terms = constraint.right_operand
            named.update(str(term) for term in (terms if isinstance(terms, tuple) else (terms,)))
    return named


def _settled_orders(tables: Tables, holder: Address, offer_id: OfferId) -> list[Order]:
    """The holder's orders of the offer, newest first.

    There are none for a license that was bought directly on the chain, or came by a transfer.
    """
    unsettled = (OrderState.PLACED, OrderState.REFUSED)
    return [order for order in tables.orders.find(buyer=holder, offer_id=offer_id) if order.state not in unsettled]


def _same(known: Delivery, holder: Address, request: DeliveryRequest) -> Delivery:
    if (known.holder, known.offer_id, known.recipient) != (holder, request.offer_id, request.recipient):
        raise AlreadyExists(f"The delivery {request.id} is another one.", fix="Choose a fresh random id.")
    return known
