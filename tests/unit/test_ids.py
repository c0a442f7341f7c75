"""Identifiers: one spelling for hashes, EIP-55 for addresses, and no mixing of nouns."""

from collections.abc import Callable
from pathlib import Path

import pytest

from databund.core.ids import Address, Bytes32, ContentRoot, DatasetId, Hex, OfferId, OrderId, keccak256
from databund.errors import IdentifierInvalid

ADDRESSES = (Path(__file__).parents[1] / "vectors/eip55/addresses.txt").read_text().split()
DIGITS = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses_have_the_checksum(text: str) -> None:
    """An address is written as EIP-55 writes it."""
    assert str(Address.parse(text.lower())) == text
    assert str(Address.parse("0x" + text[2:].upper())) == text
    assert Address.parse(text) == Address(bytes.fromhex(text[2:]))


@pytest.mark.parametrize("text", ADDRESSES)
def test_a_mistyped_address_is_refused(text: str) -> None:
    """One digit of another case breaks the checksum."""
    at = next(place for place, digit in enumerate(text) if place > 1 and digit.isalpha())
    with pytest.raises(IdentifierInvalid, match="wrong EIP-55 checksum"):
        Address.parse(text[:at] + text[at].swapcase() + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "0x", ADDRESSES[0][2:], ADDRESSES[0] + "0", ADDRESSES[0][:-1], "0X" + "1" * 40,
                                  "0x" + "g" * 40, ADDRESSES[0] + "\n", " " + ADDRESSES[0], "vitalik.eth"])  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    """Anything but 0x and 40 digits is no address; the sentence says so, and the fix says what is."""
    with pytest.raises(IdentifierInvalid, match="is not an address") as caught:
        Address.parse(text)
    assert caught.value.fix == "Write 0x and 40 hexadecimal digits."
    assert caught.value.code == "identifier.invalid"


@pytest.mark.parametrize("kind", [Bytes32, ContentRoot, DatasetId, OfferId, OrderId])
def test_a_hash_has_one_spelling(kind: type[Bytes32]) -> None:
    """Only 0x and 64 lower-case digits are read, and written again."""
    assert str(kind.parse("0x" + DIGITS)) == "0x" + DIGITS
    for text in (DIGITS, "0x" + DIGITS.upper(), "0x" + DIGITS[1:], "0x" + DIGITS + "0", "0x" + DIGITS + "\n", ""):
        with pytest.raises(IdentifierInvalid, match=f"is no {kind.__name__}"):
            kind.parse(text)


@pytest.mark.parametrize(("make", "length"), [(Bytes32, 31), (Bytes32, 33), (Address, 19), (Address, 21), (OfferId, 0)])
def test_the_length_is_checked(make: Callable[[bytes], object], length: int) -> None:
    """An identifier of another length is refused with both lengths named."""
    with pytest.raises(IdentifierInvalid, match=rf"this one has {length}"):
        make(bytes(length))


def test_nouns_do_not_mix() -> None:
    """The same bytes under two nouns are two things, as values and as keys."""
    offer, order = OfferId(bytes(32)), OrderId(bytes(32))
    assert offer != order
    assert {offer: 1}.get(order) is None  # type: ignore[call-overload]
    assert offer == OfferId(bytes(32))
    assert repr(offer) == f"OfferId({offer})"


def test_a_hash_is_a_number() -> None:
    """A hash is the big-endian number that a smart contract sees, and sorts like it."""
    assert int(OfferId((258).to_bytes(32))) == 258
    assert OfferId((1).to_bytes(32)) < OfferId((256).to_bytes(32))


def test_keccak_is_the_evms() -> None:
    """The hash of nothing is the EVM's, not that of SHA-3."""
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_a_dataset_id_belongs_to_its_provider() -> None:
    """Provider and name each make another id, as keccak256(abi.encode(provider, keccak256(name)))."""
    one, two = (Address(bytes([number]) * 20) for number in (1, 2))
    assert len({DatasetId.of(one, "a"), DatasetId.of(two, "a"), DatasetId.of(one, "b")}) == 3
    assert bytes(DatasetId.of(one, "a")) == keccak256(bytes(12) + bytes(one) + keccak256(b"a"))


def test_hex_is_read_in_either_case() -> None:
    """Bytes of any length are read in either case and written in lower case."""
    assert Hex.parse("0xAbcD") == b"\xab\xcd"
    assert (str(Hex.parse("0xAbcD")), Hex.parse("0x")) == ("0xabcd", b"")


@pytest.mark.parametrize("text", ["", "ab", "0xa", "0xzz", "0x 1", "0xab\n", "0x" + "a" * 2**17])
def test_what_is_no_hex_is_refused(text: str) -> None:
    """Half bytes, other characters and more than 64 KiB are refused."""
    with pytest.raises(IdentifierInvalid, match="is not hexadecimal"):
        Hex.parse(text)


def test_long_texts_are_cut_in_sentences() -> None:
    """A very long wrong text does not fill the message."""
    for read in (Address.parse, OfferId.parse, Hex.parse):
        with pytest.raises(IdentifierInvalid) as caught:
            read("x" * 10_000)
        assert len(caught.value.what) < 200
