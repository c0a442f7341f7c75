"""Wrapping: a content key opens for those it is wrapped to, and for nobody else."""

import pyrage
import pytest

from databund.crypto._bech32 import bech32
from databund.crypto.content_keys import ContentKey
from databund.crypto.identities import Identity
from databund.crypto.wrapping import AgeIdentity, AgeRecipient, unwrap, wrap
from databund.errors import KeyInvalid

KEY = ContentKey.generate()


def test_each_recipient_opens_it() -> None:
    """A key wrapped to two opens for both, and not for a third."""
    first, second, third = (Identity.generate() for _ in range(3))
    wrapped = wrap(KEY, [first.age_recipient, second.age_recipient])
    assert unwrap(wrapped, first.age_identity) == unwrap(wrapped, second.age_identity) == KEY
    with pytest.raises(KeyInvalid, match=str(third.age_recipient)):
        unwrap(wrapped, third.age_identity)


def test_somebody_must_be_named() -> None:
    """Wrapping to nobody is refused."""
    with pytest.raises(KeyInvalid, match="Nobody"):
        wrap(KEY, [])


def test_the_payload_is_a_tink_keyset() -> None:
    """Any age implementation gives the keyset that any Tink reads."""
    identity = Identity.generate()
    opened = pyrage.decrypt(
        wrap(KEY, [identity.age_recipient]), [pyrage.x25519.Identity.from_str(identity.age_identity.reveal())]
    )
    assert opened == KEY.to_keyset()


def test_damage_is_refused() -> None:
    """One changed byte, a cut, foreign bytes or a flood do not open."""
    identity = Identity.generate()
    wrapped = wrap(KEY, [identity.age_recipient])
    altered = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for data in (altered, wrapped[:-1], b"", b"no age file", bytes(1 << 17)):
        with pytest.raises(KeyInvalid):
            unwrap(data, identity.age_identity)


def test_something_else_wrapped_is_refused() -> None:
    """An age file with another payload is not taken for a content key."""
    identity = Identity.generate()
    payload = pyrage.encrypt(b"hello", [pyrage.x25519.Recipient.from_str(str(identity.age_recipient))])
    with pytest.raises(KeyInvalid, match="keyset"):
        unwrap(payload, identity.age_identity)


@pytest.mark.parametrize("text", ["", "age1", "age1" + "q" * 58, "ssh-ed25519 AAAA", "AGE-SECRET-KEY-1QQ", "\ud800"])
def test_what_is_no_age_key_is_refused(text: str) -> None:
    """Malformed recipients and identities are refused; the identity's text is not quoted."""
    with pytest.raises(KeyInvalid):
        AgeRecipient(text)
    with pytest.raises(KeyInvalid) as caught:
        AgeIdentity(text)
    assert not text or text not in str(caught.value)


def test_recipients_compare_by_key() -> None:
    """A recipient read from its text is the same recipient."""
    recipient = Identity.generate().age_recipient
    assert AgeRecipient(f" {recipient}\n") == recipient
    assert len({recipient, AgeRecipient(str(recipient))}) == 1


def test_a_generated_age_identity_is_read() -> None:
    """An identity that age tooling generated gives its own recipient."""
    generated = pyrage.x25519.Identity.generate()
    assert str(AgeIdentity(str(generated)).recipient) == str(generated.to_public())


def test_a_seed_has_32_bytes() -> None:
    """Another size is refused."""
    with pytest.raises(KeyInvalid, match="32 bytes"):
        AgeIdentity.from_seed(b"short")


def test_the_bech32_vector_of_bip_173() -> None:
    """The witness program of BIP-173's example, without the version digit, has the known letters."""
    program = bytes.fromhex("751e76e8199196d454941c45d1b3a323f1433bd6")
    assert bech32("bc", program)[3:35] == "w508d6qejxtdg4y5r3zarvary0c5xw7k"
