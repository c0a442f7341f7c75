"""Identities: one secp256k1 private key is all that a participant keeps.

It is an account on any EVM chain. From it come, by HKDF-SHA256 (RFC 5869) without salt under one label each, the X25519
identity that deliveries are wrapped to, the Ed25519 key that a node signs its log with, the P-256 key that it signs
statements with for tools that know no Ed25519, and the Ed25519 and ML-DSA-44 keys that a witness cosigns with. A backup
of the one key is a backup of all; the derived keys reveal neither it nor each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from databund.core.ids import Address, Bytes32
from databund.crypto import _hazmat
from databund.crypto.signatures import Ed25519Key, MlDsa44Key, P256Key, account_of, message_hash
from databund.crypto.wrapping import AgeIdentity, AgeRecipient
from databund.errors import DocumentInvalid, KeyInvalid

__all__ = ["Identity", "SignedChainTransaction"]

_AGE: Final = b"databund/v1/age-x25519"
_LOG: Final = b"databund/v1/log-ed25519"
_STATEMENT: Final = b"databund/v1/statement-p256"
_WITNESS: Final = b"databund/v1/witness-ed25519"
_WITNESS_ML_DSA: Final = b"databund/v1/witness-ml-dsa-44"


@dataclass(frozen=True, slots=True)
class SignedChainTransaction:
    """A chain transaction ready to broadcast: its bytes (EIP-2718) and its hash."""

    raw: bytes
    hash: Bytes32


class Identity:
    """A participant's secret key and what it can do. ``repr`` and ``str`` show only the address."""

    __slots__ = ("_secret", "address")
    address: Address

    def __init__(self, secret: bytes) -> None:
        try:
            if len(secret) != 32:
                raise ValueError(len(secret))
            self.address = account_of(_hazmat.secp256k1_public(bytes(secret)))
        except ValueError:
            raise KeyInvalid(
                "This is not a secp256k1 private key.", fix="Give 32 bytes (64 hexadecimal digits), or make a new key."
            ) from None
        self._secret = bytes(secret)

    @classmethod
    def generate(cls) -> Self:
        """A fresh identity from the operating system's randomness."""
        return cls(_hazmat.secp256k1_generate())

    @property
    def age_identity(self) -> AgeIdentity:
        """The X25519 identity that opens what is wrapped to this participant."""
        return AgeIdentity.from_seed(_hazmat.hkdf_sha256(self._secret, salt=None, info=_AGE))

    @property
    def age_recipient(self) -> AgeRecipient:
        """The public side of `age_identity`."""
        return self.age_identity.recipient

    @property
    def log_key(self) -> Ed25519Key:
        """The Ed25519 key with which this participant, as a node, signs its audit log."""
        return Ed25519Key(_hazmat.hkdf_sha256(self._secret, salt=None, info=_LOG))

    @property
    def witness_key(self) -> Ed25519Key:
        """The Ed25519 key with which this participant, as a witness, cosigns the checkpoints of logs."""
        return Ed25519Key(_hazmat.hkdf_sha256(self._secret, salt=None, info=_WITNESS))

    @property
    def witness_ml_dsa_key(self) -> MlDsa44Key:
        """The ML-DSA-44 key with which this participant, as a witness, cosigns the checkpoints of logs."""
        return MlDsa44Key(_hazmat.hkdf_sha256(self._secret, salt=None, info=_WITNESS_ML_DSA))

    @property
    def statement_key(self) -> P256Key:
        """The P-256 key with which this participant, as a node, also signs what it states about a trade."""
        return P256Key(_hazmat.hkdf_sha256(self._secret, salt=None, info=_STATEMENT))

    def sign_typed_hash(self, digest: Bytes32) -> bytes:
        """The 65 bytes r||s||v (v 27 or 28) over an EIP-712 hash; the same for the same hash (RFC 6979)."""
        signature = _hazmat.secp256k1_sign(self._secret, bytes(digest))
        return signature[:64] + bytes([signature[64] + 27])

    def sign_message(self, text: str) -> bytes:
        """The 65 bytes r||s||v over a text, as a wallet's ``personal_sign`` makes them (EIP-191)."""
        return self.sign_typed_hash(message_hash(text))

    def sign_chain_transaction(self, fields: dict[str, Any]) -> SignedChainTransaction:
        """Sign the fields of a chain transaction as web3.py names them. Raises `DocumentInvalid`."""
        try:
            raw, digest = _hazmat.sign_chain_transaction(self._secret, fields)
        except ValueError as error:
            raise DocumentInvalid(
                f"The chain transaction cannot be signed: {error}.", fix="Fill in nonce, gas, fees and chain id."
            ) from error
        return SignedChainTransaction(raw=raw, hash=Bytes32(digest))

    def reveal(self) -> bytes:
        """The 32 secret bytes."""
        return self._secret

    def __repr__(self) -> str:
        return f"Identity(… of {self.address})"

    def __reduce__(self) -> Any:
        raise TypeError("An identity does not travel in a pickle.")
