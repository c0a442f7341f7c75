"""``databund audit attachment`` and ``databund audit erase``: personal data that lies beside the log."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.cli.screen import Screen

__all__ = ["attachment", "erase"]

Reason = Literal["consent_withdrawn", "retention_ended", "legal_order", "mistake"]


def attachment(
    commitment: Annotated[str, Parameter(help="The salted hash that a log entry names.")],
    /,
    *,
    options: Options | None = None,
) -> None:
    """Show what an entry of the log commits to, to the operator and to whom it is about.

    The content is compared with the commitment before it is shown. Salt and content together are the proof for
    somebody else.
    """
    from databund.core.ids import Commitment

    session = Session(options)
    with session.client(signed_in=True) as client:
        disclosed = client.attachment(Commitment.parse(commitment))
    session.screen.answer(disclosed, [bytes(disclosed.content).decode("utf-8", "backslashreplace")])


def erase(
    commitment: Annotated[str, Parameter(help="The salted hash that a log entry names.")],
    /,
    *,
    reason: Annotated[
        Reason,
        Parameter(help="consent_withdrawn, retention_ended, legal_order or mistake; it stays in the log."),
    ],
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    options: Options | None = None,
) -> None:
    """Erase an attachment for good, and say so in the log; only the operator of the node may.

    Salt, key and content are forgotten in one step with the entry; nobody can bring them back. Whoever verifies the log
    later reads the day and the reason. Copies that were made before, and backups, are not reached.
    """
    from databund.core.attachments import ErasureReason
    from databund.core.ids import Commitment

    session = Session(options)
    named = Commitment.parse(commitment)
    if not yes:
        _confirm(named, session.screen)
    with session.client(signed_in=True) as client:
        erased = client.erase_attachment(named, ErasureReason(reason))
    moment = f"{datetime.fromtimestamp(erased.at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    session.screen.answer(erased, [f"{named} was erased on {moment}."])


def _confirm(commitment: object, screen: Screen) -> None:
    from databund.errors import InvalidInput

    if not sys.stdin.isatty():
        raise InvalidInput("There is nobody to confirm the erasure.", fix="Add --yes if you are sure.")
    screen.note(f"{commitment} will be erased for good. Write yes to go on:")
    if sys.stdin.readline().strip().lower() != "yes":
        raise InvalidInput("The erasure was not confirmed; nothing was erased.", fix="Run it again and write yes.")
