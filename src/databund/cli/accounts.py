"""Accounts: the address of a key, which can be read without unlocking it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from databund.errors import NotFound

if TYPE_CHECKING:
    from databund.cli.session import Session
    from databund.core.ids import Address

__all__ = ["address_of"]


def address_of(session: Session, name: str) -> Address:
    """The address of the key of this name in the session's home. Raises `NotFound`."""
    for entry in session.keystore.list():
        if entry.name == name:
            return entry.address
    raise NotFound(
        f"There is no key {name!r} in {session.settings.home}.",
        fix=f"Make it (databund key new {name}), or name another home or key with --home and --key.",
    )
