"""Cosigning: collect what the witnesses of a policy say of this log's newest checkpoint.

Nobody who appends waits for it: rounds run beside the log, each witness has a thread and a time limit, and a witness
that lies or sleeps is named in the status and counts for nothing. A witness that can show a checkpoint which this log's
key signed, and which the database does not hold, has proven that the log was rolled back or forked; then the signing is
halted. A witness that only claims so has proven nothing but its own confusion.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from structlog import get_logger

from databund.core.log_status import CosigningStatus, WitnessStatus
from databund.errors import (
    CheckpointInvalid,
    DatabundError,
    IntegrityFailed,
    LogForked,
    NodeUnreachable,
    SignatureInvalid,
)
from databund.ports import Database, Log, Tables
from databund.tlog.checkpoints import Checkpoint, open_checkpoint, read_unverified
from databund.tlog.cosignatures import Cosignature
from databund.tlog.notes import Note, Signature, Verifier, parse_note
from databund.tlog.policies import KnownWitness, WitnessPolicy
from databund.tlog.tiles import Prover
from databund.tlog.witnessing import AddCheckpoint, parse_cosignatures, parse_size

__all__ = ["Cosigning"]

REFRESH_S = 3600
TIMEOUT_S = 10
_SHOWN = 200
_AHEAD_S = 86_400
_LOOK = "Look at the witness, or ask its operator."


@dataclass
class _Round:
    """One checkpoint, and the cosignatures that were collected for it, by the witness's name in the policy."""

    checkpoint: Checkpoint
    log_signatures: tuple[Signature, ...]
    collected: dict[str, Signature] = field(default_factory=dict)

    @property
    def note(self) -> bytes:
        return Note(self.checkpoint.text, self.log_signatures).to_bytes()


@dataclass
class _State:
    """What is known of a witness. ``at`` is the time of its last cosignature, ``asked_at`` when we got it."""

    size: int | None = None
    at: int | None = None
    asked_at: int | None = None
    error: str | None = None


@dataclass
class _Desk:
    """A URL, the keys of the policy that cosign there, and the size it was last known to have."""

    url: str
    witnesses: tuple[KnownWitness, ...]
    size: int = 0
    since: int | None = None


