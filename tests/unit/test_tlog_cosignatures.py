"""Cosignatures: what exactly is signed, by Ed25519 and by ML-DSA-44, and each single reason to refuse one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from databund.crypto.signatures import verify_ed25519, verify_ml_dsa_44
from databund.errors import CheckpointInvalid, KeyInvalid
from databund.tlog.cosignatures import Cosignature, cosigned_message
from databund.tlog.notes import Note, SignatureType, open_note, sign_note
from tests.unit.tlog_keys import Key, witness_key

ORIGIN = "example.com/behind-the-sofa"
TEXT = f"{ORIGIN}\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
ED25519 = witness_key("witness.example/w1")
ML_DSA = witness_key("witness.example/w1", SignatureType.ML_DSA_44)
BOTH = pytest.mark.parametrize("key", [ED25519, ML_DSA])


def test_ed25519_message_is_that_of_the_specification() -> None:
    """The message has a header line, a time line and the whole text, extension lines included."""
    message = cosigned_message(ED25519.vkey, (TEXT + "extension\n").encode(), timestamp_s=1679315147)

    assert message == b"cosignature/v1\ntime 1679315147\n" + TEXT.encode() + b"extension\n"


def test_ml_dsa_message_is_that_of_the_specification() -> None:
    """The message is the structure cosigned_message of the whole tree, without extension lines."""
    message = cosigned_message(ML_DSA.vkey, (TEXT + "extension\n").encode(), timestamp_s=1679315147)

    name, origin = b"witness.example/w1", ORIGIN.encode()
    assert message == (
        b"subtree/v1\n\0"
        + struct.pack(f">B{len(name)}sQ", len(name), name, 1679315147)
        + struct.pack(f">B{len(origin)}sQQ32s", len(origin), origin, 0, 20852163, bytes(range(32)))
    )


@pytest.mark.parametrize("timestamp_s", [0, 1, 2**63 - 1])
@BOTH
def test_cosignature_is_the_time_and_the_signature(key: Key, timestamp_s: int) -> None:
    """The value of a cosignature is the time in 8 bytes, big endian, and the signature of its algorithm."""
    signature = sign_note(TEXT, [key.signer(timestamp_s=timestamp_s)]).signatures[0]

    assert len(signature.value) == 8 + (64 if key is ED25519 else 2420)
    assert int.from_bytes(signature.value[:8], "big") == Cosignature.of(signature).timestamp_s == timestamp_s
    message = cosigned_message(key.vkey, TEXT.encode(), timestamp_s=timestamp_s)
    (verify_ed25519 if key is ED25519 else verify_ml_dsa_44)(key.vkey.public_key, message, signature.value[8:])


@pytest.mark.parametrize("timestamp_s", [-1, 2**63])
@BOTH
def test_impossible_time_is_not_cosigned(key: Key, timestamp_s: int) -> None:
    """A cosignature's time lies between 0 and 2**63 - 1."""
    with pytest.raises(CheckpointInvalid):
        sign_note(TEXT, [key.signer(timestamp_s=timestamp_s)])


@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: value + b"x", lambda value: value[:1]])
@BOTH
def test_cosignature_of_another_length_is_refused(key: Key, change: Callable[[bytes], bytes]) -> None:
    """A cosignature has 72 or 2428 bytes, no more and no less."""
    signature = sign_note(TEXT, [key.signer()]).signatures[0]

    with pytest.raises(CheckpointInvalid, match="A cosignature has"):
        key.verifier().verify(TEXT.encode(), change(signature.value))
    with pytest.raises(CheckpointInvalid, match="A cosignature has"):
        Cosignature.of(replace(signature, value=change(signature.value)))


@BOTH
def test_every_part_is_signed(key: Key) -> None:
    """Another time, origin, size, root or signature breaks the cosignature."""
    signature = sign_note(TEXT, [key.signer(timestamp_s=5)]).signatures[0]
    later = (6).to_bytes(8, "big") + signature.value[8:]
    flipped = signature.value[:-1] + bytes([signature.value[-1] ^ 1])
    spoiled = [
        (TEXT, later),
        (TEXT, flipped),
        (TEXT.replace("sofa", "soda"), signature.value),
        (TEXT.replace("163", "164"), signature.value),
        (TEXT.replace("AAEC", "AAED"), signature.value),
    ]

    for text, value in spoiled:
        with pytest.raises(CheckpointInvalid):
            open_note(Note(text, (replace(signature, value=value),)).to_bytes(), [key.verifier()])
    assert open_note(Note(TEXT, (signature,)).to_bytes(), [key.verifier()]).verified


@BOTH
def test_time_beyond_the_bound_is_refused(key: Key) -> None:
    """A time above 2**63 - 1 on the wire is refused before any signature is looked at."""
    signature = sign_note(TEXT, [key.signer(timestamp_s=5)]).signatures[0]
    beyond = Note(TEXT, (replace(signature, value=b"\xff" * 8 + signature.value[8:]),))

    with pytest.raises(CheckpointInvalid):
        open_note(beyond.to_bytes(), [key.verifier()])


def test_ml_dsa_commits_to_the_cosigner_name() -> None:
    """An ML-DSA-44 cosignature does not pass for one of the same key under another name; an Ed25519 one would."""
    renamed = replace(ML_DSA.vkey, name="witness.example/w2")
    value = sign_note(TEXT, [ML_DSA.signer(timestamp_s=5)]).signatures[0].value

    assert cosigned_message(renamed, TEXT.encode(), timestamp_s=5) not in value
    assert cosigned_message(renamed, TEXT.encode(), timestamp_s=5) != cosigned_message(
        ML_DSA.vkey, TEXT.encode(), timestamp_s=5
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        TEXT.replace(ORIGIN, ""),
        TEXT.replace(ORIGIN, "o" * 256),
        TEXT.replace("20852163", "020852163"),
        TEXT.replace("20852163", "x"),
        TEXT.replace("AAEC", ""),
        TEXT.replace("8=", "9="),
    ],
)
def test_ml_dsa_cosigns_checkpoints_only(text: str) -> None:
    """A text without origin, size and root, or with an origin above 255 bytes, has no ML-DSA-44 message."""
    with pytest.raises(CheckpointInvalid):
        cosigned_message(ML_DSA.vkey, text.encode(), timestamp_s=1)


def test_names_of_ml_dsa_cosigners_are_bounded() -> None:
    """A cosigner's name has at most 255 bytes where it is signed, so that its length fits its one byte."""
    longest = witness_key("w" * 255, SignatureType.ML_DSA_44)
    assert open_note(sign_note(TEXT, [longest.signer()]).to_bytes(), [longest.verifier()]).verified

    with pytest.raises(KeyInvalid, match="too long"):
        witness_key("w" * 256, SignatureType.ML_DSA_44).verifier()
    assert witness_key("w" * 256).verifier()


def test_longest_origin_is_cosigned() -> None:
    """An origin of 255 bytes is the longest."""
    text = TEXT.replace(ORIGIN, "o" * 255)

    assert open_note(sign_note(text, [ML_DSA.signer()]).to_bytes(), [ML_DSA.verifier()]).verified
