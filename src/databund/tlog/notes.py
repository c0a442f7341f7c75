"""Signed notes (c2sp.org/signed-note): a text under one or more signature lines, and the verifier keys that check them.

The arithmetic of signatures stays outside: a `Verifier` and a `Signer` carry a callable. A note in this house is a
checkpoint, so what is wrong with one is a CheckpointInvalid; what is wrong with a key or its name is a KeyInvalid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from databund.errors import CheckpointInvalid, IntegrityFailed, KeyInvalid
from databund.tlog._canonical import base64_bytes, base64_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "MAX_NOTE_BYTES",
    "MAX_SIGNATURES",
    "Note",
    "OpenedNote",
    "Signature",
    "SignatureType",
    "Signer",
    "Verifier",
    "VerifierKey",
    "check_text",
    "ed25519_signer",
    "ed25519_verifier",
    "key_id",
    "open_note",
    "parse_note",
    "sign_note",
]

MAX_NOTE_BYTES: Final = 1_000_000
"""The longest note that is read."""

MAX_SIGNATURES: Final = 64
"""The most signature lines that are read; the specification asks for 16 at least."""

_KEY_ID_BYTES: Final = 4
_SIGNATURE_PREFIX: Final = "\u2014 "
_NO_TEXT: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
"""Control characters other than newline, and lone surrogates, which UTF-8 cannot carry."""

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
_VKEY_ID: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)
_ASK_OPERATOR: Final = "Ask the log's operator for the key again."
_FETCH_AGAIN: Final = "Fetch it again; if it fails again, do not trust its source."


class SignatureType(IntEnum):
    """The signature type bytes of signed-note "Signature types" that databund uses."""

    ED25519 = 0x01
    """Ed25519 over the note text."""
    COSIGNATURE_V1 = 0x04
    """Ed25519 over a checkpoint and a time; see `databund.tlog.cosignatures`."""
    ML_DSA_44 = 0x06
    """ML-DSA-44 (FIPS 204) over a checkpoint, a time and the signer's name; see `databund.tlog.cosignatures`."""


_PUBLIC_KEY_BYTES: Final = {
    SignatureType.ED25519: 32,
    SignatureType.COSIGNATURE_V1: 32,
    SignatureType.ML_DSA_44: 1312,
}


