"""Sign-in with a key: the ERC-4361 message that an account signs (Sign-In with Ethereum, Final).

The node writes the message and keeps its hash; the account signs exactly these bytes (ERC-191), so nothing of it has
to be parsed. A message counts once, for one node, and for a few minutes.
"""

from __future__ import annotations

from datetime import UTC, datetime

from databund.core.ids import Address

__all__ = ["sign_in_message"]

_STATEMENT = "Sign in to this data exchange. Signing this message moves no money and buys nothing."


def sign_in_message(address: Address, *, uri: str, chain_id: int, nonce: str, issued_at: int, expires_at: int) -> str:
    """The message for ``address``; ``uri`` is the node's address, times are Unix seconds, ``nonce`` 8 or more digits.

    Source: ERC-4361 "Message Format".
    """
    authority = uri.partition("://")[2].partition("/")[0]
    return (
        f"{authority} wants you to sign in with your Ethereum account:\n{address}\n\n{_STATEMENT}\n\n"
        f"URI: {uri}\nVersion: 1\nChain ID: {chain_id}\nNonce: {nonce}\n"
        f"Issued At: {_instant(issued_at)}\nExpiration Time: {_instant(expires_at)}"
    )


def _instant(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
