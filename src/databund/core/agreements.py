"""Agreements and certificates: the documents that both sides of a finished trade can show.

An agreement is the offer's ODRL policy with the assignee filled in. A certificate names the order, the agreement, the
chain transaction and what every account received; the log entry of its digest makes it provable.
"""

from __future__ import annotations

import msgspec

from databund.core import canonical, policies
from databund.core.amounts import Amount, Payment
from databund.core.ids import Address, Bytes32, OfferId, OrderId
from databund.core.policies import Policy, parse_policy

__all__ = ["Certificate", "agreement", "agreement_of"]


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The trade in one document. ``agreement`` is the SHA-256 of the agreement.."""

    order: OrderId
    offer: OfferId
    buyer: Address
    units: int
    price: Amount
    currency: Address
    payments: tuple[Payment, ...]
    chain_id: int
    exchange: Address
    chain_transaction: str
    block: int
    block_hash: str
    expiry: int | None
    agreement: Bytes32


def agreement(policy: bytes, *, order_id: OrderId, assignee: str) -> bytes:
    """The RFC 8785 bytes of the ODRL agreement: the offer's policy, assigned to ``assignee`` under the order's name."""
    return agreement_of(parse_policy(canonical.parse(policy)), order_id=order_id, assignee=assignee)


def agreement_of(policy: Policy, *, order_id: OrderId, assignee: str) -> bytes:
    """As `agreement`, from a policy that was read already."""
    agreed = policies.agreement(policy, uid=f"urn:databund:order:{order_id}", assignee=assignee)
    return canonical.canonicalize(agreed.document())
