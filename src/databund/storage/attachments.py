"""What is kept beside the log: the port `Attachments`."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from databund.core.attachments import Attachment
from databund.core.ids import Commitment
from databund.errors import NotFound
from databund.storage import rows
from databund.storage.engine import ERASED
from databund.storage.tables import attachments as table

__all__ = ["SqlAttachments"]


class SqlAttachments:
    """What is kept beside the log, in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, attachment: Attachment) -> None:
        """Add one; adding the same one again changes nothing."""
        rows.add(
            self._connection,
            table,
            commitment=attachment.commitment,
            at=attachment.at,
            salt=attachment.salt,
            key=attachment.key,
            sealed=attachment.sealed,
            erased_at=attachment.erased_at,
        )

    def get(self, commitment: Commitment) -> Attachment:
        """Raise `NotFound`. An erased one comes back with ``erased_at`` and without salt, key and content."""
        row = self._connection.execute(
            select(table.c.commitment, table.c.at, table.c.salt, table.c.key, table.c.sealed, table.c.erased_at).where(
                table.c.commitment == commitment
            )
        ).first()
        if row is None:
            raise NotFound(f"There is no attachment {commitment} here.", fix="Copy the commitment from the log entry.")
        return Attachment(*row)

    def erase(self, commitment: Commitment, at: int) -> None:
        """Forget salt, key and content for good; the first time stays. Raises `NotFound`."""
        if self.get(commitment).erased_at is None:
            self._connection.execute(
                update(table)
                .where(table.c.commitment == commitment)
                .values(salt=None, key=None, sealed=None, erased_at=at)
            )
            self._connection.info[ERASED] = True
