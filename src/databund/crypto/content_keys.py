"""Content keys: the secret under which one dataset version is sealed.

Written down, a content key is a cleartext Tink keyset in JSON (tink-crypto, ``tink.proto`` and
``aes_gcm_hkdf_streaming.proto``) of the key template AES256_GCM_HKDF_1MB, so that every Tink opens what it seals.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, Self

import msgspec

from databund.crypto import _hazmat
from databund.errors import KeyInvalid

__all__ = ["ContentKey"]

_SIZE: Final = 32
_TYPE_URL: Final = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
# The Protocol Buffers form of the template: params (field 2) of 1 MiB ciphertext segments, 32-byte derived keys and
# HKDF with SHA256 (3); then the head of the key value (field 3).
_KEY_HEAD: Final = bytes.fromhex("12 08 08 808040 10 20 18 03 1a 20")
_REPUBLISH: Final = "Ask the provider to wrap the content key of this dataset again."


class ContentKey:
    """Thirty-two secret bytes. Neither ``repr`` nor ``str`` shows them; only `reveal` and `to_keyset` do."""

    __slots__ = ("_raw",)
    _raw: bytes

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _SIZE:
            raise KeyInvalid(f"A content key has {_SIZE} bytes, this one has {len(raw)}.", fix=_REPUBLISH)
        self._raw = bytes(raw)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls(_hazmat.random_bytes(_SIZE))

    @classmethod
    def from_keyset(cls, document: bytes) -> Self:
        """Read a cleartext Tink JSON keyset of one enabled AES256_GCM_HKDF_1MB key. Raises `KeyInvalid`."""
        try:
            keyset = msgspec.json.decode(document, type=_Keyset)
            (entry,) = keyset.key
            raw = base64.b64decode(entry.keyData.value, validate=True)
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError):
            raise KeyInvalid("This is no Tink keyset of one key.", fix=_REPUBLISH) from None
        usable = (
            entry.keyData.typeUrl == _TYPE_URL
            and entry.status == "ENABLED"
            and entry.outputPrefixType == "RAW"
            and entry.keyId == keyset.primaryKeyId
            and raw.startswith(_KEY_HEAD)
        )
        if not usable:
            raise KeyInvalid("The Tink keyset's key is not an enabled AES256_GCM_HKDF_1MB key.", fix=_REPUBLISH)
        return cls(raw[len(_KEY_HEAD) :])

    def to_keyset(self) -> bytes:
        """The cleartext Tink JSON keyset; as secret as the key. The key id is not part of a ciphertext, so it is 1."""
        value = base64.b64encode(_KEY_HEAD + self._raw).decode()
        return msgspec.json.encode(_Keyset(primaryKeyId=1, key=(_Entry(keyData=_KeyData(value=value)),)))

    def reveal(self) -> bytes:
        """The secret bytes."""
        return self._raw

    def __repr__(self) -> str:
        return "ContentKey(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentKey) and _hazmat.equal(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash((ContentKey, self._raw))

    def __reduce__(self) -> Any:
        raise TypeError("A content key does not travel in a pickle.")


class _KeyData(msgspec.Struct, frozen=True):
    value: str
    typeUrl: str = _TYPE_URL  # noqa: N815  # Tink's name
    keyMaterialType: str = "SYMMETRIC"  # noqa: N815  # Tink's name

    def __repr__(self) -> str:
        return "_KeyData(…)"


class _Entry(msgspec.Struct, frozen=True):
    keyData: _KeyData  # noqa: N815  # Tink's name
    status: str = "ENABLED"
    keyId: int = 1  # noqa: N815  # Tink's name
    outputPrefixType: str = "RAW"  # noqa: N815  # Tink's name


class _Keyset(msgspec.Struct, frozen=True):
    primaryKeyId: int  # noqa: N815  # Tink's name
    key: tuple[_Entry, ...]
