"""Other people's vectors: the Go package's note, and, where copies are at hand, C2SP's examples and merkle's proofs."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest

from databund.errors import CheckpointInvalid, ProofInvalid
from databund.sdk.log_keys import verifier
from databund.tlog.checkpoints import open_checkpoint, read_unverified
from databund.tlog.merkle import verify_consistency, verify_inclusion
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_verifier, open_note, parse_note
from databund.tlog.witnessing import AddCheckpoint, format_cosignatures, parse_cosignatures
from tests.unit.tlog_keys import verify_ed25519

NOTE_VECTORS = Path(__file__).parent.parent / "vectors" / "signed_note"


def copy_of(variable: str, what: str) -> Path:
    """The folder that the variable names; without it the test is skipped."""
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name a copy of {what}")
    return Path(os.environ[variable])


def examples(name: str) -> list[bytes]:
    """The signed notes between the code fences of a C2SP specification."""
    text = (copy_of("DATABUND_C2SP_SPECS", "the repository C2SP/C2SP") / name).read_text(encoding="utf-8")
    return [block.encode() for block in re.findall(r"^```\n(.*?)^```$", text, re.S | re.M) if "\n\n\u2014 " in block]


def vectors(kind: str) -> list[dict[str, object]]:
    """The 98 vectors of one kind."""
    folder = copy_of("DATABUND_MERKLE_VECTORS", "the folder testdata of transparency-dev/merkle") / kind
    found = [json.loads(path.read_bytes()) for path in sorted(folder.rglob("*.json"))]
    assert len(found) == 98
    return found


def hashes(value: object) -> list[bytes]:
    """A JSON list of base64, or null."""
    return [base64.b64decode(item) for item in (value if isinstance(value, list) else [])]


def outcome(verify: object, *arguments: object, **named: object) -> bool:
    """Whether the verification passes."""
    assert callable(verify)
    try:
        verify(*arguments, **named)
    except ProofInvalid:
        return False
    return True


def test_note_of_the_go_package_opens() -> None:
    """The note in the documentation of Go's own package opens with its verifier key."""
    data = (NOTE_VECTORS / "peter-neumann.note").read_bytes()
    key = VerifierKey.parse((NOTE_VECTORS / "peter-neumann.vkey").read_text(encoding="utf-8").rstrip("\n"))

    note = open_note(data, [ed25519_verifier(key, verify_ed25519)])

    assert note.text.startswith("If you think cryptography is the answer")
    assert parse_note(data).to_bytes() == data


def test_ml_dsa_checkpoint_of_torchwood_opens() -> None:
    """A checkpoint that another implementation signed by ML-DSA-44 opens with the verifier key it wrote."""
    data = (NOTE_VECTORS / "ml-dsa-44-log.note").read_bytes()
    key = VerifierKey.parse((NOTE_VECTORS / "ml-dsa-44-log.vkey").read_text(encoding="utf-8").rstrip("\n"))

    opened = open_checkpoint(data, origin="example.com/mldsa-log", log=[verifier(key)])

    assert (opened.checkpoint.size, key.signature_type) == (1, SignatureType.ML_DSA_44)
    with pytest.raises(CheckpointInvalid):
        open_checkpoint(data.replace(b"\n1\n", b"\n2\n"), origin="example.com/mldsa-log", log=[verifier(key)])


def test_example_of_signed_note_opens() -> None:
    """The example of c2sp.org/signed-note opens with the verifier key beside it."""
    data = examples("signed-note.md")[-1]
    key = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")

    assert open_note(data, [ed25519_verifier(key, verify_ed25519)]).text == "This is an example message.\n"


@pytest.mark.parametrize("name", ["signed-note.md", "tlog-checkpoint.md", "tlog-cosignature.md"])
def test_examples_of_notes_parse(name: str) -> None:
    """Every complete note that a specification shows parses and is written back unchanged."""
    found = examples(name)

    assert found
    assert [parse_note(data).to_bytes() for data in found] == found


def test_example_of_checkpoint_parses() -> None:
    """The example of c2sp.org/tlog-checkpoint says what the specification says it says."""
    checkpoint = read_unverified(examples("tlog-checkpoint.md")[0])

    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)


def test_examples_of_the_witness_protocol_parse() -> None:
    """The request and the answer that c2sp.org/tlog-witness shows are read and written back unchanged."""
    text = (copy_of("DATABUND_C2SP_SPECS", "the repository C2SP/C2SP") / "tlog-witness.md").read_text(encoding="utf-8")
    request, answer = re.findall(r"Example (?:request|response) body:\n\n((?:(?:    .*)?\n)+?)\n(?=\S)", text)[:2]
    body = re.sub("^    ", "", request, flags=re.M).encode()
    lines = re.sub("^    ", "", answer, flags=re.M).encode()

    parsed = AddCheckpoint.parse(body)

    assert (parsed.old_size, len(parsed.proof), read_unverified(parsed.checkpoint).size) == (20852014, 4, 20852163)
    assert parsed.to_bytes() == body
    assert format_cosignatures(parse_cosignatures(lines)) == lines


def test_merkle_inclusion_vectors() -> None:
    """All 98 inclusion vectors of transparency-dev/merkle come out as they say."""
    wrong = [
        vector["desc"]
        for vector in vectors("inclusion")
        if outcome(
            verify_inclusion,
            base64.b64decode(str(vector["leafHash"] or "")),
            hashes(vector["proof"]),
            index=vector["leafIdx"],
            size=vector["treeSize"],
            root=base64.b64decode(str(vector["root"] or "")),
        )
        is bool(vector["wantErr"])
    ]

    assert not wrong


def test_merkle_consistency_vectors() -> None:
    """All 98 consistency vectors of transparency-dev/merkle come out as they say."""
    wrong = [
        vector["desc"]
        for vector in vectors("consistency")
        if outcome(
            verify_consistency,
            hashes(vector["proof"]),
            old_size=vector["size1"],
            old_root=base64.b64decode(str(vector["root1"] or "")),
            new_size=vector["size2"],
            new_root=base64.b64decode(str(vector["root2"] or "")),
        )
        is bool(vector["wantErr"])
    ]

    assert not wrong
