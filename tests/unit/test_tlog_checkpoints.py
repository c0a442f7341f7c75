"""Checkpoints: their text, who has to have signed them, and how they may follow each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from databund.errors import CheckpointInvalid, LogForked, ProofInvalid
from databund.tlog.checkpoints import (
    Checkpoint,
    check_advance,
    open_checkpoint,
    read_unverified,
    sign_checkpoint,
    verify_advance,
)
from databund.tlog.merkle import EMPTY_ROOT
from databund.tlog.notes import SignatureType
from databund.tlog.tiles import consistency_proof
from tests.unit.tlog_keys import ORIGIN, Key, log_of, quorum_of, witness_key

LOG = Key(ORIGIN)
WITNESSES = [witness_key(f"witness.example/{number}") for number in range(3)]
CHECKPOINT = Checkpoint("example.com/behind-the-sofa", 20852163, bytes(range(32)))
TEXT = "example.com/behind-the-sofa\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


def test_text_is_that_of_the_specification() -> None:
    """A checkpoint's text is origin, size and root, one a line."""
    assert CHECKPOINT.text == TEXT
    assert Checkpoint.parse(TEXT) == CHECKPOINT


def test_extension_lines_are_kept() -> None:
    """Opaque lines after the root survive reading and writing."""
    extended = Checkpoint.parse(TEXT + "extension one\nextension two\n")

    assert extended.extensions == ("extension one", "extension two")
    assert extended.text == TEXT + "extension one\nextension two\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "extension",
        TEXT + "\nextension\n",
        TEXT + "tab\t\n",
        "\n" + TEXT,
        TEXT.partition("\n")[2],
        TEXT.replace("example.com/behind-the-sofa", ""),
        TEXT.replace("20852163", ""),
        TEXT.replace("20852163", "020852163"),
        TEXT.replace("20852163", "+20852163"),
        TEXT.replace("20852163", "-20852163"),
        TEXT.replace("20852163", "20852163 "),
        TEXT.replace("20852163", "20_852_163"),
        TEXT.replace("20852163", "２０８５２１６３"),
        TEXT.replace("20852163", "9223372036854775808"),
        TEXT.replace("20852163", "9" * 5000),
        TEXT.replace("20852163", "0"),
        TEXT.replace("8=", "9="),
        TEXT.replace("8=", "8"),
        TEXT.replace("Hh8=", "Hg=="),
        TEXT.replace("AAEC", ""),
    ],
)
def test_malformed_text_is_refused(text: str) -> None:
    """Whatever differs from the specification's form in one point is refused."""
    assert text != TEXT

    with pytest.raises(CheckpointInvalid):
        Checkpoint.parse(text)


def test_empty_log_has_a_checkpoint() -> None:
    """Size 0 is written as 0, with the root of the empty tree."""
    assert Checkpoint.parse(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text).size == 0


@pytest.mark.parametrize(
    "change",
    [{"origin": ""}, {"origin": "a\nb"}, {"size": -1}, {"size": 2**63}, {"root": b""}, {"extensions": ("",)}],
)
def test_impossible_checkpoint_cannot_be_made(change: dict[str, object]) -> None:
    """A checkpoint that could not be written is refused where it is made."""
    with pytest.raises(CheckpointInvalid):
        replace(CHECKPOINT, **change)  # type: ignore[arg-type]


def test_cosigned_checkpoint_opens_and_names_its_witnesses() -> None:
    """A checkpoint under the log's key and two witnesses gives both, with their times."""
    checkpoint = log_of(3).checkpoint()
    signers = [LOG.signer(), *(key.signer(timestamp_s=7 + at) for at, key in enumerate(WITNESSES[:2]))]
    data = sign_checkpoint(checkpoint, signers).to_bytes()

    opened = open_checkpoint(data, origin=ORIGIN, log=[LOG.verifier()], policy=quorum_of(2, *WITNESSES))

    assert opened.checkpoint == checkpoint == read_unverified(data)
    assert [(line.name, line.timestamp_s) for line in opened.cosignatures] == [
        ("witness.example/0", 7),
        ("witness.example/1", 8),
    ]


def test_witnesses_are_optional() -> None:
    """Who asks for no witness needs the log's signature only."""
    data = sign_checkpoint(log_of(3).checkpoint(), [LOG.signer()]).to_bytes()

    assert open_checkpoint(data, origin=ORIGIN, log=[LOG.verifier()]).cosignatures == ()


def test_witness_can_cosign_a_published_checkpoint() -> None:
    """A cosignature is added to the note that the log signed, and both verify."""
    note = sign_checkpoint(log_of(3).checkpoint(), [LOG.signer()])
    cosigned = sign_checkpoint(read_unverified(note.to_bytes()), [WITNESSES[0].signer()], others=note.signatures)

    opened = open_checkpoint(
        cosigned.to_bytes(), origin=ORIGIN, log=[LOG.verifier()], policy=quorum_of(1, WITNESSES[0])
    )

    assert len(opened.log_signatures) == len(opened.cosignatures) == 1


