"""The part of CBOR that COSE receipts use, in its deterministic encoding (RFC 8949 section 4.2.1), and nothing else.

Integers, byte and text strings, arrays, maps, null and one-byte tags. Reading takes only what writing gives.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from databund.errors import ProofInvalid

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)
_NULL: Final = b"\xf6"
_MAX_DEPTH: Final = 16
_ARGUMENT: Final = {24: 1, 25: 2, 26: 4, 27: 8}


class Tagged(tuple[int, Any]):
    """A tag's number and the item it is on."""

    __slots__ = ()


def encode(item: Any) -> bytes:
    """The deterministic bytes of an item: None, an int, bytes, a str, a list, a dict or `Tagged`."""
    kind = type(item)
    if kind is bytes:
        return _head(_BYTES, len(item)) + bytes(item)
    if kind is int:
        return _head(_UNSIGNED, item) if item >= 0 else _head(_NEGATIVE, -1 - item)
    if kind is list:
        return _head(_ARRAY, len(item)) + b"".join(map(encode, item))
    if kind is dict:
        pairs = sorted((encode(key), encode(value)) for key, value in item.items())
        return _head(_MAP, len(pairs)) + b"".join(key + value for key, value in pairs)
    if kind is str:
        raw = str(item).encode()
        return _head(_TEXT, len(raw)) + raw
    if kind is Tagged:
        return _head(_TAG, item[0]) + encode(item[1])
    if item is None:
        return _NULL
    raise TypeError(kind)


def decode(data: bytes) -> Any:
    """The item that `encode` writes as these bytes. Raises `ProofInvalid` for any other bytes."""
    item, end = _item(data, 0, _MAX_DEPTH)
    if end != len(data) or encode(item) != data:
        raise _malformed()
    return item


@lru_cache(maxsize=512)
def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    if argument < 1 << 8:
        return bytes((major << 5 | 24, argument))
    code = 25 if argument < 1 << 16 else 26 if argument < 1 << 32 else 27
    return bytes((major << 5 | code,)) + argument.to_bytes(_ARGUMENT[code])


def _item(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth == 0 or at >= len(data):
        raise _malformed()
    if data[at : at + 1] == _NULL:
        return None, at + 1
    major, argument = data[at] >> 5, data[at] & 31
    at += 1
    if argument >= 24:
        width = _ARGUMENT.get(argument)
        if width is None or at + width > len(data):
            raise _malformed()
        argument, at = int.from_bytes(data[at : at + width]), at + width
    if major in (_BYTES, _TEXT):
        raw = data[at : at + argument]
        try:
            return (raw if major == _BYTES else raw.decode()), at + argument
        except UnicodeDecodeError:
            raise _malformed() from None
    if major <= _NEGATIVE:
        return (argument if major == _UNSIGNED else -1 - argument), at
    if major > _TAG or argument > len(data):
        raise _malformed()
    items = []
    for _ in range({_ARRAY: argument, _MAP: 2 * argument, _TAG: 1}[major]):
        item, at = _item(data, at, depth - 1)
        items.append(item)
    if major == _TAG:
        return Tagged((argument, items[0])), at
    if major == _ARRAY:
        return items, at
    if any(isinstance(key, list | dict) for key in items[::2]):
        raise _malformed()
    return dict(zip(items[::2], items[1::2], strict=True)), at


def _malformed() -> ProofInvalid:
    return ProofInvalid("A receipt is not CBOR in its deterministic form.", fix="Ask for the receipt again.")
