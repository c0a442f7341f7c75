"""Properties of amounts: no unit is lost or made on the way through text, and every share is accounted for."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databund.core import documents
from databund.core.amounts import MAX_AMOUNT, Amount, Currency, Payment
from databund.core.ids import Address
from databund.errors import AmountInvalid

CURRENCIES = st.builds(
    Currency, st.just(Address(bytes(20))), symbol=st.just("X"), decimals=st.integers(0, 18), name=st.just("X")
)
AMOUNTS = st.integers(0, MAX_AMOUNT).map(Amount)


@given(CURRENCIES, AMOUNTS)
def test_what_is_shown_reads_back(currency: Currency, amount: Amount) -> None:
    """The text of an amount, without separators and symbol, is read back to the same amount."""
    shown = currency.format(amount)
    assert shown.endswith(" X")
    assert currency.parse(shown.removesuffix(" X").replace(",", "")) == amount


@given(CURRENCIES, st.decimals(0, 10**12, places=6, allow_nan=False))
def test_a_decimal_keeps_its_value(currency: Currency, value: Decimal) -> None:
    """A decimal is read as exactly its value, or refused where the currency is too coarse for it."""
    text = f"{value:f}"
    if len(text.partition(".")[2]) > currency.decimals:
        with pytest.raises(AmountInvalid):
            currency.parse(text)
    else:
        assert Decimal(currency.parse(text)) == value.scaleb(currency.decimals)


@given(CURRENCIES, st.text(max_size=12))
def test_any_text_is_read_or_refused(currency: Currency, text: str) -> None:
    """Whatever the text, there is an amount whose value it is, or an `AmountInvalid`."""
    try:
        amount = currency.parse(text)
    except AmountInvalid:
        return
    assert Decimal(amount) == Decimal(text.strip()).scaleb(currency.decimals)


@given(AMOUNTS)
def test_an_amount_survives_its_json_form(amount: Amount) -> None:
    """In JSON an amount is a decimal string, so no reader rounds it."""
    payment = Payment(Address(bytes(20)), amount)
    assert documents.dump(payment)["amount"] == str(int(amount))
    read = documents.decode(documents.encode(payment), Payment)
    assert read == payment
    assert isinstance(read.amount, Amount)
