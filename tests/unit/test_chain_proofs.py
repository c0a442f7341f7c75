"""Chain proofs: from a block hash to a receipt, with tries that another implementation built."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import msgspec
import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from databund.core.chain_proofs import ReceiptProof, license_sold, rlp_decode, verify_receipt
from databund.core.ids import Address, OrderId, keccak256
from databund.errors import ProofInvalid
from tests.unit.trades import Trade

ITEMS = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=6), max_leaves=20)


@cache
def trade() -> Trade:
    """A trade whose receipt is the eighth of twenty in its block."""
    return Trade()


def proof_of(count: int, index: int, *, small: bool = False) -> ReceiptProof:
    """The proof of one of ``count`` receipts; small ones stand inside their parents' nodes."""
    trie = HexaryTrie({})
    for number in range(count):
        receipt = [1, number, b"" if small else bytes(256), []]
        trie[rlp.encode(number)] = b"\x02" + rlp.encode(receipt)
    nodes = [rlp.encode(node) for node in trie.get_proof(rlp.encode(index))]
    header = [bytes(32)] * 5 + [trie.root_hash, bytes(256), 0, 77, 1, 1, 1, b"", bytes(32), bytes(8)]
    kept = tuple(node for at, node in enumerate(nodes) if at == 0 or len(node) >= 32)
    return ReceiptProof(rlp.encode(header), index, kept)


@given(ITEMS)
def test_rlp_is_read_as_it_was_written(item: object) -> None:
    """What another implementation encodes is read back."""
    assert rlp_decode(rlp.encode(item)) == item


@given(st.binary(max_size=80))
def test_rlp_has_one_spelling(data: bytes) -> None:
    """Whatever is read is written again as the same bytes; all else is refused."""
    try:
        item = rlp_decode(data)
    except ProofInvalid:
        return
    assert rlp.encode(item) == data


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("count", [1, 2, 17, 128, 129, 300])
def test_every_receipt_of_a_block_is_proven(count: int, *, small: bool) -> None:
    """The way leads to every receipt, in blocks of any size, also where nodes stand inside their parents."""
    for index in {0, count // 2, count - 1}:
        proof = proof_of(count, index, small=small)
        proven = verify_receipt(proof, block_hash="0x" + keccak256(proof.header).hex())
        assert (proven.block, proven.succeeded) == (77, True)


def test_a_receipt_outside_of_the_block_is_refused() -> None:
    """The nodes of one receipt prove no other index."""
    proof = proof_of(20, 7)

    with pytest.raises(ProofInvalid):
        verify_receipt(msgspec.structs.replace(proof, index=6))


def test_another_block_hash_is_refused() -> None:
    """The header must be the one of the hash."""
    with pytest.raises(ProofInvalid, match="not of 0x00"):
        verify_receipt(proof_of(3, 1), block_hash="0x" + "00" * 32)


@pytest.mark.parametrize("change", ["missing", "superfluous", "swapped"])
def test_another_way_is_refused(change: str) -> None:
    """A node too few, too many, or in another place is refused."""
    proof = proof_of(300, 200)
    ways = {
        "missing": proof.nodes[:-1],
        "superfluous": (*proof.nodes, proof.nodes[-1]),
        "swapped": proof.nodes[::-1],
    }

    with pytest.raises(ProofInvalid):
        verify_receipt(msgspec.structs.replace(proof, nodes=ways[change]))


def test_the_sale_is_read() -> None:
    """Order, offer, buyer, price and payments come out of the logs."""
    market, outcome = trade().market, trade().block.outcome
    proven = verify_receipt(trade().block.proof())

    sale = license_sold(
        proven, trade().id, exchange=market.exchange.domain.exchange, currency=market.exchange.currency.address
    )

    assert (sale.order_id, sale.offer_id, sale.buyer) == (trade().id, trade().order.offer_id, trade().order.buyer)
    assert (sale.units, sale.price, sale.payments) == (1, trade().order.price, outcome.payments)
    assert sale.expiry == outcome.expiry


def test_the_sale_of_another_order_is_refused() -> None:
    """A receipt proves the order that it names, and only of the exchange that is asked for."""
    market = trade().market
    proven = verify_receipt(trade().block.proof())
    exchange, currency = market.exchange.domain.exchange, market.exchange.currency.address

    with pytest.raises(ProofInvalid, match="does not record the sale"):
        license_sold(proven, OrderId(bytes(32)), exchange=exchange, currency=currency)
    with pytest.raises(ProofInvalid, match="does not record the sale"):
        license_sold(proven, trade().id, exchange=Address(bytes(20)), currency=currency)


def test_a_failed_chain_transaction_sells_nothing() -> None:
    """The receipt of a failure is refused whatever its logs say."""
    market, failed = trade().market, replace(trade().block, status=0)

    with pytest.raises(ProofInvalid, match="does not record the sale"):
        license_sold(
            verify_receipt(failed.proof()),
            trade().id,
            exchange=market.exchange.domain.exchange,
            currency=market.exchange.currency.address,
        )
