"""``databund key``: make, list, back up and bring keys."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.crypto.identities import Identity
    from databund.crypto.passphrases import Passphrase

__all__ = ["export", "import_", "list_", "new", "show"]

_NAME = "Its name in the home; by default the key that --key or the settings name."


def new(
    name: Annotated[str | None, Parameter(help=_NAME)] = None,
    /,
    *,
    options: Options | None = None,
) -> None:
    """Make a key.

    One key is all a participant needs: from it come the account that pays and signs, the age recipient that
    deliveries are wrapped to, and, for a node, the key of its log. It lies in the home, locked by a passphrase.
    """
    from databund.errors import AlreadyExists

    session = Session(options)
    name = name or session.settings.key
    if name in {entry.name for entry in session.keystore.list()}:  # before anybody is asked for a passphrase
        raise AlreadyExists(f"The home has a key {name!r} already.", fix="Choose another name: databund key new NAME")
    identity = session.new_keystore.new(name)
    _answer(session, name, identity, f"Made the key {name!r}.")


def list_(*, options: Options | None = None) -> None:
    """List the keys in the home."""
    from databund.cli.figures import table

    session = Session(options)
    entries = session.keystore.list()
    rows = [(entry.name, entry.address, entry.path) for entry in entries]
    document = [{"name": name, "address": str(address), "file": str(path)} for name, address, path in rows]
    empty = f"No keys in {session.settings.home}. Make one: databund key new"
    session.screen.answer(document, table(("NAME", "ADDRESS", "FILE"), rows, empty=empty))


def show(
    name: Annotated[str | None, Parameter(help=_NAME)] = None,
    /,
    *,
    address: Annotated[bool, Parameter(help="Print the account's address only, for scripts.")] = False,
    options: Options | None = None,
) -> None:
    """Show the addresses of a key."""
    session = Session(options)
    name = name or session.settings.key
    if address:
        found = session.address_of(name)
        session.screen.answer({"name": name, "address": str(found)}, [str(found)])
    else:
        session.address_of(name)
        _answer(session, name, session.keystore.load(name), f"The key {name!r}.")


def export(
    name: Annotated[str | None, Parameter(help=_NAME)] = None,
    /,
    *,
    to: Annotated[Path | None, Parameter(help="The file to write; by default stdout.", metavar="FILE")] = None,
    options: Options | None = None,
) -> None:
    """Write a key, locked by its passphrase, for a backup or another wallet.

    What is written is a keystore file (Web3 Secret Storage), useless without the passphrase. A passphrase that was
    made for you lies in the keyring or in the home's file ``passphrase``: keep a copy of that as well.
    """
    from databund.errors import AlreadyExists, FileUnusable

    session = Session(options)
    name = name or session.settings.key
    document = session.keystore.export(name)
    if to is None:
        session.screen.page(document.decode() + "\n")
        return
    target = to.expanduser()
    try:
        with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(document)
    except FileExistsError:
        raise AlreadyExists(f"{target} exists already.", fix="Name another file with --to.") from None
    except OSError as error:
        raise FileUnusable(
            f"{target} cannot be written: {error.strerror}.", fix="Name another file with --to."
        ) from error
    session.screen.answer({"name": name, "file": str(target)}, [f"Wrote the locked key {name!r} to {target}."])


def import_(
    file: Annotated[Path, Parameter(help="A keystore file.")],
    name: Annotated[str | None, Parameter(help=_NAME)] = None,
    /,
    *,
    file_passphrase: Annotated[
        Path | None,
        Parameter(help="A file whose first line unlocks the keystore file; by default you are asked.", metavar="FILE"),
    ] = None,
    options: Options | None = None,
) -> None:
    """Bring a key from a keystore file (Web3 Secret Storage, as geth and wallets write it).

    The key is locked again under this home's own passphrase; the file stays as it is.
    """
    from databund.cli.figures import fields
    from databund.errors import FileUnusable

    session = Session(options)
    name = name or session.settings.key
    source = file.expanduser()
    try:
        document = source.read_bytes()
    except OSError as error:
        raise FileUnusable(f"{source} cannot be read: {error.strerror}.", fix="Name a keystore file.") from error
    entry = session.new_keystore.import_file(name, document, _passphrase_of(source, file_passphrase))
    facts = {"name": entry.name, "address": str(entry.address), "file": str(entry.path)}
    session.screen.answer(facts, [f"Imported the key {name!r}.", *fields(facts.items())])


def _passphrase_of(source: Path, given: Path | None) -> Passphrase:
    from getpass import getpass

    from databund.crypto.passphrases import Passphrase
    from databund.errors import FileUnusable, KeyLocked

    if given is not None:
        try:
            return Passphrase(given.expanduser().read_text("utf-8").partition("\n")[0])
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise FileUnusable(f"{given} cannot be read: {why}.", fix="Name a text file.") from error
    if not sys.stdin.isatty():
        raise KeyLocked(
            f"{source} is locked, and there is nobody to ask for its passphrase.",
            fix="Give a file with it: --file-passphrase FILE",
        )
    return Passphrase(getpass(f"Passphrase of {source}: "))


def _answer(session: Session, name: str, identity: Identity, headline: str) -> None:
    from databund.cli.figures import fields

    facts = {"address": str(identity.address), "age recipient": str(identity.age_recipient)}
    document = {"name": name, **{fact.replace(" ", "_"): value for fact, value in facts.items()}}
    session.screen.answer(document, [headline, *fields(facts.items())])
