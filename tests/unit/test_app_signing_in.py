"""Signing in: a message counts once, for its account, in its time; a token speaks for one account until it ends."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from databund.errors import SignatureInvalid, SignInRequired
from tests.unit.marketplace import BUYER, NOW, STRANGER, Marketplace

URI = "https://exchange.example"


@pytest.fixture
def market() -> Marketplace:
    """A new market."""
    return Marketplace()


def test_a_signed_message_gives_a_token(market: Marketplace) -> None:
    """The token that answers a signed message speaks for its account for an hour."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    token = market.signing_in.sign_in(BUYER.address, message, signature=BUYER.sign_message(message))
    assert market.signing_in.holder(token.token) == BUYER.address
    assert token.expires_at == NOW + 3600


def test_a_message_counts_once(market: Marketplace) -> None:
    """A message that was used, even a second ago, asks to sign in again."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    signature = BUYER.sign_message(message)
    market.signing_in.sign_in(BUYER.address, message, signature=signature)
    with pytest.raises(SignInRequired):
        market.signing_in.sign_in(BUYER.address, message, signature=signature)


def test_a_message_counts_once_at_once(market: Marketplace) -> None:
    """Of threads that bring the same signed message at the same time, one gets a token."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    signature = BUYER.sign_message(message)

    def sign_in(_: int) -> bool:
        try:
            market.signing_in.sign_in(BUYER.address, message, signature=signature)
        except SignInRequired:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(sign_in, range(16))) == 1


def test_a_challenge_ends(market: Marketplace) -> None:
    """After five minutes a message no longer counts."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    market.now += 300
    with pytest.raises(SignInRequired):
        market.signing_in.sign_in(BUYER.address, message, signature=BUYER.sign_message(message))


def test_a_token_ends(market: Marketplace) -> None:
    """A token speaks until the second before it ends."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    token = market.signing_in.sign_in(BUYER.address, message, signature=BUYER.sign_message(message))
    market.now = token.expires_at - 1
    assert market.signing_in.holder(token.token) == BUYER.address
    market.now = token.expires_at
    with pytest.raises(SignInRequired):
        market.signing_in.holder(token.token)


def test_an_unknown_token_is_nobodys(market: Marketplace) -> None:
    """A token that was never given, or the hash that is stored of one, signs nobody in."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    market.signing_in.sign_in(BUYER.address, message, signature=BUYER.sign_message(message))
    for unknown in ("", "random", market.signing_in.random_text()):
        with pytest.raises(SignInRequired):
            market.signing_in.holder(unknown)


def test_the_account_signs_itself(market: Marketplace) -> None:
    """A stranger's signature over somebody's message gets no token, and does not use the message up."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    with pytest.raises(SignatureInvalid):
        market.signing_in.sign_in(BUYER.address, message, signature=STRANGER.sign_message(message))
    market.signing_in.sign_in(BUYER.address, message, signature=BUYER.sign_message(message))


def test_a_message_is_for_one_account(market: Marketplace) -> None:
    """A message that was made for another account gets no token, although it is rightly signed."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    with pytest.raises(SignInRequired, match="made for another account"):
        market.signing_in.sign_in(STRANGER.address, message, signature=STRANGER.sign_message(message))


def test_only_our_messages_count(market: Marketplace) -> None:
    """A message that this node did not write, or a changed one, gets no token."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    for other in (f"\n{BUYER.address}\n", message + " ", message.replace("Version: 1", "Version: 2")):
        with pytest.raises(SignInRequired):
            market.signing_in.sign_in(BUYER.address, other, signature=BUYER.sign_message(other))


def test_each_challenge_is_its_own(market: Marketplace) -> None:
    """Two challenges in the same second differ, and both can be answered."""
    messages = [market.signing_in.challenge(BUYER.address, uri=URI) for _ in range(2)]
    tokens = [
        market.signing_in.sign_in(BUYER.address, message, signature=BUYER.sign_message(message)).token
        for message in messages
    ]
    assert len({*messages, *tokens}) == 4


def test_a_token_is_not_shown(market: Marketplace) -> None:
    """Neither a token's repr nor what is stored of it shows it."""
    message = market.signing_in.challenge(BUYER.address, uri=URI)
    token = market.signing_in.sign_in(BUYER.address, message, signature=BUYER.sign_message(message))
    assert token.token not in repr(token)
    assert token.token not in repr(vars(market.database))
