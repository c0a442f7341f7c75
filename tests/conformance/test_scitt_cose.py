"""Somebody else's verifier of COSE receipts (PyPI ``scitt-cose``) judges those of our evidence."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scitt_cose import ReceiptResult, verify_receipt

from databund.core.archives import unpack
from databund.tlog.receipts import Receipt, sign_receipt
from databund.tlog.tiles import inclusion_proof
from tests.unit.tlog_keys import ORIGIN, Key, log_of
from tests.unit.trades import Trade

LOG, OTHER = Key(ORIGIN), Key("other.example/audit")


def pem(public_key: bytes) -> bytes:
    """The key as scitt-cose reads it."""
    return Ed25519PublicKey.from_public_bytes(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def judged(receipt: bytes, entry: bytes, *, key: bytes = LOG.vkey.public_key) -> ReceiptResult:
    """What scitt-cose says."""
    return verify_receipt(receipt, leaf_entry_hex=entry.hex(), log_public_key_pem=pem(key))


@cache
def receipts() -> list[tuple[bytes, bytes]]:
    """Receipts and entries of logs of many sizes."""
    made = []
    for size in (1, 2, 3, 7, 8, 100, 257, 1000):
        log = log_of(size)
        for index in {0, size // 2, size - 1}:
            hashes = tuple(inclusion_proof(index, size, read=log.read))
            receipt = sign_receipt(
                LOG.vkey, LOG.sign, subject="urn:x", index=index, size=size, root=log.edge.root(), hashes=hashes
            )
            made.append((receipt.to_bytes(), log.entries[index]))
    return made


def test_it_accepts_the_receipts_of_evidence() -> None:
    """Every receipt in a bundle is accepted, with our log as the issuer and the order as the subject."""
    trade = Trade().delivered().certified()
    members = unpack(trade.bundle())
    names = [name.removesuffix(".receipt.cbor") for name in members if name.endswith(".receipt.cbor")]

    results = [
        judged(members[f"{name}.receipt.cbor"], members[f"{name}.json"], key=trade.vkey.public_key) for name in names
    ]

    assert len(results) == 6
    assert all(result.ok for result in results)
    assert {(result.issuer, result.subject) for result in results} == {
        (trade.vkey.name, f"urn:databund:order:{trade.id}")
    }


def test_it_accepts_receipts_of_logs_of_every_shape() -> None:
    """First, middle and last entries of eight logs are accepted, at the size and index that we say."""
    for receipt, entry in receipts():
        result, ours = judged(receipt, entry), Receipt.parse(receipt)
        assert result.ok, result.errors
        assert (result.tree_size, result.leaf_index) == (ours.size, ours.index)


def test_it_refuses_another_leaf() -> None:
    """The receipt of one entry is refused for another."""
    assert not any(judged(receipt, entry + b" ").ok for receipt, entry in receipts())


def test_it_refuses_another_key() -> None:
    """The receipt of our log is refused under the key of another."""
    assert not any(judged(receipt, entry, key=OTHER.vkey.public_key).ok for receipt, entry in receipts())


def test_it_refuses_another_proof() -> None:
    """A receipt whose proof has one hash changed is refused."""
    for receipt, entry in receipts():
        for node in Receipt.parse(receipt).hashes:
            assert not judged(receipt.replace(node, bytes(32)), entry).ok


def test_it_refuses_another_signature() -> None:
    """A receipt whose signature has one bit changed is refused."""
    assert not any(judged(receipt[:-1] + bytes([receipt[-1] ^ 1]), entry).ok for receipt, entry in receipts())
