"""The compiled smart contracts and their encoding."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from databund.chain.smart_contracts import NAMES, SmartContract
from databund.core.ids import Address

ACCOUNT = Address(b"\x11" * 20)


@pytest.fixture(scope="module")
def money() -> SmartContract:
    """The settlement token."""
    return SmartContract.load("SettlementToken")


def runtime(name: str) -> bytes:
    """The code of the artifact."""
    artifact = json.loads(files("databund.chain").joinpath("artifacts", f"{name}.json").read_text())
    return bytes.fromhex(artifact["deployedBytecode"][2:])


def test_a_call_is_selector_and_words(money: SmartContract) -> None:
    """A call is four bytes of selector and 32 for each argument."""
    expected = "a9059cbb" + "00" * 12 + "11" * 20 + "00" * 31 + "05"
    assert money.call("transfer", ACCOUNT, 5).hex() == expected


def test_an_event_is_read_by_name(money: SmartContract) -> None:
    """Indexed and other fields of a log come together under their names; other events are not read."""
    transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    word = "0x" + "00" * 12 + "11" * 20
    log = {"topics": [transfer, word, word], "data": "0x" + "00" * 31 + "05"}
    assert money.event("Transfer", log) == {"from": "0x" + "11" * 20, "to": "0x" + "11" * 20, "value": 5}
    assert money.event("Approval", log) is None
    assert money.event("Transfer", {"topics": [], "data": "0x"}) is None


@pytest.mark.parametrize("name", NAMES)
def test_code_is_recognized(name: str) -> None:
    """Code is ours with any immutable values, and not when another byte or the length differs."""
    code, found = runtime(name), SmartContract.load(name)
    assert found.is_code(code)
    first = next(i for i, byte in enumerate(code) if byte)
    assert not found.is_code(code[:first] + bytes([code[first] ^ 1]) + code[first + 1 :])
    assert not found.is_code(code + b"\0")
    assert not found.is_code(b"")
