"""Wrapping: a content key handed over as an age file (C2SP age.md v1) to X25519 recipients.

The payload is the content key as a cleartext Tink keyset, so ``age -d`` and any Tink open a delivery without databund.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from databund.crypto import _hazmat
from databund.crypto._bech32 import bech32
from databund.crypto.content_keys import ContentKey
from databund.errors import KeyInvalid

__all__ = ["AgeIdentity", "AgeRecipient", "unwrap", "wrap"]

_LARGEST: Final = 1 << 16


class AgeRecipient:
    """The public X25519 key of who may unwrap, written ``age1…``. Raises `KeyInvalid`."""

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        try:
            self._text = _hazmat.age_recipient(text.strip())
        except ValueError:
            raise KeyInvalid(
                f"{text[:80]!r} is not an age recipient.", fix="Give the age1… line of an X25519 key (age-keygen -y)."
            ) from None

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"AgeRecipient({self._text})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgeRecipient) and self._text == other._text

    def __hash__(self) -> int:
        return hash((AgeRecipient, self._text))


class AgeIdentity:
    """The secret X25519 key of a recipient, written ``AGE-SECRET-KEY-1…``. ``repr`` and ``str`` hide it."""

    __slots__ = ("_text", "recipient")
    recipient: AgeRecipient

    def __init__(self, text: str) -> None:
        try:
            public = _hazmat.age_public(text.strip())
        except ValueError:
            raise KeyInvalid(
                "This is not an age identity.", fix="Give the AGE-SECRET-KEY-1… line of an X25519 key."
            ) from None
        self._text = text.strip()
        self.recipient = AgeRecipient(public)

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The identity whose X25519 secret is these 32 bytes."""
        if len(seed) != 32:
            raise KeyInvalid(f"An X25519 secret has 32 bytes, this one has {len(seed)}.", fix="Pass the whole value.")
        return cls(bech32("age-secret-key-", seed).upper())

    def reveal(self) -> str:
        """The secret line, as ``age -i`` reads it from a file."""
        return self._text

    def __repr__(self) -> str:
        return f"AgeIdentity(… of {self.recipient})"


def wrap(key: ContentKey, recipients: Iterable[AgeRecipient]) -> bytes:
    """An age file that each of ``recipients`` can unwrap, about 600 bytes for one. Raises `KeyInvalid` for none."""
    names = [str(recipient) for recipient in recipients]
    if not names:
        raise KeyInvalid("Nobody is named who may open the content key.", fix="Name at least one age recipient.")
    return _hazmat.age_encrypt(key.to_keyset(), names)


def unwrap(wrapped: bytes, identity: AgeIdentity) -> ContentKey:
    """The content key in an age file. Raises `KeyInvalid` when it does not open, or holds something else."""
    if len(wrapped) > _LARGEST:
        raise KeyInvalid(f"{len(wrapped)} bytes are too many for a wrapped key.", fix="Fetch the delivery again.")
    try:
        payload = _hazmat.age_decrypt(wrapped, identity.reveal())
    except ValueError as error:
        raise KeyInvalid(
            f"The wrapped content key does not open for {identity.recipient}: {error}.",
            fix="Use the identity that the license was bought with, or ask for a new delivery.",
        ) from None
    return ContentKey.from_keyset(payload)
