"""Trees, frontiers, tiles and proofs against the recursive definition of RFC 9162 section 2.1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databund.errors import ProofInvalid
from databund.tlog.merkle import Frontier, leaf_hash, tree_root, verify_consistency, verify_inclusion
from databund.tlog.tiles import Prover, TreeEdge, consistency_proof, inclusion_proof, root
from tests.unit.tlog_keys import MemoryLog, log_of

PAIRS_UP_TO = 70


def path(index: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """PATH(index, D_n) as RFC 9162 section 2.1.3.1 defines it."""
    if len(leaves) == 1:
        return ()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return (*path(index, leaves[:split]), tree_root(leaves[split:]))
    return (*path(index - split, leaves[split:]), tree_root(leaves[:split]))


def subproof(old: int, leaves: Sequence[bytes], *, whole: bool) -> tuple[bytes, ...]:
    """SUBPROOF(old, D_n, whole) as RFC 9162 section 2.1.4.1 defines it."""
    if old == len(leaves):
        return () if whole else (tree_root(leaves),)
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= split:
        return (*subproof(old, leaves[:split], whole=whole), tree_root(leaves[split:]))
    return (*subproof(old - split, leaves[split:], whole=False), tree_root(leaves[:split]))


@cache
def large_log() -> MemoryLog:
    """A log that reaches level 2."""
    return log_of(66_000)


@cache
def large_leaves() -> list[bytes]:
    """Its leaf hashes."""
    return [leaf_hash(entry) for entry in large_log().entries]


@given(st.lists(st.integers(0, 40), max_size=8))
def test_frontier_root_is_the_defined_root(batches: list[int]) -> None:
    """However a log is cut into batches, its root is that of the definition."""
    frontier, leaves = Frontier(), list[bytes]()
    for batch in batches:
        new = [leaf_hash(bytes([len(leaves) + number >> 8, len(leaves) + number & 255])) for number in range(batch)]
        frontier = frontier.extend(new)
        leaves += new

        assert frontier.root() == tree_root(leaves)
        assert Frontier.from_bytes(frontier.to_bytes()) == frontier


@given(st.lists(st.integers(0, 300), max_size=6))
def test_tiles_do_not_depend_on_batches(batches: list[int]) -> None:
    """However a log is cut into batches, it ends with the same edge and the same tiles."""
    log = MemoryLog()
    for batch in batches:
        log.append(*(f'{{"entry":{len(log.entries) + number}}}'.encode() for number in range(batch)))

    whole = log_of(sum(batches))
    assert log.tiles == whole.tiles
    assert log.edge == whole.edge == TreeEdge.load(sum(batches), log.read_exact)
    assert root(sum(batches), log.read) == log.edge.root()


def test_every_inclusion_proof_of_small_trees_is_the_defined_one_and_verifies() -> None:
    """For every size up to 70 and every index the proof from tiles is PATH, and leads to the root."""
    leaves = large_leaves()
    prover = Prover(large_log().read)
    for size in range(1, PAIRS_UP_TO + 1):
        expected = tree_root(leaves[:size])
        for index in range(size):
            proof = prover.inclusion_proof(index, size)

            assert proof == path(index, leaves[:size])
            verify_inclusion(leaves[index], proof, index=index, size=size, root=expected)


def test_every_consistency_proof_of_small_trees_is_the_defined_one_and_verifies() -> None:
    """For every pair of sizes up to 70 the proof from tiles is SUBPROOF, and leads to both roots."""
    leaves = large_leaves()
    prover = Prover(large_log().read)
    roots = [tree_root(leaves[:size]) for size in range(PAIRS_UP_TO + 1)]
    for new in range(1, PAIRS_UP_TO + 1):
        for old in range(1, new + 1):
            proof = prover.consistency_proof(old, new)

            assert proof == subproof(old, leaves[:new], whole=True)
            verify_consistency(proof, old_size=old, old_root=roots[old], new_size=new, new_root=roots[new])


def mutations(proof: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """The proof with one bit of each hash flipped, one hash left out, doubled or swapped, and one too many."""
    changed = [(*proof, bytes(32)), (bytes(32), *proof)]
    for at, value in enumerate(proof):
        flipped = value[:7] + bytes([value[7] ^ 16]) + value[8:]
        changed += [
            (*proof[:at], flipped, *proof[at + 1 :]),
            (*proof[:at], *proof[at + 1 :]),
            (*proof[:at], value, *proof[at:]),
            (*proof[:at], *proof[at + 1 : at + 2], value, *proof[at + 2 :]),
            (*proof[:at], value[:31], *proof[at + 1 :]),
        ]
    return [other for other in changed if other != proof]


def test_every_mutation_of_an_inclusion_proof_fails() -> None:
    """No changed proof, index, leaf, size or root verifies, for every proof of every tree up to 33."""
    leaves = large_leaves()
    prover = Prover(large_log().read)
    for size in range(1, 34):
        expected = tree_root(leaves[:size])
        for index in range(size):
            proof = prover.inclusion_proof(index, size)
            cases = [(leaves[index], other, index, expected) for other in mutations(proof)]
            cases += [(leaves[index], proof, other, expected) for other in range(-1, size + 2) if other != index]
            cases += [(leaves[-1], proof, index, expected), (leaves[index], proof, index, leaves[-1])]
            for leaf, other_proof, other_index, other_root in cases:
                with pytest.raises(ProofInvalid):
                    verify_inclusion(leaf, other_proof, index=other_index, size=size, root=other_root)


def test_every_mutation_of_a_consistency_proof_fails() -> None:
    """No changed proof or root verifies, for every pair of sizes up to 33."""
    leaves = large_leaves()
    prover = Prover(large_log().read)
    for new, old in product(range(1, 34), range(1, 34)):
        if old > new:
            continue
        proof = prover.consistency_proof(old, new)
        old_root, new_root = tree_root(leaves[:old]), tree_root(leaves[:new])
        cases = [(other, old_root, new_root) for other in mutations(proof)]
        cases += [(proof, leaves[-1], new_root), (proof, old_root, leaves[-1])]
        for other_proof, other_old, other_new in cases:
            with pytest.raises(ProofInvalid):
                verify_consistency(other_proof, old_size=old, old_root=other_old, new_size=new, new_root=other_new)


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 513, 4_097, 65_535, 65_536, 65_537, 66_000])
def test_proofs_around_tile_borders_are_the_defined_ones(size: int) -> None:
    """Around 256 and 65,536 entries the proofs from tiles are those of the definition."""
    log, leaves = large_log(), large_leaves()[:size]
    indexes = {0, 255, size // 2, size - 1, 7919 % size, 104_729 % size} & set(range(size))
    for index in indexes:
        assert inclusion_proof(index, size, read=log.read) == path(index, leaves)
    for old in {1, 255, 256, size // 2 + 1, size - 1, size} & set(range(1, size + 1)):
        assert consistency_proof(old, size, read=log.read) == subproof(old, leaves, whole=True)
    assert root(size, log.read) == tree_root(leaves)


@given(
    index=st.integers(-2, 2**64),
    size=st.integers(-2, 2**64),
    proof=st.lists(st.binary(min_size=31, max_size=33) | st.binary(min_size=32, max_size=32), max_size=70),
    leaf=st.binary(min_size=32, max_size=32),
)
def test_arbitrary_inclusion_proofs_raise_only_proof_invalid(
    index: int, size: int, proof: list[bytes], leaf: bytes
) -> None:
    """Whatever arrives as an inclusion proof is refused by the one error."""
    with pytest.raises(ProofInvalid):
        verify_inclusion(leaf, proof, index=index, size=size, root=bytes(32))


@given(
    old=st.integers(-2, 2**64),
    new=st.integers(-2, 2**64),
    proof=st.lists(st.binary(min_size=32, max_size=32), max_size=70),
)
def test_arbitrary_consistency_proofs_raise_only_proof_invalid(old: int, new: int, proof: list[bytes]) -> None:
    """Whatever arrives as a consistency proof is refused by the one error."""
    with pytest.raises(ProofInvalid):
        verify_consistency(proof, old_size=old, old_root=bytes(32), new_size=new, new_root=b"\x01" * 32)
