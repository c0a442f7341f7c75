"""The JSON form of our values: one pair of functions for every frozen struct of the core.

Hashes and addresses are hexadecimal strings, amounts are decimal strings (JSON numbers end at 2^53), times are Unix
seconds. Unknown members are refused, so that a signed document has no blind spot.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from databund.core import canonical
from databund.core.amounts import Amount
from databund.core.ids import Address, Bytes32, Hex
from databund.errors import DatabundError, DocumentInvalid

__all__ = ["Json", "decode", "decode_written", "digest", "dump", "encode", "from_json", "load", "to_json"]

Json = dict[str, Any] | list[Any] | str | int | float | bool | None
T = TypeVar("T")


def dump(value: Any) -> Any:
    """The JSON value (dicts, lists, strings, numbers) of a struct."""
    return msgspec.to_builtins(value, enc_hook=to_json)


def load(document: Any, kind: type[T]) -> T:
    """Read a JSON value as ``kind``. Raises `DocumentInvalid` with the path of the offending member."""
    try:
        return msgspec.convert(document, kind, dec_hook=from_json)
    except msgspec.ValidationError as error:
        raise DocumentInvalid(
            f"This is no {getattr(kind, '__name__', 'document')}: {error}.", fix="Correct the named member."
        ) from error


def encode(value: Any) -> bytes:
    """The RFC 8785 bytes of a struct: what is hashed, signed and stored."""
    return canonical.canonicalize(dump(value))


def digest(value: Any) -> bytes:
    """SHA-256 (32 bytes) of the RFC 8785 bytes of a struct."""
    return canonical.digest(dump(value))


def decode(data: bytes, kind: type[T]) -> T:
    """Read JSON bytes as ``kind``. Raises `DocumentInvalid`."""
    return load(canonical.parse(data), kind)


def decode_written(data: bytes, kind: type[T]) -> T:
    """Read JSON bytes as ``kind``, which have to be those that `encode` writes. Raises `DocumentInvalid`."""
    value = decode(data, kind)
    written = msgspec.json.encode(value, enc_hook=to_json, order="sorted")  # RFC 8785 but for floats and rare names
    if written != data and encode(value) != data:
        raise DocumentInvalid(f"This {kind.__name__} is not in its one form.", fix="Get it again from who wrote it.")
    return value


def to_json(value: Any) -> Any:
    """The JSON value of an identifier or amount: msgspec's ``enc_hook``."""
    if isinstance(value, Bytes32 | Address | Hex):
        return str(value)
    if isinstance(value, Amount):
        return str(int(value))
    raise NotImplementedError(type(value))


def from_json(kind: type, value: Any) -> Any:
    """Read an identifier or amount: msgspec's ``dec_hook``. Raises ValueError, which msgspec turns into its own."""
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    try:
        if issubclass(kind, Bytes32 | Address | Hex):
            return kind.parse(value)
        if issubclass(kind, Amount):
            if not (value.isascii() and value.isdigit()) or len(value) > 39:
                raise ValueError("expected a decimal string of base units")
            return Amount(int(value))
    except DatabundError as error:
        raise ValueError(error.what) from error
    raise NotImplementedError(kind)
