"""Sealing: whatever is done to a sealed stream, it opens to the same bytes or not at all."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databund.crypto.content_keys import ContentKey
from databund.crypto.ranges import RangeReader
from databund.crypto.sealing import Opener, Sealer
from databund.crypto.segments import SegmentLayout
from databund.errors import SealBroken

LAYOUT = SegmentLayout(segment_size=80)
KEY = ContentKey.generate()
plaintexts = st.binary(max_size=600)


def sealed(data: bytes) -> bytes:
    """``data`` in segments of 80 bytes."""
    sink = io.BytesIO()
    Sealer(KEY, layout=LAYOUT).seal(io.BytesIO(data), sink)
    return sink.getvalue()


def refused(data: bytes, original: bytes, plaintext: bytes) -> None:
    """``data`` does not open, with or without its length told, and what came out before is a part of the truth."""
    for length in (None, len(data), len(original)):
        sink = io.BytesIO()
        with pytest.raises(SealBroken):
            Opener(KEY, layout=LAYOUT).open(io.BytesIO(data), sink, length=length)
        assert plaintext.startswith(sink.getvalue())


@given(plaintexts)
def test_what_was_sealed_opens(plaintext: bytes) -> None:
    """Opening gives the plaintext back."""
    sink = io.BytesIO()
    Opener(KEY, layout=LAYOUT).open(io.BytesIO(sealed(plaintext)), sink)
    assert sink.getvalue() == plaintext


@given(plaintexts, st.data())
def test_any_flipped_bit_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    """One changed bit anywhere breaks the seal."""
    original = sealed(plaintext)
    bit = data.draw(st.integers(0, len(original) * 8 - 1))
    altered = bytearray(original)
    altered[bit // 8] ^= 1 << bit % 8
    refused(bytes(altered), original, plaintext)


@given(plaintexts, st.data())
def test_any_cut_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    """A stream that ends anywhere earlier does not open."""
    original = sealed(plaintext)
    refused(original[: data.draw(st.integers(0, len(original) - 1))], original, plaintext)


@given(plaintexts, st.binary(min_size=1, max_size=200))
def test_any_extension_is_noticed(plaintext: bytes, extra: bytes) -> None:
    """A stream that goes on does not open, unless only its own length is read."""
    original = sealed(plaintext)
    for length in (None, len(original) + len(extra)):
        with pytest.raises(SealBroken):
            Opener(KEY, layout=LAYOUT).open(io.BytesIO(original + extra), io.BytesIO(), length=length)


@given(st.binary(min_size=200, max_size=600), st.data())
def test_any_moved_segment_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    """Two segments that change places break the seal."""
    original = sealed(plaintext)
    pieces = [original[at : at + 80] for at in range(0, len(original), 80)]
    first, second = data.draw(st.lists(st.integers(0, len(pieces) - 1), min_size=2, max_size=2, unique=True))
    pieces[first], pieces[second] = pieces[second], pieces[first]
    refused(b"".join(pieces), original, plaintext)


@given(plaintexts, st.integers(0, 700), st.integers(0, 700))
def test_any_range_equals_the_slice(plaintext: bytes, start: int, length: int) -> None:
    """A range reads what slicing the plaintext gives."""
    data = sealed(plaintext)
    reader = RangeReader(lambda at, count: data[at : at + count], KEY, length=len(data), layout=LAYOUT)
    assert reader.read(start, length) == plaintext[start : start + length]
