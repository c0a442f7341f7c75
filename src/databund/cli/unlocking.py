"""Unlocking: how a person gives or chooses the passphrase of a key."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

from databund.bootstrap import keep_passphrase
from databund.cli.screen import Screen
from databund.crypto.passphrases import Passphrase
from databund.errors import KeyInvalid, KeyLocked

__all__ = ["ask", "choose"]

_TRIES = 3


def ask(name: str) -> Passphrase:
    """Ask the person at the terminal. Raises `KeyLocked` where nobody is there."""
    if not sys.stdin.isatty():
        raise KeyLocked(
            f"The key {name!r} is locked, and there is nobody to ask for its passphrase.",
            fix="Give it with --passphrase-file FILE or in DATABUND_PASSPHRASE.",
        )
    return Passphrase(getpass(f"Passphrase of the key {name!r}: "))


def choose(home: Path, name: str, screen: Screen) -> Passphrase:
    """Let the person at the terminal choose a passphrase; where nobody is there, or on an empty one, make one.

    What was made is kept in the keyring, or else in a file of the home, and the screen says where.
    """
    if sys.stdin.isatty():
        for _ in range(_TRIES):
            given = getpass(f"Choose a passphrase for the key {name!r} (empty: one is made and kept): ")
            if not given:
                break
            if getpass("The same again: ") == given:
                return Passphrase(given)
            screen.note("The two differ.")
        else:
            raise KeyInvalid("No passphrase was chosen.", fix="Run the command again.")
    made, place = keep_passphrase(home, name)
    screen.note(f"A passphrase was made and kept in {place}; who can read that can use the key.")
    return made
