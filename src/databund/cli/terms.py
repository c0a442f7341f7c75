"""The terms of an offer as options, the same for ``dataset publish`` and ``offer create``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from databund.errors import AmountInvalid, OfferInvalid

if TYPE_CHECKING:
    from databund.core.amounts import Currency
    from databund.sdk.publication import OfferTerms

__all__ = ["Terms"]

_DAY_S = 86_400
_NOTHING = "urn:databund:nothing"
_LONGEST_DAYS = 100_000


@Parameter(name="*", group="Offer")
@dataclass(frozen=True, kw_only=True)
class Terms:
    """What was given of an offer's price, term and usage policy."""

    price: Annotated[str | None, Parameter(help="The price of one unit, such as 12.50.", metavar="AMOUNT")] = None
    free: Annotated[bool, Parameter(help="Offer it for nothing.")] = False
    days: Annotated[int | None, Parameter(help="How long one unit lasts; without it, for ever.")] = None
    uses: Annotated[int | None, Parameter(help="How many downloads one unit allows; without it, any number.")] = None
    supply: Annotated[int | None, Parameter(help="How many units are sold at most; without it, any number.")] = None
    open_days: Annotated[int, Parameter(help="How long the offer can be bought.")] = 365
    transferable: Annotated[bool, Parameter(help="Let holders give their licenses to others.")] = False
    purpose: Annotated[
        tuple[str, ...], Parameter(help="Permit only this purpose, a word or an IRI.", metavar="WORD")
    ] = ()
    place: Annotated[
        tuple[str, ...], Parameter(help="Permit use only here: an ISO 3166 code such as DE or CN-31.", metavar="CODE")
    ] = ()
    train: Annotated[bool, Parameter(help="Permit training models on it.")] = False
    redistribute: Annotated[bool, Parameter(help="Permit passing the data on.")] = False

    def read(self, currency: Currency) -> OfferTerms:
        """The terms in the currency's base units and in seconds. Raises `AmountInvalid` and `OfferInvalid`."""
        from databund.core.amounts import Amount
        from databund.core.policies import usage_policy
        from databund.sdk.publication import OfferTerms

        if (self.price is None) != self.free:
            raise AmountInvalid(
                "The offer has a price and is free." if self.free else "The offer has no price.",
                fix="Give either --price AMOUNT or --free.",
            )
        if self.uses and self.transferable:
            raise OfferInvalid(
                "An offer with --uses cannot be --transferable: uses are counted for each holder.",
                fix="Leave one of them out.",
            )
        # Made here already, so that a bad word is refused before anything is sealed and uploaded.
        usage_policy(_NOTHING, _NOTHING, assigner=_NOTHING, purposes=self.purpose, places=self.place)
        return OfferTerms(
            unit_price=Amount(0) if self.price is None else currency.parse(self.price),
            free=self.free,
            duration_s=_positive("days", self.days, most=_LONGEST_DAYS) * _DAY_S,
            uses=_positive("uses", self.uses),
            supply=_positive("supply", self.supply),
            transferable=self.transferable,
            open_s=_positive("open-days", self.open_days, most=_LONGEST_DAYS) * _DAY_S,
            purposes=self.purpose,
            places=self.place,
            train=self.train,
            redistribute=self.redistribute,
        )


def _positive(name: str, value: int | None, *, most: int = 2**53 - 1) -> int:
    """The value; 0, which stands for no limit, when it was not given."""
    if value is None:
        return 0
    if not 0 < value <= most:
        raise OfferInvalid(f"--{name} cannot be {value}.", fix=f"Write a number from 1 to {most}.")
    return value