class Cosigning:
    """Collects the cosignatures of this log.

    ``log`` holds the verifiers of the log ``origin``. ``submit(url, body)`` and ``newest(url, origin)`` ask a witness
    and return HTTP status and body, within about ``timeout_s``; they raise `NodeUnreachable`. ``signed`` gives the
    newest checkpoint that may be shown. ``halt`` is called once,
    with the reason, when it is proven that this database is not what was signed.
    """

    def __init__(
        self,
        database: Database,
        *,
        origin: str,
        log: Iterable[Verifier],
        policy: WitnessPolicy,
        submit: Callable[[str, bytes], tuple[int, bytes]],
        newest: Callable[[str, str], tuple[int, bytes]],
        signed: Callable[[Log], bytes | None],
        halt: Callable[[DatabundError], None],
        clock: Callable[[], int],
        timeout_s: int = TIMEOUT_S,
        refresh_s: int = REFRESH_S,
    ) -> None:
        self._database = database
        self._origin = origin
        self._log = tuple(log)
        self._policy = policy
        self._submit, self._newest, self._signed, self._halt, self._clock = submit, newest, signed, halt, clock
        self._timeout_s, self._refresh_s = timeout_s, refresh_s
        self._states = {witness.name: _State() for witness in policy.witnesses}
        urls = dict.fromkeys(witness.url for witness in policy.witnesses if witness.url is not None)
        self._desks = [_Desk(url, tuple(witness for witness in policy.witnesses if witness.url == url)) for url in urls]
        self._pool = ThreadPoolExecutor(max(1, len(self._desks)), thread_name_prefix="witness")
        self._collecting = threading.Lock()
        self._changing = threading.Lock()
        self._round: _Round | None = None
        self._kept: tuple[int, int, bytes] | None = None
        self._fork: LogForked | None = None
        self.evidence: bytes | None = None
        """The checkpoint under this log's key that proves a fork, once there is one."""

    @property
    def fork(self) -> LogForked | None:
        """Why nothing may be signed any more, when that is proven."""
        return self._fork

    def collect(self) -> None:
        """Ask every witness that has not cosigned the newest checkpoint, or long ago; return when the policy is met.

        Waits ``timeout_s`` at most; whoever answers later still counts. One at a time: another call meanwhile waits.
        Raises what the port `Database` raises.
        """
        with self._collecting:
            if self._fork is not None:
                return
            current = self._current()
            if current is None:
                return
            waiting = {self._start(desk, current) for desk in self._desks if self._is_due(desk, current)}
            end = self._clock() + self._timeout_s
            while waiting and not self._is_met(current) and (left := end - self._clock()) > 0:
                done, waiting = wait(waiting, timeout=min(left, self._timeout_s), return_when=FIRST_COMPLETED)
                if not done:
                    break
            self._keep(current)

    def status(self) -> CosigningStatus:
        """How it stands, now."""
        now = self._clock()
        asked = [(since, desk) for desk in self._desks if (since := desk.since) is not None]
        slow = {
            witness.name: f"No answer for {now - since} s."
            for since, desk in asked
            if now - since > self._timeout_s
            for witness in desk.witnesses
        }
        with self._changing:
            size, at, _ = self._kept or (None, None, b"")
            witnesses = tuple(
                WitnessStatus(
                    witness.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                    witness.url,
                    state.size,
                    state.at,
                    slow.get(witness.name, state.error if witness.url else "The policy gives no URL for it."),
                )
                for witness in self._policy.witnesses
                for state in (self._states[witness.name],)
            )
            return CosigningStatus(size, at, witnesses, None if self._fork is None else self._fork.what)

    def close(self) -> None:
        """Ask nobody any more; whoever is being asked is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _current(self) -> _Round | None:
        """The round of the newest checkpoint; the first one begins with what was kept before a restart."""
        with self._database.read() as tables:
            note, kept = self._signed(tables.log), tables.cosigned.newest()
        if note is None:
            return None
        opened = open_checkpoint(note, origin=self._origin, log=self._log)
        before = self._round
        if before is None or before.checkpoint != opened.checkpoint:
            self._round = _Round(opened.checkpoint, opened.log_signatures)
        if before is None and kept is not None:
            self._remember(kept)
        return self._round

    def _remember(self, kept: bytes) -> None:
        """Take up a cosigned checkpoint of an earlier run, as far as the policy knows who signed it."""
        try:
            note = parse_note(kept)
            checkpoint = Checkpoint.parse(note.text)
        except CheckpointInvalid:
            return
        known = _Round(checkpoint, ())
        for desk in self._desks:
            for witness in desk.witnesses:
                try:
                    self._accept(desk, witness, known, note.signatures, now=None)
                except IntegrityFailed:
                    continue
        if self._round is not None and self._round.checkpoint == checkpoint:
            self._round.collected.update(known.collected)
        if known.collected and self._enough(known):
            self._kept = (checkpoint.size, max(_time(line) for line in known.collected.values()), kept)

    def _is_due(self, desk: _Desk, current: _Round) -> bool:
        if desk.since is not None:
            return False
        now = self._clock()
        for witness in desk.witnesses:
            asked_at = self._states[witness.name].asked_at
            # A clock that was set back must not stop the refreshing either.
            if witness.name not in current.collected or asked_at is None or abs(now - asked_at) >= self._refresh_s:
                return True
        return False

    def _start(self, desk: _Desk, current: _Round) -> Future[None]:
        desk.since = self._clock()
        return self._pool.submit(self._ask, desk, current)

    def _ask(self, desk: _Desk, current: _Round) -> None:
        try:
            self._ask_once(desk, current)
        except Exception as error:  # noqa: BLE001  # a worker's loop goes on, whatever a stranger answers
            what = error.what if isinstance(error, DatabundError) else f"It cannot be asked ({type(error).__name__})."
            get_logger("databund.cosigning").warning("witness.failed", url=desk.url, reason=what)
            for witness in desk.witnesses:
                self._fail(witness, what)
        finally:
            desk.since = None
        try:
            self._keep(current)
        except DatabundError as error:  # the next round stores it
            get_logger("databund.cosigning").error("cosigned.not_kept", error=error.code, reason=error.what)

    def _ask_once(self, desk: _Desk, current: _Round) -> None:
        size = current.checkpoint.size
        old = desk.size if desk.size <= size else 0
        status, body = self._submit(desk.url, self._request(old, current))
        if status == 409:
            desk.size = parse_size(body)
            if desk.size <= size:
                status, body = self._submit(desk.url, self._request(desk.size, current))
        if status == 200:
            lines = parse_cosignatures(body)
            for witness in desk.witnesses:
                try:
                    self._accept(desk, witness, current, lines, now=self._clock())
                except IntegrityFailed as error:
                    self._fail(witness, error.what)
            return
        shown = body[:_SHOWN].decode("utf-8", "replace").strip()
        if status in (409, 422):
            self._examine(desk)
        raise NodeUnreachable(f"It answered {status}: {shown}", fix=_LOOK)

    def _request(self, old: int, current: _Round) -> bytes:
        size = current.checkpoint.size
        with self._database.read() as tables:
            proof = _prover(tables).consistency_proof(old, size) if old else ()
        return AddCheckpoint(old, proof, current.note).to_bytes()

    def _accept(
        self, desk: _Desk, witness: KnownWitness, current: _Round, lines: Sequence[Signature], *, now: int | None
    ) -> None:
        """Take a witness's cosignature that arrived ``now``, or long ago. Raises `IntegrityFailed` for a wrong one."""
        name, key_id = witness.key.name, witness.key.key_id
        line = next((line for line in lines if (line.name, line.key_id) == (name, key_id)), None)
        if line is None:
            raise SignatureInvalid(f"It did not sign with the key {name}+{key_id:08x}.", fix=_LOOK)
        witness.verifier.verify(current.checkpoint.text.encode(), line.value)
        at = _time(line)
        if at == 0:
            raise SignatureInvalid("Its cosignature carries no time.", fix=_LOOK)
        if at > self._clock() + _AHEAD_S:
            raise SignatureInvalid(f"The time of its cosignature, {at}, lies far ahead of ours.", fix=_LOOK)
        with self._changing:
            current.collected[witness.name] = line
            self._states[witness.name] = _State(current.checkpoint.size, at, at if now is None else now)
            desk.size = current.checkpoint.size

    def _fail(self, witness: KnownWitness, what: str) -> None:
        with self._changing:
            self._states[witness.name].error = what

    def _enough(self, current: _Round) -> bool:
        try:
            self._policy.check(list(current.collected.values()))
        except CheckpointInvalid:
            return False
        return True

    def _is_met(self, current: _Round) -> bool:
        """Whether enough witnesses have cosigned this round, none of them long ago."""
        now = self._clock()
        with self._changing:
            lines = [
                line
                for name, line in current.collected.items()
                if abs(now - (self._states[name].asked_at or 0)) < self._refresh_s
            ]
        try:
            self._policy.check(lines)
        except CheckpointInvalid:
            return False
        return True

    def _keep(self, current: _Round) -> None:
        """Store the checkpoint with its cosignatures, when they are enough and more than were stored."""
        with self._changing:
            if self._fork is not None or not current.collected or not self._enough(current):
                return
            names = (witness.name for witness in self._policy.witnesses)
            lines = [current.collected[name] for name in names if name in current.collected]
            size = current.checkpoint.size
            note = Note(current.checkpoint.text, (*current.log_signatures, *lines)).to_bytes()
            if self._kept is not None and (self._kept[0] > size or self._kept[2] == note):
                return
            with self._database.write() as tables:
                tables.cosigned.add(size, note)
            self._kept = (size, max(map(_time, lines)), note)

    def _examine(self, desk: _Desk) -> None:
        """See whether a witness that contradicts us can show a checkpoint under our key that we do not hold."""
        status, body = self._newest(desk.url, self._origin)
        if status != 200:
            return
        try:
            seen = open_checkpoint(body, origin=self._origin, log=self._log).checkpoint
        except CheckpointInvalid:
            return
        with self._database.read() as tables:
            note = tables.log.checkpoint()
            size = 0 if note is None else read_unverified(note).size
            if seen.size <= size and _prover(tables).root(seen.size) == seen.root:
                return
        if seen.size > size:
            what = f"The log {self._origin} was signed up to size {seen.size}, but this database holds {size} entries"
        else:
            what = f"The log {self._origin} was signed with two histories of size {seen.size}"
        fork = LogForked(
            f"{what}: {desk.url} shows the checkpoint.",
            fix="Stop the node, keep a copy of its home, and restore the newest database.",
        )
        with self._changing:
            first, self._fork, self.evidence = self._fork is None, fork, body
        if first:
            get_logger("databund.cosigning").critical("log.forked", reason=what, evidence=body.decode())
            self._halt(fork)
        raise fork


def _time(line: Signature) -> int:
    return Cosignature.of(line).timestamp_s


def _prover(tables: Tables) -> Prover:
    return Prover(lambda level, index, _width: tables.log.tile(level, index))
