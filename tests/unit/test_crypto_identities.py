"""Identities and signatures: one key signs, unwraps and keeps a log, and never shows itself."""

import hashlib
import hmac

import pytest

from databund.core.ids import Address, Bytes32
from databund.crypto.identities import Identity
from databund.crypto.signatures import (
    Ed25519Key,
    MlDsa44Key,
    message_hash,
    recover_typed_hash,
    verify_ed25519,
    verify_message,
    verify_ml_dsa_44,
    verify_typed_hash,
)
from databund.crypto.wrapping import AgeIdentity
from databund.errors import DocumentInvalid, KeyInvalid, SignatureInvalid

KNOWN = Identity((1).to_bytes(32))
DIGEST = Bytes32(bytes(range(32)))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def hkdf(secret: bytes, label: bytes) -> bytes:
    """HKDF-SHA256 of 32 bytes without salt, written out from RFC 5869."""
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, label + b"\x01", hashlib.sha256)


def test_the_address_is_the_accounts() -> None:
    """The private key 1 has the address that every wallet shows for it, with the EIP-55 checksum."""
    assert str(KNOWN.address) == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"


def test_derived_keys_follow_rfc_5869() -> None:
    """The seeds of log and witness keys and the age identity come from HKDF-SHA256 under their labels."""
    assert KNOWN.log_key.public == Ed25519Key(hkdf(KNOWN.reveal(), b"databund/v1/log-ed25519")).public
    assert KNOWN.witness_key.public == Ed25519Key(hkdf(KNOWN.reveal(), b"databund/v1/witness-ed25519")).public
    ml_dsa = MlDsa44Key(hkdf(KNOWN.reveal(), b"databund/v1/witness-ml-dsa-44"))
    assert KNOWN.witness_ml_dsa_key.public == ml_dsa.public
    assert KNOWN.age_recipient == AgeIdentity.from_seed(hkdf(KNOWN.reveal(), b"databund/v1/age-x25519")).recipient


def test_derived_keys_never_change() -> None:
    """What a release derives, every later one derives: deliveries and logs depend on it."""
    assert str(KNOWN.age_recipient) == "age1yfpk2jstxxuthepvfv8dzg9eyxpknusl53ntm65ek388dcj30vus7f5zp4"
    assert KNOWN.log_key.public.hex() == "21e1ee543acf0c4d23ec24af2fa3a29e7745a6e9e0af0ebc2b9505a9d42383be"


def test_ml_dsa_signatures_verify_over_their_message_only() -> None:
    """An ML-DSA-44 signature has 2,420 bytes, is another one each time, and counts for its key and message alone."""
    key, other = KNOWN.witness_ml_dsa_key, Identity.generate().witness_ml_dsa_key
    signature = key.sign(b"message")
    verify_ml_dsa_44(key.public, b"message", signature)
    assert (len(key.public), len(signature)) == (1312, 2420)
    assert key.sign(b"message") != signature
    for public, message in ((key.public, b"another"), (other.public, b"message"), (key.public[:-1], b"message")):
        with pytest.raises(SignatureInvalid):
            verify_ml_dsa_44(public, message, signature)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seeds_of_ml_dsa_have_32_bytes(length: int) -> None:
    """A seed of another length is refused."""
    with pytest.raises(KeyInvalid):
        MlDsa44Key(bytes(length))


def test_identities_are_fresh() -> None:
    """Two generated identities have nothing in common."""
    first, second = Identity.generate(), Identity.generate()
    assert first.address != second.address
    assert first.age_recipient != second.age_recipient
    assert first.log_key.public != second.log_key.public


def test_secrets_stay_hidden() -> None:
    """Neither repr nor str of any key shows its secret."""
    identity = Identity.generate()
    shown = "".join(
        f"{key!r}{key}" for key in (identity, identity.age_identity, identity.log_key, identity.witness_ml_dsa_key)
    )
    assert identity.reveal().hex() not in shown
    assert identity.age_identity.reveal() not in shown
    with pytest.raises(TypeError):
        identity.__reduce__()


