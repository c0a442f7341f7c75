"""Witnessing (c2sp.org/tlog-witness): cosign the checkpoints of logs, each only where it continues the last one.

What the witness cosigned last for a log, with its cosignatures, lies in `Heads`: it is durable before a cosignature
leaves, and replaced only if it is still the one that was compared with. So no two requests are ever answered with
cosignatures of two histories, in whatever threads or processes they are handled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from databund.errors import (
    CheckpointInvalid,
    DocumentInvalid,
    HeadMoved,
    InvalidInput,
    LogForked,
    NotFound,
    ProofInvalid,
    StoreUnavailable,
)
from databund.ports import Heads
from databund.tlog.checkpoints import Checkpoint, verify_advance
from databund.tlog.cosignatures import MAX_NAME_BYTES, Cosignature, check_covered, cosignature_signer
from databund.tlog.merkle import EMPTY_ROOT
from databund.tlog.notes import Note, Signature, Verifier, VerifierKey, open_note, parse_note
from databund.tlog.witnessing import SIZE_MEDIA_TYPE, AddCheckpoint, format_cosignatures, format_size

__all__ = ["Answer", "Cosigner", "Witness"]

_ATTEMPTS = 16
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """What a witness answers to a request: the HTTP status, the body and its media type."""

    status: int
    body: bytes
    media_type: str = _TEXT


@dataclass(frozen=True)
class Cosigner:
    """A key of the witness. ``sign(message)`` is the algorithm of the key's type with its private half."""

    key: VerifierKey
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True)
class _Seen:
    """What the witness cosigned last for a log: the stored note, its checkpoint, and the latest time on it."""

    note: bytes | None
    checkpoint: Checkpoint
    timestamp_s: int


class Witness:
    """A witness of some logs.

    ``logs`` gives for each origin the keys trusted to sign its checkpoints; ``cosigners`` are the witness's own
    keys; ``clock`` gives POSIX seconds. Raises `InvalidInput` for a log that cannot be cosigned.
    """

    def __init__(
        self,
        heads: Heads,
        cosigners: Sequence[Cosigner],
        logs: Mapping[str, Iterable[Verifier]],
        clock: Callable[[], int],
    ) -> None:
        self._heads = heads
        self._cosigners = tuple(cosigners)
        self._logs = {origin: tuple(keys) for origin, keys in logs.items()}
        self._origins = {sha256(origin.encode()).hexdigest(): origin for origin in self._logs}
        self._clock = clock
        for origin in self._logs:
            if len(origin.encode()) > MAX_NAME_BYTES:
                raise InvalidInput(
                    f"The log {origin[:40]}… has a name that cannot be cosigned.",
                    fix=f"Watch logs whose names have at most {MAX_NAME_BYTES} bytes.",
                )

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The public keys of the witness."""
        return tuple(cosigner.key for cosigner in self._cosigners)

    @property
    def origins(self) -> tuple[str, ...]:
        """The logs that are watched."""
        return tuple(self._logs)

    def checkpoint(self, origin_hash: str) -> bytes:
        """The checkpoint that was cosigned last for the log whose origin has this SHA-256 (64 lower-case digits).

        It carries the log's signatures that were verified, and the cosignatures that were given. Raises `NotFound` for
        an unknown log and one without a cosigned checkpoint, and what the port `Heads` raises.
        """
        origin = self._origins.get(origin_hash)
        note = None if origin is None else self._heads.get(origin)
        if note is None:
            raise NotFound("This witness cosigned no checkpoint of that log.", fix="Check the log's origin.")
        return note

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer the request ``add-checkpoint``, as the specification's rules say.

        200: signature lines. 400: a malformed request, or an old size above the checkpoint's. 403: no trusted key of
        the log signed, or not this. 404: an unknown log. 409: the old size is not the one that was cosigned last, which
        is the answer. 422: the checkpoint does not continue it. Raises what the port `Heads` raises.
        """
        try:
            request = AddCheckpoint.parse(body)
            text = parse_note(request.checkpoint).text
        except (DocumentInvalid, CheckpointInvalid) as error:
            return _refusal(400, error.what)
        origin, _, rest = text.partition("\n")
        if origin not in self._logs:
            return _refusal(404, "This witness does not know the log.")
        try:
            signatures = open_note(request.checkpoint, self._logs[origin]).verified
            check_covered(text.split("\n")[3:], signatures)
        except CheckpointInvalid as error:
            return _refusal(403, error.what)
        try:
            checkpoint = Checkpoint.parse(text)
        except CheckpointInvalid as error:
            # The empty log has one root; another one is a wrong tree and no malformed request.
            return _refusal(422 if rest.startswith("0\n") else 400, error.what)
        if request.old_size > checkpoint.size:
            return _refusal(400, f"The old size {request.old_size} is larger than the size {checkpoint.size}.")
        return self._cosigned(request, checkpoint, signatures)

    def _cosigned(self, request: AddCheckpoint, checkpoint: Checkpoint, signatures: Sequence[Signature]) -> Answer:
        for _ in range(_ATTEMPTS):
            seen = self._seen(checkpoint.origin)
            if request.old_size != seen.checkpoint.size:
                return Answer(409, format_size(seen.checkpoint.size), SIZE_MEDIA_TYPE)
            try:
                verify_advance(seen.checkpoint, checkpoint, proof=request.proof)
            except (LogForked, ProofInvalid) as error:
                return _refusal(422, error.what)
            # A clock that was set back does not make a later cosignature older; and 0 would say nothing of the time.
            timestamp_s = max(self._clock(), seen.timestamp_s, 1)
            message = checkpoint.text.encode()
            cosignatures = [
                Signature(signer.name, signer.key_id, signer.sign(message))
                for signer in (
                    cosignature_signer(cosigner.key, cosigner.sign, timestamp_s=timestamp_s)
                    for cosigner in self._cosigners
                )
            ]
            note = Note(checkpoint.text, (*signatures, *cosignatures)).to_bytes()
            try:
                self._heads.replace(checkpoint.origin, note, was=seen.note)
            except HeadMoved:
                continue  # somebody was faster: compare again
            except InvalidInput as error:
                return _refusal(400, error.what)
            return Answer(200, format_cosignatures(cosignatures))
        raise StoreUnavailable(f"Too many submit checkpoints of {checkpoint.origin} at once.", fix="Try again.")

    def _seen(self, origin: str) -> _Seen:
        note = self._heads.get(origin)
        if note is None:
            return _Seen(None, Checkpoint(origin, 0, EMPTY_ROOT), 0)
        # The store keeps what this witness wrote, whole or not at all; so it is not verified again.
        stored = parse_note(note)
        own = {(cosigner.key.name, cosigner.key.key_id) for cosigner in self._cosigners}
        times = [Cosignature.of(line).timestamp_s for line in stored.signatures if (line.name, line.key_id) in own]
        return _Seen(note, Checkpoint.parse(stored.text), max(times, default=0))


def _refusal(status: int, why: str) -> Answer:
    return Answer(status, f"{why}\n".encode())
