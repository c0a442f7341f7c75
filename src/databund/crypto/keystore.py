"""The keystore: a private folder of Web3 Secret Storage v3 files, one per identity, readable by geth and any wallet.

Standard: ethereum.org, "Web3 Secret Storage Definition", version 3. Written: scrypt (r 8, p 1) and AES-128-CTR;
read: also PBKDF2. The folder is 0700 and the files are 0600, and anything more open is refused.
"""

from __future__ import annotations

import binascii
import os
import re
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from databund.core.ids import Address, keccak256
from databund.crypto import _hazmat
from databund.crypto._files import open_regular, store_fault, sync_folder, write_new
from databund.crypto.identities import Identity
from databund.crypto.passphrases import Passphrase, PassphraseSource
from databund.errors import FileUnusable, IdentifierInvalid, KeyInvalid, KeyLocked, NotFound

__all__ = ["KeyEntry", "Keystore"]

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_LARGEST: Final = 1 << 16
_STRETCHED: Final = 1 << 18  # geth's standard: 256 MiB and about a second for each guess
_LIGHT: Final = 1 << 12  # geth's light: enough where the passphrase cannot be guessed anyway
_MOST_MEMORY: Final = 1 << 29
_MOST_ROUNDS: Final = 10_000_000
_DAMAGED: Final = "Put the file back from a backup, or import the key again."


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What a keystore tells about a key without its passphrase."""

    name: str
    address: Address
    path: Path


class Keystore:
    """Named identities in a folder, which is made at the first write.

    ``passphrase`` gives the passphrase of a name, or None. Names are lower-case letters, digits, dots, hyphens and
    underscores. Files appear whole and durable or not at all. Every method may raise `KeyInvalid` for a damaged or
    unprotected file, `IdentifierInvalid` for a name, `FileUnusable`, `StoreFull` and `StoreUnavailable`.
    """

    def __init__(self, folder: Path, passphrase: PassphraseSource) -> None:
        self._folder = folder
        self._passphrase = passphrase

    def new(self, name: str) -> Identity:
        """Make and keep a fresh identity. Raises `AlreadyExists` and `KeyLocked`."""
        identity = Identity.generate()
        self.add(name, identity)
        return identity

    def add(self, name: str, identity: Identity) -> KeyEntry:
        """Keep an identity. Raises `AlreadyExists`, `KeyLocked` without a passphrase, `KeyInvalid` for a weak one."""
        path = self._path(name)
        passphrase = self._unlocked_by(name)
        passphrase.check_strength()
        self._prepare()
        write_new(path, _lock(identity, passphrase))
        return KeyEntry(name=name, address=identity.address, path=path)

    def import_file(self, name: str, document: bytes, passphrase: Passphrase) -> KeyEntry:
        """Keep the identity in another wallet's file, which ``passphrase`` opens, under this keystore's own."""
        return self.add(name, _unlock(_parse(document, "The keystore file"), passphrase, "The keystore file"))

    def list(self) -> tuple[KeyEntry, ...]:
        """Every key by name, without a passphrase."""
        if not self._folder.exists():
            return ()
        found = [path for path in self._folder.glob("*.json") if _NAME.fullmatch(path.stem)]
        return tuple(self._entry(path) for path in sorted(found))

    def load(self, name: str) -> Identity:
        """Unlock an identity. Raises `NotFound`, `KeyLocked` without a passphrase, `KeyInvalid` for a wrong one."""
        path = self._path(name)
        document = _parse(_read(path, name), str(path))
        return _unlock(document, self._unlocked_by(name), str(path))

    def export(self, name: str) -> bytes:
        """The locked file of a key, for another wallet or a backup. Raises `NotFound`."""
        return _read(self._path(name), name)

    def delete(self, name: str) -> None:
        """Remove a key for ever. Raises `NotFound`."""
        path = self._path(name)
        try:
            path.unlink()
            sync_folder(self._folder)
        except FileNotFoundError:
            raise _not_found(name) from None
        except OSError as error:
            raise store_fault(error, str(path)) from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise IdentifierInvalid(
                f"{name[:80]!r} is not a name for a key.",
                fix="Use 1 to 64 lower-case letters, digits, dots, hyphens and underscores.",
            )
        return self._folder / f"{name}.json"

    def _unlocked_by(self, name: str) -> Passphrase:
        passphrase = self._passphrase(name)
        if passphrase is None:
            raise KeyLocked(f"The key {name!r} is locked, and no passphrase was given.", fix="Give its passphrase.")
        return passphrase

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = self._folder.stat().st_mode
        except OSError as error:
            raise store_fault(error, str(self._folder)) from error
        if mode & 0o077:
            raise KeyInvalid(
                f"The keystore {self._folder} is open to others (mode {stat.S_IMODE(mode):o}).",
                fix=f"chmod 700 {self._folder}",
            )

    def _entry(self, path: Path) -> KeyEntry:
        document = _parse(_read(path, path.stem), str(path))
        try:
            digits = (document.address or "").removeprefix("0x").lower()
            return KeyEntry(name=path.stem, address=Address.parse("0x" + digits), path=path)
        except IdentifierInvalid:
            raise KeyInvalid(f"{path} names no address.", fix=_DAMAGED) from None


class _KdfParams(msgspec.Struct, frozen=True):
    dklen: int
    salt: str
    n: int | None = None
    r: int | None = None
    p: int | None = None
    c: int | None = None
    prf: str | None = None


class _CipherParams(msgspec.Struct, frozen=True):
    iv: str


class _Crypto(msgspec.Struct, frozen=True):
    cipher: str
    cipherparams: _CipherParams
    ciphertext: str
    kdf: str
    kdfparams: _KdfParams
    mac: str


class _Keyfile(msgspec.Struct, frozen=True, omit_defaults=True):
    crypto: _Crypto
    version: int
    id: str | None = None
    address: str | None = None


def _lock(identity: Identity, passphrase: Passphrase) -> bytes:
    salt, iv = _hazmat.random_bytes(32), _hazmat.random_bytes(16)
    n = _LIGHT if passphrase.machine_made else _STRETCHED
    stretched = _hazmat.scrypt(passphrase.text.encode(), salt=salt, n=n, r=8, p=1)
    ciphertext = _hazmat.aes_ctr(stretched[:16], iv, identity.reveal())
    crypto = {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": iv.hex()},
        "ciphertext": ciphertext.hex(),
        "kdf": "scrypt",
        "kdfparams": {"dklen": 32, "n": n, "p": 1, "r": 8, "salt": salt.hex()},
        "mac": keccak256(stretched[16:] + ciphertext).hex(),
    }
    address = bytes(identity.address).hex()
    return msgspec.json.encode({"address": address, "crypto": crypto, "id": str(uuid.uuid4()), "version": 3})


def _unlock(document: _Keyfile, passphrase: Passphrase, name: str) -> Identity:
    crypto = document.crypto
    try:
        stretched = _stretch(crypto, passphrase)
        ciphertext, mac = bytes.fromhex(crypto.ciphertext), bytes.fromhex(crypto.mac)
        iv = bytes.fromhex(crypto.cipherparams.iv)
        if crypto.cipher != "aes-128-ctr" or len(iv) != 16 or len(ciphertext) != 32:
            raise ValueError("its cipher is not AES-128-CTR of 32 bytes")
    except ValueError as error:
        raise KeyInvalid(f"{name} cannot be opened: {error}.", fix=_DAMAGED) from None
    if not _hazmat.equal(mac, keccak256(stretched[16:] + ciphertext)):
        raise KeyInvalid(f"{name} does not open: the passphrase is wrong, or the file damaged.", fix="Try again.")
    identity = Identity(_hazmat.aes_ctr(stretched[:16], iv, ciphertext))
    if document.address and document.address.removeprefix("0x").lower() != bytes(identity.address).hex():
        raise KeyInvalid(f"{name} holds the key of {identity.address}, but names another address.", fix=_DAMAGED)
    return identity


def _stretch(crypto: _Crypto, passphrase: Passphrase) -> bytes:
    """The 32 bytes that a passphrase gives. Raises ``ValueError``, also for a cost meant to exhaust the machine."""
    params, text = crypto.kdfparams, passphrase.text.encode()
    salt = binascii.unhexlify(params.salt)
    if params.dklen != 32:
        raise ValueError("its derived key is not of 32 bytes")
    if crypto.kdf == "scrypt" and params.n and params.r and params.p:
        if min(params.n, params.r, params.p) < 1 or 128 * params.n * params.r * params.p > _MOST_MEMORY:
            raise ValueError("its scrypt cost is out of bounds")
        return _hazmat.scrypt(text, salt=salt, n=params.n, r=params.r, p=params.p)
    if crypto.kdf == "pbkdf2" and params.prf == "hmac-sha256" and params.c:
        if not 0 < params.c <= _MOST_ROUNDS:
            raise ValueError("its PBKDF2 cost is out of bounds")
        return _hazmat.pbkdf2_sha256(text, salt=salt, rounds=params.c)
    raise ValueError("its key derivation is neither scrypt nor PBKDF2-HMAC-SHA256")


def _parse(data: bytes, name: str) -> _Keyfile:
    try:
        members: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        # Old wallets write "Crypto"; the standard's own text is not of one mind either.
        document = msgspec.convert({member.lower(): value for member, value in members.items()}, _Keyfile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyInvalid(f"{name} is no keystore file: {error}.", fix=_DAMAGED) from None
    if document.version != 3:
        raise KeyInvalid(f"{name} is a keystore file of version {document.version}, not 3.", fix=_DAMAGED)
    return document


def _read(path: Path, name: str) -> bytes:
    """The bytes of a key file that nobody else can read."""
    try:
        file = open_regular(path)
    except FileUnusable as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise _not_found(name) from None
        raise
    with file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            raise KeyInvalid(f"{path} is open to others (mode {stat.S_IMODE(mode):o}).", fix=f"chmod 600 {path}")
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise KeyInvalid(f"{path} is too large for a keystore file.", fix=_DAMAGED)
    return data


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no key {name!r}.", fix="List the keys and use one of the names shown.")
