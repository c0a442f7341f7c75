"""RFC 8785 and I-JSON, by the official vectors and by what must be refused."""

import hashlib
import math
import struct
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path

import pytest

from databund.core.canonical import MAX_DEPTH, MAX_INTEGER, canonicalize, digest, number, parse
from databund.errors import DocumentInvalid

VECTORS = Path(__file__).parents[1] / "vectors" / "rfc8785"
DOCUMENTS = sorted(path.name for path in (VECTORS / "input").iterdir())
NUMBERS = [line.split(",") for line in (VECTORS / "numbers.csv").read_text().split()]
FIXED = (VECTORS / "sequence.txt").read_text().split()


def _double(bits: str) -> float:
    return float(struct.unpack(">d", bytes.fromhex(bits.zfill(16)))[0])


def _sequence() -> Iterator[float]:
    """The endless number test of the reference implementation: fixed, serial, then hash-derived doubles."""
    yield from map(_double, FIXED)
    for serial in range(2000):
        yield _double(f"{0x0010000000000000 + serial:016x}")
    block = bytes(32)
    while True:
        block = hashlib.sha256(block).digest()
        yield from (value for value in struct.unpack("<4d", block) if value and math.isfinite(value))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_official_documents_canonicalize_byte_for_byte(name: str) -> None:
    """Each input of the reference implementation gives exactly its output."""
    value = parse((VECTORS / "input" / name).read_bytes())

    assert canonicalize(value) == (VECTORS / "output" / name).read_bytes()


@pytest.mark.parametrize(("bits", "expected"), [row for row in NUMBERS if row[1] not in {"NaN", "Infinity"}])
def test_numbers_of_appendix_b_are_written_as_the_rfc_says(bits: str, expected: str) -> None:
    """Every finite double of RFC 8785 Appendix B has the text given there."""
    assert number(_double(bits)) == expected


@pytest.mark.parametrize("bits", [row[0] for row in NUMBERS if row[1] in {"NaN", "Infinity"}])
def test_numbers_without_json_form_are_refused(bits: str) -> None:
    """NaN and infinity of RFC 8785 Appendix B are refused, never written as null."""
    with pytest.raises(DocumentInvalid, match="no JSON form"):
        canonicalize([_double(bits)])


@pytest.mark.parametrize(
    ("lines", "checksum"),
    [
        (1_000, "be18b62b6f69cdab33a7e0dae0d9cfa869fda80ddc712221570f9f40a5878687"),
        (10_000, "b9f7a8e75ef22a835685a52ccba7f7d6bdc99e34b010992cbc5864cd12be6892"),
        (100_000, "22776e6d4b49fa294a0d0f349268e5c28808fe7e0cb2bcbe28f63894e494d4c7"),
    ],
)
def test_number_sequence_has_the_published_checksum(lines: int, checksum: str) -> None:
    """The first doubles of the reference number test, written by us, hash to the published sum."""
    hashed = hashlib.sha256()
    for value in islice(_sequence(), lines):
        (bits,) = struct.unpack(">Q", struct.pack(">d", value))
        hashed.update(f"{bits:x},{number(value)}\n".encode())

    assert hashed.hexdigest() == checksum


def test_names_are_ordered_by_utf16_code_units() -> None:
    """A name beyond U+FFFF sorts by its surrogates, so before U+FB33."""
    value = {"\ufb33": 1, "\U0001f602": 2, "a": 3}

    assert canonicalize(value) == '{"a":3,"\U0001f602":2,"\ufb33":1}'.encode()


def test_strings_escape_only_what_must_be_escaped() -> None:
    """Control characters use the short escapes or lower-case hex; everything else stays as it is."""
    value = '\b\t\n\f\r\x0b\x1f\x7f"\\/\u2028用途'

    assert canonicalize(value) == '"\\b\\t\\n\\f\\r\\u000b\\u001f\x7f\\"\\\\/\u2028用途"'.encode()


def test_literals_and_subclasses_have_their_plain_form() -> None:
    """Booleans, null, tuples, negative zero and string enumerations are written as the JSON they stand for."""

    class Color(StrEnum):
        RED = "red"

    assert canonicalize([True, False, None, (1, -0.0), Color.RED]) == b'[true,false,null,[1,0],"red"]'


def test_digest_is_sha256_of_the_canonical_form() -> None:
    """The digest does not depend on the order of names."""
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').digest()


def test_integers_up_to_the_limit_survive() -> None:
    """Both ends of the I-JSON integer range are written and read exactly."""
    value = [MAX_INTEGER, -MAX_INTEGER]

    assert parse(canonicalize(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        float(2**53),
        1e20,
        {1: "a"},
        {"a": 1, None: 2},
        b"bytes",
        {"set"},
        object(),
        "\ud800",
        "\ufffe",
        "\ufdd0",
        "\U0010ffff",
        {"\udc00": 1},
    ],
    ids=ascii,
)
def test_values_outside_i_json_are_not_written(value: object) -> None:
    """What another reader would lose or refuse raises DocumentInvalid."""
    with pytest.raises(DocumentInvalid):
        canonicalize(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"[01]", "not JSON"),
        (b"1 2", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'["\t"]', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\xff", "not UTF-8 at byte 0"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'{"a":1,"a":1}', "'a' occurs twice"),
        (b'{"a":1,"\\u0061":2}', "'a' occurs twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e400", "too large"),
        (b"9007199254740992", "2\\^53-1"),
        (b"-9007199254740992", "2\\^53-1"),
        (b"9007199254740992.0", "2\\^53-1"),
        (b"1" + b"0" * 5000, "2\\^53-1"),
        (b'"\\ud800"', "U\\+D800"),
        (b'{"\\udfff":1}', "U\\+DFFF"),
        (b'"\\ufffe"', "U\\+FFFE"),
        ("\ufdd0".join('""').encode(), "U\\+FDD0"),
    ],
)
def test_documents_outside_i_json_are_not_read(data: bytes, reason: str) -> None:
    """Each departure from I-JSON is refused with its reason."""
    with pytest.raises(DocumentInvalid, match=reason):
        parse(data)


def test_nesting_is_bounded_both_ways() -> None:
    """The deepest allowed document is read and written; one level more, or a hundred thousand, is refused."""
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH

    assert canonicalize(parse(deepest)) == deepest
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(DocumentInvalid, match="deeper than 64"):
            parse(b"[" * depth + b"]" * depth)
    for deeper in ([parse(deepest)], {"a": parse(deepest)}):
        with pytest.raises(DocumentInvalid, match="deeper than 64"):
            canonicalize(deeper)


def test_objects_count_as_nesting() -> None:
    """Objects are bounded like arrays."""
    deep = b'{"a":' * MAX_DEPTH

    assert parse(deep + b"1" + b"}" * MAX_DEPTH)
    with pytest.raises(DocumentInvalid, match="deeper than 64"):
        parse(deep + b"{}" + b"}" * MAX_DEPTH)
