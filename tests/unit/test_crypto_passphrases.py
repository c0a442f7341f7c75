"""Passphrases: hidden, strong where a machine makes them, and kept in a keyring where there is one."""

import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import KeyringLocked, PasswordDeleteError

from databund.crypto.passphrases import KeyringPassphrase, Passphrase
from databund.errors import AlreadyExists, DependencyMissing, KeyInvalid, KeyLocked


class MemoryKeyring(KeyringBackend):
    """A keyring in memory that can be locked."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        """Look up."""
        if self.locked:
            raise KeyringLocked("it is locked")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep."""
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        """Forget."""
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError(username)


def test_a_passphrase_hides_itself() -> None:
    """Neither repr nor str shows the text."""
    assert "open sesame" not in f"{Passphrase('open sesame')!r}{Passphrase('open sesame')}"


def test_generated_passphrases_are_strong_and_fresh() -> None:
    """A generated passphrase has 256 bits, passes its own check, and never comes twice."""
    first, second = Passphrase.generate(), Passphrase.generate()
    first.check_strength()
    assert (len(first.text), first.machine_made, first == second) == (43, True, False)


def test_a_passphrase_is_text() -> None:
    """A lone surrogate, which no file can hold, is refused."""
    with pytest.raises(KeyInvalid, match="Unicode"):
        Passphrase("\ud800 and more")


def test_a_keyring_keeps_a_passphrase() -> None:
    """What was created for a name is given for that name, and forgotten once."""
    source = KeyringPassphrase(backend=MemoryKeyring())
    made = source.create("alice")
    assert (source("alice"), source("bob")) == (made, None)
    source.forget("alice")
    source.forget("alice")
    assert source("alice") is None


def test_a_kept_passphrase_is_not_replaced() -> None:
    """Creating again would lock the owner out, so it is refused."""
    source = KeyringPassphrase(backend=MemoryKeyring())
    source.create("alice")
    with pytest.raises(AlreadyExists, match="alice"):
        source.create("alice")


def test_a_locked_keyring_is_named() -> None:
    """A keyring that stays locked means a locked key."""
    backend = MemoryKeyring()
    backend.locked = True
    with pytest.raises(KeyLocked, match="it is locked"):
        KeyringPassphrase(backend=backend)("alice")


def test_a_machine_without_a_keyring_is_told() -> None:
    """Without a backend reading is `KeyLocked` and keeping is `DependencyMissing`, each with another way."""
    source = KeyringPassphrase(backend=fail.Keyring())
    with pytest.raises(KeyLocked, match="no keyring") as locked:
        source("alice")
    with pytest.raises(DependencyMissing, match="no keyring"):
        source.create("alice")
    assert "by hand" in locked.value.fix
