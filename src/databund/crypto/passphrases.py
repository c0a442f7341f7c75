"""Passphrases: the words that lock a keystore, and where they come from.

A source is a callable that takes the name of a key and gives its passphrase, or None when it has none. What a person
types is the command line's business; here is the one source that needs no person, the operating system's keyring.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from databund.errors import AlreadyExists, DependencyMissing, KeyInvalid, KeyLocked

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["KeyringPassphrase", "Passphrase", "PassphraseSource"]

_SHORTEST: Final = 8
_SHORTEST_MACHINE_MADE: Final = 22  # 128 bits in base64


@dataclass(frozen=True, slots=True)
class Passphrase:
    """The text that unlocks a key; ``repr`` hides it.

    ``machine_made`` says that it holds at least 128 random bits, so that stretching it would only cost time.
    """

    text: str = field(repr=False)
    machine_made: bool = False

    def __post_init__(self) -> None:
        try:
            self.text.encode()
        except UnicodeEncodeError:
            raise KeyInvalid("The passphrase is not Unicode text.", fix="Type it again.") from None

    @classmethod
    def generate(cls) -> Self:
        """A machine-made passphrase of 256 random bits."""
        return cls(secrets.token_urlsafe(32), machine_made=True)

    def check_strength(self) -> None:
        """Raise `KeyInvalid` when it is too short to lock a new key."""
        shortest = _SHORTEST_MACHINE_MADE if self.machine_made else _SHORTEST
        if len(self.text) < shortest:
            raise KeyInvalid(
                f"The passphrase is shorter than {shortest} characters.", fix="Choose a longer one, of several words."
            )


PassphraseSource = Callable[[str], Passphrase | None]


class KeyringPassphrase:
    """A source that keeps machine-made passphrases in the operating system's keyring.

    As a source it raises `KeyLocked` where there is no keyring, or it stays locked, and gives None for a name it does
    not know. ``backend`` is the keyring to use instead of the one that python-keyring finds.
    """

    def __init__(self, service: str = "databund", *, backend: KeyringBackend | None = None) -> None:
        self._service = service
        self._backend = backend

    def __call__(self, name: str) -> Passphrase | None:
        """The passphrase kept under ``name``."""
        from keyring.errors import KeyringError

        backend = self._found()
        if backend is None:
            raise KeyLocked("This machine has no keyring to take the passphrase from.", fix=_OTHERWISE)
        try:
            text = backend.get_password(self._service, name)
        except KeyringError as error:
            raise KeyLocked(f"The keyring does not open: {error}.", fix=_OTHERWISE) from error
        return None if text is None else Passphrase(text, machine_made=True)

    def create(self, name: str) -> Passphrase:
        """Make and keep a passphrase. Raises `AlreadyExists`, and `DependencyMissing` where there is no keyring."""
        from keyring.errors import KeyringError

        backend = self._found()
        if backend is None:
            raise DependencyMissing("This machine has no keyring to keep a passphrase in.", fix=_OTHERWISE)
        if self(name) is not None:
            raise AlreadyExists(f"The keyring has a passphrase for {name!r} already.", fix="Choose another name.")
        passphrase = Passphrase.generate()
        try:
            backend.set_password(self._service, name, passphrase.text)
        except KeyringError as error:
            raise DependencyMissing(f"The keyring keeps nothing: {error}.", fix=_OTHERWISE) from error
        return passphrase

    def forget(self, name: str) -> None:
        """Remove a passphrase, where there is one."""
        from keyring.errors import KeyringError, PasswordDeleteError

        backend = self._found()
        try:
            if backend is not None:
                backend.delete_password(self._service, name)
        except PasswordDeleteError:
            return
        except KeyringError as error:
            raise KeyLocked(f"The keyring does not open: {error}.", fix=_OTHERWISE) from error

    def _found(self) -> KeyringBackend | None:
        if self._backend is None:
            import keyring

            self._backend = keyring.get_keyring()
        return self._backend if self._backend.priority > 0 else None


_OTHERWISE: Final = "Give the passphrase in a file or by hand, or set up a keyring (Secret Service, Keychain)."
