"""X.509 certificates (RFC 5280): read from PEM, to be handed to what verifies with them."""

from __future__ import annotations

from databund.crypto._hazmat import Certificate, load_pem_x509_certificates
from databund.errors import KeyInvalid

__all__ = ["Certificate", "read_certificates"]


def read_certificates(pem: bytes) -> tuple[Certificate, ...]:
    """The certificates of a PEM file, each once, in its order. Raises `KeyInvalid` when it holds none, or a bad one."""
    try:
        return tuple(dict.fromkeys(load_pem_x509_certificates(pem)))
    except ValueError as error:
        raise KeyInvalid(
            "The file does not hold X.509 certificates.", fix="Name a PEM file: -----BEGIN CERTIFICATE-----"
        ) from error
