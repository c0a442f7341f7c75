"""Signatures: made by secp256k1 accounts and by log and witness keys; checked here, and refused by raising.

EIP-712 hashes and EIP-191 messages carry 65 bytes r||s||v with v 27 or 28, s in the lower half (EIP-2). Log notes and
checkpoints carry raw Ed25519 (RFC 8032) or ML-DSA-44 (FIPS 204, empty context). Accounts that are smart contracts
(ERC-1271) are asked on the chain instead.
"""

from __future__ import annotations

from databund.core.ids import Address, Bytes32, keccak256
from databund.crypto import _hazmat
from databund.errors import DocumentInvalid, KeyInvalid, SignatureInvalid

__all__ = [
    "Ed25519Key",
    "MlDsa44Key",
    "P256Key",
    "message_hash",
    "recover_typed_hash",
    "verify_ed25519",
    "verify_message",
    "verify_ml_dsa_44",
    "verify_p256",
    "verify_typed_hash",
]


class Ed25519Key:
    """A log signing key, from its 32-byte seed. ``repr`` hides it. Raises `KeyInvalid`."""

    __slots__ = ("_seed", "public")
    public: bytes

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise KeyInvalid(f"An Ed25519 seed has 32 bytes, this one has {len(seed)}.", fix="Pass the whole value.")
        self._seed = bytes(seed)
        self.public = _hazmat.ed25519_public(self._seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of ``message``."""
        return _hazmat.ed25519_sign(self._seed, message)

    def __repr__(self) -> str:
        return f"Ed25519Key(… of {self.public.hex()})"


class MlDsa44Key:
    """A signing key that also withstands quantum computers, from its 32-byte seed. ``repr`` hides it."""

    __slots__ = ("_seed", "public")
    public: bytes

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise KeyInvalid(f"An ML-DSA-44 seed has 32 bytes, this one has {len(seed)}.", fix="Pass the whole value.")
        self._seed = bytes(seed)
        self.public = _hazmat.ml_dsa_44_public(self._seed)

    def sign(self, message: bytes) -> bytes:
        """A 2420-byte signature of ``message``; it is randomized (FIPS 204 "hedged")."""
        return _hazmat.ml_dsa_44_sign(self._seed, message)

    def __repr__(self) -> str:
        return f"MlDsa44Key(… of {self.public[:32].hex()}…)"


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise `SignatureInvalid` unless ``signature`` (64 bytes) over ``message`` is by ``public`` (32 bytes)."""
    try:
        _hazmat.ed25519_verify(public, message, signature)
    except (_hazmat.InvalidSignature, ValueError):
        raise SignatureInvalid(
            f"The signature is not by the Ed25519 key {public.hex()[:80]}.",
            fix="Check that this is the signer's public key, and fetch the signed text again.",
        ) from None


def verify_ml_dsa_44(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise `SignatureInvalid` unless ``signature`` (2420 bytes) over ``message`` is by ``public`` (1312 bytes)."""
    try:
        _hazmat.ml_dsa_44_verify(public, message, signature)
    except (_hazmat.InvalidSignature, ValueError):
        raise SignatureInvalid(
            f"The signature is not by the ML-DSA-44 key {public.hex()[:64]}….",
            fix="Check that this is the signer's public key, and fetch the signed text again.",
        ) from None


class P256Key:
    """A statement signing key on NIST P-256, from its 32-byte seed. ``repr`` hides it. Raises `KeyInvalid`.

    ``public`` is its SubjectPublicKeyInfo (DER).
    """

    __slots__ = ("_seed", "public")
    public: bytes

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise KeyInvalid(f"A P-256 seed has 32 bytes, this one has {len(seed)}.", fix="Pass the whole value.")
        self._seed = bytes(seed)
        self.public = _hazmat.p256_public(self._seed)

    def sign(self, message: bytes) -> bytes:
        """The ECDSA signature (DER, SHA-256) of ``message``; the same for the same message (RFC 6979)."""
        return _hazmat.p256_sign(self._seed, message)

    def __repr__(self) -> str:
        return f"P256Key(… of {self.public.hex()})"


def verify_p256(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise `SignatureInvalid` unless ``signature`` (DER) over ``message`` is by the P-256 key ``public`` (DER)."""
    try:
        _hazmat.p256_verify(public, message, signature)
    except (_hazmat.InvalidSignature, ValueError):
        raise SignatureInvalid(
            "The signature is not by the P-256 key that was named.",
            fix="Check that this is the signer's public key, and fetch the signed text again.",
        ) from None


def message_hash(text: str) -> Bytes32:
    """The hash that a wallet signs for a text (EIP-191, version 0x45, ``personal_sign``). Raises `DocumentInvalid`."""
    try:
        body = text.encode()
    except UnicodeEncodeError:
        raise DocumentInvalid("The message is not Unicode text.", fix="Sign text without lone surrogates.") from None
    return Bytes32(keccak256(b"\x19Ethereum Signed Message:\n" + str(len(body)).encode() + body))


def recover_typed_hash(digest: Bytes32, signature: bytes) -> Address:
    """The account that signed an EIP-712 (or any 32-byte) hash. Raises `SignatureInvalid` where no account can have."""
    try:
        if len(signature) != 65 or signature[64] not in (27, 28):
            raise ValueError("it is not 65 bytes ending in 27 or 28")
        public = _hazmat.secp256k1_recover(bytes(digest), signature[:64] + bytes([signature[64] - 27]))
    except ValueError as error:
        raise SignatureInvalid(
            f"This is no signature of an account: {error}.",
            fix="Sign again with a wallet that follows EIP-2 and EIP-191.",
        ) from None
    return account_of(public)


def verify_typed_hash(digest: Bytes32, signature: bytes, *, signer: Address) -> None:
    """Raise `SignatureInvalid` unless ``signer`` signed the hash."""
    found = recover_typed_hash(digest, signature)
    if found != signer:
        raise SignatureInvalid(
            f"{found} made this signature over these bytes, not {signer}.",
            fix=f"Sign with the key of {signer}, over exactly what is sent.",
        )


def verify_message(text: str, signature: bytes, *, signer: Address) -> None:
    """Raise `SignatureInvalid` unless ``signer`` signed the text (EIP-191)."""
    verify_typed_hash(message_hash(text), signature, signer=signer)


def account_of(public: bytes) -> Address:
    """The account of a public key x||y, 64 bytes."""
    return Address(keccak256(public)[12:])
