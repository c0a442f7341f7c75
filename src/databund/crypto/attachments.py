"""Sealing of attachments: AES-256-GCM under a fresh key for each, so that forgetting the key forgets the content.

The sealed form is a nonce of 12 bytes and the ciphertext with its tag (NIST SP 800-38D). The commitment is the
associated data, so that no sealed content can take another's place. Contents are padded (ISO/IEC 7816-4, to whole
blocks of 256 bytes), so that the size of what is stored tells little.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from databund.core.attachments import SALT_BYTES, Attachment, commitment_of, verify_commitment
from databund.crypto import _hazmat
from databund.errors import InvalidInput, NotFound, SealBroken

__all__ = ["CONTENT_LIMIT", "seal", "unseal"]

CONTENT_LIMIT = 65_535
"""How many bytes an attachment may have: as many as a log entry."""

_KEY_BYTES, _NONCE_BYTES, _BLOCK = 32, 12, 256
_END: Final = b"\x80"


def seal(content: bytes, *, at: int) -> Attachment:
    """An attachment of ``content`` under a salt and a key that nothing else has. Raises `InvalidInput`."""
    if len(content) > CONTENT_LIMIT:
        raise InvalidInput(
            f"An attachment has at most {CONTENT_LIMIT} bytes, this one has {len(content)}.", fix="Shorten the text."
        )
    salt, key = _hazmat.random_bytes(SALT_BYTES), _hazmat.random_bytes(_KEY_BYTES)
    nonce = _hazmat.random_bytes(_NONCE_BYTES)
    commitment = commitment_of(content, salt=salt)
    padded = content + _END + bytes(-(len(content) + 1) % _BLOCK)
    sealed = nonce + _hazmat.AESGCM(key).encrypt(nonce, padded, bytes(commitment))
    return Attachment(commitment, at, salt, key, sealed)


def unseal(attachment: Attachment) -> bytes:
    """The content of an attachment.

    Raises `NotFound` for one that was erased, `SealBroken`, and `ContentMismatch`.
    """
    salt, key, sealed = attachment.salt, attachment.key, attachment.sealed
    if attachment.erased_at is not None or salt is None or key is None or sealed is None:
        day = datetime.fromtimestamp(attachment.erased_at or 0, UTC)
        raise NotFound(
            f"The attachment {attachment.commitment} was erased on {day:%Y-%m-%d}.",
            fix="Nobody can bring it back; the log's entry of kind key.destroyed says why.",
        )
    try:
        padded = _hazmat.AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bytes(attachment.commitment))
    except (_hazmat.InvalidTag, ValueError):
        raise SealBroken(
            f"The attachment {attachment.commitment} does not open.", fix="Restore the database from a backup."
        ) from None
    content, end, _ = padded.rpartition(_END)
    if not end:
        raise SealBroken(
            f"The attachment {attachment.commitment} has no end.", fix="Restore the database from a backup."
        )
    verify_commitment(attachment.commitment, content, salt=salt)
    return content
