"""The bodies of the witness protocol (c2sp.org/tlog-witness): what is asked of a witness, and what it answers.

Only texts are read and written here, so strictly that each value has one spelling. Who may be answered what is decided
in `databund.app.witnessing`; what an answer is worth, in `databund.app.cosigning`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from databund.errors import DocumentInvalid
from databund.tlog._canonical import base64_bytes, base64_text, decimal
from databund.tlog.merkle import HASH_BYTES, MAX_SIZE
from databund.tlog.notes import MAX_SIGNATURES, Signature

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_PROOF_HASHES",
    "MAX_REQUEST_BYTES",
    "SIZE_MEDIA_TYPE",
    "AddCheckpoint",
    "format_cosignatures",
    "format_size",
    "parse_cosignatures",
    "parse_size",
]

MAX_REQUEST_BYTES: Final = 2**18
"""The longest request: the longest proof, and a checkpoint with 16 signatures of the largest algorithm, fit often."""

MAX_ANSWER_BYTES: Final = 2**18
"""The longest answer: `databund.tlog.notes.MAX_SIGNATURES` lines of ML-DSA-44 cosignatures fit."""

MAX_PROOF_HASHES: Final = 63
"""The most hashes that a consistency proof may have."""

SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"
"""The content type of the size that a witness answers when it has another one than the request says."""

_OLD: Final = "old "
_MAX_HEAD_BYTES: Final = 64 * 64
_SEE: Final = "Write it as c2sp.org/tlog-witness says."


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The request ``add-checkpoint``: a new checkpoint, and the proof that it continues the one of ``old_size``.

    ``checkpoint`` is a signed note as it was sent; it is neither parsed nor verified here.
    """

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.old_size <= MAX_SIZE or len(self.proof) > MAX_PROOF_HASHES:
            raise _invalid(f"it has the old size {self.old_size} and {len(self.proof)} hashes")
        if any(len(value) != HASH_BYTES for value in self.proof):
            raise _invalid(f"a hash of its proof does not have {HASH_BYTES} bytes")

    def to_bytes(self) -> bytes:
        """The body of the request."""
        lines = (f"{_OLD}{self.old_size}", *map(base64_text, self.proof), "", "")
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Read the body of a request. Raises DocumentInvalid for one that `to_bytes` would not write."""
        head, blank, checkpoint = body.partition(b"\n\n")
        if not blank or len(head) > _MAX_HEAD_BYTES or not head.isascii():
            raise _invalid("it has no old size and proof before an empty line")
        old, *lines = head.decode("ascii").split("\n")
        old_size = decimal(old.removeprefix(_OLD), most=MAX_SIZE)
        if not old.startswith(_OLD) or old_size is None:
            raise _invalid("it does not begin with the old size")
        return cls(old_size, tuple(base64_bytes(line) or b"" for line in lines), checkpoint)


def format_cosignatures(signatures: Iterable[Signature]) -> bytes:
    """The body of a witness's answer: its signature lines."""
    return "".join(map(str, signatures)).encode()


def parse_cosignatures(body: bytes) -> tuple[Signature, ...]:
    """Read the signature lines that a witness answered, of which nothing is verified.

    Raises DocumentInvalid for a body that is not one line or more, and CheckpointInvalid for a malformed line.
    """
    try:
        text = body.decode("utf-8") if len(body) <= MAX_ANSWER_BYTES else ""
    except UnicodeDecodeError:
        text = ""
    lines = text[:-1].split("\n", MAX_SIGNATURES)
    if not text.endswith("\n") or len(lines) > MAX_SIGNATURES:
        raise _invalid("the answer has no signature lines, or too many")
    return tuple(Signature.parse(line) for line in lines)


def format_size(size: int) -> bytes:
    """The body that says which size the witness has."""
    return f"{size}\n".encode()


def parse_size(body: bytes) -> int:
    """Read the size that a witness says it has. Raises DocumentInvalid for another text."""
    size = decimal(body[:-1].decode("ascii", "replace"), most=MAX_SIZE) if body.endswith(b"\n") else None
    if size is None:
        raise _invalid("the answer is not the size of a log")
    return size


def _invalid(why: str) -> DocumentInvalid:
    return DocumentInvalid(f"This is not what a witness is asked or answers: {why}.", fix=_SEE)
