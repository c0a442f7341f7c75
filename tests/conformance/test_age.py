"""The stock age command opens what we wrap, and we open what it wraps."""

import subprocess
from pathlib import Path

import pytest

from databund.crypto.content_keys import ContentKey
from databund.crypto.identities import Identity
from databund.crypto.wrapping import AgeIdentity, unwrap, wrap

pytestmark = pytest.mark.age


def age(*arguments: str, given: bytes = b"") -> bytes:
    """Run age and give its output."""
    return subprocess.run(["age", *arguments], input=given, capture_output=True, check=True, timeout=30).stdout


def test_age_opens_what_we_wrap(tmp_path: Path) -> None:
    """With the participant's identity in a file, age -d gives the Tink keyset."""
    key, identity = ContentKey.generate(), Identity.generate()
    (tmp_path / "identity").write_text(identity.age_identity.reveal() + "\n")
    (tmp_path / "delivery.age").write_bytes(wrap(key, [identity.age_recipient]))
    assert age("-d", "-i", str(tmp_path / "identity"), str(tmp_path / "delivery.age")) == key.to_keyset()


def test_we_open_what_age_wraps() -> None:
    """A keyset that age encrypted to our recipient opens here."""
    key, identity = ContentKey.generate(), Identity.generate()
    wrapped = age("-r", str(identity.age_recipient), given=key.to_keyset())
    assert unwrap(wrapped, identity.age_identity) == key


def test_an_identity_of_age_keygen_works() -> None:
    """An identity that age-keygen made is read, and agrees on its recipient."""
    lines = subprocess.run(["age-keygen"], capture_output=True, check=True, timeout=30, text=True).stdout.splitlines()
    identity = AgeIdentity(lines[-1])
    assert f"# public key: {identity.recipient}" in lines
