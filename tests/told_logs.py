"""A log of events as a node writes them: two datasets, one sale that was settled, one use that was denied."""

from __future__ import annotations

from typing import Any

from databund.core.events import Event, EventKind
from databund.core.ids import Address

DAY = 86_400
OPERATOR, BUYER, CURRENCY = (str(Address(bytes([number]) * 20)) for number in (0x0E, 0xB1, 0xCC))
DATASETS = ["0x" + "d1" * 32, "0x" + "d2" * 32]
OFFERS = ["0x" + "0f" * 32, "0x" + "f0" * 32]
ORDER, DELIVERY, ATTACHMENT = "0x" + "a0" * 32, "0x" + "de" * 32, "0x" + "ac" * 32
CHAIN_TRANSACTION = "0x" + "77" * 32


def _decision(*, permitted: bool) -> dict[str, Any]:
    rule = "$.permission[0]"
    denials = [] if permitted else [{"path": rule, "missing": ["purpose"]}]
    return {
        "request": {"action": "reproduce", "assignee": f"did:pkh:eip155:31337:{BUYER}"},
        "granted_by": rule if permitted else None,
        "denials": denials,
        "sentences": [] if permitted else ["=The purpose is not known."],
    }


def events() -> list[Event]:
    """The events, a day apart; the last but one is dated before its predecessor."""
    told: list[tuple[EventKind, str, dict[str, Any]]] = []
    for dataset, offer in zip(DATASETS, OFFERS, strict=True):
        registered = {"dataset": dataset, "version": 1, "content_root": "0x" + "c0" * 32, "descriptor": "de" * 32}
        listed = {"offer": offer, "dataset": dataset, "terms": "11" * 32, "chain_id": 1, "exchange": CURRENCY}
        told += [(EventKind.REGISTERED, OPERATOR, registered), (EventKind.LISTED, OPERATOR, listed)]
    sale = {"order": ORDER, "offer": OFFERS[0]}
    paid = {"units": 1, "price": "125", "currency": CURRENCY, "chain_transaction": CHAIN_TRANSACTION}
    decided = {"offer": OFFERS[0], "order": ORDER, "attachment": None}
    delivered = {**sale, "delivery": DELIVERY, "content_root": "0x" + "c0" * 32, "recipient": "age1", "use": 1}
    payments = [{"account": OPERATOR, "amount": "100"}, {"account": BUYER, "amount": "25"}]
    told += [
        (EventKind.ORDERED, BUYER, {**sale, **paid}),
        (EventKind.LICENSED, OPERATOR, {**sale, "chain_transaction": CHAIN_TRANSACTION, "block": 1, "expiry": None}),
        (EventKind.DECIDED, OPERATOR, {**decided, "permitted": False, "decision": _decision(permitted=False)}),
        (EventKind.DECIDED, OPERATOR, {**decided, "permitted": True, "decision": _decision(permitted=True)}),
        (EventKind.DELIVERED, BUYER, delivered),
        (EventKind.DELIVERED, BUYER, {**delivered, "use": 2}),
        (
            EventKind.SETTLED,
            OPERATOR,
            {"order": ORDER, "chain_transaction": CHAIN_TRANSACTION, "payments": payments},
        ),
        (EventKind.DELIVERED, BUYER, {**delivered, "use": 3}),
        (EventKind.DESTROYED, OPERATOR, {"attachment": ATTACHMENT, "reason": "consent_withdrawn"}),
    ]
    times = [index * DAY for index in range(len(told))]
    times[-2] -= 2 * DAY
    return [Event(kind, at, by, about) for (kind, by, about), at in zip(told, times, strict=True)]
