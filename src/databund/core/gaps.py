"""Gaps: what can be missing or different between the audit log and the chain, and what they are compared under."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from databund.core.chain_events import Fate, Place
from databund.core.ids import Address
from databund.core.offers import Domain

__all__ = ["ASK", "ASK_CHAIN", "RESTART", "WITHDRAW", "Facts", "Gap", "GapKind", "GapList", "Tally"]

RESTART: Final = "Restart the node: it enters what the chain has and the log lacks. If the gap stays, ask the operator."
ASK: Final = "Ask the operator; keep this log and its checkpoint as evidence."
ASK_CHAIN: Final = "Ask another node of the chain; if it says the same, ask the operator, and keep log and checkpoint."
WITHDRAW: Final = "Withdraw the offer again: on the chain it is still valid."


class GapKind(StrEnum):
    """What can be missing or different between log and chain."""

    SALE_UNRECORDED = "sale.unrecorded"
    SALE_DIFFERS = "sale.differs"
    ORDER_UNFINISHED = "order.unfinished"
    ORDER_REFUSED = "order.refused_but_sold"
    ORDER_TWICE = "order.twice"
    ORDER_OFFER = "order.offer"
    ORDER_UNITS = "order.units"
    ORDER_PRICE = "order.price"
    ORDER_CURRENCY = "order.currency"
    LICENSE_UNORDERED = "license.unordered"
    LICENSE_TWICE = "license.twice"
    LICENSE_UNFOUNDED = "license.unfounded"
    LICENSE_FAILED = "license.failed"
    LICENSE_NO_SALE = "license.no_sale"
    LICENSE_ORDER = "license.order"
    LICENSE_OFFER = "license.offer"
    LICENSE_BLOCK = "license.block"
    LICENSE_EXPIRY = "license.expiry"
    LICENSE_CHAIN_TRANSACTION = "license.chain_transaction"
    DELIVERY_UNLICENSED = "delivery.unlicensed"
    SETTLEMENT_UNLICENSED = "settlement.unlicensed"
    SETTLEMENT_CHAIN_TRANSACTION = "settlement.chain_transaction"
    SETTLEMENT_AMOUNT = "settlement.amount"
    SETTLEMENT_RECIPIENT = "settlement.recipient"
    SETTLEMENT_MISSING = "settlement.missing_payment"
    CERTIFICATE_UNSETTLED = "certificate.unsettled"
    WITHDRAWAL_UNRECORDED = "withdrawal.unrecorded"
    WITHDRAWAL_UNFOUNDED = "withdrawal.unfounded"
    ANCHOR_UNRECORDED = "anchor.unrecorded"
    ANCHOR_UNFOUNDED = "anchor.unfounded"
    ANCHOR_ROOT = "anchor.root"
    ANCHOR_TOO_LARGE = "anchor.too_large"
    LISTED_ELSEWHERE = "offer.listed_elsewhere"

    @property
    def may_close(self) -> bool:
        """Whether a running node closes such a gap by itself soon after it opens."""
        return self in _MAY_CLOSE


_MAY_CLOSE = {
    GapKind.SALE_UNRECORDED,
    GapKind.ORDER_UNFINISHED,
    GapKind.ORDER_REFUSED,
    GapKind.WITHDRAWAL_UNRECORDED,
    GapKind.WITHDRAWAL_UNFOUNDED,
    GapKind.ANCHOR_UNRECORDED,
}


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One gap: what it is in a sentence, where to look (entry index, chain transaction, order), and what to do next."""

    kind: GapKind
    what: str
    fix: str
    entry: int | None = None
    chain_transaction: str | None = None
    order: str | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What log and chain are compared under.

    ``anchorer`` is the account that anchors the log ``origin``. ``root_at`` gives the log's root (32 bytes) at a size
    up to ``size``, ``fate`` what became of a chain transaction. The log must know every event up to the block
    ``complete_to``; without it, up to the last block that the log itself names. ``newest`` gives the newest final block
    by now, when the log has been read: no entry can honestly name a later one.
    """

    domain: Domain
    currency: Address
    anchorer: Address
    origin: str
    size: int
    root_at: Callable[[int], bytes]
    fate: Callable[[str], Fate]
    complete_to: int | None
    newest: Callable[[], int]

    def may_follow(self, about: Mapping[str, Any], limit: int) -> bool:
        """Whether an entry names a block that came, or will be final, after ``limit``, the last one compared."""
        block = about["block"]
        if self.complete_to is None or type(block) is not int or block <= limit:
            return False
        return self.fate(str(about["chain_transaction"])) is Fate.PENDING or block <= self.newest()


@dataclass
class Tally:
    """What was compared. ``pending`` are acts on either side that are newer than what the other side can know."""

    entries: int = 0
    sales: int = 0
    withdrawals: int = 0
    anchors: int = 0
    orders: int = 0
    settlements: int = 0
    pending: int = 0
    gaps: int = 0


class GapList:
    """Gaps in the order in which they are seen."""

    def __init__(self) -> None:
        self._gaps: list[Gap] = []

    def taken(self) -> Sequence[Gap]:
        """Those that were added since the last call."""
        taken, self._gaps = self._gaps, []
        return taken

    def add(
        self,
        kind: GapKind,
        what: str,
        *,
        fix: str,
        entry: int | None = None,
        chain_transaction: str | None = None,
        order: str | None = None,
    ) -> None:
        """Note a gap."""
        self._gaps.append(
            Gap(kind=kind, what=what, fix=fix, entry=entry, chain_transaction=chain_transaction, order=order)
        )

    def differs(
        self, kind: GapKind, order: str | None, entry: int, what: tuple[str, object, object], place: Place
    ) -> None:
        """Note that an entry and the chain differ: ``what`` is the member, what the entry has, and what is there."""
        member, said, truth = ("none" if value is None else str(value) for value in what)
        self.add(
            kind,
            f"Entry {entry} has {said} as {member}; the chain has {truth}.",
            fix=ASK_CHAIN,
            entry=entry,
            chain_transaction=place.chain_transaction,
            order=order,
        )
