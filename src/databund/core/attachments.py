"""Attachments: personal data kept beside the log, bound to an entry by a salted hash, and erasable.

An entry names the commitment SHA-256(0x02 || salt || content); the content itself is kept sealed under its own key.
Erasing forgets key, salt and content, after which the commitment says nothing about anybody, and an entry of kind
``key.destroyed`` says when. The first byte keeps a commitment from being a node of the log's tree (RFC 6962).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

import msgspec

from databund.core.events import Event, EventKind
from databund.core.ids import Commitment
from databund.errors import ContentMismatch, InvalidInput, ProofInvalid

__all__ = [
    "SALT_BYTES",
    "Attachment",
    "AttachmentStory",
    "Erasure",
    "ErasureReason",
    "ErasureRequest",
    "Presence",
    "Standing",
    "commitment_of",
    "verify_commitment",
]

SALT_BYTES = 32
"""The length of every salt; from the operating system's randomness, never used twice."""

_DOMAIN = b"\x02"
_DO_NOT_TRUST = "Do not rely on this copy; get it again, and ask the operator."


class ErasureReason(StrEnum):
    """Why an attachment was erased. The log keeps it for ever, so it is a word of this list and no free text."""

    CONSENT_WITHDRAWN = "consent_withdrawn"
    RETENTION_ENDED = "retention_ended"
    LEGAL_ORDER = "legal_order"
    MISTAKE = "mistake"


class ErasureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator asks for who erases an attachment."""

    reason: ErasureReason


class Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An attachment is erased, since ``at`` (Unix seconds)."""

    commitment: Commitment
    at: int


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
    if len(salt) != SALT_BYTES or commitment_of(content, salt=salt) != commitment:
        raise ContentMismatch(
            f"The attachment is not what the entry committed to ({commitment}).", fix="Ask for the original again."
        )


class Presence(StrEnum):
    """What a verifier has of an attachment that an entry names."""

    PRESENT = "present"
    ERASED = "erased"
    WITHHELD = "withheld"


@dataclass(frozen=True)
class Standing:
    """How an attachment stands; ``erased_at`` (Unix seconds) and ``reason`` are those of its first erasure."""

    presence: Presence
    erased_at: int | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.erased_at is None:
            return "present, and what the entry committed to" if self.presence is Presence.PRESENT else "withheld"
        return f"erased on {datetime.fromtimestamp(self.erased_at, UTC):%Y-%m-%d} ({self.reason})"


class AttachmentStory:
    """Follows the entries of a log, or of a part of it, and says of each attachment that they name how it stands."""

    def __init__(self) -> None:
        self._standings: dict[Commitment, Standing] = {}

    def add(self, event: Event) -> None:
        """Take the next entry.

        Raises `IdentifierInvalid`, or `ProofInvalid` when it erases what no entry named before it.
        """
        named = event.about.get("attachment")
        if named is None:
            return
        commitment = Commitment.parse(str(named))
        if event.kind is not EventKind.DESTROYED:
            self._standings.setdefault(commitment, Standing(Presence.WITHHELD))
        elif commitment not in self._standings:
            raise ProofInvalid(f"An entry erases {commitment}, which no entry named before.", fix=_DO_NOT_TRUST)
        elif self._standings[commitment].erased_at is None:
            self._standings[commitment] = Standing(Presence.ERASED, event.at, str(event.about["reason"]))

    def standings(
        self, disclosed: Mapping[Commitment, tuple[bytes, bytes]] | None = None
    ) -> dict[Commitment, Standing]:
        """How each attachment stands, in the order in which entries named them.

        ``disclosed`` gives salt and content of those that are at hand. What is erased stays erased, also when
        somebody kept a copy. Raises `ContentMismatch` for a copy that is none, and `ProofInvalid` for one that no
        entry names.
        """
        standings = dict(self._standings)
        for commitment, (salt, content) in (disclosed or {}).items():
            if commitment not in standings:
                raise ProofInvalid(f"No entry names the attachment {commitment}.", fix=_DO_NOT_TRUST)
            verify_commitment(commitment, content, salt=salt)
            if standings[commitment].erased_at is None:
                standings[commitment] = Standing(Presence.PRESENT)
        return standings
