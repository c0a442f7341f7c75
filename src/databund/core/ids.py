"""Identifiers: 32-byte hashes with one type per noun, and EIP-55 account addresses.

An identifier is made by the thing it names (a struct hash, a content root), never by a counter.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Self, TypeVar

from eth_hash.auto import keccak

from databund.errors import IdentifierInvalid

__all__ = ["Address", "Bytes32", "ContentRoot", "DatasetId", "DeliveryId", "Hex", "OfferId", "OrderId", "keccak256"]

_HEX32 = re.compile(r"0x[0-9a-f]{64}")
_HEX = re.compile(r"0x[0-9a-fA-F]*")
_HEX20 = re.compile(r"0x[0-9a-fA-F]{40}")
T = TypeVar("T", bound="Bytes32")


def keccak256(data: bytes) -> bytes:
    """The Keccak-256 hash (32 bytes) that the EVM calls ``keccak256``."""
    return keccak(data)


class Bytes32:
    """Thirty-two bytes; written as ``0x`` and 64 lower-case hexadecimal digits."""

    __slots__ = ("_raw",)
    _raw: bytes

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise IdentifierInvalid(
                f"A {type(self).__name__} has 32 bytes, this one has {len(raw)}.", fix="Pass the whole value."
            )
        self._raw = bytes(raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0x…`` (64 lower-case digits). Raises `IdentifierInvalid`."""
        if not _HEX32.fullmatch(text):
            raise IdentifierInvalid(
                f"{text[:80]!r} is no {cls.__name__}.", fix="Write 0x and 64 lower-case hexadecimal digits."
            )
        return cls(bytes.fromhex(text[2:]))

    def __bytes__(self) -> bytes:
        return self._raw

    def __int__(self) -> int:
        return int.from_bytes(self._raw)

    def __str__(self) -> str:
        return "0x" + self._raw.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._raw == self._raw

    def __lt__(self, other: Self) -> bool:
        return self._raw < other._raw

    def __hash__(self) -> int:
        return hash((type(self), self._raw))


class DatasetId(Bytes32):
    """Names a dataset through all its versions; also the token id of its `DatasetTitle`.

    keccak256(abi.encode(provider, keccak256(name))): nobody but the provider can register it.
    """

    __slots__ = ()

    @classmethod
    def of(cls, provider: Address, name: str) -> Self:
        """The id of the dataset that ``provider`` calls ``name``."""
        return cls(_dataset_hash(bytes(provider), name))

    @staticmethod
    def salt(name: str) -> bytes:
        """What the provider passes to ``DatasetTitle.register`` (32 bytes)."""
        return keccak256(name.encode())


@lru_cache(maxsize=1024)
def _dataset_hash(provider: bytes, name: str) -> bytes:
    """The id of a dataset; remembered, because whatever is about a dataset asks for it again."""
    return keccak256(bytes(12) + provider + DatasetId.salt(name))


class OfferId(Bytes32):
    """The EIP-712 struct hash of an offer; as an integer, the ERC-1155 token id of its licenses."""

    __slots__ = ()


class OrderId(Bytes32):
    """Names one purchase; also the nonce of its ERC-3009 payment authorization."""

    __slots__ = ()


class DeliveryId(Bytes32):
    """Names one release of a content key."""

    __slots__ = ()


class ContentRoot(Bytes32):
    """BLAKE3 of a sealed blob: what ``b3sum`` prints for it."""

    __slots__ = ()


class Commitment(Bytes32):
    """A salted hash of what is kept beside the log."""

    __slots__ = ()


class Address:
    """An account on the chain: 20 bytes, written with the EIP-55 checksum."""

    __slots__ = ("_raw",)
    _raw: bytes

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 20:
            raise IdentifierInvalid(f"An address has 20 bytes, this one has {len(raw)}.", fix="Pass the whole value.")
        self._raw = bytes(raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0x…`` (40 digits): all of one case, or mixed with a right checksum. Raises `IdentifierInvalid`."""
        if not _HEX20.fullmatch(text):
            raise IdentifierInvalid(f"{text[:80]!r} is not an address.", fix="Write 0x and 40 hexadecimal digits.")
        address = cls(bytes.fromhex(text[2:]))
        digits = text[2:]
        if digits not in (digits.lower(), digits.upper()) and str(address) != text:
            raise IdentifierInvalid(
                f"{text} has a wrong EIP-55 checksum.", fix="Copy the address again; a digit was mistyped."
            )
        return address

    def __bytes__(self) -> bytes:
        return self._raw

    def __str__(self) -> str:
        return _checksummed(self._raw)

    def __repr__(self) -> str:
        return f"Address({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and other._raw == self._raw

    def __lt__(self, other: Address) -> bool:
        return self._raw < other._raw

    def __hash__(self) -> int:
        return hash(self._raw)


@lru_cache(maxsize=4096)
def _checksummed(raw: bytes) -> str:
    """An address as EIP-55 writes it; remembered, because a few addresses are read and written again and again."""
    digits = raw.hex()
    mask = keccak256(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(m, 16) > 7 else d for d, m in zip(digits, mask, strict=False))


class Hex(bytes):
    """Bytes of any length that are written as ``0x`` and hexadecimal digits, the way wallets write signatures."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0x…`` of up to 64 KiB. Raises `IdentifierInvalid`."""
        if len(text) > 2**17 or len(text) % 2 or not _HEX.fullmatch(text):
            raise IdentifierInvalid(f"{text[:80]!r} is not hexadecimal.", fix="Write 0x and pairs of digits.")
        return cls.fromhex(text[2:])

    def __str__(self) -> str:
        return "0x" + self.hex()

    def __repr__(self) -> str:
        return f"Hex({self})"
