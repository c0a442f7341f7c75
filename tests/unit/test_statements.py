"""Statements: the bytes of in-toto, DSSE and Sigstore bundles, and the key that signs for tools without Ed25519."""

from __future__ import annotations

import json
from typing import Any

import pytest

from databund.core import canonical, statements
from databund.crypto.identities import Identity
from databund.crypto.signatures import P256Key, verify_p256
from databund.errors import IntegrityFailed, KeyInvalid, ProofInvalid, SignatureInvalid

FILES = {"b.txt": b"b", "a/ä.json": b"{}"}
TYPE = "https://example.com/kind/v1"
PAYLOAD = statements.statement(FILES, predicate_type=TYPE, predicate={"ok": True})
KEY = Identity(b"\x01" * 32).statement_key


def verify(message: bytes, signature: bytes) -> None:
    """Under the key of these tests."""
    verify_p256(KEY.public, message, signature)


def enveloped(payload: bytes = PAYLOAD) -> bytes:
    """The envelope of a payload."""
    return statements.envelope(payload, key_id="k", signature=KEY.sign(statements.pae(payload)))


def test_a_statement_is_canonical_in_toto() -> None:
    """The members are those of in-toto Statement v1, written as RFC 8785."""
    document: Any = canonical.parse(PAYLOAD)

    assert canonical.canonicalize(document) == PAYLOAD
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert [each["name"] for each in document["subject"]] == sorted(FILES)


def test_the_encoding_is_that_of_dsse() -> None:
    """The pre-authentication encoding counts bytes, as in the DSSE specification's protocol."""
    assert statements.pae("é".encode()) == b"DSSEv1 28 application/vnd.in-toto+json 2 \xc3\xa9"


def test_an_envelope_opens() -> None:
    """The payload comes back, and its predicate once it is about exactly these files."""
    payload = statements.open_envelope(enveloped(), key_id="k", verify=verify)

    assert statements.check_subjects(payload, FILES, predicate_type=TYPE) == {"ok": True}


@pytest.mark.parametrize("files", [{"b.txt": b"b"}, {**FILES, "c": b""}, {**FILES, "b.txt": b"c"}], ids=str)
def test_other_files_are_refused(files: dict[str, bytes]) -> None:
    """A file too few, too many, or another one is refused."""
    with pytest.raises(ProofInvalid, match="signed statement"):
        statements.check_subjects(PAYLOAD, files, predicate_type=TYPE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        enveloped() + b"\n",
        json.dumps(json.loads(enveloped())).encode(),
        enveloped().replace(b'"keyid":"k"', b'"keyid":"l"'),
        enveloped().replace(b'"signatures":[', b'"signatures":[{},'),
        enveloped().replace(b'"payload":"ey', b'"payload":"fy'),
    ],
    ids=["empty", "list", "object", "newline", "spaces", "key", "signatures", "payload"],
)
def test_another_envelope_is_refused(data: bytes) -> None:
    """Another spelling, another key's name, a second signature and another payload are refused."""
    with pytest.raises(IntegrityFailed):
        statements.open_envelope(data, key_id="k", verify=verify)


def test_a_known_payload_is_checked_in_both_forms() -> None:
    """Envelope and Sigstore bundle are accepted for their payload only."""
    bundle = statements.sigstore_bundle(PAYLOAD, hint="h", signature=KEY.sign(statements.pae(PAYLOAD)))

    statements.check_envelope(enveloped(), PAYLOAD, key_id="k", verify=verify)
    statements.check_sigstore_bundle(bundle, PAYLOAD, hint="h", verify=verify)
    with pytest.raises(ProofInvalid):
        statements.check_envelope(enveloped(), PAYLOAD + b" ", key_id="k", verify=verify)
    with pytest.raises(ProofInvalid):
        statements.check_sigstore_bundle(bundle, PAYLOAD, hint="other", verify=verify)


def test_the_statement_key_follows_from_the_identity() -> None:
    """The same identity has the same key and signatures; another has another, and the log's is not touched."""
    again, other = Identity(b"\x01" * 32), Identity(b"\x02" * 32)

    assert again.statement_key.sign(b"x") == KEY.sign(b"x")
    assert other.statement_key.public != KEY.public
    assert again.reveal().hex() not in repr(KEY)


def test_another_signature_is_refused() -> None:
    """Another message, another key, and what is no key are refused."""
    signature = KEY.sign(b"x")

    for public, message in ((KEY.public, b"y"), (Identity(b"\x02" * 32).statement_key.public, b"x"), (b"", b"x")):
        with pytest.raises(SignatureInvalid):
            verify_p256(public, message, signature)
    with pytest.raises(KeyInvalid, match="P-256 seed"):
        P256Key(b"short")
