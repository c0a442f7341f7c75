"""Sample values for tests: valid, small, and different wherever the number that names them differs."""

from __future__ import annotations

from typing import Any

from databund.core.amounts import Amount
from databund.core.datasets import Dataset
from databund.core.deliveries import Delivery
from databund.core.ids import Address, Bytes32, ContentRoot, DeliveryId, Hex, OfferId, OrderId, keccak256
from databund.core.manifests import Manifest, SealedFile
from databund.core.offers import Domain, Offer, SignedOffer
from databund.core.orders import Order
from databund.ports import ChainTransaction, Listing, Release

__all__ = ["address", "chain_transaction", "dataset", "delivery", "hash32", "listing", "order", "release"]


def hash32(number: int) -> bytes:
    """Thirty-two bytes that only this number gives."""
    return keccak256(number.to_bytes(16))


def address(number: int) -> Address:
    """An account."""
    return Address(hash32(number)[:20])


def dataset(number: int = 1, **changes: Any) -> Dataset:
    """Version 1 of a dataset of one file; all samples have one provider."""
    version = changes.get("version", 1)
    file = SealedFile(path="data.csv", size=10, offset=0, length=66)
    members: dict[str, Any] = {
        "provider": address(0),
        "name": f"sample-{number}",
        "version": version,
        "title": f"Sample {number}",
        "description": "",
        "manifest": Manifest(files=(file,), size=66, root=ContentRoot(hash32(1000 * number + version))),
        "created_at": 1_800_000_000,
    }
    return Dataset(**{**members, **changes})


def release(number: int = 1, **changes: Any) -> Release:
    """A dataset version as it is stored."""
    return Release(dataset(number, **changes), wrapped_key=b"age " + hash32(number))


def listing(number: int = 1, *, of: int = 1, provider: int = 0) -> Listing:
    """An offer for the dataset sample ``of``; its signature is no signature."""
    offer = Offer(
        provider=address(provider),
        dataset=dataset(of).id,
        content_root=dataset(of).content_root,
        terms_hash=Bytes32(hash32(number)),
        currency=address(1),
        unit_price=Amount(2**128 - 1),
        duration_s=0,
        uses=0,
        supply=0,
        transferable=False,
        splits=(),
        valid_until=2**53 - 1,
        salt=Bytes32(hash32(number)),
    )
    signed = SignedOffer(offer, Domain(chain_id=31_337, exchange=address(2)), Hex(b"\x1b" * 65))
    return Listing(signed, policy=b'{"policy":true}', listed_at=1_800_000_000 + number)


def order(number: int = 1, **changes: Any) -> Order:
    """A placed order."""
    members: dict[str, Any] = {
        "id": OrderId(hash32(number)),
        "offer_id": OfferId(hash32(1)),
        "buyer": address(3),
        "units": 1,
        "price": Amount(number),
        "placed_at": 1_800_000_000,
    }
    return Order(**{**members, **changes})


def chain_transaction(nonce: int, *, signer: int = 4) -> ChainTransaction:
    """A chain transaction; its bytes are not signed."""
    digest = hash32(1000 * signer + nonce)
    return ChainTransaction("0x" + digest.hex(), address(signer), nonce, raw=b"\x02" + digest, order_id=None)


def delivery(number: int = 1, *, use: int = 1, holder: int = 3) -> Delivery:
    """A release of a content key to the first offer's holder."""
    return Delivery(
        id=DeliveryId(hash32(number)),
        offer_id=OfferId(hash32(1)),
        holder=address(holder),
        recipient="age1sample",
        use=use,
        at=1_800_000_000,
        wrapped_key=b"age " + hash32(number),
    )
