"""Licenses: what a holder owns, as the chain says it, and whether it can be used now."""

from __future__ import annotations

import msgspec

from databund.core.ids import Address, OfferId
from databund.errors import LicenseExpired, LicenseMissing, UsesExhausted

__all__ = ["License"]


class License(msgspec.Struct, frozen=True):
    """The record of `LicenseToken` for one holder and one offer.

    ``units`` is the ERC-1155 balance. ``expiry`` is the last second (Unix time) of the term, None when it never ends.
    ``uses`` is how many uses were granted in all, 0 when they are not counted.
    """

    holder: Address
    offer_id: OfferId
    units: int
    expiry: int | None
    uses: int

    def check_usable(self, now: int, *, spent: int) -> None:
        """Raise unless the license can be used once more at ``now`` after ``spent`` uses.

        Raises `LicenseMissing`, `LicenseExpired` or `UsesExhausted`.
        """
        if self.units == 0:
            raise LicenseMissing(
                f"{self.holder} holds no license of offer {self.offer_id}.", fix="Buy one: databund license buy"
            )
        if self.expiry is not None and self.expiry < now:
            raise LicenseExpired(
                f"The license of {self.holder} for offer {self.offer_id} ended {now - self.expiry} s ago.",
                fix="Buy another term: databund license buy",
            )
        if self.uses and spent >= self.uses:
            raise UsesExhausted(
                f"All {self.uses} uses of the license for offer {self.offer_id} are spent.",
                fix="Buy more uses: databund license buy",
            )