@pytest.mark.parametrize("secret", [b"", b"\1" * 31, b"\1" * 33, bytes(32), ORDER.to_bytes(32)])
def test_what_is_no_private_key_is_refused(secret: bytes) -> None:
    """A secret of another size, zero, or beyond the group is no key."""
    with pytest.raises(KeyInvalid, match="private key"):
        Identity(secret)


def test_a_typed_hash_is_signed_and_recovered() -> None:
    """The signature has 65 bytes ending in 27 or 28, is the same each time, and names its signer."""
    identity = Identity.generate()
    signature = identity.sign_typed_hash(DIGEST)
    assert (len(signature), signature[64] in (27, 28)) == (65, True)
    assert signature == identity.sign_typed_hash(DIGEST)
    assert recover_typed_hash(DIGEST, signature) == identity.address
    verify_typed_hash(DIGEST, signature, signer=identity.address)


def test_another_signer_is_refused() -> None:
    """A good signature by somebody else is refused, and both are named."""
    other = Identity.generate()
    with pytest.raises(SignatureInvalid, match=f"{other.address} made this signature .* not {KNOWN.address}"):
        verify_typed_hash(DIGEST, other.sign_typed_hash(DIGEST), signer=KNOWN.address)


def test_another_text_is_refused() -> None:
    """A signature holds for its message only."""
    signature = KNOWN.sign_message("sign in")
    verify_message("sign in", signature, signer=KNOWN.address)
    with pytest.raises(SignatureInvalid):
        verify_message("sign out", signature, signer=KNOWN.address)


def test_a_message_is_hashed_as_wallets_do() -> None:
    """The example of EIP-191 implementations: the hash of "hello world"."""
    assert str(message_hash("hello world")) == ("0xd9eba16ed0ecae432b71fe008c98cc872bb4cc214d3220a36f365326cf807d68")


def test_the_malleable_form_is_refused() -> None:
    """The same signature with s in the upper half (EIP-2) is not accepted."""
    good = KNOWN.sign_typed_hash(DIGEST)
    mirrored = good[:32] + (ORDER - int.from_bytes(good[32:64])).to_bytes(32) + bytes([55 - good[64]])
    with pytest.raises(SignatureInvalid, match="upper half"):
        recover_typed_hash(DIGEST, mirrored)


@pytest.mark.parametrize(
    "signature", [b"", bytes(64), bytes(65), bytes(66), b"\xff" * 64 + b"\x1b", bytes(64) + b"\x1b", b"\1" * 64 + b"\0"]
)
def test_a_malformed_signature_is_refused(signature: bytes) -> None:
    """Bytes that no account can have made raise `SignatureInvalid` and nothing else."""
    with pytest.raises(SignatureInvalid):
        recover_typed_hash(DIGEST, signature)


def test_a_text_that_is_no_unicode_is_refused() -> None:
    """A lone surrogate cannot be signed."""
    with pytest.raises(DocumentInvalid):
        KNOWN.sign_message("\ud800")


def test_the_ed25519_vector_of_rfc_8032() -> None:
    """Test 2 of RFC 8032 section 7.1: public key and signature of the one byte 0x72."""
    key = Ed25519Key(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_wrong_ed25519_signature_is_refused() -> None:
    """Another key, another text, or malformed bytes raise."""
    key, message = Identity.generate().log_key, b"checkpoint"
    signature = key.sign(message)
    verify_ed25519(key.public, message, signature)
    for arguments in [
        (KNOWN.log_key.public, message, signature),
        (key.public, b"other", signature),
        (key.public, message, signature[:-1]),
        (b"", message, signature),
    ]:
        with pytest.raises(SignatureInvalid):
            verify_ed25519(*arguments)


def test_a_log_key_has_32_bytes() -> None:
    """A seed of another size is refused."""
    with pytest.raises(KeyInvalid, match="32 bytes"):
        Ed25519Key(b"short")


def test_a_chain_transaction_with_missing_fields_is_refused() -> None:
    """What eth-account cannot sign is a `DocumentInvalid`."""
    with pytest.raises(DocumentInvalid, match="cannot be signed"):
        KNOWN.sign_chain_transaction({"to": str(Address(bytes(20))), "nonce": "many"})
