"""Offers: what a provider sells, as EIP-712 typed data that the smart contract `Exchange` verifies.

The struct hash of an offer is its `OfferId` and the ERC-1155 token id of the licenses sold under it, so nobody can
change price, term or content after a sale. Publishing costs nothing: the provider's signature is the listing.
A unit is one term: buying n units costs n prices, and adds n durations and n times the uses.
Source: EIP-712 (Final); the type strings are those of ``contracts/src``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from databund.core.amounts import Amount, Currency
from databund.core.ids import Address, Bytes32, ContentRoot, DatasetId, Hex, OfferId, OrderId, keccak256
from databund.errors import AmountInvalid, OfferExpired, OfferInvalid

__all__ = [
    "Domain",
    "Offer",
    "SignedOffer",
    "Split",
    "cancel_hash",
    "order_id",
    "payment_digest",
    "price_of",
    "signing_digest",
]

_LARGEST = 2**53 - 1  # what every JSON reader keeps exact; the smart contract takes 64 bits
_MOST_UNITS = 2**32
_MOST_SPLITS = 16  # whoever relays a sale pays the gas of every split
WHOLE_BASIS_POINTS = 10_000

_SPLIT_TYPE = "Split(address account,uint16 basisPoints)"
_OFFER_TYPE = (
    "Offer(address provider,bytes32 dataset,bytes32 contentRoot,bytes32 termsHash,address currency,uint256 unitPrice,"
    "uint64 duration,uint64 uses,uint64 supply,uint256 requires,uint64 escrow,bool transferable,Split[] splits,"
    "uint64 validUntil,bytes32 salt)" + _SPLIT_TYPE
)
_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_PAYMENT_TYPE = (
    "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    "bytes32 nonce)"
)
_CANCEL_TYPE = "Cancel(bytes32 offer)"
_NAME, _VERSION = "databund", "1"
_SPLIT_HASH, _OFFER_HASH, _DOMAIN_HASH = (keccak256(each.encode()) for each in (_SPLIT_TYPE, _OFFER_TYPE, _DOMAIN_TYPE))


class Domain(msgspec.Struct, frozen=True):
    """Where a signature counts: one chain and one `Exchange` on it."""

    chain_id: int
    exchange: Address

    def __post_init__(self) -> None:
        if self.chain_id < 0:
            raise OfferInvalid("No chain has a negative number.", fix="Use the number that eth_chainId gives.")

    def digest(self, struct_hash: bytes) -> Bytes32:
        """What is signed: EIP-712 ``encode(domainSeparator, message)``, hashed."""
        return signing_digest(
            struct_hash, name=_NAME, version=_VERSION, chain_id=self.chain_id, smart_contract=self.exchange
        )


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the price that goes to another account: the exchange's fee, a royalty to a parent dataset."""

    account: Address
    basis_points: int


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Price, term and usage policy for one version of a dataset.

    ``terms_hash`` is SHA-256 of the RFC 8785 form of the ODRL offer; ``content_root`` is BLAKE3 of the sealed blob.
    ``duration_s`` 0 is perpetual, ``uses`` 0 and ``supply`` 0 are unlimited. ``requires`` is a mask of claims and
    ``escrow_s`` a holding time; both are part of the format, and must be 0 until the exchange sells them.
    ``valid_until`` is the last second (Unix time) in which the offer can be bought.
    """

    provider: Address
    dataset: DatasetId
    content_root: ContentRoot
    terms_hash: Bytes32
    currency: Address
    unit_price: Amount
    duration_s: int
    uses: int
    supply: int
    transferable: bool
    splits: tuple[Split, ...]
    valid_until: int
    salt: Bytes32
    requires: int = 0
    escrow_s: int = 0

    def __post_init__(self) -> None:
        for name in ("duration_s", "uses", "supply", "escrow_s", "valid_until"):
            if not 0 <= getattr(self, name) <= _LARGEST:
                raise OfferInvalid(f"The offer's {name} is out of bounds.", fix="Use a number from 0 to 2^53 - 1.")
        if self.requires or self.escrow_s:
            raise OfferInvalid(
                "The offer asks for claims or escrow, which this exchange does not sell yet.",
                fix="Leave requires and escrow_s at 0.",
            )
        if any(not 0 < split.basis_points <= WHOLE_BASIS_POINTS for split in self.splits) or (
            sum(split.basis_points for split in self.splits) > WHOLE_BASIS_POINTS
        ):
            raise OfferInvalid("The offer's splits exceed the price.", fix="Keep their sum at or below 10000.")
        if len(self.splits) > _MOST_SPLITS:
            raise OfferInvalid(
                f"The offer has {len(self.splits)} splits.",
                fix=f"Pay at most {_MOST_SPLITS} accounts besides yourself.",
            )
        if self.uses and self.transferable:
            raise OfferInvalid(
                "An offer with counted uses cannot be transferable: uses are metered for each holder.",
                fix="Offer it without a count, or not transferable.",
            )

    @property
    def id(self) -> OfferId:
        """The EIP-712 struct hash."""
        return OfferId(
            keccak256(
                _OFFER_HASH
                + _words(
                    self.provider,
                    self.dataset,
                    self.content_root,
                    self.terms_hash,
                    self.currency,
                    self.unit_price,
                    self.duration_s,
                    self.uses,
                    self.supply,
                    self.requires,
                    self.escrow_s,
                    self.transferable,
                )
                + keccak256(b"".join(map(_split_hash, self.splits)))
                + _words(self.valid_until, self.salt)
            )
        )

    def check_open(self, now: int) -> None:
        """Raise `OfferExpired` when ``now`` (Unix seconds) is past the offer's last second."""
        if now > self.valid_until:
            raise OfferExpired(
                f"The offer {self.id} ended {now - self.valid_until} s ago.",
                fix="List the dataset's current offers: databund offer list",
            )

    def typed_data(self, domain: Domain) -> dict[str, Any]:
        """The ``eth_signTypedData_v4`` document, for wallets that show people what they sign."""
        return {
            "types": {
                "EIP712Domain": _members(_DOMAIN_TYPE),
                "Split": _members(_SPLIT_TYPE),
                "Offer": _members(_OFFER_TYPE.removesuffix(_SPLIT_TYPE)),
            },
            "primaryType": "Offer",
            "domain": {
                "name": _NAME,
                "version": _VERSION,
                "chainId": domain.chain_id,
                "verifyingContract": str(domain.exchange),
            },
            "message": self.message(),
        }

    def message(self) -> dict[str, Any]:
        """The members under the names of the typed data, hexadecimal strings and integers."""
        return {
            "provider": str(self.provider),
            "dataset": str(self.dataset),
            "contentRoot": str(self.content_root),
            "termsHash": str(self.terms_hash),
            "currency": str(self.currency),
            "unitPrice": int(self.unit_price),
            "duration": self.duration_s,
            "uses": self.uses,
            "supply": self.supply,
            "requires": self.requires,
            "escrow": self.escrow_s,
            "transferable": self.transferable,
            "splits": [{"account": str(s.account), "basisPoints": s.basis_points} for s in self.splits],
            "validUntil": self.valid_until,
            "salt": str(self.salt),
        }


class SignedOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An offer, where it counts, and its provider's signature (65 bytes r, s, v; longer for ERC-1271 accounts)."""

    offer: Offer
    domain: Domain
    signature: Hex

    @property
    def digest(self) -> Bytes32:
        """What the provider signed."""
        return self.domain.digest(bytes(self.offer.id))


def signing_digest(struct_hash: bytes, *, name: str, version: str, chain_id: int, smart_contract: Address) -> Bytes32:
    """What is signed over a struct hash for any EIP-712 domain of these four members."""
    separator = keccak256(
        _DOMAIN_HASH + keccak256(name.encode()) + keccak256(version.encode()) + _words(chain_id, smart_contract)
    )
    return Bytes32(keccak256(b"\x19\x01" + separator + struct_hash))


def payment_digest(
    currency: Currency, domain: Domain, *, order: OrderId, payer: Address, price: Amount, validity: tuple[int, int]
) -> Bytes32:
    """What a buyer signs to pay for an order: ``ReceiveWithAuthorization`` to the exchange (ERC-3009, Draft).

    ``validity`` is (after, before) in Unix seconds, both exclusive.
    """
    struct_hash = keccak256(keccak256(_PAYMENT_TYPE.encode()) + _words(payer, domain.exchange, price, *validity, order))
    return signing_digest(
        struct_hash,
        name=currency.name,
        version=currency.version,
        chain_id=domain.chain_id,
        smart_contract=currency.address,
    )


def cancel_hash(offer_id: OfferId) -> bytes:
    """The struct hash a provider signs to withdraw an offer without holding gas."""
    return keccak256(keccak256(_CANCEL_TYPE.encode()) + bytes(offer_id))


def order_id(offer_id: OfferId, buyer: Address, units: int, salt: Bytes32) -> OrderId:
    """The id of a purchase: keccak256(abi.encode(offerId, buyer, units, salt)), the nonce of its payment.

    Raises `AmountInvalid` for no or too many units.
    """
    _check_units(units)
    return OrderId(keccak256(bytes(offer_id) + _word(buyer) + _word(units) + bytes(salt)))


def price_of(offer: Offer, units: int) -> Amount:
    """What ``units`` of the offer cost. Raises `AmountInvalid` for no or too many units."""
    _check_units(units)
    return Amount(offer.unit_price * units)


def _check_units(units: int) -> None:
    if not 0 < units <= _MOST_UNITS:
        raise AmountInvalid(f"{units} units cannot be bought.", fix=f"Buy 1 to {_MOST_UNITS} units.")


def _split_hash(split: Split) -> bytes:
    return keccak256(_SPLIT_HASH + _word(split.account) + _word(split.basis_points))


def _word(value: int | Bytes32 | Address) -> bytes:
    if isinstance(value, Address):
        return bytes(12) + bytes(value)
    return bytes(value) if isinstance(value, Bytes32) else int(value).to_bytes(32)


def _words(*values: int | Bytes32 | Address) -> bytes:
    return b"".join(map(_word, values))


def _members(type_string: str) -> list[dict[str, str]]:
    inside = type_string[type_string.index("(") + 1 : type_string.index(")")]
    return [{"type": kind, "name": name} for kind, name in (member.split(" ") for member in inside.split(","))]
