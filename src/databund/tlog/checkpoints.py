"""Checkpoints (c2sp.org/tlog-checkpoint): the signed size and root of a log, and the order in which they may follow.

A log must never sign a checkpoint that contradicts one it signed before; `check_advance` and `verify_advance` are that
rule. When to sign, and making the last signed checkpoint durable first, are left to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from databund.errors import CheckpointInvalid, LogForked, ProofInvalid
from databund.tlog._canonical import base64_bytes, base64_text, decimal
from databund.tlog.cosignatures import Cosignature, check_covered
from databund.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, verify_consistency
from databund.tlog.notes import MAX_NOTE_BYTES, check_text, open_note, parse_note, sign_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from databund.tlog.notes import Note, Signature, Signer, Verifier
    from databund.tlog.policies import WitnessPolicy

__all__ = [
    "Checkpoint",
    "OpenedCheckpoint",
    "check_advance",
    "open_checkpoint",
    "read_unverified",
    "sign_checkpoint",
    "verify_advance",
]

_FETCH_AGAIN: Final = "Fetch the checkpoint again; if it fails again, do not trust this log."
_KEEP_EVIDENCE: Final = "Keep both checkpoints as evidence, stop using this log, and ask its operator."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: the log's identity, how many entries it has, and the root over them.

    ``extensions`` are opaque lines; the specification advises against them.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all((self.origin, *self.extensions)) or any("\n" in line for line in (self.origin, *self.extensions)):
            raise CheckpointInvalid("A checkpoint has an empty or a broken line.", fix=_FETCH_AGAIN)
        check_text(self.text)
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise CheckpointInvalid(
                f"A checkpoint has the size {self.size} and a root of {len(self.root)} bytes.", fix=_FETCH_AGAIN
            )
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointInvalid(
                "A checkpoint of size 0 does not have the root of the empty tree.", fix=_FETCH_AGAIN
            )

    @property
    def text(self) -> str:
        """The note text: origin, size, root and extensions, one a line (tlog-checkpoint "Note text")."""
        return "\n".join((self.origin, str(self.size), base64_text(self.root), *self.extensions, ""))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note text, as `text` writes it. Raises CheckpointInvalid for any other.

        Nothing about it is verified: `open_checkpoint` does that.
        """
        lines = text.split("\n")
        if len(text) > MAX_NOTE_BYTES or len(lines) < 4 or lines.pop() != "":
            raise CheckpointInvalid("A checkpoint does not have three lines.", fix=_FETCH_AGAIN)
        size, root = decimal(lines[1], most=MAX_SIZE), base64_bytes(lines[2])
        if size is None or root is None:
            raise CheckpointInvalid("A checkpoint's size or root is malformed.", fix=_FETCH_AGAIN)
        return cls(origin=lines[0], size=size, root=root, extensions=tuple(lines[3:]))


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint that the log signed, with the witnesses' cosignatures that were verified.

    ``cosignatures`` has at most one per known witness. ``unknown`` holds the signatures by other keys.
    """

    checkpoint: Checkpoint
    log_signatures: tuple[Signature, ...]
    cosignatures: tuple[Cosignature, ...]
    unknown: tuple[Signature, ...]


def sign_checkpoint(checkpoint: Checkpoint, signers: Iterable[Signer], *, others: Iterable[Signature] = ()) -> Note:
    """The signed note of a checkpoint. Call `check_advance` against the last signed one before.

    ``others`` are cosignatures that were collected for the same text. A log's own key name should be its origin.
    """
    return sign_note(checkpoint.text, signers, others=others)


def open_checkpoint(
    data: bytes,
    *,
    origin: str,
    log: Iterable[Verifier],
    witnesses: Iterable[Verifier] = (),
    policy: WitnessPolicy | None = None,
) -> OpenedCheckpoint:
    """Read and verify a checkpoint.

    ``log`` holds the keys of the log ``origin``, one of which must have signed; ``witnesses`` those of known witnesses
    (see `databund.tlog.cosignatures`), who may have. With a ``policy`` its witnesses are known, too, and must have
    cosigned as it asks; the logs it lists count only when they are given as ``log`` (`WitnessPolicy.log_verifiers`).
    Raises CheckpointInvalid when somebody's signature is missing, when any known key's signature is wrong, when the
    origin is another, or when the form is not that of the specification.
    """
    log_keys = {(key.name, key.key_id): key for key in log}
    witness_keys = {(key.name, key.key_id): key for key in (*witnesses, *(policy.verifiers if policy else ()))}
    opened = open_note(data, {**witness_keys, **log_keys}.values())
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin != origin:
        raise CheckpointInvalid(f"The checkpoint is not one of the log {origin}.", fix=_FETCH_AGAIN)
    log_signatures = tuple(line for line in opened.verified if (line.name, line.key_id) in log_keys)
    if not log_signatures:
        raise CheckpointInvalid(f"The log {origin} did not sign its checkpoint.", fix=_FETCH_AGAIN)
    check_covered(checkpoint.extensions, log_signatures)
    # A log that signs by ML-DSA-44 may be listed as a witness of its own; its one signature counts as both.
    cosigned = tuple(line for line in opened.verified if (line.name, line.key_id) in witness_keys)
    if policy is not None:
        policy.check(cosigned)
    return OpenedCheckpoint(checkpoint, log_signatures, tuple(map(Cosignature.of, cosigned)), opened.unknown)


def read_unverified(data: bytes) -> Checkpoint:
    """What a checkpoint claims, unverified. Raises CheckpointInvalid when its form is wrong.

    For showing, and for a log's own stored checkpoint; never for trusting another's.
    """
    return Checkpoint.parse(parse_note(data).text)


def check_advance(previous: Checkpoint | None, following: Checkpoint) -> None:
    """Check that ``following`` may come after ``previous``, as far as sizes and roots alone can tell.

    Raises LogForked when the log shrinks or has two roots of one size, CheckpointInvalid when the origins differ. A
    larger size may still be a fork: a log's own tree rules that out, others need `verify_advance`.
    """
    if previous is None:
        return
    if previous.origin != following.origin:
        raise CheckpointInvalid(
            f"A checkpoint of {following.origin} cannot follow one of {previous.origin}.", fix=_FETCH_AGAIN
        )
    if following.size < previous.size:
        raise LogForked(
            f"The log {previous.origin} shrank from size {previous.size} to {following.size}.", fix=_KEEP_EVIDENCE
        )
    if following.size == previous.size and following.root != previous.root:
        raise LogForked(f"The log {previous.origin} has two roots of size {previous.size}.", fix=_KEEP_EVIDENCE)


def verify_advance(previous: Checkpoint, following: Checkpoint, *, proof: Sequence[bytes]) -> None:
    """Check that ``following`` is ``previous`` with more entries, by a consistency proof (RFC 9162 section 2.1.4.2).

    Raises as `check_advance` does, and ProofInvalid for a proof that does not show it. Every log continues the empty
    one, for which the proof must be empty (c2sp.org/tlog-witness "add-checkpoint").
    """
    check_advance(previous, following)
    if previous.size == 0:
        if proof:
            raise ProofInvalid("A consistency proof from the empty log is not empty.", fix=_FETCH_AGAIN)
        return
    verify_consistency(
        proof, old_size=previous.size, old_root=previous.root, new_size=following.size, new_root=following.root
    )
