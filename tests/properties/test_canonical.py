"""Properties of canonical JSON, against a slow oracle written from the RFC alone."""

import json
import math

from hypothesis import assume, given
from hypothesis import strategies as st

from databund.core.canonical import MAX_INTEGER, JsonValue, canonicalize, number, parse
from databund.errors import DocumentInvalid

_SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def _is_character(char: str) -> bool:
    code = ord(char)
    return not (0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE)


text = st.text(max_size=8).filter(lambda value: all(map(_is_character, value)))
names = text | st.sampled_from(["a", "A", "\ue000", "\ufb33", "\U00010000", "\U0001f602", "é", "用途"])
integers = st.integers(-MAX_INTEGER, MAX_INTEGER)
floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: not MAX_INTEGER < abs(value) < 1e21)
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | integers | floats | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=20,
)


def _oracle(value: JsonValue) -> str:
    """RFC 8785 §3.2, character by character; numbers are the business of another test."""
    if isinstance(value, str):
        return '"' + "".join(_SHORT.get(ord(c), c if ord(c) >= 32 else f"\\u{ord(c):04x}") for c in value) + '"'
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: list(memoryview(item[0].encode("utf-16-le")).cast("H")))
        return "{" + ",".join(f"{_oracle(name)}:{_oracle(item)}" for name, item in ordered) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_oracle, value)) + "]"
    return number(value) if isinstance(value, float) else json.dumps(value)


@given(json_values)
def test_writer_equals_the_oracle(value: JsonValue) -> None:
    """The fast writer gives what the slow reading of the RFC gives."""
    assert canonicalize(value) == _oracle(value).encode()


@given(json_values)
def test_canonical_form_reads_back_and_stays(value: JsonValue) -> None:
    """Reading a canonical form gives an equal value whose canonical form is the same bytes."""
    data = canonicalize(value)

    assert parse(data) == value
    assert canonicalize(parse(data)) == data


@given(json_values, st.sampled_from([None, 0, 2]), st.sampled_from(["ascii", "utf-8"]))
def test_spelling_does_not_matter(value: JsonValue, indent: int | None, charset: str) -> None:
    """White space and escapes of the input leave no trace."""
    spelled = json.dumps(value, indent=indent, ensure_ascii=charset == "ascii").encode()

    assert canonicalize(parse(spelled)) == canonicalize(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_shortest_and_exact(value: float) -> None:
    """The text reads back as the same double, has no more digits than repr, and keeps the limits of ECMAScript."""
    written = number(value)

    assert float(written) == value
    assert len(written.split("e")[0].strip("-0.").replace(".", "")) <= 21
    assert ("e" in written) == (value != 0 and not 1e-6 <= abs(value) < 1e21)


@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()[1:]))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """The reader never fails with anything but DocumentInvalid, and what it accepts can be written."""
    try:
        value = parse(data)
    except DocumentInvalid:
        return

    assert parse(canonicalize(value)) == value


@given(st.integers())
def test_integers_are_kept_or_refused(value: int) -> None:
    """An integer is written exactly or not at all."""
    assume(math.fabs(value) < 1e300)
    try:
        assert canonicalize(value) == str(value).encode()
    except DocumentInvalid:
        assert abs(value) > MAX_INTEGER
