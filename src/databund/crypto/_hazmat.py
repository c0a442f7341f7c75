"""The only module that imports raw primitives; only the recipe modules beside it may import it.

Whoever calls these functions must know which nonce, salt and label is safe. No caller outside `databund.crypto` does.
"""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from typing import Any, Final

import coincurve
import pyrage  # type: ignore[import-untyped]  # ships no stubs
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

__all__ = [
    "AESGCM",
    "Certificate",
    "InvalidSignature",
    "InvalidTag",
    "aes_ctr",
    "age_decrypt",
    "age_encrypt",
    "age_public",
    "age_recipient",
    "blake3",
    "ed25519_public",
    "ed25519_sign",
    "ed25519_verify",
    "equal",
    "hkdf_sha256",
    "load_pem_x509_certificates",
    "ml_dsa_44_public",
    "ml_dsa_44_sign",
    "ml_dsa_44_verify",
    "p256_public",
    "p256_sign",
    "p256_verify",
    "pbkdf2_sha256",
    "random_bytes",
    "scrypt",
    "secp256k1_generate",
    "secp256k1_public",
    "secp256k1_recover",
    "secp256k1_sign",
    "sign_chain_transaction",
]

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def random_bytes(count: int) -> bytes:
    """``count`` bytes from the operating system."""
    return os.urandom(count)


def equal(left: bytes, right: bytes) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)


def hkdf_sha256(secret: bytes, *, salt: bytes | None, info: bytes) -> bytes:
    """Thirty-two bytes by HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


def scrypt(passphrase: bytes, *, salt: bytes, n: int, r: int, p: int) -> bytes:
    """Thirty-two bytes by scrypt (RFC 7914); needs 128 * n * r bytes of memory. Raises ``ValueError``."""
    try:
        return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase)
    except MemoryError:  # what it says of parameters that RFC 7914 section 2 excludes, too
        raise ValueError("its scrypt cost is out of bounds, or there is too little memory") from None


def pbkdf2_sha256(passphrase: bytes, *, salt: bytes, rounds: int) -> bytes:
    """Thirty-two bytes by PBKDF2-HMAC-SHA256 (RFC 8018)."""
    return PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=salt, iterations=rounds).derive(passphrase)


def aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-CTR, both directions; it authenticates nothing."""
    transform = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return transform.update(data) + transform.finalize()


def ed25519_public(seed: bytes) -> bytes:
    """The 32-byte public key of a 32-byte seed (RFC 8032)."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """The 64-byte signature of ``message``."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise `InvalidSignature` or ``ValueError`` unless ``signature`` is that of ``message``."""
    _ed25519_key(public).verify(signature, message)


def ml_dsa_44_public(seed: bytes) -> bytes:
    """The 1312-byte public key of a 32-byte seed (FIPS 204)."""
    return MLDSA44PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def ml_dsa_44_sign(seed: bytes, message: bytes) -> bytes:
    """A 2420-byte signature of ``message`` under the empty context; another one each time."""
    return MLDSA44PrivateKey.from_seed_bytes(seed).sign(message)


def ml_dsa_44_verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise `InvalidSignature` or ``ValueError`` unless ``signature`` is one of ``message``."""
    MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)


def p256_public(seed: bytes) -> bytes:
    """The public key (DER, SubjectPublicKeyInfo) of the NIST P-256 key that a 32-byte seed stands for."""
    return _p256(seed).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def p256_sign(seed: bytes, message: bytes) -> bytes:
    """The deterministic (RFC 6979) ECDSA signature (DER) of ``message`` under SHA-256."""
    return _p256(seed).sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def p256_verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise `InvalidSignature` or ``ValueError`` unless ``signature`` (DER) is that of ``message``."""
    _p256_key(public).verify(signature, message, ec.ECDSA(hashes.SHA256()))


@lru_cache(64)
def _ed25519_key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


@lru_cache(64)
def _p256_key(public: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(public)
    except UnsupportedAlgorithm as error:
        raise ValueError("the key is of a kind that is not known") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the key is not on the curve P-256")
    return key


def secp256k1_generate() -> bytes:
    """A fresh 32-byte private key."""
    return coincurve.PrivateKey().secret


def secp256k1_public(secret: bytes) -> bytes:
    """The 64 bytes x||y of the public key. Raises ``ValueError`` for a secret outside the group."""
    return coincurve.PrivateKey(secret).public_key.format(compressed=False)[1:]


def secp256k1_sign(secret: bytes, digest: bytes) -> bytes:
    """Deterministic (RFC 6979), low-s signature of a 32-byte digest: r||s||recovery id, 65 bytes."""
    return coincurve.PrivateKey(secret).sign_recoverable(digest, hasher=None)


def secp256k1_recover(digest: bytes, signature: bytes) -> bytes:
    """The 64 bytes x||y of the key that signed. Raises ``ValueError``, also for the malleable high-s form (EIP-2)."""
    if len(digest) != 32 or len(signature) != 65 or signature[64] > 1:
        raise ValueError("a recoverable signature has 65 bytes, of a 32-byte digest")
    if int.from_bytes(signature[32:64]) > _HALF_ORDER:
        raise ValueError("s is in the upper half of the group")
    public = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    return public.format(compressed=False)[1:]


def sign_chain_transaction(secret: bytes, fields: dict[str, Any]) -> tuple[bytes, bytes]:
    """The signed bytes (EIP-2718) of a chain transaction and their Keccak hash. Raises ``ValueError``."""
    from eth_account import Account  # slow to import, and only signers need it

    try:
        signed = Account.sign_transaction(fields, secret)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return bytes(signed.raw_transaction), bytes(signed.hash)


def age_public(secret: str) -> str:
    """The ``age1…`` recipient of an ``AGE-SECRET-KEY-1…`` identity. Raises ``ValueError``."""
    try:
        return str(pyrage.x25519.Identity.from_str(secret).to_public())
    except pyrage.IdentityError as error:
        raise ValueError(str(error)) from error


def age_recipient(text: str) -> str:
    """Give back an ``age1…`` X25519 recipient. Raises ``ValueError``."""
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError as error:
        raise ValueError(str(error)) from error


def age_encrypt(plaintext: bytes, recipients: list[str]) -> bytes:
    """An age file (C2SP age.md v1) to X25519 recipients that `age_recipient` accepted."""
    return bytes(pyrage.encrypt(plaintext, [pyrage.x25519.Recipient.from_str(each) for each in recipients]))


def age_decrypt(ciphertext: bytes, secret: str) -> bytes:
    """The plaintext of an age file. Raises ``ValueError`` when it does not open."""
    try:
        return bytes(pyrage.decrypt(ciphertext, [pyrage.x25519.Identity.from_str(secret)]))
    except pyrage.DecryptError as error:
        raise ValueError(str(error)) from error


def _p256(seed: bytes) -> ec.EllipticCurvePrivateKey:
    # A seed outside of the group occurs once in 2^32 keys; the remainder keeps it a key, and is all but even.
    return ec.derive_private_key(int.from_bytes(seed) % (_P256_ORDER - 1) + 1, ec.SECP256R1())
