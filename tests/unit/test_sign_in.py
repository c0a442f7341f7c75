"""The sign-in message follows the grammar of ERC-4361."""

import re

import pytest

from databund.core.sign_in import sign_in_message
from databund.testing.samples import address

# The ABNF of ERC-4361, "Message Format", for the members that we write.
GRAMMAR = re.compile(
    r"(?P<domain>[^\s/?#]+) wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n"
    r"\n"
    r"(?P<statement>[^\n]+)\n"
    r"\n"
    r"URI: (?P<uri>[a-z]+://[^\s]+)\n"
    r"Version: 1\n"
    r"Chain ID: (?P<chain_id>[0-9]+)\n"
    r"Nonce: (?P<nonce>[a-zA-Z0-9]{8,})\n"
    r"Issued At: (?P<issued>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n"
    r"Expiration Time: (?P<expires>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
)


def message(uri: str = "https://exchange.example") -> str:
    """A message."""
    return sign_in_message(
        address(1),
        uri=uri,
        chain_id=31_337,
        nonce="0123456789abcdef",
        issued_at=1_800_000_000,
        expires_at=1_800_000_300,
    )


def test_the_message_is_of_the_standards_form() -> None:
    """Each line is where ERC-4361 puts it, and says what was given."""
    found = GRAMMAR.fullmatch(message())
    assert found is not None
    assert found["address"] == str(address(1))
    assert (found["chain_id"], found["nonce"]) == ("31337", "0123456789abcdef")
    assert (found["issued"], found["expires"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:05:00Z")


@pytest.mark.parametrize(
    ("uri", "authority"),
    [
        ("https://exchange.example", "exchange.example"),
        ("http://127.0.0.1:8750", "127.0.0.1:8750"),
        ("https://exchange.example:8443/data/exchange", "exchange.example:8443"),
        ("http://[::1]:8750/", "[::1]:8750"),
    ],
)
def test_the_domain_is_the_uris(uri: str, authority: str) -> None:
    """The domain that a wallet compares with the page is the authority of the URI, with its port."""
    found = GRAMMAR.fullmatch(message(uri))
    assert found is not None
    assert (found["domain"], found["uri"]) == (authority, uri)


def test_the_statement_says_what_signing_does() -> None:
    """People read that signing moves no money."""
    assert "moves no money and buys nothing" in message()
