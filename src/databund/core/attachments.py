"""Attachments: personal data kept beside the log, bound to an entry by a salted hash, and erasable.

An entry names the commitment SHA-256(0x02 || salt || content); the content itself is kept sealed under its own key.
Erasing forgets key, salt and content, after which the commitment says nothing about anybody, and an entry of kind
``key.destroyed`` says when. The first byte keeps a commitment from being a node of the log's tree (RFC 6962).
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from databund.core.ids import Commitment
from databund.errors import ContentMismatch, InvalidInput

__all__ = ["SALT_BYTES", "Attachment", "commitment_of", "verify_commitment"]

SALT_BYTES = 32
"""The length of every salt; from the operating system's randomness, never used twice."""

_DOMAIN = b"\x02"


class Attachment(msgspec.Struct, frozen=True):
    """One attachment as it is stored: ``sealed`` is the content under ``key``, both gone once it is erased.

    ``at`` and ``erased_at`` are Unix seconds.
    """

    commitment: Commitment
    at: int
    salt: bytes | None
    key: bytes | None
    sealed: bytes | None
    erased_at: int | None = None


def commitment_of(content: bytes, *, salt: bytes) -> Commitment:
    """The commitment to ``content``. Raises `InvalidInput` for a salt of another length."""
    if len(salt) != SALT_BYTES:
        raise InvalidInput(f"A salt has {SALT_BYTES} bytes, this one has {len(salt)}.", fix="Make a fresh random one.")
    return Commitment(sha256(_DOMAIN + salt + content).digest())


def verify_commitment(commitment: Commitment, content: bytes, *, salt: bytes) -> None:
    """Raise `ContentMismatch` unless the commitment is to this content under this salt."""
    if commitment_of(content, salt=salt) != commitment:
        raise ContentMismatch(
            f"The attachment is not what the entry committed to ({commitment}).", fix="Ask for the original again."
        )
