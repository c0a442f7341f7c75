"""The Merkle tree's hashes, its frontier, and each single reason for which a proof is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from databund.errors import IdentifierInvalid, ProofInvalid, Refused, StoreCorrupt
from databund.tlog.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.tlog_keys import log_of

LEAVES = [leaf_hash(bytes([number])) for number in range(11)]


def test_hashes_of_nothing_are_those_of_rfc_6962() -> None:
    """The empty tree and the empty leaf have the hashes that every implementation of RFC 6962 prints."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_root_of_three_leaves_is_left_heavy() -> None:
    """Three leaves hang as a pair and a single (RFC 9162 section 2.1.1)."""
    one, two, three = LEAVES[:3]

    assert tree_root([one, two, three]) == node_hash(node_hash(one, two), three)


def test_frontier_survives_a_database() -> None:
    """A stored frontier comes back equal and goes on growing."""
    frontier = Frontier().extend(LEAVES[:7])

    restored = Frontier.from_bytes(frontier.to_bytes())

    assert restored == frontier
    assert restored.extend(LEAVES[7:]).root() == tree_root(LEAVES)


@pytest.mark.parametrize("cut", [0, 7, 8, 9, 39, 41, 103, 105])
def test_cut_frontier_is_refused(cut: int) -> None:
    """A stored frontier of any other length is corrupt."""
    stored = (Frontier().extend(LEAVES[:7]).to_bytes() + bytes(9))[:cut]

    with pytest.raises(StoreCorrupt):
        Frontier.from_bytes(stored)


@pytest.mark.parametrize(
    ("size", "peaks"), [(-1, ()), (1, ()), (1, (b"short",)), (0, (bytes(32),)), (2**63, (bytes(32),))]
)
def test_impossible_frontier_is_refused(size: int, peaks: tuple[bytes, ...]) -> None:
    """A frontier whose peaks do not fit its size cannot exist."""
    with pytest.raises(StoreCorrupt):
        Frontier(size=size, peaks=peaks)


def test_only_hashes_are_appended() -> None:
    """An entry that was not hashed is refused, so that it cannot pass for a leaf."""
    with pytest.raises(IdentifierInvalid):
        Frontier().append(b"an entry")


def test_frontier_stops_at_the_largest_size() -> None:
    """A tree never outgrows a signed 64-bit number."""
    full = Frontier(size=MAX_SIZE, peaks=(bytes(32),) * 63)

    with pytest.raises(Refused):
        full.append(LEAVES[0])


@dataclass(frozen=True)
class Inclusion:
    """The arguments of one inclusion verification."""

    leaf: bytes
    proof: tuple[bytes, ...]
    index: int
    size: int
    root: bytes

    def verify(self) -> None:
        """Run it."""
        verify_inclusion(self.leaf, self.proof, index=self.index, size=self.size, root=self.root)


@pytest.fixture
def inclusion() -> Inclusion:
    """A valid inclusion proof of entry 5 of 11."""
    first, second = tree_root(LEAVES[:4]), tree_root(LEAVES[6:8])
    return Inclusion(
        leaf=LEAVES[5],
        proof=(LEAVES[4], second, first, tree_root(LEAVES[8:])),
        index=5,
        size=11,
        root=tree_root(LEAVES),
    )


def test_inclusion_proof_by_hand_verifies(inclusion: Inclusion) -> None:
    """A proof written from the definition leads to the root."""
    inclusion.verify()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: replace(it, leaf=LEAVES[4]),
        lambda it: replace(it, leaf=b""),
        lambda it: replace(it, root=LEAVES[4]),
        lambda it: replace(it, root=b""),
        lambda it: replace(it, index=4),
        lambda it: replace(it, index=-1),
        lambda it: replace(it, index=11),
        lambda it: replace(it, size=8),
        lambda it: replace(it, size=17),
        lambda it: replace(it, size=2**63, index=2**62),
        lambda it: replace(it, proof=it.proof[:-1]),
        lambda it: replace(it, proof=(*it.proof, bytes(32))),
        lambda it: replace(it, proof=it.proof[::-1]),
        lambda it: replace(it, proof=(*it.proof[:-1], it.proof[-1] + b"x")),
        lambda it: replace(it, proof=()),
    ],
)
def test_spoiled_inclusion_proof_is_refused(inclusion: Inclusion, spoil: Callable[[Inclusion], Inclusion]) -> None:
    """Each single change of a valid inclusion proof makes it invalid."""
    with pytest.raises(ProofInvalid):
        spoil(inclusion).verify()


@pytest.mark.parametrize(("index", "size"), [(1, 1), (0, 0), (-1, 0)])
def test_index_outside_of_the_tree_is_refused(index: int, size: int) -> None:
    """An index at or beyond the size is refused even where the hashes would agree."""
    with pytest.raises(ProofInvalid, match="outside"):
        verify_inclusion(LEAVES[0], (), index=index, size=size, root=LEAVES[0])


