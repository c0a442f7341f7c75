"""Signed notes and verifier keys: each rule of c2sp.org/signed-note, and each single reason to refuse."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from databund.errors import CheckpointInvalid, KeyInvalid
from databund.tlog.cosignatures import Cosignature, cosignature_signer, cosignature_verifier
from databund.tlog.notes import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    Signature,
    SignatureType,
    VerifierKey,
    ed25519_signer,
    ed25519_verifier,
    open_note,
    parse_note,
    sign_note,
)
from tests.unit.tlog_keys import Key, verify_ed25519, witness_key

TEXT = "log.example\n1\n\nthe text may have empty lines\n"
LOG, OTHER, WITNESS = Key("log.example"), Key("other.example"), witness_key("witness.example")
ML_DSA = witness_key("witness.example", SignatureType.ML_DSA_44)


@pytest.fixture
def note() -> bytes:
    """A note that the log signed."""
    return sign_note(TEXT, [LOG.signer()]).to_bytes()


def test_signed_note_opens(note: bytes) -> None:
    """A note opens with its key, and the text is the one that was signed."""
    opened = open_note(note, [LOG.verifier()])

    assert opened.text == TEXT
    assert [line.name for line in opened.verified] == ["log.example"]
    assert parse_note(note).to_bytes() == note


def test_vkey_is_written_as_the_specification_says() -> None:
    """A verifier key has a name, eight hexadecimal digits and the typed key, and is read back equal."""
    name, key_id, _ = str(LOG.vkey).split("+", 2)

    assert (name, key_id) == ("log.example", f"{LOG.vkey.key_id:08x}")
    assert VerifierKey.parse(str(LOG.vkey)) == LOG.vkey
    assert VerifierKey.parse(str(WITNESS.vkey)) == WITNESS.vkey
    assert VerifierKey.parse(str(ML_DSA.vkey)) == ML_DSA.vkey


@pytest.mark.parametrize(("key", "byte"), [(LOG, 0x01), (WITNESS, 0x04), (ML_DSA, 0x06)])
def test_vkey_begins_with_the_assigned_type(key: Key, byte: int) -> None:
    """Ed25519 has 0x01, cosignature/v1 0x04 and ML-DSA-44 0x06 (signed-note "Signature types")."""
    material = str(key.vkey).split("+", 2)[2]

    assert base64.b64decode(material) == bytes([byte]) + key.vkey.public_key


@pytest.mark.parametrize(("key", "length"), [(LOG, 0), (LOG, 31), (LOG, 33), (WITNESS, 1312), (ML_DSA, 32)])
def test_public_keys_have_the_length_of_their_type(key: Key, length: int) -> None:
    """A key of another length than its type's (32 or 1312 bytes) is refused where it is made."""
    with pytest.raises(KeyInvalid):
        replace(key.vkey, public_key=bytes(length))


def test_same_key_has_another_id_for_another_use() -> None:
    """The signature type is part of the key ID, so that no signature passes for one of another type."""
    other_use = replace(LOG.vkey, signature_type=SignatureType.COSIGNATURE_V1)

    assert other_use.key_id != LOG.vkey.key_id


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a3+",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10Q=",
        "PeterNeumann+c74f20a3+BhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_other_verifier_keys_are_refused(vkey: str) -> None:
    """A verifier key of another form, type, length or ID is refused."""
    with pytest.raises(KeyInvalid):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\tb", "a\nb", "a\u00a0b", "a\u3000b", "a\u2028b", "a\x01b", "a\ud800"]
)
def test_names_with_spaces_or_plus_are_refused(name: str) -> None:
    """A key name has neither Unicode spaces nor plus signs, nor what a note cannot hold."""
    with pytest.raises(KeyInvalid):
        replace(LOG.vkey, name=name)


def test_key_of_another_use_makes_no_verifier() -> None:
    """A log's key cannot cosign and a witness's key cannot sign notes."""
    with pytest.raises(KeyInvalid):
        ed25519_verifier(WITNESS.vkey, verify_ed25519)
    with pytest.raises(KeyInvalid):
        ed25519_signer(WITNESS.vkey, bytes)
    with pytest.raises(KeyInvalid):
        cosignature_verifier(LOG.vkey, verify_ed25519)
    with pytest.raises(KeyInvalid):
        cosignature_signer(LOG.vkey, bytes, timestamp_s=0)


def test_note_without_a_known_signature_is_refused(note: bytes) -> None:
    """A note that only strangers signed is no note."""
    with pytest.raises(CheckpointInvalid, match="No known key"):
        open_note(note, [OTHER.verifier()])


def test_wrong_signature_of_a_known_key_refuses_the_whole_note(note: bytes) -> None:
    """A second, wrong signature of a known key outweighs the first, right one."""
    wrong = sign_note("another text\n", [OTHER.signer()]).signatures
    spoiled = sign_note(TEXT, [LOG.signer()], others=wrong).to_bytes()

    with pytest.raises(CheckpointInvalid, match=r"other\.example"):
        open_note(spoiled, [LOG.verifier(), OTHER.verifier()])
    assert open_note(spoiled, [LOG.verifier()]).unknown == wrong


