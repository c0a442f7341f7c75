"""Chain proofs: that the receipt of a chain transaction is in a block, provable with the block's hash alone.

A block's header names the root of a Merkle Patricia trie of its receipts; the nodes on the way from that root to the
receipt, with the header, lead from the block hash to the receipt. Whether a chain has that block is left to whoever
knows the chain. Source: Ethereum Yellow Paper, appendices B and D; EIP-2718; Solidity's contract ABI specification.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from databund.core.amounts import Amount, Payment
from databund.core.canonical import MAX_INTEGER
from databund.core.chain_events import LicenseSold, Place
from databund.core.ids import Address, OfferId, OrderId, keccak256
from databund.errors import ProofInvalid

__all__ = ["ChainLog", "ProvenReceipt", "ReceiptProof", "license_sold", "rlp_decode", "verify_receipt"]

Rlp: TypeAlias = "bytes | list[Rlp]"
"""A decoded RLP item."""

_SOLD: Final = keccak256(b"LicenseSold(bytes32,address,address,bytes32,uint64,uint256,address,uint64)")
_TRANSFER: Final = keccak256(b"Transfer(address,address,uint256)")
_RECEIPTS_ROOT, _NUMBER = 5, 8  # places in a block header
_MAX_DEPTH: Final = 64
_ASK_AGAIN: Final = "Ask a node of the chain for the proof again; if it fails again, do not trust its source."


class ReceiptProof(msgspec.Struct, frozen=True):
    """The way from a block hash to a receipt.

    ``header`` is the header's RLP, whose Keccak-256 is the block hash; ``index`` the place of the chain transaction in
    its block; ``nodes`` the RLP of the trie's nodes from the root to the receipt, without those inside their parents.
    """

    header: bytes
    index: int
    nodes: tuple[bytes, ...]


class ChainLog(msgspec.Struct, frozen=True):
    """What a smart contract recorded: the address of the contract, the topics (32 bytes each) and the data."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


class ProvenReceipt(msgspec.Struct, frozen=True):
    """A receipt that is in the block: its number, its hash (0x…), whether the chain transaction succeeded, its logs."""

    block: int
    block_hash: str
    succeeded: bool
    logs: tuple[ChainLog, ...]


def verify_receipt(proof: ReceiptProof, *, block_hash: str | None = None) -> ProvenReceipt:
    """The receipt that a proof leads to.

    ``block_hash`` (0x…) is the one that is known, if any; the hash that the proof begins with comes back to be compared
    with the chain. Raises `ProofInvalid` when a node is missing, superfluous, malformed or another one.
    """
    found = "0x" + keccak256(proof.header).hex()
    if block_hash is not None and found != block_hash:
        raise ProofInvalid(f"The block header is that of {found}, not of {block_hash}.", fix=_ASK_AGAIN)
    header = rlp_decode(proof.header)
    if not isinstance(header, list) or len(header) < 15:
        raise _malformed("block header")
    kind, receipt = _receipt(_value(proof, _bytes(header[_RECEIPTS_ROOT])))
    if not isinstance(receipt, list) or len(receipt) != 4 or kind > 0x7F or not isinstance(receipt[3], list):
        raise _malformed("receipt")
    return ProvenReceipt(
        block=int.from_bytes(_bytes(header[_NUMBER])),
        block_hash=found,
        succeeded=receipt[0] == b"\x01",
        logs=tuple(_log(item) for item in receipt[3]),
    )


def license_sold(receipt: ProvenReceipt, order_id: OrderId, *, exchange: Address, currency: Address) -> LicenseSold:
    """What ``exchange`` sold under an order, and what each account received in ``currency`` from it.

    ``place`` has no chain transaction (a receipt does not name its own). Raises `ProofInvalid` unless the receipt is of
    a success and records the order exactly once.
    """
    sales = [log for log in receipt.logs if log.address == exchange and log.topics[:1] == (_SOLD,)]
    named = [log for log in sales if log.data[:32] == bytes(order_id)]
    if not receipt.succeeded or len(sales) != 1 or len(named) != 1:
        raise ProofInvalid(f"The receipt does not record the sale of the order {order_id}.", fix=_ASK_AGAIN)
    (sale,) = named
    at = receipt.logs.index(sale)
    if len(sale.topics) != 4 or len(sale.data) != 160 or sale.data[96:128] != bytes(12) + bytes(currency):
        raise _malformed("sale")
    units, price, expiry = (int.from_bytes(sale.data[at : at + 32]) for at in (32, 64, 128))
    return LicenseSold(
        place=Place(receipt.block, receipt.block_hash, "", at),
        order_id=order_id,
        offer_id=OfferId(sale.topics[1]),
        buyer=Address(sale.topics[2][12:]),
        units=units,
        price=Amount(price),
        payments=_payments(receipt.logs[:at], currency, exchange),
        expiry=None if expiry > MAX_INTEGER else expiry,  # as for a term without end: no entry can count so far
    )


