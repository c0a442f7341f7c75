"""Splits: their number is bounded, because whoever relays a sale pays the gas of each."""

import msgspec
import pytest

from databund.core.offers import Offer, Split
from databund.errors import OfferInvalid
from databund.testing.samples import address, listing


def offer(splits: int) -> Offer:
    """A sample whose price is shared by so many accounts besides the provider."""
    shares = tuple(Split(address(number), 1) for number in range(1, splits + 1))
    return msgspec.structs.replace(listing().signed.offer, splits=shares)


def test_sixteen_accounts_may_share() -> None:
    """The fee and fifteen royalties fit into one offer."""
    assert len(offer(16).splits) == 16


def test_more_accounts_may_not() -> None:
    """One share more is refused, and the fix names the bound."""
    with pytest.raises(OfferInvalid, match="has 17 splits") as caught:
        offer(17)

    assert "16" in caught.value.fix
