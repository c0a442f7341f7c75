"""Hexadecimal as the execution API writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databund.chain.embedded.encoding import (
    INVALID_PARAMS,
    JsonRpcError,
    data,
    parse_address,
    parse_data,
    parse_quantity,
    quantity,
)


@pytest.mark.parametrize(("number", "text"), [(0, "0x0"), (65, "0x41"), (1024, "0x400")])
def test_quantities_have_no_leading_zero(number: int, text: str) -> None:
    """The execution API's own examples of quantities come out as printed there."""
    assert quantity(number) == text


@given(st.integers(min_value=0, max_value=2**256 - 1))
def test_quantities_return(number: int) -> None:
    """Reading what was written gives the same number."""
    assert parse_quantity(quantity(number), "It") == number


@given(st.binary(max_size=64))
def test_data_returns(raw: bytes) -> None:
    """Reading what was written gives the same bytes."""
    assert parse_data(data(raw), "It") == raw


@pytest.mark.parametrize(
    "value", ["", "0x", "41", "0xg", "-0x1", "0x" + "f" * 65, 65, 1.0, True, None, ["0x1"], "0x1\n"]
)
def test_other_quantities_are_refused(value: object) -> None:
    """What is no quantity is refused with the name of the parameter."""
    with pytest.raises(JsonRpcError, match="The nonce is not") as caught:
        parse_quantity(value, "The nonce")
    assert caught.value.code == INVALID_PARAMS


@pytest.mark.parametrize("value", ["", "0x0", "00", "0xzz", 0, None, b"\x00", "0x00\n"])
def test_other_data_is_refused(value: object) -> None:
    """What is no data is refused."""
    with pytest.raises(JsonRpcError, match="The input is not"):
        parse_data(value, "The input")


def test_addresses_have_twenty_bytes() -> None:
    """An address of another length is refused with both lengths."""
    with pytest.raises(JsonRpcError, match="has 19 bytes where 20 are needed"):
        parse_address("0x" + "11" * 19, "The address")


def test_errors_carry_their_data() -> None:
    """An error object has a data member only where there is data."""
    assert JsonRpcError(3, "no", "0x01").as_object() == {"code": 3, "message": "no", "data": "0x01"}
    assert JsonRpcError(3, "no").as_object() == {"code": 3, "message": "no"}
