"""Verifier keys of logs and witnesses, joined with the algorithms that check their signatures.

The formats (`databund.tlog`) know no algorithm, and the algorithms (`databund.crypto`) know no format; this is the one
place where a key of any type becomes what checks its signatures.
"""

from __future__ import annotations

from databund.crypto.signatures import verify_ed25519, verify_ml_dsa_44
from databund.tlog.cosignatures import cosignature_verifier
from databund.tlog.notes import SignatureType, Verifier, VerifierKey, ed25519_verifier

__all__ = ["verifier"]


def verifier(key: VerifierKey) -> Verifier:
    """What checks the signatures of this key; they are refused by raising an `IntegrityFailed`."""
    match key.signature_type:
        case SignatureType.ED25519:
            return ed25519_verifier(key, verify_ed25519)
        case SignatureType.COSIGNATURE_V1:
            return cosignature_verifier(key, verify_ed25519)
        case SignatureType.ML_DSA_44:
            return cosignature_verifier(key, verify_ml_dsa_44)
