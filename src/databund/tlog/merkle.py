"""The Merkle tree of RFC 9162 section 2.1 (that of RFC 6962) over SHA-256: hashes, the frontier, proof verification.

Hashes are 32 bytes; entries are any bytes; sizes and indexes count leaves and stay below 2**63, so that they fit a
signed 64-bit column and the Go implementation. Building proofs needs stored hashes and is left to
`databund.tlog.tiles`.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from databund.errors import IdentifierInvalid, ProofInvalid, Refused, StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "MAX_SIZE",
    "Frontier",
    "inclusion_root",
    "leaf_hash",
    "node_hash",
    "pair_up",
    "tree_root",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES: Final = 32
"""The length of every hash."""

MAX_SIZE: Final = 2**63 - 1
"""The largest tree size that is accepted anywhere."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of the tree without leaves (RFC 9162 section 2.1.1)."""

_SIZE_BYTES: Final = 8
_HASH_SIZES: Final = frozenset({HASH_BYTES})
_ASK_AGAIN: Final = "Fetch the proof and the checkpoint again; if it fails again, do not trust this log."


def leaf_hash(entry: bytes) -> bytes:
    """The leaf hash of an entry, SHA-256(0x00 || entry) (RFC 9162 section 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, SHA-256(0x01 || left || right) (RFC 9162 section 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def pair_up(row: bytes) -> bytes:
    """The row of parents above a row of concatenated hashes; a last hash without a sibling has no parent yet."""
    whole = len(row) - len(row) % (2 * HASH_BYTES)
    return b"".join(
        [sha256(b"\x01" + row[at : at + 2 * HASH_BYTES]).digest() for at in range(0, whole, 2 * HASH_BYTES)]
    )


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root of the tree over these leaf hashes, by the recursive definition of RFC 9162 section 2.1.1.

    It keeps nothing and hashes everything: the oracle for `Frontier`, and enough for small trees.
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    split = 1 << ((len(leaf_hashes) - 1).bit_length() - 1)
    return node_hash(tree_root(leaf_hashes[:split]), tree_root(leaf_hashes[split:]))


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that a growing tree has to remember: its size and the roots of its complete subtrees.

    ``peaks`` holds one hash per set bit of ``size``, the largest subtree (the oldest leaves) first; at most 63 of them.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.peaks) != self.size.bit_count():
            raise StoreCorrupt(
                f"A frontier of size {self.size} cannot have {len(self.peaks)} peaks.", fix="Rebuild it from the tiles."
            )
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise StoreCorrupt(
                f"A frontier of size {self.size} has a peak that is not {HASH_BYTES} bytes.",
                fix="Rebuild it from the tiles.",
            )

    def append(self, leaf: bytes) -> Frontier:
        """The frontier after one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """The frontier after these leaf hashes, in order. Raises IdentifierInvalid for one that is not 32 bytes."""
        return self.grow(leaf_hashes)[0]

    def grow(self, leaf_hashes: Iterable[bytes]) -> tuple[Frontier, list[bytes]]:
        """The frontier after these leaf hashes, and the nodes that they completed.

        The n-th row of the second value concatenates the hashes of the new nodes of height n, from left to right; row 0
        is the leaf hashes themselves. Every node of the tree is completed once, so k leaves cost k hashes and a few
        more.
        """
        leaves = list(leaf_hashes)
        if any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise IdentifierInvalid(
                f"A leaf hash is not {HASH_BYTES} bytes long.", fix="Append leaf_hash(entry), not the entry."
            )
        size = self.size + len(leaves)
        if size > MAX_SIZE:
            raise Refused(f"A log of {size} entries is larger than {MAX_SIZE}.", fix="Open a new log.")
        rows: list[bytes] = []
        old = list(self.peaks)
        new: list[bytes] = []
        row = b"".join(leaves)
        height = 0
        while row:
            rows.append(row)
            if self.size >> height & 1:
                row = old.pop() + row
            if size >> height & 1:
                new.append(row[-HASH_BYTES:])
            row = pair_up(row)
            height += 1
        return Frontier(size=size, peaks=(*old, *reversed(new))), rows

    def root(self) -> bytes:
        """The root of the tree (RFC 9162 section 2.1.1)."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def to_bytes(self) -> bytes:
        """The size (8 bytes, big endian) and the peaks, for a database."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Frontier:
        """Read what `to_bytes` wrote. Raises StoreCorrupt for anything else."""
        bounds = range(_SIZE_BYTES, len(stored) + HASH_BYTES, HASH_BYTES)
        if len(stored) < _SIZE_BYTES or bounds[-1] != len(stored):
            raise StoreCorrupt(f"A stored frontier of {len(stored)} bytes is cut.", fix="Rebuild it from the tiles.")
        size = int.from_bytes(stored[:_SIZE_BYTES], "big")
        return cls(size=size, peaks=tuple(stored[start:end] for start, end in pairwise(bounds)))