def test_extension_lines_that_the_log_did_not_sign_are_refused() -> None:
    """ML-DSA-44 leaves extension lines out, so a log's signature by it alone does not vouch for any."""
    key = witness_key(ORIGIN, SignatureType.ML_DSA_44)
    extended = replace(log_of(3).checkpoint(), extensions=("added by somebody",))
    alone = sign_checkpoint(extended, [key.signer(), WITNESSES[0].signer()]).to_bytes()
    both = sign_checkpoint(extended, [key.signer(), LOG.signer()]).to_bytes()

    with pytest.raises(CheckpointInvalid, match="extension lines that its log did not sign"):
        open_checkpoint(alone, origin=ORIGIN, log=[key.verifier(), LOG.verifier()])
    assert open_checkpoint(both, origin=ORIGIN, log=[key.verifier(), LOG.verifier()]).checkpoint == extended


def test_too_few_witnesses_are_refused() -> None:
    """One witness who signed twice is one of two."""
    signers = [LOG.signer(), WITNESSES[0].signer(timestamp_s=1), WITNESSES[0].signer(timestamp_s=2)]
    data = sign_checkpoint(log_of(3).checkpoint(), signers).to_bytes()

    with pytest.raises(CheckpointInvalid, match="1 of 2"):
        open_checkpoint(data, origin=ORIGIN, log=[LOG.verifier()], policy=quorum_of(2, *WITNESSES))


def test_witnesses_without_a_policy_may_cosign() -> None:
    """Known witnesses whom nobody asks for are verified where they signed, and not missed where they did not."""
    data = sign_checkpoint(log_of(3).checkpoint(), [LOG.signer(), WITNESSES[1].signer()]).to_bytes()

    opened = open_checkpoint(data, origin=ORIGIN, log=[LOG.verifier()], witnesses=[key.verifier() for key in WITNESSES])

    assert [line.name for line in opened.cosignatures] == ["witness.example/1"]


def test_log_may_sign_with_ml_dsa() -> None:
    """A checkpoint under the log's ML-DSA-44 key opens, and the same key may be listed as a witness, too."""
    key = witness_key(ORIGIN, SignatureType.ML_DSA_44)
    data = sign_checkpoint(log_of(3).checkpoint(), [key.signer()]).to_bytes()

    opened = open_checkpoint(data, origin=ORIGIN, log=[key.verifier()], policy=quorum_of(1, key))

    assert len(opened.log_signatures) == len(opened.cosignatures) == 1


def test_witnesses_cannot_speak_for_the_log() -> None:
    """A checkpoint that witnesses signed and the log did not is refused."""
    data = sign_checkpoint(log_of(3).checkpoint(), [WITNESSES[0].signer()]).to_bytes()

    with pytest.raises(CheckpointInvalid, match="did not sign"):
        open_checkpoint(data, origin=ORIGIN, log=[LOG.verifier()], witnesses=[WITNESSES[0].verifier()])


def test_checkpoint_of_another_log_is_refused() -> None:
    """A key that signs for two logs cannot pass one off as the other."""
    data = sign_checkpoint(replace(log_of(3).checkpoint(), origin="other.example"), [LOG.signer()]).to_bytes()

    with pytest.raises(CheckpointInvalid, match="not one of the log"):
        open_checkpoint(data, origin=ORIGIN, log=[LOG.verifier()])


def test_log_may_start_stay_and_grow() -> None:
    """The first checkpoint, the same one again, and a larger one may follow."""
    small, large = log_of(3).checkpoint(), log_of(5).checkpoint()

    check_advance(None, small)
    check_advance(small, small)
    check_advance(small, large)


def test_shrinking_log_is_a_fork() -> None:
    """A smaller size after a larger one is a fork."""
    with pytest.raises(LogForked, match="shrank from size 5 to 3"):
        check_advance(log_of(5).checkpoint(), log_of(3).checkpoint())


def test_two_roots_of_one_size_are_a_fork() -> None:
    """The same size with another root is a fork."""
    checkpoint = log_of(3).checkpoint()

    with pytest.raises(LogForked, match="two roots of size 3"):
        check_advance(checkpoint, replace(checkpoint, root=bytes(32)))


def test_origins_do_not_mix() -> None:
    """A checkpoint of another log is no fork of this one, and does not follow it either."""
    with pytest.raises(CheckpointInvalid):
        check_advance(log_of(3).checkpoint(), replace(log_of(5).checkpoint(), origin="other.example"))


def test_growth_is_proven() -> None:
    """A larger checkpoint with its consistency proof is accepted; with another root it is not."""
    small, log = log_of(3).checkpoint(), log_of(5)
    proof = consistency_proof(3, 5, read=log.read)

    verify_advance(small, log.checkpoint(), proof=proof)
    with pytest.raises(ProofInvalid):
        verify_advance(small, replace(log.checkpoint(), root=bytes(32)), proof=proof)


def test_every_log_continues_the_empty_one() -> None:
    """From size 0 nothing is to be proven, and a proof that says something is refused."""
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)

    verify_advance(empty, log_of(5).checkpoint(), proof=())
    with pytest.raises(ProofInvalid):
        verify_advance(empty, log_of(5).checkpoint(), proof=(bytes(32),))
