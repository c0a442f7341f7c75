"""``databund audit timestamp``: have outsiders prove when a checkpoint of the log existed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session
from databund.errors import AlreadyExists, FileUnusable, InvalidInput
from databund.tlog.checkpoints import open_checkpoint, read_unverified

if TYPE_CHECKING:
    from databund.sdk.timestamps import CalendarProof, CalendarSubmission, TimestampToken
    from databund.tlog.checkpoints import Checkpoint

__all__ = ["timestamp"]

_FILE_LIMIT = 2**20


def timestamp(
    *,
    to: Annotated[Path, Parameter(help="The folder for the checkpoint and its timestamps.", metavar="FOLDER")],
    checkpoint: Annotated[
        Path | None, Parameter(help="A stored checkpoint; without it the node's newest is taken.", metavar="FILE")
    ] = None,
    tsa: Annotated[str | None, Parameter(help="A time-stamping authority (RFC 3161) to ask.", metavar="URL")] = None,
    tsa_roots: Annotated[
        Path | None, Parameter(help="The certificates that its signature has to lead to.", metavar="PEM")
    ] = None,
    calendar: Annotated[tuple[str, ...], Parameter(help="An OpenTimestamps calendar to ask.", metavar="URL")] = (),
    upgrade: Annotated[
        bool, Parameter(help="Ask the calendars of the folder's checkpoint.ots for what they promised.", negative="")
    ] = False,
    options: Options | None = None,
) -> None:
    """Have outsiders prove when a checkpoint existed, in files that stock tools check.

    Written are checkpoint, checkpoint.tsr for openssl ts -verify, and checkpoint.ots for ots verify. Nothing is sent
    but a digest. A calendar needs hours to reach a Bitcoin block; then run the command with --upgrade. Needs the extra
    databund[timestamps].
    """
    from databund.sdk import timestamps

    session, folder = Session(options), to.expanduser()
    note_file, token_file, proof_file = (folder / f"checkpoint{suffix}" for suffix in ("", ".tsr", ".ots"))
    if not (tsa or calendar or upgrade):
        raise InvalidInput("Nobody is named to ask for a timestamp.", fix="Name one: --tsa URL or --calendar URL")
    if tsa_roots is not None and tsa is None:
        raise InvalidInput("--tsa-roots is of no use without --tsa.", fix="Name the authority: --tsa URL")
    if upgrade and checkpoint is not None:
        raise InvalidInput("--upgrade takes the checkpoint of the folder.", fix="Leave out --checkpoint.")
    source = note_file if upgrade else checkpoint
    note = _fetch(session) if source is None else _read(source.expanduser())
    done = _Stamped(note_file, read_unverified(note))
    _keep(note_file, note)
    if tsa is not None:
        roots = None if tsa_roots is None else _read(tsa_roots.expanduser())
        done.token = timestamps.rfc3161(note, url=tsa, roots=roots)
        _write(token_file, done.token.der)
    if upgrade:
        done.submission = timestamps.upgrade(note, _read(proof_file), calendars=calendar)
    elif calendar:
        done.submission = timestamps.opentimestamps(note, calendars=calendar)
    if done.submission is not None:
        done.proof = timestamps.verify_opentimestamps(note, done.submission.ots)
        _write(proof_file, done.submission.ots)
    session.screen.answer(done.document(), done.lines())
    for reason in done.reservations():
        session.screen.note(reason)
    if done.proof is not None and not done.proof.bitcoin:
        session.screen.hint(f"In a few hours: databund audit timestamp --upgrade --to {to}")


@dataclass
class _Stamped:
    """What was stamped, and by whom."""

    file: Path
    checkpoint: Checkpoint
    token: TimestampToken | None = None
    submission: CalendarSubmission | None = None
    proof: CalendarProof | None = None

    def document(self) -> dict[str, Any]:
        """As JSON values; a part that was not asked for is null."""
        token, proof = self.token, self.proof
        return {
            "checkpoint": {
                "file": str(self.file),
                "origin": self.checkpoint.origin,
                "size": self.checkpoint.size,
                "root": self.checkpoint.root.hex(),
            },
            "rfc3161": token and {"time_s": token.time_s, "roots_were_given": token.trusted_roots},
            "opentimestamps": proof
            and {
                "pending": list(proof.pending),
                "bitcoin": [{"height": root.height, "merkle_root": root.merkle_root} for root in proof.bitcoin],
                "refused": self.submission.refused if self.submission else {},
            },
        }

    def lines(self) -> list[str]:
        """For a person."""
        from databund.cli.figures import fields, moment

        rows: list[tuple[str, object]] = [
            ("checkpoint", self.file),
            ("log", self.checkpoint.origin),
            ("entries", f"{self.checkpoint.size:,}"),
        ]
        if self.token is not None:
            checked = "signed under the given roots" if self.token.trusted_roots else "not verified"
            rows.append(("authority", f"{moment(self.token.time_s)}, {checked}"))
        if self.proof is not None:
            rows += [("calendar", f"pending at {uri}") for uri in self.proof.pending]
            rows += [("bitcoin", f"block {each.height} with root {each.merkle_root}") for each in self.proof.bitcoin]
        return list(fields(rows))

    def reservations(self) -> list[str]:
        """What a person has to know before relying on it."""
        found = list(self.submission.refused.values()) if self.submission else []
        if self.token is not None and not self.token.trusted_roots:
            found.append("Who signed the timestamp was not verified. To verify it, give --tsa-roots PEM.")
        if self.proof is not None and self.proof.bitcoin:
            found.append("Compare the Merkle root with that of the Bitcoin block; ots verify does it with a node.")
        return found


def _fetch(session: Session) -> bytes:
    """The node's newest checkpoint, signed by the node's key. Raises `CheckpointInvalid`, or `NotFound` for no log."""
    from contextlib import closing

    from databund.sdk.connection import Connection
    from databund.sdk.log_keys import verifier
    from databund.tlog.notes import VerifierKey

    with session.client() as client, closing(Connection(client.url)) as connection:
        key = VerifierKey.parse(client.info.log_key)
        note = connection.get_bytes("/log/checkpoint")
    open_checkpoint(note, origin=key.name, log=[verifier(key)])
    return note


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            content = source.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise FileUnusable(f"{file} cannot be read ({error.strerror}).", fix="Name another file.") from error
    if len(content) > _FILE_LIMIT:
        raise FileUnusable(f"{file} is longer than 1 MiB.", fix="Name the file that was meant.")
    return content


def _keep(file: Path, note: bytes) -> None:
    """Write the checkpoint, unless it is there. Raises `AlreadyExists` for another, which may have timestamps."""
    if file.exists():
        if _read(file) != note:
            raise AlreadyExists(f"{file} is another checkpoint.", fix="Name another folder with --to.")
        return
    _write(file, note)


def _write(file: Path, content: bytes) -> None:
    temporary = file.with_name(file.name + ".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(file)
    except OSError as error:
        raise FileUnusable(f"{file} cannot be written ({error.strerror}).", fix="Name another folder.") from error
