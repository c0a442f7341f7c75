"""Offline proofs: the text of c2sp.org/tlog-proof, and what it takes to believe one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from databund.errors import CheckpointInvalid, DatabundError, ProofInvalid
from databund.tlog.checkpoints import sign_checkpoint
from databund.tlog.merkle import MAX_SIZE
from databund.tlog.proofs import EntryProof, verify_entry
from databund.tlog.tiles import inclusion_proof
from tests.unit.tlog_keys import ORIGIN, Key, log_of, quorum_of, witness_key

LOG, WITNESS = Key(ORIGIN), witness_key("witness.example")
POLICY = quorum_of(1, WITNESS)
ENTRY_LOG = log_of(300)
ENTRY = ENTRY_LOG.entries[258]


@pytest.fixture(scope="module")
def proof() -> EntryProof:
    """The proof of entry 258 of 300, under the log's and one witness's signature."""
    checkpoint = sign_checkpoint(ENTRY_LOG.checkpoint(), [LOG.signer(), WITNESS.signer()]).to_bytes()
    return EntryProof(258, inclusion_proof(258, 300, read=ENTRY_LOG.read), checkpoint)


def verify(proof: EntryProof, entry: bytes = ENTRY) -> None:
    """Verify as somebody who knows the log and asks for its one witness."""
    verify_entry(proof, entry, origin=ORIGIN, log=[LOG.verifier()], policy=POLICY)


def test_proof_of_an_entry_verifies(proof: EntryProof) -> None:
    """An entry, its proof and two keys are enough; the checkpoint that vouches for it comes back."""
    opened = verify_entry(EntryProof.parse(proof.to_bytes()), ENTRY, origin=ORIGIN, log=[LOG.verifier()])

    assert opened.checkpoint == ENTRY_LOG.checkpoint()


def test_text_is_that_of_the_specification(proof: EntryProof) -> None:
    """The lines come in the order of tlog-proof, and the checkpoint verbatim at the end."""
    head, _, rest = replace(proof, extra=b"\x00").to_bytes().partition(b"\n\n")

    assert head.split(b"\n")[:3] == [b"c2sp.org/tlog-proof@v1", b"extra AA==", b"index 258"]
    assert len(head.split(b"\n")) == 3 + len(proof.hashes)
    assert rest == proof.checkpoint


def test_extra_data_comes_back(proof: EntryProof) -> None:
    """The application's extra data survives writing and reading, and a proof without has none."""
    extended = replace(proof, extra=b"context")

    assert EntryProof.parse(extended.to_bytes()) == extended
    assert EntryProof.parse(proof.to_bytes()).extra is None


def test_endless_head_is_refused_unread() -> None:
    """More than two megabytes before the checkpoint are refused before they are read as lines."""
    with pytest.raises(ProofInvalid, match="has no checkpoint"):
        EntryProof.parse(b"c2sp.org/tlog-proof@v1\n" * 100_000 + b"\n")


def test_only_entry_of_a_log_needs_no_hashes() -> None:
    """The proof in a log of one entry has no hash lines."""
    log = log_of(1)
    checkpoint = sign_checkpoint(log.checkpoint(), [LOG.signer(), WITNESS.signer()]).to_bytes()

    verify(EntryProof.parse(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + checkpoint), log.entries[0])


def test_another_entry_is_refused(proof: EntryProof) -> None:
    """The proof of one entry proves no other."""
    with pytest.raises(ProofInvalid):
        verify(proof, ENTRY_LOG.entries[257])


def test_another_index_is_refused(proof: EntryProof) -> None:
    """The entry is proven at its own place only."""
    with pytest.raises(ProofInvalid):
        verify(replace(proof, index=259))


def test_checkpoint_of_strangers_is_refused(proof: EntryProof) -> None:
    """A proof under a checkpoint of an unknown key proves nothing."""
    forged = sign_checkpoint(ENTRY_LOG.checkpoint(), [Key("stranger").signer(), WITNESS.signer()]).to_bytes()

    with pytest.raises(CheckpointInvalid):
        verify(replace(proof, checkpoint=forged))


def test_unwitnessed_checkpoint_is_refused(proof: EntryProof) -> None:
    """A checkpoint that too few witnesses saw proves nothing to who asks for them."""
    alone = sign_checkpoint(ENTRY_LOG.checkpoint(), [LOG.signer()]).to_bytes()

    with pytest.raises(CheckpointInvalid, match="0 of 1"):
        verify(replace(proof, checkpoint=alone))


def test_every_flipped_bit_is_refused(proof: EntryProof) -> None:
    """No single bit of a proof can change without the proof being refused."""
    data = proof.to_bytes()
    for at in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8

        with pytest.raises(DatabundError):
            verify(EntryProof.parse(bytes(flipped)))


def test_every_cut_is_refused(proof: EntryProof) -> None:
    """No beginning of a proof is a proof."""
    data = proof.to_bytes()
    for end in range(len(data)):
        with pytest.raises(DatabundError):
            verify(EntryProof.parse(data[:end]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"c2sp.org", b" c2sp.org"),
        (b"index 258", b"index 0258"),
        (b"index 258", b"index -1"),
        (b"index 258", b"index +258"),
        (b"index 258", b"index  258"),
        (b"index 258", b"index 258 "),
        (b"index 258", b"index"),
        (b"index 258", b"Index 258"),
        (b"index 258", b"index 258\r"),
        (b"index 258", b"index 9223372036854775807"),
        (b"index 258", b"extra \nindex 258"),
        (b"index 258", b"extra\nindex 258"),
        (b"index 258", b"extra AB==\nindex 258"),
        (b"index 258", b"extra AA==\nextra AA==\nindex 258"),
        (b"index 258", b"index 258\nindex 258"),
        (b"index 258", b"index 258\nAA=="),
        (b"index 258", b"index 258" + b"\n" + (b"A" * 43 + b"=\n") * 64 + b"A" * 43 + b"="),
        (b"index 258\n", b""),
        (b"index 258", "index ٢٥٨".encode()),
        (b"\n\n" + ORIGIN.encode(), b"\n" + ORIGIN.encode()),
        (b"\n\n" + ORIGIN.encode(), b"\n\n\n" + ORIGIN.encode()),
    ],
)
def test_malformed_text_is_refused(proof: EntryProof, old: bytes, new: bytes) -> None:
    """Whatever differs from the specification's form in one point is refused."""
    data = proof.to_bytes()
    assert data.count(old) == 1

    with pytest.raises((ProofInvalid, CheckpointInvalid)):
        EntryProof.parse(data.replace(old, new))


@pytest.mark.parametrize(
    "change",
    [{"index": -1}, {"index": MAX_SIZE}, {"hashes": (b"",)}, {"hashes": (bytes(32),) * 64}, {"extra": b""},
     {"extra": bytes(1_000_001)}, {"checkpoint": b""}],
)  # fmt: skip
def test_impossible_proof_cannot_be_made(proof: EntryProof, change: dict[str, object]) -> None:
    """A proof that could not be read back is refused where it is made."""
    with pytest.raises((ProofInvalid, CheckpointInvalid)):
        replace(proof, **change)  # type: ignore[arg-type]
