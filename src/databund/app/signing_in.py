"""Signing in: an account proves its key by signing a message, and gets a short-lived token for it.

Only hashes of messages and tokens are stored, so reading the database signs nobody in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from databund.core.ids import Address
from databund.core.messages import Token
from databund.core.sign_in import sign_in_message
from databund.crypto.signatures import verify_message
from databund.errors import SignInRequired
from databund.ports import Database, Ledger

__all__ = ["SigningIn"]


@dataclass(frozen=True)
class SigningIn:
    """Challenges and tokens. ``random_text`` gives a fresh unguessable text of letters and digits at each call."""

    database: Database
    ledger: Ledger
    clock: Callable[[], int]
    random_text: Callable[[], str]
    challenge_s: int = 300
    token_s: int = 3600

    def challenge(self, address: Address, *, uri: str) -> str:
        """A message for ``address`` to sign within `challenge_s`."""
        now = self.clock()
        message = sign_in_message(
            address,
            uri=uri,
            chain_id=self.ledger.domain().chain_id,
            nonce=self.random_text(),
            issued_at=now,
            expires_at=now + self.challenge_s,
        )
        with self.database.write() as tables:
            tables.sign_ins.add_challenge(_digest(message), expires_at=now + self.challenge_s)
        return message

    def sign_in(self, address: Address, message: str, *, signature: bytes) -> Token:
        """Exchange a signed message for a token; the message is used up.

        Raises `SignatureInvalid`, or `SignInRequired`.
        """
        now = self.clock()
        verify_message(message, signature, signer=address)
        if f"\n{address}\n" not in message:
            raise SignInRequired("The message was made for another account.", fix="Ask for a new sign-in message.")
        token = Token(self.random_text(), now + self.token_s)
        with self.database.write() as tables:
            tables.sign_ins.take_challenge(_digest(message), now=now)
            tables.sign_ins.add_token(_digest(token.token), address, expires_at=token.expires_at)
        return token

    def holder(self, token: str) -> Address:
        """Whose token it is. Raises `SignInRequired`."""
        with self.database.read() as tables:
            return tables.sign_ins.holder(_digest(token), now=self.clock())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
