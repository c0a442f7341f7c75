"""A session: what one command works with, made from its options when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from databund.cli.options import Options
from databund.cli.screen import Screen
from databund.errors import NotFound

if TYPE_CHECKING:
    from databund.core.ids import Address
    from databund.crypto.identities import Identity
    from databund.crypto.keystore import Keystore
    from databund.sdk.client import Client

__all__ = ["Session"]


class Session:
    """Settings, screen, keys and node of one command. ``flags`` are settings that only this command takes."""

    def __init__(self, options: Options | None, **flags: Any) -> None:
        self._options = options or Options()
        self.settings = self._options.settings(flags)
        self.screen = Screen(json=self._options.json)

    @property
    def keystore(self) -> Keystore:
        """The keys in the home; a locked one asks the person at the terminal, if there is one."""
        from databund.bootstrap import open_keystore
        from databund.cli.unlocking import ask

        return open_keystore(self.settings, ask)

    @property
    def new_keystore(self) -> Keystore:
        """The keystore for a new key: where there is no passphrase yet, one is chosen or made."""
        from databund.bootstrap import open_keystore
        from databund.cli.unlocking import choose

        return open_keystore(self.settings, lambda name: choose(self.settings.home, name, self.screen))

    @property
    def identity(self) -> Identity:
        """The key to sign with. Raises `NotFound` when there is none of its name."""
        self.address_of(self.settings.key)
        return self.keystore.load(self.settings.key)

    def address_of(self, name: str) -> Address:
        """The address of the key of this name, which stays locked. Raises `NotFound`."""
        for entry in self.keystore.list():
            if entry.name == name:
                return entry.address
        raise NotFound(
            f"There is no key {name!r} in {self.settings.home}.",
            fix=f"Make it (databund key new {name}), or name another home or key with --home and --key.",
        )

    @contextmanager
    def client(self, *, signed_in: bool = False) -> Iterator[Client]:
        """The client of the node, with the key when ``signed_in``."""
        from databund.sdk.client import Client

        identity = self.identity if signed_in else None
        with Client(self.settings.node, home=self.settings.home, identity=identity) as client:
            yield client
