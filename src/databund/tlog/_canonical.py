"""The two text forms that every C2SP log format shares, read so strictly that each value has exactly one spelling.

Decimals: ASCII, no sign, no leading zeroes (tlog-checkpoint "Note text", tlog-proof "Format", tlog-tiles "Merkle
Tree"). Base64: RFC 4648 section 4 with padding, no white space, and zero trailing bits (section 3.5). Both return None
for anything else, so that each format can raise its own error.
"""

from __future__ import annotations

import base64
import binascii
import re

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def decimal(text: str, *, most: int) -> int | None:
    """The number that ``text`` spells canonically, or None when it is misspelled or above ``most``."""
    if _DECIMAL.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= most else None


def base64_bytes(text: str) -> bytes | None:
    """The bytes that ``text`` spells in canonical base64, or None."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if base64_text(decoded) == text else None


def base64_text(value: bytes) -> str:
    """The canonical base64 of ``value``."""
    return base64.b64encode(value).decode("ascii")
