"""JSON-RPC hexadecimal: quantities and data as Ethereum's execution API writes them.

A quantity has no leading zero (``0x0``, ``0x41``); data has two digits per byte (``0x``, ``0x0041``). What a caller
sent that does not fit raises :class:`JsonRpcError` with ``INVALID_PARAMS``, naming the parameter.
Source: https://ethereum.github.io/execution-apis (base types).
"""

from __future__ import annotations

import re
from typing import Final

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
LIMIT_EXCEEDED: Final = -32005
REVERTED: Final = 3

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


class JsonRpcError(Exception):
    """The answer "no" of the JSON-RPC protocol: a code, a sentence, and data for programs.

    It is part of the protocol, not of databund's error tree: the provider and the HTTP door hand it on as it is.
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_object(self) -> dict[str, object]:
        """The JSON-RPC 2.0 error object."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


def quantity(number: int) -> str:
    """Write a number of at least 0."""
    return hex(number)


def data(raw: bytes) -> str:
    """Write bytes."""
    return "0x" + raw.hex()


def parse_quantity(value: object, name: str) -> int:
    """Read a quantity of at most 256 bits; leading zeros are tolerated, as geth's decoder of call objects does."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise JsonRpcError(INVALID_PARAMS, f"{name} is not a hexadecimal quantity of at most 256 bits, such as 0x1f.")
    return int(value, 16)


def parse_data(value: object, name: str, *, size: int | None = None) -> bytes:
    """Read bytes, exactly ``size`` of them where given."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise JsonRpcError(INVALID_PARAMS, f"{name} is not hexadecimal data with two digits per byte, such as 0x00ff.")
    raw = bytes.fromhex(value[2:])
    if size is not None and len(raw) != size:
        raise JsonRpcError(INVALID_PARAMS, f"{name} has {len(raw)} bytes where {size} are needed.")
    return raw


def parse_address(value: object, name: str) -> bytes:
    """Read a 20-byte address."""
    return parse_data(value, name, size=20)


def parse_hash(value: object, name: str) -> bytes:
    """Read a 32-byte hash."""
    return parse_data(value, name, size=32)
