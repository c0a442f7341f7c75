"""Messages: what travels between a node and its clients as JSON, in both directions.

Nouns of the core travel as themselves; here are the requests around them and the views that join several.
"""

from __future__ import annotations

from typing import Any

import msgspec

from databund.core.amounts import Amount, Currency
from databund.core.datasets import Dataset
from databund.core.ids import Address, Bytes32, DatasetId, DeliveryId, Hex, OfferId
from databund.core.licenses import License
from databund.core.offers import Domain, SignedOffer, Split
from databund.core.orders import Purchase

__all__ = [
    "Account",
    "Challenge",
    "ChallengeRequest",
    "CreditRequest",
    "DatasetRegistration",
    "DatasetView",
    "DeliveryRequest",
    "LicenseView",
    "NodeInfo",
    "OfferPosting",
    "OfferView",
    "OrderRequest",
    "SignInRequest",
    "Token",
    "Withdrawal",
]


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a client must know of a node, served at ``/.well-known/databund``.

    ``recipient`` is the age recipient to which providers wrap content keys, ``log_key`` the verifier key (vkey) of the
    log ``origin``; ``license_token``, ``title`` and ``checkpoint_anchor`` are smart contracts, and before the block
    ``since_block`` they recorded nothing; ``fee`` is the split every paid offer carries.
    """

    version: str
    operator: Address
    domain: Domain
    currency: Currency
    license_token: Address
    title: Address
    checkpoint_anchor: Address
    since_block: int
    fee: Split | None
    recipient: str
    origin: str
    log_key: str


class ChallengeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to sign in."""

    address: Address


class Challenge(msgspec.Struct, frozen=True):
    """The ERC-4361 message to sign."""

    message: str


class SignInRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The message as it was given, signed."""

    address: Address
    message: str
    signature: Hex


class Token(msgspec.Struct, frozen=True):
    """A bearer token and when it ends (Unix seconds)."""

    token: str
    expires_at: int

    def __repr__(self) -> str:
        return f"Token(…, expires_at={self.expires_at})"


class DatasetRegistration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dataset version, and its content key wrapped to the node's recipient as an age file."""

    dataset: Dataset
    wrapped_key: Hex


class DatasetView(msgspec.Struct, frozen=True):
    """A dataset version; ``descriptor`` is the SHA-256 of its canonical JSON, in hexadecimal digits."""

    id: DatasetId
    descriptor: str
    dataset: Dataset


class OfferPosting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed offer and its ODRL policy."""

    signed: SignedOffer
    policy: dict[str, Any]


class OfferView(msgspec.Struct, frozen=True):
    """An offer on the list: when it was listed and withdrawn (Unix seconds)."""

    id: OfferId
    signed: SignedOffer
    policy: dict[str, Any]
    listed_at: int
    withdrawn_at: int | None


class Withdrawal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The provider's EIP-712 signature over ``Cancel(bytes32 offer)``."""

    signature: Hex


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A buyer's signed purchase of an offer."""

    offer_id: OfferId
    purchase: Purchase


class LicenseView(msgspec.Struct, frozen=True):
    """A license as the chain says it, and how many of its uses are spent here."""

    license: License
    spent: int


class DeliveryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a holder asks for and declares.

    ``id`` is chosen by the holder, so that asking again costs no further use; ``recipient`` is the age recipient the
    key is wrapped to; ``purpose`` and ``place`` are declared facts, which a policy may ask for.
    """

    id: DeliveryId
    offer_id: OfferId
    recipient: str
    purpose: str | None = None
    place: str | None = None


class CreditRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credit an account against a deposit; one ``reference`` is credited once."""

    account: Address
    amount: Amount
    reference: Bytes32


class Account(msgspec.Struct, frozen=True):
    """What an account holds of the settlement currency."""

    address: Address
    balance: Amount
