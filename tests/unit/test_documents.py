"""Documents: one strict JSON form for every value of the core."""

from typing import Any

import msgspec
import pytest

from databund.core import canonical, documents
from databund.core.amounts import Amount
from databund.core.ids import Address, Bytes32, Hex
from databund.core.orders import Order
from databund.errors import DocumentInvalid
from databund.testing import samples


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of each."""

    hash: Bytes32
    address: Address
    bytes_: Hex
    amount: Amount
    count: int


SAMPLE = Sample(Bytes32(b"\xab" * 32), Address(b"\xcd" * 20), Hex(b"\xef"), Amount(2**100), 3)


def test_every_value_has_its_form() -> None:
    """Hashes and bytes are lower-case hexadecimal, addresses have their checksum, amounts are decimal strings."""
    assert documents.dump(SAMPLE) == {
        "hash": "0x" + "ab" * 32,
        "address": str(Address(b"\xcd" * 20)),
        "bytes_": "0xef",
        "amount": str(2**100),
        "count": 3,
    }
    assert documents.load(documents.dump(SAMPLE), Sample) == SAMPLE


def test_bytes_are_canonical() -> None:
    """What is encoded is the RFC 8785 form, and its digest the digest."""
    assert documents.encode(SAMPLE) == canonical.canonicalize(documents.dump(SAMPLE))
    assert documents.digest(SAMPLE) == canonical.digest(documents.dump(SAMPLE))
    assert documents.decode(documents.encode(SAMPLE), Sample) == SAMPLE


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("hash", "0x" + "AB" * 32),
        ("hash", 1),
        ("hash", None),
        ("address", "0x12"),
        ("address", ["0x12"]),
        ("bytes_", "ef"),
        ("amount", 1),
        ("amount", 1.0),
        ("amount", "-1"),
        ("amount", "+1"),
        ("amount", "1.0"),
        ("amount", "1e3"),
        ("amount", " 1"),
        ("amount", "1_0"),
        ("amount", "١"),
        ("amount", ""),
        ("amount", str(2**128)),
        ("amount", "1" * 100_000),
        ("count", "3"),
        ("count", True),
        ("count", 3.5),
    ],
)
def test_another_form_is_refused(member: str, value: Any) -> None:
    """A value of another form is refused, and the sentence names the member."""
    with pytest.raises(DocumentInvalid, match=member) as caught:
        documents.load({**documents.dump(SAMPLE), member: value}, Sample)
    assert caught.value.what.startswith("This is no Sample: ")
    assert len(caught.value.what) < 400


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b'{"hash":', b"\xff", b'{"a":1,"a":1}', b"1" * 10_000])
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no JSON, or JSON of something else, are refused and never leak a parser's error."""
    with pytest.raises(DocumentInvalid):
        documents.decode(data, Sample)


def test_missing_and_unknown_members_are_named() -> None:
    """A member that is missing, or that we do not know, is named."""
    document = documents.dump(SAMPLE)
    with pytest.raises(DocumentInvalid, match="surplus"):
        documents.load({**document, "surplus": 1}, Sample)
    del document["count"]
    with pytest.raises(DocumentInvalid, match="count"):
        documents.load(document, Sample)


def test_an_enum_is_its_text() -> None:
    """States are written by name; an unknown one is refused."""
    order = samples.order()
    document = documents.dump(order)
    assert document["state"] == "placed"
    assert documents.load(document, Order) == order
    with pytest.raises(DocumentInvalid, match="state"):
        documents.load({**document, "state": "eaten"}, Order)


def test_unknown_kinds_are_a_programming_error() -> None:
    """A type without a JSON form does not get one by accident."""
    with pytest.raises(NotImplementedError):
        documents.to_json(object())
    with pytest.raises(NotImplementedError):
        documents.from_json(complex, "1")


def test_many_brackets_are_no_nesting() -> None:
    """Brackets beside each other and inside strings do not count as nesting; the 65th level is refused among them."""
    text = ['["', "[" * 600, '"],["\\"', "{" * 600, '",[]]']
    flat = ("[" + ",".join(["[]"] * 600 + ["".join(text)]) + "]").encode()
    assert canonical.parse(flat)
    deep = flat[:-1] + b"," + b"[" * 64 + b"]" * 64 + b"]"
    with pytest.raises(DocumentInvalid, match="nested deeper than 64 levels"):
        canonical.parse(deep)
    assert canonical.parse(flat[:-1] + b"," + b"[" * 63 + b"]" * 63 + b"]")


class Text(msgspec.Struct, frozen=True):
    """What a person wrote, and a number that may have a fraction."""

    text: str
    number: float = 0.0


@pytest.mark.parametrize(
    "value", [SAMPLE, Text("".join(map(chr, range(0xD800))) + "\ue000\U0001f600"), Text("", 1e21), Text("", 1.0)]
)
def test_what_was_written_is_read(value: msgspec.Struct) -> None:
    """Whatever `encode` writes is in its one form, also where other writers spell it otherwise."""
    assert documents.decode_written(documents.encode(value), type(value)) == value


@pytest.mark.parametrize(
    ("written", "spelled"), [(",", ", "), ("0xef", "0xEF"), (str(SAMPLE.address), str(SAMPLE.address).lower())]
)
def test_another_spelling_of_a_value_is_refused(written: str, spelled: str) -> None:
    """White space, and digits of another case, say the same, and are not what was written."""
    data = documents.encode(SAMPLE).replace(written.encode(), spelled.encode())

    assert documents.decode(data, Sample) == SAMPLE
    with pytest.raises(DocumentInvalid, match="one form"):
        documents.decode_written(data, Sample)