@lru_cache(maxsize=64)
def key_id(name: str, signature_type: SignatureType, public_key: bytes) -> int:
    """The key ID, SHA-256(name || 0x0A || type || public key)[:4] big endian (signed-note "Signatures").

    Raises KeyInvalid for a name that cannot stand in a note.
    """
    _check_name(name)
    digest = sha256(name.encode() + b"\n" + bytes([signature_type]) + public_key).digest()
    return int.from_bytes(digest[:_KEY_ID_BYTES], "big")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name and use, written as a vkey (signed-note "Verifier keys")."""

    name: str
    signature_type: SignatureType
    public_key: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        wanted = _PUBLIC_KEY_BYTES[self.signature_type]
        if len(self.public_key) != wanted:
            raise KeyInvalid(
                f"The public key {self.name} has {len(self.public_key)} bytes.", fix=f"Give its {wanted} bytes."
            )

    @property
    def key_id(self) -> int:
        """The 32-bit ID that with the name identifies the key."""
        return key_id(self.name, self.signature_type, self.public_key)

    def __str__(self) -> str:
        material = base64_text(bytes([self.signature_type]) + self.public_key)
        return f"{self.name}+{self.key_id:08x}+{material}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read ``<name>+<hex key ID>+<base64>``, as ``str()`` writes it.

        Raises KeyInvalid for another form, a signature type that databund does not use, or an ID that is not the key's.
        """
        name, _, rest = vkey.partition("+")
        hex_id, _, material = rest.partition("+")
        raw = base64_bytes(material)
        if _VKEY_ID.fullmatch(hex_id) is None or not raw:
            raise KeyInvalid(
                "The text is not a verifier key.", fix="Use <name>+<key ID>+<base64> of c2sp.org/signed-note."
            )
        if raw[0] not in _PUBLIC_KEY_BYTES:
            raise KeyInvalid(
                f"A verifier key has the signature type 0x{raw[0]:02x}.",
                fix="Use an Ed25519 key (0x01), or a key for cosignatures (0x04, 0x06).",
            )
        key = cls(name=name, signature_type=SignatureType(raw[0]), public_key=raw[1:])
        if key.key_id != int(hex_id, 16):
            raise KeyInvalid(f"The verifier key {name} has the ID of another key.", fix=_ASK_OPERATOR)
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who signed with which key, and the signature without the key ID."""

    name: str
    key_id: int
    value: bytes

    def __str__(self) -> str:
        return (
            f"{_SIGNATURE_PREFIX}{self.name} {base64_text(self.key_id.to_bytes(_KEY_ID_BYTES, 'big') + self.value)}\n"
        )

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read a signature line without its newline. Raises CheckpointInvalid for one that ``str()`` would not write.

        Nothing about it is verified: `open_note` does that.
        """
        name, _, material = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
        raw = base64_bytes(material) or b""
        if not (line.startswith(_SIGNATURE_PREFIX) and _NAME.fullmatch(name) and len(raw) > _KEY_ID_BYTES):
            raise CheckpointInvalid("A note has a malformed signature line.", fix=_FETCH_AGAIN)
        return cls(name, int.from_bytes(raw[:_KEY_ID_BYTES], "big"), raw[_KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Verifier:
    """A known key. ``verify(text, signature)`` raises an IntegrityFailed unless the key signed the note text."""

    name: str
    key_id: int
    verify: Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs. ``sign(text)`` returns the signature of the note text, without the key ID."""

    name: str
    key_id: int
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note. Nothing about it is verified: only `open_note` gives a text that may be trusted."""

    text: str
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        check_text(self.text)
        if not 0 < len(self.signatures) <= MAX_SIGNATURES:
            raise CheckpointInvalid(f"A note has {len(self.signatures)} signatures.", fix=f"Use 1 to {MAX_SIGNATURES}.")

    def to_bytes(self) -> bytes:
        """The note as it is stored and sent."""
        return f"{self.text}\n{''.join(str(signature) for signature in self.signatures)}".encode()


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note whose text at least one known key signed, and which no known key signed wrongly.

    ``verified`` has at most one signature per known key, in the order of the note, so that its length can be counted
    against a quorum. ``unknown`` holds the signatures by other keys, about which nothing is known.
    """

    text: str
    verified: tuple[Signature, ...]
    unknown: tuple[Signature, ...]


def parse_note(data: bytes) -> Note:
    """Read a signed note (signed-note "Format"), without verifying it.

    Raises CheckpointInvalid for a note that is not exactly of that form: longer than `MAX_NOTE_BYTES`, not UTF-8, with
    control characters other than newline, without signature lines or with more than `MAX_SIGNATURES`, with base64 that
    is not canonical or with an invalid key name.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise CheckpointInvalid(
            f"A note of {len(data)} bytes is too long.", fix=f"Send at most {MAX_NOTE_BYTES} bytes."
        )
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointInvalid("A note is not UTF-8.", fix=_FETCH_AGAIN) from error
    text, blank, block = whole.rpartition("\n\n")
    if not blank or not block.endswith("\n"):
        raise CheckpointInvalid("A note has no signature lines.", fix=_FETCH_AGAIN)
    lines = block[:-1].split("\n", MAX_SIGNATURES)
    return Note(text=text + "\n", signatures=tuple(Signature.parse(line) for line in lines))


def open_note(data: bytes, verifiers: Iterable[Verifier]) -> OpenedNote:
    """Read a signed note and verify it with the known keys (signed-note "Signatures").

    Signatures by other keys are set aside, also when they share a name or an ID (but not both) with a known key. Raises
    CheckpointInvalid when a signature of a known key is wrong, when no known key signed, or as `parse_note` does; and
    KeyInvalid when two verifiers have the same name and ID.
    """
    known: dict[tuple[str, int], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) is not verifier:
            raise KeyInvalid(
                f"Two verifiers are called {verifier.name}+{verifier.key_id:08x}.", fix="Give each key once."
            )
    note = parse_note(data)
    text = note.text.encode()
    verified: dict[tuple[str, int], Signature] = {}
    unknown: list[Signature] = []
    for signature in note.signatures:
        match = known.get((signature.name, signature.key_id))
        if match is None:
            unknown.append(signature)
            continue
        try:
            match.verify(text, signature.value)
        except IntegrityFailed as error:
            raise CheckpointInvalid(
                f"The signature of {signature.name}+{signature.key_id:08x} is not one of this text.", fix=_FETCH_AGAIN
            ) from error
        verified.setdefault((signature.name, signature.key_id), signature)
    if not verified:
        raise CheckpointInvalid(
            "No known key signed the note.", fix="Check that you have the log's verifier key, then fetch it again."
        )
    return OpenedNote(text=note.text, verified=tuple(verified.values()), unknown=tuple(unknown))


def sign_note(text: str, signers: Iterable[Signer], *, others: Iterable[Signature] = ()) -> Note:
    """The note of this text, signed by each signer.

    ``others`` are signatures of the same text that are kept, after the new ones. Raises CheckpointInvalid for a text
    that cannot be a note's, KeyInvalid for a signer's name that cannot stand in one.
    """
    check_text(text)
    message = text.encode()
    signatures = [Signature(signer.name, signer.key_id, signer.sign(message)) for signer in signers]
    for signature in signatures:
        _check_name(signature.name)
    return Note(text=text, signatures=(*signatures, *others))


def ed25519_verifier(key: VerifierKey, verify: Callable[[bytes, bytes, bytes], None]) -> Verifier:
    """The verifier of an Ed25519 key (signed-note "Ed25519 signatures").

    ``verify(public_key, message, signature)`` is RFC 8032 Ed25519 and raises an IntegrityFailed for a wrong signature.
    Raises KeyInvalid for a key of another type.
    """
    _check_type(key, SignatureType.ED25519)
    return Verifier(key.name, key.key_id, lambda text, signature: verify(key.public_key, text, signature))


def ed25519_signer(key: VerifierKey, sign: Callable[[bytes], bytes]) -> Signer:
    """The signer of an Ed25519 key; ``sign(message)`` is RFC 8032 Ed25519 with the private half of ``key``.

    Raises KeyInvalid for a key of another type.
    """
    _check_type(key, SignatureType.ED25519)
    return Signer(key.name, key.key_id, sign)


def _check_type(key: VerifierKey, wanted: SignatureType) -> None:
    if key.signature_type is not wanted:
        raise KeyInvalid(
            f"The key {key.name} is for signatures of type 0x{key.signature_type:02x}, not 0x{wanted:02x}.",
            fix="Use the key for what it was made for.",
        )


def check_text(text: str) -> None:
    """Check that ``text`` can be the text of a note (signed-note "Format"). Raises CheckpointInvalid when it cannot."""
    if not text.endswith("\n") or _NO_TEXT.search(text):
        raise CheckpointInvalid(
            "A note's text does not end in a newline, or has other control characters.", fix=_FETCH_AGAIN
        )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise KeyInvalid(
            f"{name!r} cannot be the name of a key.",
            fix="Use a name without spaces and plus signs, such as example.com/log.",
        )
