"""Challenges and tokens: the port `SignIns`."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from databund.core.ids import Address
from databund.errors import SignInRequired
from databund.storage.tables import challenges, tokens

__all__ = ["SqlSignIns"]


class SqlSignIns:
    """Challenges and tokens in one database transaction. At ``expires_at`` (Unix seconds) they no longer count."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_challenge(self, digest: bytes, *, expires_at: int) -> None:
        """Remember a challenge by its hash."""
        self._connection.execute(insert(challenges).values(digest=digest, expires_at=expires_at))

    def take_challenge(self, digest: bytes, *, now: int) -> None:
        """Use a challenge up, and forget whatever expired. Raises `SignInRequired`."""
        for table in (challenges, tokens):
            self._connection.execute(delete(table).where(table.c.expires_at <= now))
        if not self._connection.execute(delete(challenges).where(challenges.c.digest == digest)).rowcount:
            raise SignInRequired(
                "The challenge is unknown, used, or too old.", fix="Sign in again: POST /sign-in/challenges"
            )

    def add_token(self, digest: bytes, address: Address, *, expires_at: int) -> None:
        """Remember a token by its hash."""
        self._connection.execute(insert(tokens).values(digest=digest, address=address, expires_at=expires_at))

    def holder(self, digest: bytes, *, now: int) -> Address:
        """Whose token it is. Raises `SignInRequired` when it is unknown or past its time."""
        holder: Address | None = self._connection.scalar(
            select(tokens.c.address).where(tokens.c.digest == digest, tokens.c.expires_at > now)
        )
        if holder is None:
            raise SignInRequired("The sign-in is unknown or too old.", fix="Sign in again: POST /sign-in/challenges")
        return holder
