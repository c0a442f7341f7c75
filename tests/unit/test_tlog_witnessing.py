"""The witness protocol's texts: c2sp.org/tlog-witness as it is written, and each single reason to refuse one."""

from __future__ import annotations

import base64

import pytest

from databund.errors import CheckpointInvalid, DocumentInvalid
from databund.tlog.merkle import MAX_SIZE
from databund.tlog.notes import MAX_SIGNATURES, Signature
from databund.tlog.witnessing import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    format_cosignatures,
    format_size,
    parse_cosignatures,
    parse_size,
)

HASH = bytes(range(32))
LINE = base64.b64encode(HASH).decode()
BODY = f"old 20852014\n{LINE}\n{LINE}\n\nexample.com\n\nrest\n".encode()


def test_request_is_that_of_the_specification() -> None:
    """A request has the old size, the proof, an empty line and the checkpoint verbatim."""
    request = AddCheckpoint(20852014, (HASH, HASH), b"example.com\n\nrest\n")

    assert request.to_bytes() == BODY
    assert AddCheckpoint.parse(BODY) == request


def test_first_request_has_no_proof() -> None:
    """A log that a witness never saw is submitted with the old size 0 and no hash."""
    assert AddCheckpoint.parse(b"old 0\n\nnote") == AddCheckpoint(0, (), b"note")


def test_longest_proof_is_read() -> None:
    """63 hashes are read, and fit into a request together with many signatures."""
    request = AddCheckpoint(MAX_SIZE, (HASH,) * 63, b"")

    assert AddCheckpoint.parse(request.to_bytes()) == request
    assert len(request.to_bytes()) < MAX_REQUEST_BYTES // 16


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"old 0",
        b"old 0\n",
        b"old\n\nnote",
        b"old \n\nnote",
        b"0\n\nnote",
        b"Old 0\n\nnote",
        b"old  0\n\nnote",
        b"old 0 \n\nnote",
        b"old 00\n\nnote",
        b"old 01\n\nnote",
        b"old +1\n\nnote",
        b"old -1\n\nnote",
        b"old 1_0\n\nnote",
        b"old 9223372036854775808\n\nnote",
        b"old 0\r\n\r\nnote",
        "old ١\n\nnote".encode(),
        b"old 1\nAA==\n\nnote",
        b"old 1\n" + LINE.encode() + b" \n\nnote",
        b"old 1\n" + LINE[:-1].encode() + b"\n\nnote",
        b"old 1\n" + LINE.replace("8=", "9=").encode() + b"\n\nnote",
        b"old 1\n" + (LINE.encode() + b"\n") * 64 + b"\nnote",
        b"old 1\n" + b"x" * 10_000_000,
    ],
)
def test_malformed_requests_are_refused(body: bytes) -> None:
    """Whatever differs from the specification's form in one point is refused."""
    with pytest.raises(DocumentInvalid):
        AddCheckpoint.parse(body)


@pytest.mark.parametrize(("old_size", "proof"), [(-1, ()), (MAX_SIZE + 1, ()), (1, (b"short",)), (1, (HASH,) * 64)])
def test_impossible_request_cannot_be_made(old_size: int, proof: tuple[bytes, ...]) -> None:
    """A request that could not be read back is refused where it is made."""
    with pytest.raises(DocumentInvalid):
        AddCheckpoint(old_size, proof, b"")


def test_cosignatures_come_back() -> None:
    """An answer is one or more signature lines, as they stand in a note."""
    lines = (Signature("witness.example/w1", 7, b"value"), Signature("witness.example/w2", 8, b"other"))

    assert format_cosignatures(lines) == "".join(map(str, lines)).encode()
    assert parse_cosignatures(format_cosignatures(lines)) == lines


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"garbage",
        b"garbage\n",
        b"\xff\n",
        str(Signature("w", 7, b"value")).encode()[:-1],
        str(Signature("w", 7, b"value")).encode() + b"\n",
        str(Signature("w", 7, b"value")).encode() * (MAX_SIGNATURES + 1),
        b"\xe2\x80\x94 w " + base64.b64encode(bytes(MAX_ANSWER_BYTES)) + b"\n",
    ],
)
def test_malformed_answers_are_refused(body: bytes) -> None:
    """An answer that is not whole signature lines, or too many or too long, is refused."""
    with pytest.raises((DocumentInvalid, CheckpointInvalid)):
        parse_cosignatures(body)


def test_sizes_come_back() -> None:
    """The size that a witness has is a decimal and a newline."""
    assert format_size(20852014) == b"20852014\n"
    assert [parse_size(format_size(size)) for size in (0, 7, MAX_SIZE)] == [0, 7, MAX_SIZE]


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"7", b"07\n", b" 7\n", b"7\n\n", b"-1\n", b"9223372036854775808\n", b"\xff\n"]
)
def test_malformed_sizes_are_refused(body: bytes) -> None:
    """Another text than a decimal and a newline is no size."""
    with pytest.raises(DocumentInvalid):
        parse_size(body)
