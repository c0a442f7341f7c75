"""Refusals: what a smart contract's custom error means, as an error that says what to do next.

The errors are those of ``contracts/src`` and of OpenZeppelin underneath, read from the compiled smart contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import get_abi_input_names, get_abi_input_types

from databund import errors
from databund.chain.smart_contracts import NAMES, SmartContract
from databund.core.amounts import Currency
from databund.core.ids import Address, Bytes32, keccak256

__all__ = ["Refusals"]

_OTHER_OFFER = "List the dataset's current offers: databund offer list"
_ASK_PROVIDER = "Fetch the offer again, or ask its provider for a new one."
_SIGN_AGAIN = "Sign the payment again."
_OLDER_COPY = "The database is an older copy, or of another log: stop the node, and restore the newest one."

_MEANINGS: dict[str, tuple[type[errors.DatabundError], str, str]] = {
    # The offer
    "OfferExpired": (errors.OfferExpired, "The offer {offerId} ended at {validUntil}.", _OTHER_OFFER),
    "OfferIsCancelled": (errors.OfferCancelled, "The offer {offerId} was withdrawn by its provider.", _OTHER_OFFER),
    "SupplyExceeded": (
        errors.SupplyExhausted,
        "Of the offer {offerId} {left} units are left.",
        "Buy no more than are left, or another offer: databund offer list",
    ),
    "InvalidProviderSignature": (
        errors.OfferForged,
        "The signature is not by the offer's provider {provider}.",
        _ASK_PROVIDER,
    ),
    "RequirementsUnsupported": (
        errors.OfferInvalid,
        "The offer asks for claims, which this exchange does not sell.",
        _ASK_PROVIDER,
    ),
    "EscrowUnsupported": (
        errors.OfferInvalid,
        "The offer asks for escrow, which this exchange does not sell.",
        _ASK_PROVIDER,
    ),
    "UsesNotTransferable": (
        errors.OfferInvalid,
        "The offer counts uses and is transferable; only one is possible.",
        _ASK_PROVIDER,
    ),
    "SplitsExceedPrice": (
        errors.OfferInvalid,
        "The offer's splits add up to {basisPoints} basis points, more than the price.",
        _ASK_PROVIDER,
    ),
    "SplitToExchange": (
        errors.OfferInvalid,
        "The offer pays a split to the exchange itself, where nobody could take it out.",
        _ASK_PROVIDER,
    ),
    "CurrencyMissing": (errors.OfferInvalid, "There is no currency at {currency}.", _ASK_PROVIDER),
    # The payment
    "NoUnits": (errors.AmountInvalid, "0 units cannot be bought.", "Buy one or more units."),
    "HoldingOverflow": (errors.AmountInvalid, "The license would become too long.", "Buy fewer units."),
    "ERC20InsufficientBalance": (
        errors.InsufficientFunds,
        "{sender} holds {balance}; {needed} are needed.",
        "Have the account credited, then try again.",
    ),
    "ERC20InsufficientAllowance": (
        errors.PaymentInvalid,
        "{spender} may take {allowance}; {needed} are needed.",
        "Raise the allowance, then try again.",
    ),
    "ERC20InvalidReceiver": (
        errors.PaymentInvalid,
        "The currency cannot be paid to {receiver}.",
        "Name another account.",
    ),
    "InvalidBuyerSignature": (
        errors.PaymentInvalid,
        "The buyer's signature has not the 65 bytes of an account's.",
        _SIGN_AGAIN,
    ),
    "ERC3009InvalidSignature": (
        errors.PaymentInvalid,
        "The payment is not signed by the buyer for this order.",
        _SIGN_AGAIN,
    ),
    "ERC3009InvalidAuthorizationTime": (
        errors.PaymentInvalid,
        "The payment is valid only after {validAfter} and before {validBefore}.",
        _SIGN_AGAIN,
    ),
    "ERC3009UsedAuthorization": (
        errors.PaymentInvalid,
        "The order {nonce} of {authorizer} is paid already.",
        "Look at it: databund order show",
    ),
    "SafeERC20FailedOperation": (
        errors.PaymentInvalid,
        "The currency {token} refused the payment.",
        "Ask its issuer whether buyer and provider may be paid in it.",
    ),
    # The anchor
    "CheckpointShrinks": (
        errors.LogForked,
        "A log of {anchored} entries is anchored on the chain; this one has {size}.",
        _OLDER_COPY,
    ),
    "CheckpointForks": (
        errors.LogForked,
        "On the chain a log of this size is anchored with the root {anchored}; this one has {root}.",
        _OLDER_COPY,
    ),
    # The exchange
    "EnforcedPause": (
        errors.ChainRejected,
        "The operator has paused all sales.",
        "Try again later, or ask the operator.",
    ),
    "NotProvider": (errors.NotOwner, "{caller} is not the offer's provider.", "Sign with the provider's key."),
    "OwnableUnauthorizedAccount": (
        errors.NotOwner,
        "{account} does not own the smart contract.",
        "Act with the key of the operator who deployed it.",
    ),
    "ERC1155InvalidReceiver": (
        errors.ChainRejected,
        "The smart contract {receiver} does not accept ERC-1155 tokens, so it cannot hold a license.",
        "Buy with another account.",
    ),
}

_MONEY = {"balance", "needed", "allowance"}
_TIMES = {"validUntil", "validAfter", "validBefore"}
_REVERT = keccak256(b"Error(string)")[:4]
_PANIC = keccak256(b"Panic(uint256)")[:4]


class Refusals:
    """The meanings of revert data; amounts are written in ``currency``."""

    def __init__(self, currency: Currency) -> None:
        self._currency = currency
        self._known = {selector: abi for name in NAMES for selector, abi in SmartContract.load(name).errors().items()}

    def meaning(self, revert: bytes) -> errors.DatabundError:
        """The error that stands for revert data; `ChainRejected` with the name or selector for one we do not expect."""
        selector, body = revert[:4], revert[4:]
        try:
            if selector == _REVERT:
                return _unexpected(decode(["string"], body)[0][:200])
            if selector == _PANIC:
                return _unexpected(f"panic {decode(['uint256'], body)[0]:#x}")
            if selector not in self._known:
                return _unexpected(f"error 0x{selector.hex()}" if revert else "no reason")
            abi = self._known[selector]
            name, fields, types = abi["name"], get_abi_input_names(abi), get_abi_input_types(abi)
            values = dict(zip(fields, self._written(fields, types, decode(types, body)), strict=True))
        except (DecodingError, UnicodeDecodeError):
            return _unexpected(f"error 0x{selector.hex()}")
        if name not in _MEANINGS:
            return _unexpected(name)
        kind, what, fix = _MEANINGS[name]
        return kind(what.format_map(values), fix=fix)

    def _written(self, names: Sequence[str | None], types: Sequence[str], values: Sequence[object]) -> list[str]:
        return [self._write(name, kind, value) for name, kind, value in zip(names, types, values, strict=True)]

    def _write(self, name: str | None, kind: str, value: object) -> str:
        if kind == "address":
            return str(Address(bytes.fromhex(str(value)[2:])))
        if isinstance(value, bytes):
            return str(Bytes32(value)) if kind == "bytes32" else value.hex()
        if isinstance(value, int) and name in _MONEY:
            return self._currency.format(value)
        if isinstance(value, int) and name in _TIMES and value < 2**37:  # beyond, datetime ends
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return str(value)


def _unexpected(reason: str) -> errors.ChainRejected:
    return errors.ChainRejected(
        f"The smart contract refused: {reason}.", fix="Compare the request with the offer; if it is right, report this."
    )
