"""COSE receipts: what is signed, and that nothing else is read. Another implementation judges them elsewhere."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databund.errors import IntegrityFailed, ProofInvalid
from databund.tlog import _cbor
from databund.tlog.receipts import Receipt, check_receipt, sign_receipt, verify_receipt
from databund.tlog.tiles import inclusion_proof
from tests.unit.tlog_keys import ORIGIN, Key, log_of, verify_ed25519

LOG = Key(ORIGIN)
ENTRY_LOG = log_of(300)
ENTRY = ENTRY_LOG.entries[258]
ITEMS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(-99, 99) | st.text(), inner, max_size=5),
    max_leaves=15,
)


@cache
def receipt() -> Receipt:
    """The receipt of entry 258 of 300."""
    hashes = tuple(inclusion_proof(258, 300, read=ENTRY_LOG.read))
    root = ENTRY_LOG.edge.root()
    return sign_receipt(LOG.vkey, LOG.sign, subject="urn:x", index=258, size=300, root=root, hashes=hashes)


def verify(changed: Receipt, entry: bytes = ENTRY) -> bytes:
    """The root that a receipt proves."""
    return verify_receipt(changed, entry, key=LOG.vkey, verify=verify_ed25519)


def test_a_receipt_proves_an_entry() -> None:
    """Bytes, entry and key are enough; the root comes back."""
    assert verify(Receipt.parse(receipt().to_bytes())) == ENTRY_LOG.edge.root()


@pytest.mark.parametrize(
    "change",
    [{"index": 257}, {"size": 600}, {"issuer": "other.example"}, {"subject": "urn:y"}, {"key_id": b"1234"}],
    ids=str,
)
def test_another_word_is_refused(change: dict[str, Any]) -> None:
    """Nothing in a receipt can be changed."""
    with pytest.raises(IntegrityFailed):
        verify(replace(receipt(), **change))


def test_another_entry_is_refused() -> None:
    """The receipt of one entry proves no other."""
    with pytest.raises(IntegrityFailed):
        verify(receipt(), ENTRY_LOG.entries[257])


def test_every_flipped_bit_is_refused() -> None:
    """Exhaustively: no bit is free, but for a tree size that needs the same path; RFC 9942 signs the root alone."""
    data = bytearray(receipt().to_bytes())
    for bit in range(8 * len(data)):
        data[bit >> 3] ^= 1 << (bit & 7)
        try:
            accepted = Receipt.parse(bytes(data))
            verify(accepted)
            assert replace(accepted, size=300) == receipt()
            assert 258 < accepted.size <= 512
        except IntegrityFailed:
            pass
        data[bit >> 3] ^= 1 << (bit & 7)


def test_a_receipt_of_a_known_proof_is_checked_by_writing_it_again() -> None:
    """The message and the signature that remain are those of the log; another receipt is refused."""
    known: dict[str, Any] = {"key": LOG.vkey, "subject": "urn:x", "root": ENTRY_LOG.edge.root()}

    message, signature = check_receipt(receipt().to_bytes(), place=(258, 300), hashes=receipt().hashes, **known)

    verify_ed25519(LOG.vkey.public_key, message, signature)
    with pytest.raises(ProofInvalid, match="not the one of its proof"):
        check_receipt(receipt().to_bytes(), place=(257, 300), hashes=receipt().hashes, **known)


@given(ITEMS)
def test_cbor_is_read_as_it_was_written(item: Any) -> None:
    """What is written is read back."""
    assert _cbor.decode(_cbor.encode(item)) == item


@given(st.binary(max_size=60))
def test_cbor_has_one_spelling(data: bytes) -> None:
    """Whatever is read is written again as the same bytes; all else is refused."""
    try:
        item = _cbor.decode(data)
    except ProofInvalid:
        return
    assert _cbor.encode(item) == data
