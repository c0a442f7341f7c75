"""Offline proofs (c2sp.org/tlog-proof, ``c2sp.org/tlog-proof@v1``): an entry, its place, its path, a signed checkpoint.

A proof is a short text that shows to anyone who has the entry and the log's key, without a network, that the log holds
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from databund.errors import ProofInvalid
from databund.tlog._canonical import base64_bytes, base64_text, decimal
from databund.tlog.checkpoints import OpenedCheckpoint, open_checkpoint, read_unverified
from databund.tlog.merkle import HASH_BYTES, MAX_SIZE, leaf_hash, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from databund.tlog.notes import Verifier
    from databund.tlog.policies import WitnessPolicy

__all__ = ["MAX_EXTRA_BYTES", "MAX_PROOF_HASHES", "EntryProof", "verify_entry"]

MAX_PROOF_HASHES: Final = 63
"""The most hashes that an inclusion proof can have: the height of the largest tree."""

MAX_EXTRA_BYTES: Final = 1_000_000
"""The most extra data that is read."""

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "
_MAX_HEAD_BYTES: Final = 2 * MAX_EXTRA_BYTES
_ASK_AGAIN: Final = "Ask for the proof again; if it fails again, do not trust its source."


@dataclass(frozen=True, slots=True)
class EntryProof:
    """A proof that some entry stands at ``index`` of a log.

    ``hashes`` is the inclusion proof, the leaf's sibling first; ``checkpoint`` the signed note as it was received.
    ``extra`` is None or 1 byte and more of the application's; nothing authenticates it.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_SIZE or len(self.hashes) > MAX_PROOF_HASHES:
            raise ProofInvalid(f"No log has an entry {self.index} with {len(self.hashes)} hashes.", fix=_ASK_AGAIN)
        if any(len(value) != HASH_BYTES for value in self.hashes):
            raise ProofInvalid(f"A proof has a hash that is not {HASH_BYTES} bytes.", fix=_ASK_AGAIN)
        if self.extra is not None and not 0 < len(self.extra) <= MAX_EXTRA_BYTES:
            raise ProofInvalid(
                f"A proof cannot carry {len(self.extra)} bytes of extra data.",
                fix=f"Use 1 to {MAX_EXTRA_BYTES}, or none.",
            )
        _check_form(self.checkpoint)

    def to_bytes(self) -> bytes:
        """The content of a ``.tlog-proof`` file (tlog-proof "Format")."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(_EXTRA + base64_text(self.extra))
        lines.append(f"{_INDEX}{self.index}")
        lines.extend(base64_text(value) for value in self.hashes)
        return "\n".join((*lines, "", "")).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> EntryProof:
        """Read a ``.tlog-proof`` file (tlog-proof "Format"), without verifying it.

        Raises ProofInvalid for a text that `to_bytes` would not write, and CheckpointInvalid when what stands in the
        checkpoint's place is not one.
        """
        head, blank, checkpoint = data.partition(b"\n\n")
        if not blank or len(head) > _MAX_HEAD_BYTES or not head.isascii():
            raise ProofInvalid("A proof has no checkpoint, or no short ASCII text before it.", fix=_ASK_AGAIN)
        header, *lines = head.decode("ascii").split("\n")
        if header != _HEADER:
            raise ProofInvalid(f"A proof does not begin with {_HEADER}.", fix=_ASK_AGAIN)
        extra: bytes | None = None
        if lines and lines[0].startswith(_EXTRA):
            extra = base64_bytes(lines.pop(0).removeprefix(_EXTRA))
            if not extra:
                raise ProofInvalid("A proof's extra data is empty or malformed.", fix=_ASK_AGAIN)
        index_line, *hash_lines = lines or [""]
        index = decimal(index_line.removeprefix(_INDEX), most=MAX_SIZE - 1)
        if not index_line.startswith(_INDEX) or index is None or len(hash_lines) > MAX_PROOF_HASHES:
            raise ProofInvalid("A proof has no index line, or too many hashes.", fix=_ASK_AGAIN)
        hashes = [base64_bytes(line) or b"" for line in hash_lines]
        return cls(index=index, hashes=tuple(hashes), checkpoint=checkpoint, extra=extra)


@lru_cache(maxsize=4)
def _check_form(checkpoint: bytes) -> None:
    """Raise CheckpointInvalid unless this is a note; remembered, because proofs come with the same one."""
    read_unverified(checkpoint)


def verify_entry(
    proof: EntryProof,
    entry: bytes,
    *,
    origin: str,
    log: Iterable[Verifier],
    policy: WitnessPolicy | None = None,
) -> OpenedCheckpoint:
    """Check that the log ``origin`` holds ``entry`` at the proof's index (tlog-proof "Verifying a tlog proof").

    The leaf hash is that of the entry's bytes (RFC 9162 section 2.1.1); keys and policy are as in `open_checkpoint`.
    Returns the checkpoint that vouches for the entry. Raises CheckpointInvalid when the checkpoint is not the log's, or
    not cosigned as the policy asks, and ProofInvalid when the entry is not in it at that index.
    """
    opened = open_checkpoint(proof.checkpoint, origin=origin, log=log, policy=policy)
    verify_inclusion(
        leaf_hash(entry),
        proof.hashes,
        index=proof.index,
        size=opened.checkpoint.size,
        root=opened.checkpoint.root,
    )
    return opened
