"""What the smart contracts' refusals mean."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector

from databund import errors
from databund.chain.refusals import _MEANINGS, Refusals
from databund.chain.smart_contracts import NAMES, SmartContract
from databund.core.amounts import Currency
from databund.core.ids import Address

ACCOUNT = Address(b"\x11" * 20)
CURRENCY = Currency(Address(b"\x22" * 20), "CREDIT", 6, "Test credit")


def revert(signature: str, *values: object) -> bytes:
    """The revert data of a custom error."""
    inside = signature[signature.index("(") + 1 : -1]
    return function_signature_to_4byte_selector(signature) + encode(inside.split(",") if inside else [], values)


@pytest.fixture(scope="module")
def refusals() -> Refusals:
    """Refusals in CREDIT."""
    return Refusals(CURRENCY)


@pytest.mark.parametrize(
    ("data", "kind", "what"),
    [
        (
            revert("ERC20InsufficientBalance(address,uint256,uint256)", bytes(ACCOUNT), 1_500_000, 10_000_000),
            errors.InsufficientFunds,
            f"{ACCOUNT} holds 1.50 CREDIT; 10.00 CREDIT are needed.",
        ),
        (
            revert("OfferExpired(bytes32,uint64)", bytes(32), 1_000_000_000),
            errors.OfferExpired,
            f"The offer 0x{'00' * 32} ended at 2001-09-09 01:46:40 UTC.",
        ),
        (
            revert("ERC3009InvalidAuthorizationTime(uint256,uint256)", 0, 2**256 - 1),
            errors.PaymentInvalid,
            f"The payment is valid only after 1970-01-01 00:00:00 UTC and before {2**256 - 1}.",
        ),
        (revert("EnforcedPause()"), errors.ChainRejected, "The operator has paused all sales."),
        (revert("NotExchange(address)", bytes(ACCOUNT)), errors.ChainRejected, "refused: NotExchange."),
        (revert("Error(string)", "no luck"), errors.ChainRejected, "refused: no luck."),
        (revert("Panic(uint256)", 0x11), errors.ChainRejected, "refused: panic 0x11."),
        (b"\x01\x02\x03\x04", errors.ChainRejected, "refused: error 0x01020304."),
        (revert("OfferExpired(bytes32,uint64)", bytes(32), 1)[:40], errors.ChainRejected, "refused: error 0x"),
        (revert("Error(string)", "no luck")[:50], errors.ChainRejected, "refused: error 0x08c379a0."),
        (b"", errors.ChainRejected, "refused: no reason."),
    ],
)
def test_a_refusal_is_explained(refusals: Refusals, data: bytes, kind: type[errors.DatabundError], what: str) -> None:
    """Revert data becomes the error it stands for; unknown or damaged data is rejected with what can be said."""
    meaning = refusals.meaning(data)
    assert type(meaning) is kind
    assert what in meaning.what
    assert meaning.fix


def test_every_meaning_belongs_to_a_custom_error(refusals: Refusals) -> None:
    """Each explained error exists in a smart contract, and its sentence uses only the fields it has."""
    known = {abi["name"]: abi for name in NAMES for abi in SmartContract.load(name).errors().values()}
    for name, (_, what, _) in _MEANINGS.items():
        what.format_map({field["name"]: "" for field in known[name]["inputs"]})


def test_every_refusal_of_the_exchange_is_explained() -> None:
    """No custom error that our own sources declare for a sale reaches a user as a bare name."""
    inherited = {"ExpectedPause", "InvalidShortString", "OwnableInvalidOwner", "ReentrancyGuardReentrantCall"}
    declared = {abi["name"] for abi in SmartContract.load("Exchange").errors().values()}
    assert declared - set(_MEANINGS) == inherited | {"StringTooLong"}
