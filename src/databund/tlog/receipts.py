"""COSE receipts (RFC 9942): an inclusion proof of one entry, and the log's signature of the root that it leads to.

The verifiable data structure is RFC9162_SHA256 (1), the signature EdDSA over Ed25519, the payload (the root) detached.
The protected header names the key, and by CWT claims the log (``iss``) and what the entry is about (``sub``), as
RFC 9943 section 6 asks of a receipt. The same root is signed for entries about the same subject. The tree size is not
signed: of two sizes that need the same path, a receipt proves the one as well as the other. A checkpoint says which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from databund.errors import ProofInvalid
from databund.tlog._cbor import Tagged, decode, encode
from databund.tlog.merkle import HASH_BYTES, MAX_SIZE, inclusion_root, leaf_hash
from databund.tlog.notes import VerifierKey

__all__ = ["Receipt", "check_receipt", "sign_receipt", "verify_receipt"]

_SIGN1, _ALGORITHM, _KEY_ID, _CLAIMS, _STRUCTURE, _PROOFS = 18, 1, 4, 15, 395, 396
_EDDSA, _RFC9162_SHA256, _INCLUSION, _ISSUER, _SUBJECT = -8, 1, -1, 1, 2
_SIGNATURE_BYTES: Final = 64
_ASK_AGAIN: Final = "Ask for the receipt again; if it fails again, do not trust its source."


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt: the log and key that signed, what the entry is about, its place and path, and the signature.

    ``key_id`` is the 4-byte key ID of the log's vkey; ``hashes`` the inclusion proof (32 bytes each).
    """

    issuer: str
    subject: str
    key_id: bytes
    index: int
    size: int
    hashes: tuple[bytes, ...]
    signature: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.size <= MAX_SIZE or any(len(value) != HASH_BYTES for value in self.hashes):
            raise ProofInvalid(f"A receipt has the index {self.index} of {self.size}.", fix=_ASK_AGAIN)
        if len(self.signature) != _SIGNATURE_BYTES:
            raise ProofInvalid(f"A receipt's signature has {len(self.signature)} bytes.", fix=_ASK_AGAIN)

    def to_bytes(self) -> bytes:
        """The tagged COSE_Sign1 message, in deterministic CBOR."""
        protected = _protected(self.issuer, self.subject, self.key_id)
        return _message(protected, (self.index, self.size), self.hashes, self.signature)

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Read what `to_bytes` writes, without verifying it. Raises `ProofInvalid` for anything else."""
        try:
            _, (protected, unprotected, _, signature) = decode(data)
            header, proof = decode(protected), decode(unprotected[_PROOFS][_INCLUSION][0])
            receipt = cls(
                issuer=header[_CLAIMS][_ISSUER],
                subject=header[_CLAIMS][_SUBJECT],
                key_id=header[_KEY_ID],
                size=proof[0],
                index=proof[1],
                hashes=tuple(proof[2]),
                signature=signature,
            )
            fits = receipt.to_bytes() == data
        except (TypeError, ValueError, KeyError, IndexError):
            raise ProofInvalid("A receipt does not have the form of RFC 9942.", fix=_ASK_AGAIN) from None
        if not fits:
            raise ProofInvalid("A receipt is not the RFC9162_SHA256, EdDSA kind that we read.", fix=_ASK_AGAIN)
        return receipt


def check_receipt(
    data: bytes, *, key: VerifierKey, subject: str, root: bytes, place: tuple[int, int], hashes: tuple[bytes, ...]
) -> tuple[bytes, bytes]:
    """Check that ``data`` is the receipt of an inclusion proof that was verified already, but for its signature.

    ``place`` is (index, size) and ``hashes`` the proof that leads to ``root``. Returns the message and the signature
    that remain to be verified: the same ones for all entries about one subject under one root. Raises `ProofInvalid`.
    """
    protected, signature = _protected(key.name, subject, _key_id(key)), data[-_SIGNATURE_BYTES:]
    if len(signature) != _SIGNATURE_BYTES or _message(protected, place, hashes, signature) != data:
        raise ProofInvalid(f"The COSE receipt of entry {place[0]} is not the one of its proof.", fix=_ASK_AGAIN)
    return _signed(protected, root), signature


def sign_receipt(
    key: VerifierKey,
    sign: Callable[[bytes], bytes],
    *,
    subject: str,
    index: int,
    size: int,
    root: bytes,
    hashes: tuple[bytes, ...],
) -> Receipt:
    """The receipt of an entry, signed by the log's key (``sign`` is Ed25519, RFC 8032)."""
    key_id = _key_id(key)
    return Receipt(
        issuer=key.name,
        subject=subject,
        key_id=key_id,
        index=index,
        size=size,
        hashes=hashes,
        signature=sign(_signed(_protected(key.name, subject, key_id), root)),
    )


def verify_receipt(
    receipt: Receipt, entry: bytes, *, key: VerifierKey, verify: Callable[[bytes, bytes, bytes], None]
) -> bytes:
    """Check that the log of ``key`` holds ``entry`` where the receipt says, and return the root (32 bytes).

    ``verify(public_key, message, signature)`` is Ed25519. Raises `ProofInvalid`, or what ``verify`` raises.
    """
    if (receipt.issuer, receipt.key_id) != (key.name, _key_id(key)):
        raise ProofInvalid(f"The receipt is not one of the log {key.name}.", fix=_ASK_AGAIN)
    root = inclusion_root(leaf_hash(entry), receipt.hashes, index=receipt.index, size=receipt.size)
    protected = _protected(receipt.issuer, receipt.subject, receipt.key_id)
    verify(key.public_key, _signed(protected, root), receipt.signature)
    return root


def _key_id(key: VerifierKey) -> bytes:
    return key.key_id.to_bytes(4)


@lru_cache(maxsize=16)
def _protected(issuer: str, subject: str, key_id: bytes) -> bytes:
    claims: dict[Any, Any] = {_ISSUER: issuer, _SUBJECT: subject}
    return encode({_ALGORITHM: _EDDSA, _KEY_ID: key_id, _CLAIMS: claims, _STRUCTURE: _RFC9162_SHA256})


def _message(protected: bytes, place: tuple[int, int], hashes: tuple[bytes, ...], signature: bytes) -> bytes:
    """The tagged COSE_Sign1 of an inclusion proof for ``place``, (index, size)."""
    index, size = place
    proof = encode([size, index, list(hashes)])
    return encode(Tagged((_SIGN1, [protected, {_PROOFS: {_INCLUSION: [proof]}}, None, signature])))


@lru_cache(maxsize=16)
def _signed(protected: bytes, root: bytes) -> bytes:
    """The Sig_structure of COSE_Sign1 (RFC 9052 section 4.4)."""
    return encode(["Signature1", protected, b"", root])
