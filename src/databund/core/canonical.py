"""Canonical JSON: the one byte form of a JSON value that we hash, sign and log.

RFC 8785 (JSON Canonicalization Scheme) over I-JSON (RFC 7493). Reading is as strict as writing, so whatever
:func:`parse` accepts has exactly one canonical form, and :func:`parse` accepts that form again. What the values mean
is left to the callers; money and counts reach this module as integers or strings, floats only in foreign documents.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from json.encoder import encode_basestring
from typing import NoReturn, TypeAlias

from databund.errors import DocumentInvalid

__all__ = ["MAX_DEPTH", "MAX_INTEGER", "JsonValue", "canonicalize", "digest", "number", "parse"]

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""A JSON value. At run time arrays are lists or tuples and objects are dicts; :func:`parse` gives lists and dicts."""

MAX_DEPTH = 64
"""Arrays and objects may be nested this deep."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493 §2.2)."""

_HARMLESS_NESTING = 500  # Half of Python's own recursion limit.
_BETWEEN_BRACKETS = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"?|[^"\[{\]}]++)++', re.DOTALL)
_PLAIN_INTEGER_LIMIT = 1e21  # From here on ECMAScript writes an exponent, so no reader takes it for an integer.
_FORBIDDEN = re.compile(  # Surrogates and noncharacters (RFC 7493 §2.1): all but the rest, which is faster to search.
    "[^\0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd"
    + "".join(f"{chr(plane)}-{chr(plane + 0xFFFD)}" for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)


def canonicalize(value: JsonValue) -> bytes:
    """Write ``value`` in the form of RFC 8785, as UTF-8.

    Raises DocumentInvalid for whatever is not I-JSON: other types, names that are not strings, NaN and infinity,
    integers beyond ``MAX_INTEGER`` (also as floats), surrogates, noncharacters, and nesting beyond ``MAX_DEPTH``.
    """
    text = _write(value, MAX_DEPTH)
    if not text.isascii():
        _check_text(text)
    return text.encode()


def parse(data: bytes) -> JsonValue:
    """Read one I-JSON document; any spelling and order of it is accepted.

    Raises DocumentInvalid for anything else: not UTF-8, a byte order mark, a repeated name, NaN or infinity, an
    integer beyond ``MAX_INTEGER``, a surrogate or noncharacter, nesting beyond ``MAX_DEPTH``, trailing text.
    """
    try:
        text = data.decode()
        _check_nesting(text)
        value: JsonValue = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise _invalid(f"The document is not UTF-8 at byte {error.start}.") from error
    except json.JSONDecodeError as error:
        raise _invalid(f"The document is not JSON: {error.msg} at character {error.pos}.") from error
    except RecursionError as error:
        raise _too_deep() from error
    if "\\u" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        _check(value, MAX_DEPTH)  # else it is not too deep, and its strings are as they are written
    elif not text.isascii():
        _check_text(text)
    return value


def digest(value: JsonValue) -> bytes:
    """Return the 32 bytes of SHA-256 over the canonical form of ``value``; raises like :func:`canonicalize`."""
    return hashlib.sha256(canonicalize(value)).digest()


def number(value: float) -> str:
    """Write a float as ECMAScript does: the shortest digits that give it back (RFC 8785 §3.2.2.3).

    Raises DocumentInvalid for NaN and infinity.
    """
    if not math.isfinite(value):
        raise _invalid(f"The number {value} has no JSON form.")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    significant = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(significant))
    return ("-" if value < 0 else "") + _layout(significant.rstrip("0"), point)


def _layout(digits: str, point: int) -> str:
    """Place the decimal point of 0.``digits`` × 10 ** ``point`` (ECMA-262, Number::toString)."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"


def _write(value: JsonValue, depth: int) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)  # type: ignore[arg-type]  # narrowed by the exact type, for speed
    if kind is dict:
        return _write_object(value, depth)  # type: ignore[arg-type]  # likewise
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(_check_integer(value))
    if isinstance(value, float):
        return number(_check_float(value))
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return _write_object(value, depth)
    if isinstance(value, list | tuple):
        if not depth:
            raise _too_deep()
        return "[" + ",".join([_write(item, depth - 1) for item in value]) + "]"
    raise _invalid(f"A value of type {kind.__name__} has no JSON form.")


def _write_object(value: dict[str, JsonValue], depth: int) -> str:
    if not depth:
        raise _too_deep()
    try:
        names = sorted(value)
        if not "".join(names).isascii():
            # The order is that of UTF-16 code units; it differs from Python's beyond U+FFFF.
            names.sort(key=_utf16)
    except TypeError as error:
        raise _invalid("A name in an object is not a string.") from error
    members = []
    for name in names:
        item = value[name]
        text = encode_basestring(item) if type(item) is str else _write(item, depth - 1)
        members.append(f"{encode_basestring(name)}:{text}")
    return "{" + ",".join(members) + "}"


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def _check(value: JsonValue, depth: int) -> None:
    """Check what the JSON reader lets through: nesting and the characters of strings."""
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
    elif isinstance(value, dict):
        if not depth:
            raise _too_deep()
        for name, item in value.items():
            _check(name, depth)
            _check(item, depth - 1)
    elif isinstance(value, list):
        if not depth:
            raise _too_deep()
        for item in value:
            _check(item, depth - 1)


def _check_nesting(text: str) -> None:
    """Refuse what is nested too deeply before the recursive reader sees it.

    Some libraries raise Python's recursion limit so far that the reader would overflow the C stack instead of raising.
    """
    if text.count("[") + text.count("{") <= _HARMLESS_NESTING:
        return
    steps = (1 if bracket in "[{" else -1 for bracket in _BETWEEN_BRACKETS.sub("", text))
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        raise _too_deep()


def _check_text(text: str) -> None:
    if found := _FORBIDDEN.search(text):
        raise _invalid(f"The document holds U+{ord(found[0]):04X}, which is no character.")


def _check_integer(value: int) -> int:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise _invalid("The document holds an integer beyond 2^53-1.", fix="Write it as a string of digits.")
    return value


def _check_float(value: float) -> float:
    if MAX_INTEGER < abs(value) < _PLAIN_INTEGER_LIMIT:
        raise _invalid("The document holds an integer beyond 2^53-1.", fix="Write it as a string of digits.")
    return value


def _read_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _invalid(f"The name {repeated!a} occurs twice in one object.")
    return value


def _read_integer(text: str) -> int:
    # Seventeen characters hold every allowed integer; int() of a long text would cost quadratic time.
    return _check_integer(int(text) if len(text) <= 17 else MAX_INTEGER + 1)


def _read_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _invalid("The document holds a number too large for a double.")
    return _check_float(value)


def _refuse_constant(text: str) -> NoReturn:
    raise _invalid(f"The document holds {text}, which is not JSON.")


def _invalid(what: str, *, fix: str = "Send I-JSON (RFC 7493).") -> DocumentInvalid:
    return DocumentInvalid(what, fix=fix)


def _too_deep() -> DocumentInvalid:
    return _invalid(f"The document is nested deeper than {MAX_DEPTH} levels.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_read_object, parse_int=_read_integer, parse_float=_read_float, parse_constant=_refuse_constant
)