@pytest.mark.parametrize("change", [{"name": "other.example"}, {"key_id": 7}])
def test_signature_that_shares_half_an_identity_is_unknown(change: dict[str, str | int]) -> None:
    """A signature with the name or the ID of a known key, but not both, is set aside."""
    signature = replace(sign_note("another text\n", [LOG.signer()]).signatures[0], **change)  # type: ignore[arg-type]
    note = sign_note(TEXT, [LOG.signer()], others=[signature]).to_bytes()

    assert open_note(note, [LOG.verifier()]).unknown == (signature,)


def test_repeated_signature_counts_once() -> None:
    """Two good signatures of one key are one verified signature, so that they cannot make a quorum."""
    note = sign_note(TEXT, [WITNESS.signer(timestamp_s=1), WITNESS.signer(timestamp_s=2)]).to_bytes()

    verified = open_note(note, [WITNESS.verifier()]).verified

    assert [Cosignature.of(line).timestamp_s for line in verified] == [1]


def test_two_verifiers_of_one_identity_are_refused(note: bytes) -> None:
    """The name and the ID name one key, or the caller made a mistake."""
    with pytest.raises(KeyInvalid):
        open_note(note, [LOG.verifier(), LOG.verifier()])


def test_empty_text_line_is_a_text() -> None:
    """The shortest text is one newline."""
    data = sign_note("\n", [LOG.signer()]).to_bytes()

    assert open_note(data, [LOG.verifier()]).text == "\n"


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n", "nul\0\n", "surrogate \ud800\n"])
def test_text_that_no_note_can_hold_is_not_signed(text: str) -> None:
    """A text without a final newline, or with another control character, is never signed."""
    with pytest.raises(CheckpointInvalid):
        sign_note(text, [LOG.signer()])


LINE = "\u2014 a AAAAAQE=\n".encode()


def test_line_of_the_malformed_cases_is_well_formed() -> None:
    """The line that the next test spoils parses as it is."""
    assert parse_note(b"text\n\n" + LINE) == Note("text\n", (Signature("a", 1, b"\x01"),))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        LINE,
        b"\n" + LINE,
        b"text\n" + LINE,
        b"text\n\n",
        b"text\n\n" + LINE[:-1],
        b"text\n\n" + LINE[:-1] + b"x",
        b"text\n\n" + LINE + b"\n",
        b"text\n\n" + LINE + b"\n" + LINE[3:],
        b"text\r\n\n" + LINE,
        b"t\x00ext\n\n" + LINE,
        b"t\xffext\n\n" + LINE,
        b"t\xed\xa0\x80ext\n\n" + LINE,
        b"text\n\n" + LINE.replace(b"\n", b"\r\n"),
        b"text\n\n" + LINE.replace("\u2014".encode(), b"-"),
        b"text\n\n" + LINE.replace("\u2014 ".encode(), "\u2014".encode()),
        b"text\n\n" + LINE.replace(b" a ", b"  "),
        b"text\n\n" + LINE.replace(b" a ", b" a  "),
        b"text\n\n" + LINE.replace(b" a ", b" a+b "),
        b"text\n\n" + LINE.replace(b" a ", " a\u00a0b ".encode()),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", b""),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", b"AAAAAQ=="),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", b"AAAAAQE"),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", b"AAAAAQF="),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", b"AAAA AQE="),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", b"AAAAAQE=="),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", b"AAAA-_E="),
        b"text\n\n" + LINE.replace(b"AAAAAQE=", "ＡAAAAQE=".encode()),
        b"text\n\n" + LINE * (MAX_SIGNATURES + 1),
        b"t" * MAX_NOTE_BYTES + b"\n\n" + LINE,
    ],
)
def test_malformed_note_is_refused(data: bytes) -> None:
    """Whatever differs from the specification's form in one point is refused."""
    with pytest.raises(CheckpointInvalid):
        parse_note(data)


def test_longest_note_is_read() -> None:
    """A note of exactly the bound is read."""
    data = b"t" * (MAX_NOTE_BYTES - 2 - len(LINE)) + b"\n\n" + LINE

    assert len(data) == MAX_NOTE_BYTES
    assert parse_note(data).to_bytes() == data


def test_many_signatures_are_read() -> None:
    """As many signatures as the bound says are read; the specification asks for 16."""
    assert len(parse_note(b"text\n\n" + LINE * MAX_SIGNATURES).signatures) == MAX_SIGNATURES >= 16


def test_note_without_signatures_is_refused() -> None:
    """A note with no signer cannot be written."""
    with pytest.raises(CheckpointInvalid):
        sign_note(TEXT, [])
