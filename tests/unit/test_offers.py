"""Offers: what cannot be sold cannot be made."""

from typing import Any

import msgspec
import pytest

from databund.core import documents
from databund.core.amounts import MAX_AMOUNT, Amount
from databund.core.ids import Bytes32, OfferId
from databund.core.offers import Domain, Offer, SignedOffer, Split, order_id, price_of
from databund.errors import AmountInvalid, DocumentInvalid, OfferExpired, OfferInvalid
from databund.testing.samples import address, hash32, listing

OFFER = listing().signed.offer


def offer(**changes: Any) -> Offer:
    """A sample with changes."""
    return msgspec.structs.replace(OFFER, **changes)


def read(**changes: Any) -> Offer:
    """A sample read from JSON with changed members."""
    return documents.load({**documents.dump(OFFER), **changes}, Offer)


@pytest.mark.parametrize("member", ["duration_s", "uses", "supply", "valid_until"])
@pytest.mark.parametrize("number", [-1, 2**53])
def test_numbers_are_bounded(member: str, number: int) -> None:
    """A number below zero or beyond what JSON counts exactly is refused, by its name."""
    with pytest.raises(OfferInvalid, match=f"The offer's {member} is out of bounds") as caught:
        read(**{member: number})
    assert caught.value.fix == "Use a number from 0 to 2^53 - 1."


@pytest.mark.parametrize("member", ["requires", "escrow_s"])
def test_claims_and_escrow_are_not_sold(member: str) -> None:
    """An offer that asks for what the exchange cannot do yet is refused."""
    with pytest.raises(OfferInvalid, match="does not sell yet") as caught:
        read(**{member: 1})
    assert caught.value.fix == "Leave requires and escrow_s at 0."


@pytest.mark.parametrize("shares", [(0,), (-1,), (10_001,), (5_000, 5_001), (10_001, -1)])
def test_splits_share_the_price(shares: tuple[int, ...]) -> None:
    """Shares of nothing, of less, or of more than the price are refused."""
    with pytest.raises(OfferInvalid, match="splits exceed the price") as caught:
        read(splits=[{"account": str(address(1)), "basis_points": share} for share in shares])
    assert caught.value.fix == "Keep their sum at or below 10000."


def test_the_whole_price_may_be_split() -> None:
    """Shares of exactly the price are taken."""
    splits = (Split(address(1), 4_000), Split(address(2), 6_000))
    assert offer(splits=splits).splits == splits


def test_counted_uses_are_not_transferable() -> None:
    """Uses are metered for each holder, so an offer that counts them cannot be passed on."""
    with pytest.raises(OfferInvalid, match="uses are metered for each holder") as caught:
        read(uses=1, transferable=True)
    assert caught.value.fix == "Offer it without a count, or not transferable."
    assert read(uses=0, transferable=True).transferable


@pytest.mark.parametrize(
    "changes",
    [{"extra": 1}, {"unit_price": 1}, {"unit_price": "-1"}, {"unit_price": "1.5"}, {"unit_price": "1e3"},
     {"unit_price": str(MAX_AMOUNT + 1)}, {"transferable": 1}, {"splits": [{"account": "0x"}]}, {"duration_s": "1"},
     {"duration_s": 1.5}, {"provider": "0x12"}, {"salt": "0x"}, {"dataset": None}],
)  # fmt: skip
def test_a_malformed_offer_is_refused(changes: dict[str, Any]) -> None:
    """An unknown member, or one of another form, is refused and named."""
    with pytest.raises(DocumentInvalid, match=next(iter(changes))) as caught:
        read(**changes)
    assert caught.value.fix == "Correct the named member."


def test_the_last_second_counts() -> None:
    """An offer is open in its last second and ended in the next."""
    OFFER.check_open(OFFER.valid_until)
    with pytest.raises(OfferExpired, match="ended 1 s ago") as caught:
        OFFER.check_open(OFFER.valid_until + 1)
    assert caught.value.fix == "List the dataset's current offers: databund offer list"


@pytest.mark.parametrize("units", [-(2**256), -1, 0, 2**32 + 1, 2**256])
def test_impossible_units_are_refused(units: int) -> None:
    """No, fewer, or too many units have neither a price nor an order."""
    with pytest.raises(AmountInvalid, match="units cannot be bought"):
        price_of(offer(unit_price=Amount(0)), units)
    with pytest.raises(AmountInvalid, match="units cannot be bought"):
        order_id(OFFER.id, address(1), units, Bytes32(bytes(32)))


def test_a_price_beyond_all_money_is_refused() -> None:
    """Where so many units cost more than there can be, they have no price."""
    with pytest.raises(AmountInvalid, match="out of bounds"):
        price_of(offer(unit_price=Amount(MAX_AMOUNT)), 2)


def test_an_order_is_bound_to_all_of_it() -> None:
    """Offer, buyer, units and salt each make another order."""
    ids = {
        order_id(OfferId(hash32(a)), address(b), c, Bytes32(hash32(d)))
        for a, b, c, d in ((1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1), (1, 1, 1, 2))
    }
    assert len(ids) == 5


def test_a_signature_counts_in_one_place() -> None:
    """Another chain and another exchange each make another digest."""
    signed = listing().signed
    digests = {
        SignedOffer(OFFER, domain, signed.signature).digest
        for domain in (Domain(1, address(1)), Domain(2, address(1)), Domain(1, address(2)))
    }
    assert len(digests) == 3