def rlp_decode(data: bytes) -> Rlp:
    """Read one RLP item, in its only canonical form. Raises `ProofInvalid` for anything else."""
    item, end = _item(data, 0, _MAX_DEPTH)
    if end != len(data):
        raise _malformed("RLP item")
    return item


def _payments(logs: tuple[ChainLog, ...], currency: Address, exchange: Address) -> tuple[Payment, ...]:
    """What the exchange passed on before it recorded the sale; what others moved meanwhile is not of the sale."""
    received: dict[Address, int] = {}
    paid = (_TRANSFER, bytes(12) + bytes(exchange))
    for log in logs:
        if log.address == currency and log.topics[:2] == paid and len(log.topics) == 3 and len(log.data) == 32:
            account = Address(log.topics[2][12:])
            received[account] = received.get(account, 0) + int.from_bytes(log.data)
    received.pop(exchange, None)
    return tuple(Payment(account, Amount(amount)) for account, amount in received.items())


def _value(proof: ReceiptProof, root: bytes) -> bytes:
    """Walk the trie from its root; each node must have the hash that its parent names."""
    if proof.index < 0:
        raise _malformed("index")
    path = [digit for byte in _rlp_number(proof.index) for digit in (byte >> 4, byte & 15)]
    waiting = list(reversed(proof.nodes))
    node: Rlp = root
    while True:
        if isinstance(node, bytes):
            if not waiting or keccak256(waiting[-1]) != node:
                raise ProofInvalid("A node of the receipt's proof is missing or another one.", fix=_ASK_AGAIN)
            node = rlp_decode(waiting.pop())
        if not isinstance(node, list) or len(node) not in (2, 17):
            raise _malformed("trie node")
        if len(node) == 17:
            if not path:
                node = node[16]
                break
            node = node[path.pop(0)]
            continue
        shared, is_leaf = _shared_path(_bytes(node[0]))
        if path[: len(shared)] != shared or (is_leaf and len(path) != len(shared)):
            raise ProofInvalid(f"The block has no receipt {proof.index}.", fix=_ASK_AGAIN)
        path, node = path[len(shared) :], node[1]
        if is_leaf:
            break
    if waiting or not isinstance(node, bytes) or not node:
        raise ProofInvalid("The receipt's proof has a node too many, or leads to nothing.", fix=_ASK_AGAIN)
    return node


def _shared_path(encoded: bytes) -> tuple[list[int], bool]:
    """The digits that a leaf or an extension stands for, and whether it is a leaf (hex-prefix encoding)."""
    digits = [digit for byte in encoded for digit in (byte >> 4, byte & 15)]
    if not digits or digits[0] > 3 or (not digits[0] & 1 and digits[1]):
        raise _malformed("trie node")
    return digits[1 if digits[0] & 1 else 2 :], digits[0] >= 2


def _receipt(value: bytes) -> tuple[int, Rlp]:
    """The type (EIP-2718) and content of a receipt; 0 for the oldest kind, which has no type byte."""
    return (0, rlp_decode(value)) if value[0] >= 0xC0 else (value[0], rlp_decode(value[1:]))


def _log(item: Rlp) -> ChainLog:
    if not isinstance(item, list) or len(item) != 3 or not isinstance(item[1], list):
        raise _malformed("log of the receipt")
    address, topics, data = _bytes(item[0]), tuple(_bytes(topic) for topic in item[1]), _bytes(item[2])
    if len(address) != 20 or any(len(topic) != 32 for topic in topics):
        raise _malformed("log of the receipt")
    return ChainLog(Address(address), topics, data)


def _rlp_number(number: int) -> bytes:
    raw = number.to_bytes((number.bit_length() + 7) // 8)
    return raw if raw and len(raw) == 1 and raw[0] < 0x80 else bytes([0x80 + len(raw)]) + raw


def _item(data: bytes, at: int, depth: int) -> tuple[Rlp, int]:
    """The RLP item that begins at ``at``, and where it ends."""
    if at >= len(data) or depth == 0:
        raise _malformed("RLP item")
    head = data[at]
    if head < 0x80:
        return data[at : at + 1], at + 1
    base = 0x80 if head < 0xC0 else 0xC0
    size, start = head - base, at + 1
    if size > 55:
        width = size - 55
        size, start = int.from_bytes(data[start : start + width]), start + width
        if size < 56 or data[at + 1] == 0:
            raise _malformed("RLP item")
    end = start + size
    if end > len(data):
        raise _malformed("RLP item")
    if base == 0x80:
        if size == 1 and data[start] < 0x80:
            raise _malformed("RLP item")
        return data[start:end], end
    items: list[Any] = []
    while start < end:
        item, start = _item(data, start, depth - 1)
        items.append(item)
    if start != end:
        raise _malformed("RLP item")
    return items, end


def _bytes(item: Rlp) -> bytes:
    if not isinstance(item, bytes):
        raise _malformed("RLP item")
    return item


def _malformed(what: str) -> ProofInvalid:
    return ProofInvalid(f"The proof has a malformed {what}.", fix=_ASK_AGAIN)
