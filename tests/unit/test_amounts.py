"""Amounts: integers of base units, read from plain decimals and nothing else."""

import pytest

from databund.core.amounts import MAX_AMOUNT, Amount, Currency
from databund.core.ids import Address
from databund.errors import AmountInvalid

CREDIT = Currency(Address(bytes(20)), "CREDIT", 6, "Test credit")
WHOLE = Currency(Address(bytes(20)), "YEN", 0, "Yen")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("12.50", 12_500_000),
        ("0.000001", 1),
        ("1", 10**6),
        (" 7 ", 7 * 10**6),
        ("0.0", 0),
        ("1.000000", 10**6),
    ],
)
def test_a_decimal_is_read_exactly(text: str, amount: int) -> None:
    """A plain decimal is read to the base unit."""
    assert CREDIT.parse(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e3", "1E3", ".5", "5.", "01", "1,000", "1_000", "0x10", "NaN", "inf", "1.2.3", "١٢", "１", "1 2",
     "12.50 CREDIT", "1" * 40],
)  # fmt: skip
def test_only_plain_decimals_are_read(text: str) -> None:
    """Signs, exponents, separators, other digits and words are refused, and the fix shows how to write it."""
    with pytest.raises(AmountInvalid, match="is not an amount of CREDIT") as caught:
        CREDIT.parse(text)
    assert caught.value.fix == "Write a plain decimal of zero or more: 12.50"
    assert caught.value.code == "amount.invalid"


@pytest.mark.parametrize(("currency", "text"), [(CREDIT, "0.0000001"), (CREDIT, "1.0000000"), (WHOLE, "1.0")])
def test_excess_decimals_are_refused(currency: Currency, text: str) -> None:
    """More decimals than the currency has are refused, not rounded, even when they are zeros."""
    with pytest.raises(AmountInvalid, match="has more decimals than") as caught:
        currency.parse(text)
    assert caught.value.fix == "Round the amount."


@pytest.mark.parametrize("number", [-1, MAX_AMOUNT + 1])
def test_amounts_are_bounded(number: int) -> None:
    """Below zero and beyond 2^128 - 1 there is no amount."""
    with pytest.raises(AmountInvalid, match="out of bounds"):
        Amount(number)
    assert (Amount(0), Amount(MAX_AMOUNT)) == (0, MAX_AMOUNT)


def test_a_decimal_can_be_too_large() -> None:
    """A decimal whose base units exceed the largest amount is refused."""
    with pytest.raises(AmountInvalid, match="out of bounds"):
        CREDIT.parse("9" * 39)


@pytest.mark.parametrize(
    ("currency", "amount", "text"),
    [
        (CREDIT, 0, "0.00 CREDIT"),
        (CREDIT, 1, "0.000001 CREDIT"),
        (CREDIT, 12_500_000, "12.50 CREDIT"),
        (CREDIT, 1_234_567_891_000, "1,234,567.891 CREDIT"),
        (WHOLE, 1_000, "1,000 YEN"),
        (Currency(Address(bytes(20)), "DIME", 1, "Dime"), 15, "1.5 DIME"),
    ],
)
def test_an_amount_is_shown_whole(currency: Currency, amount: int, text: str) -> None:
    """An amount is shown with every unit that it has, at least two decimals, and the symbol."""
    assert currency.format(amount) == text
