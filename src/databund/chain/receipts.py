"""Receipts: the proof that a chain transaction's receipt is in a block, built from what any node tells.

The header is encoded again from its fields, and the trie of the block's receipts is built again, and both must have the
hashes that the chain recorded; so a node that tells anything else is noticed here.
Source: Ethereum Yellow Paper, section 4.4 and appendix D; EIP-2718 (typed receipts), EIP-1559, 4788, 4844, 4895 and
7685 (header fields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import rlp  # type: ignore[import-untyped]  # ships no types
from trie.hexary import HexaryTrie

from databund.chain.connection import Connection, NodeRefusal, Receipt
from databund.core.chain_proofs import ReceiptProof
from databund.core.ids import keccak256
from databund.errors import ChainUnavailable, LedgerMismatch, NotFound

__all__ = ["prove_receipt"]

_ALWAYS: Final = (
    ("parentHash", bytes),
    ("sha3Uncles", bytes),
    ("miner", bytes),
    ("stateRoot", bytes),
    ("transactionsRoot", bytes),
    ("receiptsRoot", bytes),
    ("logsBloom", bytes),
    ("difficulty", int),
    ("number", int),
    ("gasLimit", int),
    ("gasUsed", int),
    ("timestamp", int),
    ("extraData", bytes),
    ("mixHash", bytes),
    ("nonce", bytes),
)
_SINCE_LONDON: Final = (
    ("baseFeePerGas", int),
    ("withdrawalsRoot", bytes),
    ("blobGasUsed", int),
    ("excessBlobGas", int),
    ("parentBeaconBlockRoot", bytes),
    ("requestsHash", bytes),
)
_INLINE = 32  # A node whose RLP is shorter stands inside its parent.


def prove_receipt(connection: Connection, chain_transaction: str) -> ReceiptProof:
    """The proof for a chain transaction in a final block.

    Raises `NotFound` for one that is in none, `LedgerMismatch` when header or receipts do not have the hashes that the
    node names, and `ChainUnavailable`.
    """
    receipt = connection.receipt(chain_transaction)
    if receipt is None or not connection.is_final(receipt):
        raise NotFound(f"The chain transaction {chain_transaction} is in no final block.", fix="Wait until it is.")
    block = connection.ask("eth_getBlockByHash", receipt["blockHash"], False)
    if block is None:
        raise NotFound(f"The chain has no block {receipt['blockHash']}.", fix="Ask again; it was replaced.")
    header = _header(block)
    if keccak256(header) != _bytes(receipt["blockHash"]):
        raise LedgerMismatch(
            f"The header of block {block['number']} does not have the hash that the chain's node names.",
            fix="Ask another node; this one may follow rules that we do not know.",
        )
    index = int(receipt["transactionIndex"], 16)
    trie = _trie(_receipts(connection, block))
    if trie.root_hash != _bytes(block["receiptsRoot"]):
        raise LedgerMismatch(
            f"The receipts of block {block['number']} do not have the root in its header.", fix="Ask another node."
        )
    path = [rlp.encode(node) for node in trie.get_proof(_key(index))]  # type: ignore[no-untyped-call]  # trie's own gap
    nodes = [node for place, node in enumerate(path) if place == 0 or len(node) >= _INLINE]
    return ReceiptProof(header=header, index=index, nodes=tuple(nodes))


def _header(block: Mapping[str, Any]) -> bytes:
    fields = [*_ALWAYS, *((name, kind) for name, kind in _SINCE_LONDON if block.get(name) is not None)]
    return bytes(rlp.encode([int(block[name], 16) if kind is int else _bytes(block[name]) for name, kind in fields]))


def _receipts(connection: Connection, block: Mapping[str, Any]) -> Sequence[Receipt]:
    try:
        found: Sequence[Receipt] | None = connection.request("eth_getBlockReceipts", block["number"])
    except NodeRefusal:
        found = None
    if found is not None:
        return found
    each = [connection.receipt(name) for name in block["transactions"]]
    if None in each:
        raise ChainUnavailable("The chain's node lacks receipts of a block.", fix="Ask again, or another node.")
    return [receipt for receipt in each if receipt is not None]


def _trie(receipts: Sequence[Receipt]) -> HexaryTrie:
    trie = HexaryTrie({})
    for receipt in receipts:
        trie[_key(int(receipt["transactionIndex"], 16))] = _encoded(receipt)
    return trie


def _encoded(receipt: Receipt) -> bytes:
    """The receipt as the trie holds it: its RLP behind the type, or alone for type 0 (EIP-2718)."""
    outcome = _bytes(receipt["root"]) if receipt.get("status") is None else int(receipt["status"], 16)
    logs = [
        [_bytes(log["address"]), [_bytes(topic) for topic in log["topics"]], _bytes(log["data"])]
        for log in receipt["logs"]
    ]
    body = bytes(rlp.encode([outcome, int(receipt["cumulativeGasUsed"], 16), _bytes(receipt["logsBloom"]), logs]))
    kind = int(receipt.get("type") or "0x0", 16)
    return bytes([kind]) + body if kind else body


def _key(index: int) -> bytes:
    return bytes(rlp.encode(index))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
