"""Answers already given: the port `Idempotency`."""

from __future__ import annotations

from sqlalchemy import Connection, select

from databund.errors import IdempotencyMismatch
from databund.storage import rows
from databund.storage.tables import idempotency_answers as answers

__all__ = ["SqlIdempotency"]


class SqlIdempotency:
    """Answers already given, in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def answer(self, asker: str, key: str, *, request: bytes) -> tuple[int, bytes] | None:
        """The status and body given before, or None. Raises `IdempotencyMismatch` when ``request`` (a hash) differs."""
        row = self._connection.execute(
            select(answers.c.request, answers.c.status, answers.c.body).where(
                answers.c.asker == asker, answers.c.key == key
            )
        ).first()
        if row is None:
            return None
        if row.request != request:
            raise IdempotencyMismatch(
                f"The idempotency key {key[:80]!r} was used for another request.", fix="Use a new key."
            )
        return row.status, row.body

    def remember(self, asker: str, key: str, *, request: bytes, status: int, body: bytes, at: int) -> None:
        """Keep an answer; the first one stays."""
        rows.add(self._connection, answers, asker=asker, key=key, request=request, status=status, body=body, at=at)
