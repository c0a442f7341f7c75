"""Events: what the audit log says happened, one kind for each act.

An event becomes one log entry: the RFC 8785 bytes of `Event`, at most 65,535. It carries hashes and pseudonymous ids
(chain addresses) only; personal data never enters one.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from databund.core import documents
from databund.errors import DocumentInvalid

__all__ = ["MAX_ENTRY_BYTES", "Event", "EventKind"]

MAX_ENTRY_BYTES = 65_535
"""The size limit of a C2SP entry bundle's length prefix."""


class EventKind(StrEnum):
    """The acts that leave an entry."""

    REGISTERED = "dataset.registered"
    LISTED = "offer.listed"
    WITHDRAWN = "offer.withdrawn"
    DECIDED = "decision.made"
    DENIED = "delivery.denied"
    ORDERED = "order.placed"
    LICENSED = "order.licensed"
    REFUSED = "order.refused"
    DELIVERED = "order.delivered"
    SETTLED = "order.settled"
    CERTIFIED = "order.certified"
    OBSERVED = "license.observed"
    ANCHORED = "checkpoint.anchored"
    DESTROYED = "key.destroyed"


_SUBJECTS: dict[EventKind, frozenset[str]] = {
    EventKind.REGISTERED: frozenset({"dataset", "version", "content_root", "descriptor"}),
    EventKind.LISTED: frozenset({"offer", "dataset", "terms", "chain_id", "exchange"}),
    EventKind.WITHDRAWN: frozenset({"offer", "chain_transaction"}),
    EventKind.DECIDED: frozenset({"decision", "permitted", "offer", "order", "attachment"}),
    EventKind.DENIED: frozenset({"offer", "reason", "units", "expiry", "uses", "spent"}),
    EventKind.ORDERED: frozenset({"order", "offer", "units", "price", "currency", "chain_transaction"}),
    EventKind.LICENSED: frozenset({"order", "offer", "chain_transaction", "block", "expiry"}),
    EventKind.REFUSED: frozenset({"order", "offer", "reason"}),
    EventKind.DELIVERED: frozenset({"delivery", "order", "offer", "content_root", "recipient", "use"}),
    EventKind.SETTLED: frozenset({"order", "chain_transaction", "payments"}),
    EventKind.CERTIFIED: frozenset({"order", "agreement", "certificate"}),
    EventKind.OBSERVED: frozenset(
        {"order", "offer", "buyer", "units", "price", "chain_transaction", "block", "expiry"}
    ),
    EventKind.ANCHORED: frozenset({"size", "root", "chain_transaction", "block", "block_hash"}),
    EventKind.DESTROYED: frozenset({"attachment", "reason"}),
}


_LAST_S = 253_402_300_799  # the end of the year 9999, where calendars end


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One act: its kind, its time (Unix seconds, up to the year 9999), who did it (an address), and what it is about.

    ``about`` has exactly the members that the kind asks for; each is a string, an integer, a boolean, or a list or
    object of these.
    """

    kind: EventKind
    at: int
    by: str
    about: dict[str, documents.Json]

    def __post_init__(self) -> None:
        if not 0 <= self.at <= _LAST_S:
            raise DocumentInvalid(f"An entry has the time {self.at}.", fix="Use Unix seconds.")
        expected = _SUBJECTS[self.kind]
        if self.about.keys() != expected:
            raise DocumentInvalid(
                f"An entry of kind {self.kind} is about {', '.join(sorted(expected))}; "
                f"this one is about {', '.join(sorted(self.about)) or 'nothing'}.",
                fix="Name every member, and no other.",
            )

    def entry(self) -> bytes:
        """The log entry. Raises `DocumentInvalid` when it is too large."""
        data = documents.encode(self)
        if len(data) > MAX_ENTRY_BYTES:
            raise DocumentInvalid(
                f"The entry has {len(data)} bytes; the log takes {MAX_ENTRY_BYTES}.", fix="Log a hash instead."
            )
        return data

    @classmethod
    def read(cls, entry: bytes) -> Event:
        """Read a log entry. Raises `DocumentInvalid`."""
        return documents.decode(entry, cls)
