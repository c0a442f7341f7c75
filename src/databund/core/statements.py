"""Statements: what a signer says about files by their digests, in forms that other people's tools read.

An in-toto Statement v1 (https://in-toto.io/Statement/v1) in a DSSE envelope (secure-systems-lab/dsse, v1.0.0), and the
same statement as a Sigstore bundle v0.3 with a managed key. Both are written as RFC 8785 JSON and read only so: no
bit of them is free. Keys and signatures stay outside, as callables.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any, Final

from databund.core import canonical
from databund.errors import DatabundError, ProofInvalid

__all__ = [
    "BUNDLE_TYPE",
    "PAYLOAD_TYPE",
    "STATEMENT_TYPE",
    "check_envelope",
    "check_sigstore_bundle",
    "check_subjects",
    "envelope",
    "open_envelope",
    "pae",
    "sigstore_bundle",
    "statement",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

_DO_NOT_TRUST: Final = "Do not rely on it; ask whoever gave it to you for the original."
Verify = Callable[[bytes, bytes], None]
"""``verify(message, signature)`` raises an IntegrityFailed unless the signature is the signer's."""


def statement(files: Mapping[str, bytes], *, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """The statement (RFC 8785 bytes) that says ``predicate`` about these files, each named with its SHA-256."""
    subjects = ",".join(
        [
            f'{{"digest":{{"sha256":"{sha256(content).hexdigest()}"}},"name":{_quoted(name)}}}'
            for name, content in sorted(files.items())
        ]
    )
    told = canonical.canonicalize(predicate).decode()
    return (  # canonical as it stands: the names are in their order, and each file is a short one
        f'{{"_type":"{STATEMENT_TYPE}","predicate":{told},"predicateType":{_quoted(predicate_type)},'
        f'"subject":[{subjects}]}}'
    ).encode()


def check_subjects(payload: bytes, files: Mapping[str, bytes], *, predicate_type: str) -> dict[str, Any]:
    """The predicate of a statement that was signed, once it is about exactly these files.

    Raises `ProofInvalid`, naming the first file that differs.
    """
    document = _read("statement", payload)
    told = document.get("subject")
    listed = told if isinstance(told, list) else []
    digests = {str(each.get("name")): each.get("digest") for each in listed if isinstance(each, dict)}
    for name, content in files.items():
        if digests.pop(name, None) != {"sha256": sha256(content).hexdigest()}:
            raise ProofInvalid(f"The signed statement is not about this {name}.", fix=_DO_NOT_TRUST)
    if digests:
        raise ProofInvalid(f"The signed statement names {min(digests)[:80]!r}, which is not there.", fix=_DO_NOT_TRUST)
    predicate = document.get("predicate")
    if not isinstance(predicate, dict) or payload != statement(
        files, predicate_type=predicate_type, predicate=predicate
    ):
        raise ProofInvalid("The signed statement is not one of this kind.", fix=_DO_NOT_TRUST)
    return predicate


def pae(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of an in-toto payload."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def envelope(payload: bytes, *, key_id: str, signature: bytes) -> bytes:
    """The DSSE envelope of a payload and the signature of its `pae`."""
    return _envelope(payload, key_id, signature).encode()


def check_envelope(data: bytes, payload: bytes, *, key_id: str, verify: Verify) -> None:
    """Check the envelope of a payload that is known already. Raises `ProofInvalid`, or what ``verify`` raises."""
    signature = _signature(data)
    if data != envelope(payload, key_id=key_id, signature=signature):
        raise ProofInvalid(f"The DSSE envelope is not one of this statement by the key {key_id}.", fix=_DO_NOT_TRUST)
    verify(pae(payload), signature)


def open_envelope(data: bytes, *, key_id: str, verify: Verify) -> bytes:
    """The payload of an envelope that ``verify`` accepts. Raises `ProofInvalid`, or what ``verify`` raises."""
    payload, signature = _parts(_read("DSSE envelope", data))
    if data != envelope(payload, key_id=key_id, signature=signature):
        raise ProofInvalid(f"The DSSE envelope is not one by the key {key_id}.", fix=_DO_NOT_TRUST)
    verify(pae(payload), signature)
    return payload


def sigstore_bundle(payload: bytes, *, hint: str, signature: bytes) -> bytes:
    """A Sigstore bundle v0.3 of a payload signed with the managed key that ``hint`` names."""
    return (
        f'{{"dsseEnvelope":{_envelope(payload, hint, signature)},"mediaType":"{BUNDLE_TYPE}",'
        f'"verificationMaterial":{{"publicKey":{{"hint":{_quoted(hint)}}},"tlogEntries":[]}}}}'
    ).encode()


def check_sigstore_bundle(data: bytes, payload: bytes, *, hint: str, verify: Verify) -> None:
    """Check the bundle of a payload that is known already. Raises `ProofInvalid`, or what ``verify`` raises."""
    signature = _signature(data)
    if data != sigstore_bundle(payload, hint=hint, signature=signature):
        raise ProofInvalid(f"The Sigstore bundle is not one of this statement by the key {hint}.", fix=_DO_NOT_TRUST)
    verify(pae(payload), signature)


def _envelope(payload: bytes, key_id: str, signature: bytes) -> str:
    """Canonical as it stands: the names are in their order, and base64 needs no quoting."""
    return (
        f'{{"payload":"{base64.b64encode(payload).decode()}","payloadType":"{PAYLOAD_TYPE}",'
        f'"signatures":[{{"keyid":{_quoted(key_id)},"sig":"{base64.b64encode(signature).decode()}"}}]}}'
    )


def _quoted(text: str) -> str:
    return encode_basestring(text) if text.isascii() else canonical.canonicalize(text).decode()


def _signature(data: bytes) -> bytes:
    """The first signature that stands in a document; whether the rest fits around it is checked by writing it again."""
    try:
        return base64.b64decode(data.partition(b'"sig":"')[2].partition(b'"')[0], validate=True)
    except (ValueError, binascii.Error):
        raise ProofInvalid("The signature of the statement is not base64.", fix=_DO_NOT_TRUST) from None


def _parts(document: dict[str, Any]) -> tuple[bytes, bytes]:
    try:
        payload, signature = document["payload"], document["signatures"][0]["sig"]
        return base64.b64decode(payload, validate=True), base64.b64decode(signature, validate=True)
    except (KeyError, IndexError, TypeError, ValueError, binascii.Error):
        raise ProofInvalid("The DSSE envelope has another form.", fix=_DO_NOT_TRUST) from None


def _read(what: str, data: bytes) -> dict[str, Any]:
    try:
        document = canonical.parse(data)
    except DatabundError as error:
        raise ProofInvalid(f"The {what} is not JSON: {error.what}", fix=_DO_NOT_TRUST) from error
    if not isinstance(document, dict):
        raise ProofInvalid(f"The {what} is no JSON object.", fix=_DO_NOT_TRUST)
    return document
