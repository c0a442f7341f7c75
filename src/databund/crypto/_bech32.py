"""Bech32 (BIP-173), writing only: how age spells a secret key that was derived rather than generated."""

from __future__ import annotations

from typing import Final

__all__ = ["bech32"]

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def bech32(prefix: str, data: bytes) -> str:
    """Spell ``data`` under a lower-case ``prefix``, in lower case."""
    digits = _fives(data)
    head = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    check = _checksum([*head, *digits, 0, 0, 0, 0, 0, 0]) ^ 1
    digits += [check >> 5 * place & 31 for place in range(5, -1, -1)]
    return f"{prefix}1{''.join(_ALPHABET[digit] for digit in digits)}"


def _fives(data: bytes) -> list[int]:
    """The bits of ``data`` in groups of five, zeros filling the last group."""
    count = -(-len(data) * 8 // 5)
    number = int.from_bytes(data) << (count * 5 - len(data) * 8)
    return [number >> 5 * place & 31 for place in range(count - 1, -1, -1)]


def _checksum(digits: list[int]) -> int:
    check = 1
    for digit in digits:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ digit
        for place, term in enumerate(_GENERATOR):
            if top >> place & 1:
                check ^= term
    return check
