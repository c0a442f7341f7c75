"""Cosignatures (c2sp.org/tlog-cosignature, Ed25519, ``cosignature/v1``): a witness saw this checkpoint, at this time.

A cosignature is a signature line on a checkpoint whose value is a POSIX time (8 bytes, big endian) and an Ed25519
signature over both. The time is an argument when one is made, and comes back when one is verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from databund.errors import CheckpointInvalid, KeyInvalid
from databund.tlog.notes import Signature, SignatureType, Signer, Verifier, VerifierKey

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_TIMESTAMP_S", "Cosignature", "cosignature_signer", "cosignature_verifier", "cosigned_message"]

MAX_TIMESTAMP_S: Final = 2**63 - 1
"""The last POSIX time that a cosignature can carry."""

_HEADER: Final = "cosignature/v1\n"
_TIMESTAMP_BYTES: Final = 8
_ED25519_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Cosignature:
    """Whose verified cosignature stands on a checkpoint, and the POSIX time in seconds at which it was made."""

    name: str
    key_id: int
    timestamp_s: int

    @classmethod
    def of(cls, signature: Signature) -> Cosignature:
        """What a line that a `cosignature_verifier` accepted says. Raises CheckpointInvalid for another length."""
        return cls(signature.name, signature.key_id, _split(signature.value)[0])


def cosigned_message(text: bytes, *, timestamp_s: int) -> bytes:
    """What is signed: a header line, a time line and the checkpoint's text (tlog-cosignature "Ed25519 signed message").

    Raises CheckpointInvalid for a time outside of 0 to 2**63 - 1.
    """
    if not 0 <= timestamp_s <= MAX_TIMESTAMP_S:
        raise CheckpointInvalid(f"A cosignature cannot carry the time {timestamp_s}.", fix="Use POSIX seconds.")
    return f"{_HEADER}time {timestamp_s}\n".encode() + text


def cosignature_verifier(key: VerifierKey, verify: Callable[[bytes, bytes, bytes], None]) -> Verifier:
    """The verifier of a witness's key. Raises KeyInvalid for a key of another type.

    ``verify(public_key, message, signature)`` is RFC 8032 Ed25519 and raises an IntegrityFailed for a wrong signature.
    """
    _check_type(key)

    def verify_cosignature(text: bytes, value: bytes) -> None:
        timestamp_s, signature = _split(value)
        verify(key.public_key, cosigned_message(text, timestamp_s=timestamp_s), signature)

    return Verifier(key.name, key.key_id, verify_cosignature)


def cosignature_signer(key: VerifierKey, sign: Callable[[bytes], bytes], *, timestamp_s: int) -> Signer:
    """The signer of a witness's key at this time.

    ``sign(message)`` is RFC 8032 Ed25519 with the private half of ``key``. Raises KeyInvalid for a key of another type.
    A witness has to check consistency with the last checkpoint it signed, and to store the new one, before it signs.
    """
    _check_type(key)

    def sign_cosignature(text: bytes) -> bytes:
        signature = sign(cosigned_message(text, timestamp_s=timestamp_s))
        return timestamp_s.to_bytes(_TIMESTAMP_BYTES, "big") + signature

    return Signer(key.name, key.key_id, sign_cosignature)


def _split(value: bytes) -> tuple[int, bytes]:
    if len(value) != _TIMESTAMP_BYTES + _ED25519_BYTES:
        raise CheckpointInvalid(
            f"A cosignature has {len(value)} bytes.", fix=f"It has to have {_TIMESTAMP_BYTES + _ED25519_BYTES}."
        )
    return int.from_bytes(value[:_TIMESTAMP_BYTES], "big"), value[_TIMESTAMP_BYTES:]


def _check_type(key: VerifierKey) -> None:
    if key.signature_type is not SignatureType.COSIGNATURE_V1:
        raise KeyInvalid(f"The key {key.name} is not a key for cosignatures.", fix="Use a vkey of type 0x04.")