def test_hashes_of_other_lengths_cannot_be_joined_differently() -> None:
    """A leaf one byte short and a sibling one byte long would give the same node, and are refused."""
    leaf, sibling = LEAVES[0][:31], LEAVES[0][31:] + LEAVES[1]

    with pytest.raises(ProofInvalid, match="not 32 bytes"):
        verify_inclusion(leaf, (sibling,), index=0, size=2, root=node_hash(LEAVES[0], LEAVES[1]))


def test_empty_leaf_and_root_are_refused() -> None:
    """A leaf and a root that agree because both are empty prove nothing."""
    with pytest.raises(ProofInvalid, match="not 32 bytes"):
        verify_inclusion(b"", (), index=0, size=1, root=b"")


def test_proof_that_climbs_above_the_root_is_refused(inclusion: Inclusion) -> None:
    """A hash too many is refused even where the root is one level higher, too."""
    above, higher = bytes(32), node_hash(bytes(32), inclusion.root)

    with pytest.raises(ProofInvalid, match="too many"):
        replace(inclusion, proof=(*inclusion.proof, above), root=higher).verify()


@dataclass(frozen=True)
class Consistency:
    """The arguments of one consistency verification."""

    proof: tuple[bytes, ...]
    old_size: int
    old_root: bytes
    new_size: int
    new_root: bytes

    def verify(self) -> None:
        """Run it."""
        verify_consistency(
            self.proof,
            old_size=self.old_size,
            old_root=self.old_root,
            new_size=self.new_size,
            new_root=self.new_root,
        )


@pytest.fixture
def consistency() -> Consistency:
    """A valid consistency proof from 6 to 11 entries."""
    proof = (tree_root(LEAVES[4:6]), tree_root(LEAVES[6:8]), tree_root(LEAVES[:4]), tree_root(LEAVES[8:]))
    return Consistency(proof, 6, tree_root(LEAVES[:6]), 11, tree_root(LEAVES))


def test_consistency_proof_by_hand_verifies(consistency: Consistency) -> None:
    """A proof written from the definition leads to both roots."""
    consistency.verify()


def test_equal_trees_are_consistent() -> None:
    """The same size and root need no proof."""
    Consistency((), 11, tree_root(LEAVES), 11, tree_root(LEAVES)).verify()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: replace(it, old_root=it.new_root),
        lambda it: replace(it, new_root=it.old_root),
        lambda it: replace(it, old_root=b""),
        lambda it: replace(it, new_root=b""),
        lambda it: replace(it, old_size=0),
        lambda it: replace(it, old_size=-1),
        lambda it: replace(it, old_size=0, old_root=EMPTY_ROOT, proof=()),
        lambda it: replace(it, old_size=5),
        lambda it: replace(it, old_size=8),
        lambda it: replace(it, new_size=5),
        lambda it: replace(it, new_size=8),
        lambda it: replace(it, new_size=2**63),
        lambda it: replace(it, old_size=11, proof=()),
        lambda it: replace(it, old_size=11, old_root=it.new_root),
        lambda it: replace(it, proof=()),
        lambda it: replace(it, proof=it.proof[:-1]),
        lambda it: replace(it, proof=(*it.proof, bytes(32))),
        lambda it: replace(it, proof=(*it.proof[:-1], b"short")),
    ],
)
def test_spoiled_consistency_proof_is_refused(
    consistency: Consistency, spoil: Callable[[Consistency], Consistency]
) -> None:
    """Each single change of a valid consistency proof makes it invalid."""
    with pytest.raises(ProofInvalid):
        spoil(consistency).verify()


def test_consistency_proof_that_climbs_above_the_roots_is_refused(consistency: Consistency) -> None:
    """A hash too many is refused even where both roots are one level higher, too."""
    old_root, new_root = (node_hash(bytes(32), root) for root in (consistency.old_root, consistency.new_root))

    with pytest.raises(ProofInvalid, match="too many"):
        replace(consistency, proof=(*consistency.proof, bytes(32)), old_root=old_root, new_root=new_root).verify()


def test_consistency_proof_that_stops_below_the_root_is_refused(consistency: Consistency) -> None:
    """A hash too few is refused even where the hashes lead to a smaller tree that is said to be larger."""
    with pytest.raises(ProofInvalid):
        replace(consistency, proof=consistency.proof[:-1], new_root=tree_root(LEAVES[:8])).verify()


def test_error_says_what_to_do() -> None:
    """A refused proof names the entry and the next act."""
    with pytest.raises(ProofInvalid) as caught:
        verify_inclusion(LEAVES[0], (), index=0, size=1, root=log_of(1).edge.root())

    assert caught.value.code == "log.proof_invalid"
    assert "entry 0" in caught.value.what
    assert "again" in caught.value.fix
