"""Chain proofs: that the receipt of a chain transaction is in a block, provable with the block's hash alone.

A block's header names the root of a Merkle Patricia trie of its receipts; the nodes on the way from that root to the
receipt, with the header, lead from the block hash to the receipt. Source: Ethereum Yellow Paper, appendix D; EIP-2718.
"""

from __future__ import annotations

import msgspec

__all__ = ["ReceiptProof"]


class ReceiptProof(msgspec.Struct, frozen=True):
    """The way from a block hash to a receipt.

    ``header`` is the header's RLP, whose Keccak-256 is the block hash; ``index`` the place of the chain transaction in
    its block; ``nodes`` the RLP of the trie's nodes from the root to the receipt, without those inside their parents.
    """

    header: bytes
    index: int
    nodes: tuple[bytes, ...]
