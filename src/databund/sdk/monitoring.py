"""Monitoring: one log, looked at again and again, and an alarm when it is not the log that it was.

The monitor keeps the newest checkpoint that it verified, durably. Each further one has to be signed by the same key and
to extend it, which is shown by a consistency proof built from the log's own tiles (c2sp.org/tlog-tiles), or by hashing
every new entry. Two contradicting checkpoints are kept as evidence: anybody can verify them, and nobody else could have
signed them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from databund.errors import (
    CheckpointInvalid,
    DatabundError,
    IntegrityFailed,
    InvalidInput,
    LogForked,
    LogStale,
    NodeUnreachable,
    NotFound,
    Unavailable,
)
from databund.sdk.durable_files import one_writer, replace_file
from databund.sdk.log_keys import verifier
from databund.sdk.mirror import Mirror
from databund.tlog.checkpoints import Checkpoint, OpenedCheckpoint, open_checkpoint, read_unverified
from databund.tlog.notes import VerifierKey, parse_note
from databund.tlog.policies import WitnessPolicy
from databund.tlog.sources import LogSource, verify_extension

__all__ = ["Alarm", "AlarmKind", "Monitor", "Sighting"]

_AHEAD_S = 300  # how far a witness's clock may be ahead of ours
_CHECKPOINT, _ALIVE, _EVIDENCE, _MIRROR = "checkpoint", "alive.json", "evidence", "mirror"


class AlarmKind(StrEnum):
    """What a monitor may find."""

    FORK = "fork"
    """The log signed two histories."""
    ROLLBACK = "rollback"
    """The log shows fewer entries than it did."""
    UNKNOWN_KEY = "unknown key"
    """The checkpoint is not signed by the key of this log."""
    WRONG_ORIGIN = "wrong origin"
    """The checkpoint is that of another log."""
    FORGED = "forged"
    """A signature by the key of the log, or of a witness, is wrong."""
    BROKEN = "broken"
    """What the log serves is malformed, missing, or does not lead to its signed root."""
    QUORUM_LOST = "quorum lost"
    """Fewer witnesses cosigned than the policy asks for."""
    STALE = "stale"
    """The log has neither grown nor been cosigned again for too long."""
    UNREACHABLE = "unreachable"
    """The log does not answer."""


@dataclass(frozen=True)
class Alarm:
    """What is wrong: ``error`` says it and what to do, ``evidence`` are files that prove it."""

    kind: AlarmKind
    error: DatabundError
    evidence: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Sighting:
    """One look at a log: the newest verified checkpoint, if any, by how many entries it grew, and who cosigned it."""

    checkpoint: Checkpoint | None
    grown: int = 0
    cosigners: Sequence[str] = ()
    alarm: Alarm | None = None


class Monitor:
    """Follows the log of ``key`` at ``source``; ``folder`` holds what has to outlive this process.

    ``stale_s`` seconds without growth and without a newer cosignature are too long. With ``entries`` every new entry is
    fetched and hashed into a mirror in the folder. Raises `NodeChanged` for a folder of a log with another key.
    """

    def __init__(
        self,
        source: LogSource,
        folder: Path,
        key: VerifierKey,
        *,
        policy: WitnessPolicy | None = None,
        stale_s: int,
        entries: bool = False,
    ) -> None:
        Mirror(folder).keep_key(key)
        self._source = source
        self._folder = folder
        self._key = key
        self._policy = policy
        self._stale_s = stale_s
        self._mirror = Mirror(folder / _MIRROR) if entries else None

    def look(self, now: int) -> Sighting:
        """Look once, at the Unix time ``now``. What is wrong with the log comes back as an alarm.

        Raises only what is wrong here: `StoreFull`, `FileUnusable`.
        """
        with one_writer(self._folder):
            before = self._before()
            try:
                return self._look(before, now)
            except _Raised as raised:
                return Sighting(before, alarm=raised.alarm)

    def _look(self, before: Checkpoint | None, now: int) -> Sighting:
        note = self._fetched()
        # The log's own signature first: a line that a stranger adds in a witness's name must not hide a fork.
        seen = self._opened(note).checkpoint
        self._advance(before, note, seen)
        opened = self._opened(note, None if self._policy is None else replace(self._policy, quorum=None))
        if self._mirror is not None:
            self._rehash(self._mirror, note)
        stored = self._folder / _CHECKPOINT
        if before is None or stored.read_bytes() != note:
            replace_file(stored, note)
        grown = seen.size - (0 if before is None else before.size)
        alive = self._alive(now, grown=bool(grown), cosigned=self._cosigned_at(opened, now))
        alarm = self._lacking(note) or self._stale(seen, now - alive)
        return Sighting(seen, grown, tuple(cosignature.name for cosignature in opened.cosignatures), alarm)

    def _before(self) -> Checkpoint | None:
        try:
            return read_unverified((self._folder / _CHECKPOINT).read_bytes())
        except FileNotFoundError:
            return None

    def _fetched(self) -> bytes:
        try:
            return self._source.checkpoint()
        except NotFound as error:
            missing = NodeUnreachable("The log serves no checkpoint.", fix="Check the URL, and ask the operator.")
            raise _Raised(AlarmKind.UNREACHABLE, missing) from error
        except Unavailable as error:
            raise _Raised(AlarmKind.UNREACHABLE, error) from error

    def _opened(self, note: bytes, policy: WitnessPolicy | None = None) -> OpenedCheckpoint:
        """The checkpoint, signed by the log, and by no witness of the policy wrongly, whoever else signed it."""
        try:
            claimed = read_unverified(note)
        except CheckpointInvalid as error:
            raise _Raised(AlarmKind.BROKEN, error) from error
        if claimed.origin != self._key.name:
            wrong = CheckpointInvalid(
                f"The checkpoint is one of the log {claimed.origin}, not of {self._key.name}.",
                fix="Check the URL and the key; if both are right, ask the operator.",
            )
            raise _Raised(AlarmKind.WRONG_ORIGIN, wrong)
        if (self._key.name, self._key.key_id) not in {(s.name, s.key_id) for s in parse_note(note).signatures}:
            unknown = CheckpointInvalid(
                f"The checkpoint of size {claimed.size} is not signed by the key of {self._key.name}.",
                fix="Ask the operator on another way whether the key of the log changed.",
            )
            raise _Raised(AlarmKind.UNKNOWN_KEY, unknown)
        try:
            return open_checkpoint(note, origin=self._key.name, log=[verifier(self._key)], policy=policy)
        except IntegrityFailed as error:
            raise _Raised(AlarmKind.FORGED, error) from error

    def _advance(self, before: Checkpoint | None, note: bytes, seen: Checkpoint) -> None:
        try:
            verify_extension(before, seen, self._source)
        except LogForked as error:
            smaller = before is not None and seen.size < before.size
            kind = AlarmKind.ROLLBACK if smaller else AlarmKind.FORK
            raise _Raised(kind, error, self._keep_evidence(note)) from error
        except Unavailable as error:
            raise _Raised(AlarmKind.UNREACHABLE, error) from error
        except IntegrityFailed as error:  # or a fork, of which the log does not show the tree
            raise _Raised(AlarmKind.BROKEN, error, self._keep_evidence(note)) from error
        except (NotFound, InvalidInput) as error:
            raise _Raised(AlarmKind.BROKEN, error) from error

    def _rehash(self, mirror: Mirror, note: bytes) -> None:
        """Take over every new entry; the checkpoint was verified."""
        fixed = _Fixed(self._source, note)
        try:
            mirror.update(fixed, self._opened)
        except LogForked as error:
            # The mirror may be ahead of what was stored here, when this process was stopped in between.
            raise _Raised(AlarmKind.FORK, error, self._keep_evidence(note, mirror.folder)) from error
        except Unavailable as error:
            raise _Raised(AlarmKind.UNREACHABLE, error) from error
        except (IntegrityFailed, NotFound) as error:
            raise _Raised(AlarmKind.BROKEN, error) from error

    def _lacking(self, note: bytes) -> Alarm | None:
        if self._policy is None:
            return None
        try:
            open_checkpoint(note, origin=self._key.name, log=[verifier(self._key)], policy=self._policy)
        except CheckpointInvalid as error:
            return Alarm(AlarmKind.QUORUM_LOST, error)
        return None

    def _cosigned_at(self, opened: OpenedCheckpoint, now: int) -> int:
        """Since when enough witnesses together call this checkpoint the newest, up to ``now``; 0 when they do not.

        A time that has not come says nothing, and no single witness speaks for the others.
        """
        if self._policy is None:
            return 0
        seen = [each for each in opened.cosignatures if each.timestamp_s <= now + _AHEAD_S]
        for at in sorted({each.timestamp_s for each in seen}, reverse=True):
            try:
                self._policy.check(each for each in seen if each.timestamp_s >= at)
            except CheckpointInvalid:
                continue
            return min(at, now)
        return 0

    def _alive(self, now: int, *, grown: bool, cosigned: int) -> int:
        """When the log last showed life, which is kept."""
        file = self._folder / _ALIVE
        try:
            kept = json.loads(file.read_bytes())["alive"]
            known = kept if isinstance(kept, int) else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            known = None
        first = cosigned or now
        alive = first if known is None else min(now, max(known, cosigned, now if grown else 0))
        if alive != known:
            replace_file(file, json.dumps({"alive": alive}).encode())
        return alive

    def _stale(self, seen: Checkpoint, silent_s: int) -> Alarm | None:
        if silent_s <= self._stale_s:
            return None
        stale = LogStale(
            f"The log {seen.origin} has neither grown beyond {seen.size} entries nor been cosigned again for "
            f"{silent_s:,} seconds.",
            fix="Ask the operator whether it should have; a log that is held back may hide a fork.",
        )
        return Alarm(AlarmKind.STALE, stale)

    def _keep_evidence(self, note: bytes, beside: Path | None = None) -> tuple[Path, ...]:
        """Keep the checkpoint that was verified (that of ``beside``) and the one that contradicts it.

        Each signed text is kept once, under a name that is never reused, whatever lines strangers add to it.
        """
        folder = self._folder / _EVIDENCE
        folder.mkdir(exist_ok=True)
        kept = []
        for content in (((beside or self._folder) / _CHECKPOINT).read_bytes(), note):
            said = read_unverified(content)
            file = folder / f"{said.size}-{sha256(said.text.encode()).hexdigest()[:16]}.checkpoint"
            if not file.exists():
                replace_file(file, content)
            kept.append(file)
        return tuple(kept)


class _Raised(Exception):
    """An alarm on its way out of the monitor."""

    def __init__(self, kind: AlarmKind, error: DatabundError, evidence: tuple[Path, ...] = ()) -> None:
        super().__init__(error.what)
        self.alarm = Alarm(kind, error, evidence)


@dataclass(frozen=True)
class _Fixed:
    """A log at the checkpoint that was looked at, whatever it shows by now."""

    source: LogSource
    note: bytes

    def checkpoint(self) -> bytes:
        return self.note

    def tile(self, level: int, index: int, width: int, /) -> bytes:
        return self.source.tile(level, index, width)

    def entries(self, index: int, width: int, /) -> bytes | Sequence[bytes]:
        return self.source.entries(index, width)