def inclusion_root(leaf: bytes, proof: Sequence[bytes], *, index: int, size: int) -> bytes:
    """The root that an inclusion proof leads to, by RFC 9162 section 2.1.3.2 steps 1 to 4.

    Raises ProofInvalid when the proof has the wrong form or length for ``index`` and ``size``. The caller still has to
    compare the result with a root that it trusts; `verify_inclusion` does so.
    """
    _check_hashes("inclusion proof", (leaf, *proof))
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofInvalid(f"The index {index} lies outside of a tree of size {size}.", fix=_ASK_AGAIN)
    fn, sn, root = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise ProofInvalid(f"The inclusion proof of entry {index} has too many hashes.", fix=_ASK_AGAIN)
        if fn & 1 or fn == sn:
            root = node_hash(sibling, root)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node_hash(root, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofInvalid(f"The inclusion proof of entry {index} has too few hashes.", fix=_ASK_AGAIN)
    return root


def verify_inclusion(leaf: bytes, proof: Sequence[bytes], *, index: int, size: int, root: bytes) -> None:
    """Check that the tree with this size and root has this leaf hash at ``index`` (RFC 9162 section 2.1.3.2).

    Raises ProofInvalid when the proof does not show it.
    """
    _check_hashes("root", (root,))
    if inclusion_root(leaf, proof, index=index, size=size) != root:
        raise ProofInvalid(
            f"The inclusion proof of entry {index} does not lead to the root of size {size}.", fix=_ASK_AGAIN
        )


def verify_consistency(
    proof: Sequence[bytes], *, old_size: int, old_root: bytes, new_size: int, new_root: bytes
) -> None:
    """Check that the new tree begins with all of the old tree (RFC 9162 section 2.1.4.2).

    Raises ProofInvalid when the proof does not show it. As in transparency-dev/merkle, a proof from the empty tree is
    refused because it says nothing, and equal sizes need an empty proof and equal roots, of whatever form.
    """
    step = f"from size {old_size} to size {new_size}"
    if not 0 < old_size <= new_size <= MAX_SIZE:
        raise ProofInvalid(f"There is no consistency proof {step}.", fix=_ASK_AGAIN)
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofInvalid(
                f"Two different trees have size {new_size}, or their proof is not empty.", fix=_ASK_AGAIN
            )
        return
    _check_hashes("consistency proof", (old_root, new_root, *proof))
    if not proof:
        raise ProofInvalid(f"The consistency proof {step} is empty.", fix=_ASK_AGAIN)
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofInvalid(f"The consistency proof {step} has too many hashes.", fix=_ASK_AGAIN)
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or old != old_root or new != new_root:
        raise ProofInvalid(f"The consistency proof {step} does not lead to both roots.", fix=_ASK_AGAIN)


def _check_hashes(what: str, hashes: Iterable[bytes]) -> None:
    if not _HASH_SIZES.issuperset(map(len, hashes)):
        raise ProofInvalid(f"The {what} has a hash that is not {HASH_BYTES} bytes.", fix=_ASK_AGAIN)
