"""Money as integers of base units, and the currency that gives them a decimal point.

No float enters: ``"12.50"`` of a currency with 6 decimals is the integer 12,500,000.
"""

from __future__ import annotations

import re

import msgspec

from databund.core.ids import Address
from databund.errors import AmountInvalid

__all__ = ["MAX_AMOUNT", "Amount", "Currency", "Payment"]

MAX_AMOUNT = 2**128 - 1
"""The largest amount we trade; far above any supply, far below what could overflow a uint256 product."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,38})(?:\.([0-9]{1,38}))?")


class Amount(int):
    """Base units of a currency, from 0 to `MAX_AMOUNT`."""

    __slots__ = ()

    def __new__(cls, base_units: int) -> Amount:
        """Check the bounds. Raises `AmountInvalid`."""
        if not 0 <= base_units <= MAX_AMOUNT:
            raise AmountInvalid(
                f"An amount of {base_units} base units is out of bounds.", fix="Use an amount from 0 to 2^128 - 1."
            )
        return super().__new__(cls, base_units)


class Currency(msgspec.Struct, frozen=True):
    """An ERC-20 token that offers are priced in: its smart contract, symbol and number of decimals.

    ``name`` and ``version`` are those of its EIP-712 domain, under which payments are authorized (ERC-3009).
    """

    address: Address
    symbol: str
    decimals: int
    name: str
    version: str = "1"

    def parse(self, text: str) -> Amount:
        """Read a decimal such as ``"12.50"``. Raises `AmountInvalid` for signs, exponents and excess decimals."""
        match = _DECIMAL.fullmatch(text.strip())
        if match is None:
            raise AmountInvalid(
                f"{text[:60]!r} is not an amount of {self.symbol}.", fix="Write a plain decimal of zero or more: 12.50"
            )
        whole, fraction = match[1], match[2] or ""
        if len(fraction) > self.decimals:
            raise AmountInvalid(
                f"{text} has more decimals than {self.symbol} has ({self.decimals}).", fix="Round the amount."
            )
        return Amount(int(whole + fraction.ljust(self.decimals, "0")))

    def format(self, amount: int) -> str:
        """Write base units as a decimal with the symbol: ``12.50 CREDIT``; at least two decimals are shown."""
        whole, fraction = divmod(amount, 10**self.decimals)
        digits = str(fraction).rjust(self.decimals, "0") if self.decimals else ""
        shown = digits.rstrip("0").ljust(min(2, self.decimals), "0")
        return f"{whole:,}{'.' + shown if shown else ''} {self.symbol}"


class Payment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one account received."""

    account: Address
    amount: Amount
