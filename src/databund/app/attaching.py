"""Attaching: personal data is kept beside the log, shown to whom it is about, and erased for good.

An attachment is made in the database transaction of the entry that names its commitment. Erasing one appends an entry
and forgets salt, key and content in one database transaction too, so that neither is ever there without the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from databund.app.auditing import Auditor
from databund.core import canonical
from databund.core.attachments import ErasureReason
from databund.core.events import Event, EventKind
from databund.core.ids import Address, Commitment
from databund.crypto.attachments import seal, unseal
from databund.errors import DatabundError, NotOwner
from databund.ports import Database, Tables

__all__ = ["Attaching", "attach"]

_ACCOUNT = "account"


def attach(tables: Tables, account: Address, about: dict[str, str], *, at: int) -> Commitment:
    """Keep what ``about`` says of ``account`` in the caller's database transaction; an entry has to name the result.

    The content is the RFC 8785 bytes of ``about`` with a member ``account``: whom it is about is sealed, and erased,
    with it. Raises `InvalidInput` for more than 65,535 bytes.
    """
    attachment = seal(canonical.canonicalize({**about, _ACCOUNT: str(account)}), at=at)
    tables.attachments.add(attachment)
    return attachment.commitment


@dataclass(frozen=True)
class Attaching:
    """Reading and erasing of attachments, by the ``operator`` and by those whom they are about."""

    database: Database
    auditor: Auditor
    operator: Address
    clock: Callable[[], int]

    def read(self, actor: Address, commitment: Commitment) -> tuple[bytes, bytes]:
        """Salt and content, for the operator and the account that the content names.

        Raises `NotOwner`, `NotFound` (also for one that was erased, with the day), `SealBroken`, `ContentMismatch`.
        """
        with self.database.read() as tables:
            attachment = tables.attachments.get(commitment)
        content = unseal(attachment)
        if actor not in (self.operator, _account_of(content)):
            raise NotOwner(
                f"The attachment {commitment} is not about {actor}.", fix="Sign in as the account that it is about."
            )
        assert attachment.salt is not None  # noqa: S101  # or it would not have been unsealed
        return attachment.salt, content

    def erase(self, actor: Address, commitment: Commitment, *, reason: ErasureReason) -> int:
        """Forget salt, key and content for good, and say so in the log; returns when (Unix seconds).

        Erasing again changes nothing and returns the first time. Raises `NotOwner` unless the operator asks, and
        `NotFound`.
        """
        if actor != self.operator:
            raise NotOwner("Only the operator erases attachments.", fix="Ask the operator of the node.")
        with self.database.write() as tables:
            erased_at = tables.attachments.get(commitment).erased_at
            if erased_at is None:
                erased_at = self.clock()
                tables.attachments.erase(commitment, erased_at)
                about = {"attachment": str(commitment), "reason": str(reason)}
                self.auditor.append(tables, Event(EventKind.DESTROYED, erased_at, str(self.operator), dict(about)))
        return erased_at


def _account_of(content: bytes) -> Address | None:
    """Whom the content is about; None, and so nobody, when it does not say."""
    try:
        document = canonical.parse(content)
        return Address.parse(str(document[_ACCOUNT])) if isinstance(document, dict) else None
    except (DatabundError, KeyError):
        return None
