"""Sigstore's own code judges the statement of our evidence, signed with a managed key.

The Python client reads our bundle with its models and verifies the envelope with its DSSE code under the node's P-256
key. Its `Verifier` class is for certificates of a public instance only: it takes no managed key, so it is not asked.
The JavaScript client takes managed keys; where `@sigstore/verify` is installed it judges the whole bundle, too.
"""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sigstore import dsse
from sigstore.errors import VerificationError
from sigstore.hashes import Hashed
from sigstore_models.bundle.v1 import Bundle
from sigstore_models.common.v1 import HashAlgorithm

from databund.core.archives import unpack
from databund.core.evidence import PREDICATE_TYPE, SIGSTORE
from databund.crypto.identities import Identity
from tests import servers
from tests.unit.marketplace import OPERATOR
from tests.unit.trades import Trade

JUDGE = """
const { bundleFromJSON } = require("@sigstore/bundle");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");
const { bundle, key, hint } = JSON.parse(require("fs").readFileSync(0));
const root = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const trusted = toTrustMaterial(root, { [hint]: { rawBytes: Buffer.from(key, "base64"), validFor: {} } });
const verifier = new Verifier(trusted, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
try {
  verifier.verify(toSignedEntity(bundleFromJSON(bundle)));
  console.log("accepted");
} catch (error) {
  console.log("refused: " + error.code);
}
"""


@cache
def members() -> dict[str, bytes]:
    """The evidence of a certified trade."""
    return unpack(Trade().delivered().certified().bundle())


def public(identity: Identity) -> EllipticCurvePublicKey:
    """The statement key of a node, as Sigstore's code takes it."""
    key = load_der_public_key(identity.statement_key.public)
    assert isinstance(key, EllipticCurvePublicKey)
    return key


def envelope(data: bytes) -> dsse.Envelope:
    """The envelope in a bundle, read by Sigstore's models."""
    inner = Bundle.from_json(data).dsse_envelope
    assert inner is not None
    return dsse.Envelope(inner)


def changed() -> bytes:
    """The bundle of a statement that says something else."""
    document: Any = json.loads(members()[SIGSTORE])
    payload = dsse._verify(public(OPERATOR), envelope(members()[SIGSTORE]))
    lie = payload.replace(b'"certified"', b'"delivered"')
    assert lie != payload
    document["dsseEnvelope"]["payload"] = b64encode(lie).decode()
    return json.dumps(document).encode()


def test_it_reads_our_bundle() -> None:
    """The file is a bundle v0.3 whose key is managed: named by a hint, without a certificate."""
    bundle = Bundle.from_json(members()[SIGSTORE])

    assert bundle.media_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle.verification_material.public_key is not None
    assert bundle.verification_material.public_key.hint == "exchange.example/audit/statement"


def test_it_accepts_our_statement() -> None:
    """The envelope verifies under the node's key, and what comes out is an in-toto statement about every member."""
    payload = dsse._verify(public(OPERATOR), envelope(members()[SIGSTORE]))
    statement = dsse.Statement(payload)

    assert statement._inner.predicate_type == PREDICATE_TYPE
    for name, content in members().items():
        if not name.startswith("statement."):
            digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=sha256(content).digest())
            assert statement._matches_digest(digest), name


def test_it_refuses_another_statement() -> None:
    """A changed payload is refused."""
    with pytest.raises(VerificationError, match="invalid signature"):
        dsse._verify(public(OPERATOR), envelope(changed()))


def test_it_refuses_another_key() -> None:
    """The statement is refused under the key of another node."""
    with pytest.raises(VerificationError, match="invalid signature"):
        dsse._verify(public(Identity.generate()), envelope(members()[SIGSTORE]))


def judged(bundle: bytes, identity: Identity) -> str:
    """What the JavaScript client says of a bundle under a managed key."""
    request = {
        "bundle": json.loads(bundle),
        "key": b64encode(identity.statement_key.public).decode(),
        "hint": "exchange.example/audit/statement",
    }
    done = subprocess.run(
        ["node", "-e", JUDGE],
        cwd=servers.NODE_MODULES.parent,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.sigstore
def test_the_javascript_client_accepts_our_bundle() -> None:
    """The whole bundle verifies with a managed key, without a transparency log of Sigstore's."""
    assert judged(members()[SIGSTORE], OPERATOR) == "accepted"


@pytest.mark.sigstore
def test_the_javascript_client_refuses_lies() -> None:
    """A changed payload and the key of another node are refused."""
    assert judged(changed(), OPERATOR) == "refused: SIGNATURE_ERROR"
    assert judged(members()[SIGSTORE], Identity.generate()) == "refused: SIGNATURE_ERROR"
