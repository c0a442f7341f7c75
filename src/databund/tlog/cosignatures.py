"""Cosignatures (c2sp.org/tlog-cosignature): somebody saw this checkpoint as the newest of its log, at this time.

A cosignature is a signature line on a checkpoint whose value is a POSIX time (8 bytes, big endian) and an Ed25519 or
ML-DSA-44 signature over both. The time is an argument when one is made, and comes back when one is verified. Witnesses
make them; a log may sign its own checkpoints with an ML-DSA-44 one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from databund.errors import CheckpointInvalid, KeyInvalid
from databund.tlog._canonical import base64_bytes, decimal
from databund.tlog.merkle import HASH_BYTES, MAX_SIZE
from databund.tlog.notes import Signature, SignatureType, Signer, Verifier, VerifierKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "COSIGNATURE_TYPES",
    "MAX_NAME_BYTES",
    "MAX_TIMESTAMP_S",
    "Cosignature",
    "check_covered",
    "cosignature_signer",
    "cosignature_verifier",
    "cosigned_message",
]

COSIGNATURE_TYPES: Final = frozenset({SignatureType.COSIGNATURE_V1, SignatureType.ML_DSA_44})
"""The types of keys that make cosignatures."""

MAX_TIMESTAMP_S: Final = 2**63 - 1
"""The last POSIX time that a cosignature can carry."""

MAX_NAME_BYTES: Final = 255
"""The longest origin of a log, and the longest name of a key, that an ML-DSA-44 cosignature can speak of."""

_HEADER: Final = "cosignature/v1\n"
_LABEL: Final = b"subtree/v1\n\0"
_TIMESTAMP_BYTES: Final = 8
_SIGNATURE_BYTES: Final = {SignatureType.COSIGNATURE_V1: 64, SignatureType.ML_DSA_44: 2420}
_VALUE_BYTES: Final = {_TIMESTAMP_BYTES + size for size in _SIGNATURE_BYTES.values()}


@dataclass(frozen=True, slots=True)
class Cosignature:
    """Whose verified cosignature stands on a checkpoint, and the POSIX time in seconds at which it was made.

    A time of 0 says only that the checkpoint is consistent with what its maker saw, not that it was the newest.
    """

    name: str
    key_id: int
    timestamp_s: int

    @classmethod
    def of(cls, signature: Signature) -> Cosignature:
        """What a line that a `cosignature_verifier` accepted says. Raises CheckpointInvalid for another length."""
        if len(signature.value) not in _VALUE_BYTES:
            raise _length_invalid(len(signature.value), *_VALUE_BYTES)
        timestamp_s = int.from_bytes(signature.value[:_TIMESTAMP_BYTES], "big")
        return cls(signature.name, signature.key_id, timestamp_s)


def cosigned_message(key: VerifierKey, text: bytes, *, timestamp_s: int) -> bytes:
    """What ``key`` signs to cosign the checkpoint with this note text.

    Ed25519: a header line, a time line and the text (tlog-cosignature "Ed25519 signed message"). ML-DSA-44: the
    structure of "ML-DSA-44 signed message" for the whole tree, which leaves extension lines out. Raises
    CheckpointInvalid for a time outside of 0 to 2**63 - 1 and, for ML-DSA-44, a text that is not a checkpoint's or has
    an origin longer than `MAX_NAME_BYTES`; KeyInvalid for a key of another type or with a longer name.
    """
    if not 0 <= timestamp_s <= MAX_TIMESTAMP_S:
        raise CheckpointInvalid(f"A cosignature cannot carry the time {timestamp_s}.", fix="Use POSIX seconds.")
    _check_key(key)
    if key.signature_type is SignatureType.COSIGNATURE_V1:
        return f"{_HEADER}time {timestamp_s}\n".encode() + text
    origin, size, root = _tree_head(text)
    return b"".join(
        (
            _LABEL,
            _opaque(key.name.encode()),
            timestamp_s.to_bytes(_TIMESTAMP_BYTES, "big"),
            _opaque(origin),
            (0).to_bytes(8, "big"),
            size.to_bytes(8, "big"),
            root,
        )
    )


def check_covered(extensions: Iterable[str], signatures: Iterable[Signature]) -> None:
    """Check that one of these verified signatures of a checkpoint covers its extension lines.

    ML-DSA-44 signs origin, size and root only: anybody can add extension lines to a checkpoint that has no other
    signature. Raises CheckpointInvalid for such a one.
    """
    uncovered = _TIMESTAMP_BYTES + _SIGNATURE_BYTES[SignatureType.ML_DSA_44]
    if any(extensions) and all(len(signature.value) == uncovered for signature in signatures):
        raise CheckpointInvalid(
            "The checkpoint has extension lines that its log did not sign.", fix="Fetch it again, without them."
        )


def cosignature_verifier(key: VerifierKey, verify: Callable[[bytes, bytes, bytes], None]) -> Verifier:
    """The verifier of a cosigner's key. Raises KeyInvalid for a key of another type.

    ``verify(public_key, message, signature)`` is the algorithm of the key's type, RFC 8032 Ed25519 or FIPS 204
    ML-DSA-44, and raises an IntegrityFailed for a wrong signature.
    """
    _check_key(key)

    def verify_cosignature(text: bytes, value: bytes) -> None:
        wanted = _TIMESTAMP_BYTES + _SIGNATURE_BYTES[key.signature_type]
        if len(value) != wanted:
            raise _length_invalid(len(value), wanted)
        timestamp_s, signature = int.from_bytes(value[:_TIMESTAMP_BYTES], "big"), value[_TIMESTAMP_BYTES:]
        verify(key.public_key, cosigned_message(key, text, timestamp_s=timestamp_s), signature)

    return Verifier(key.name, key.key_id, verify_cosignature)


def cosignature_signer(key: VerifierKey, sign: Callable[[bytes], bytes], *, timestamp_s: int) -> Signer:
    """The signer of a cosigner's key at this time.

    ``sign(message)`` is the algorithm of the key's type with the private half of ``key``. Raises KeyInvalid for a key
    of another type. A witness has to check consistency with the last checkpoint it signed, and to store the new one,
    before it gives a signature away.
    """
    _check_key(key)

    def sign_cosignature(text: bytes) -> bytes:
        signature = sign(cosigned_message(key, text, timestamp_s=timestamp_s))
        return timestamp_s.to_bytes(_TIMESTAMP_BYTES, "big") + signature

    return Signer(key.name, key.key_id, sign_cosignature)


def _tree_head(text: bytes) -> tuple[bytes, int, bytes]:
    """Origin, size and root of a checkpoint's text, as far as the signed structure needs them well-formed."""
    origin, _, rest = text.partition(b"\n")
    size_line, _, rest = rest.partition(b"\n")
    root_line = rest.partition(b"\n")[0]
    size = decimal(size_line.decode("ascii", "replace"), most=MAX_SIZE)
    root = base64_bytes(root_line.decode("ascii", "replace"))
    if not 0 < len(origin) <= MAX_NAME_BYTES or size is None or root is None or len(root) != HASH_BYTES:
        raise CheckpointInvalid(
            "The text is not that of a checkpoint that ML-DSA-44 can cosign.",
            fix=f"Use a checkpoint of a log whose name has at most {MAX_NAME_BYTES} bytes.",
        )
    return origin, size, root


def _opaque(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def _check_key(key: VerifierKey) -> None:
    if key.signature_type not in COSIGNATURE_TYPES:
        raise KeyInvalid(f"The key {key.name} is not a key for cosignatures.", fix="Use a vkey of type 0x04 or 0x06.")
    if key.signature_type is SignatureType.ML_DSA_44 and len(key.name.encode()) > MAX_NAME_BYTES:
        raise KeyInvalid(
            f"The name of the key {key.name[:40]}… is too long for ML-DSA-44 cosignatures.",
            fix=f"Use at most {MAX_NAME_BYTES} bytes.",
        )


def _length_invalid(found: int, *wanted: int) -> CheckpointInvalid:
    known = " or ".join(map(str, sorted(wanted)))
    return CheckpointInvalid(f"A cosignature has {found} bytes.", fix=f"It has to have {known}.")
