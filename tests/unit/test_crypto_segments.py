"""Segments: the arithmetic of the sealed layout, over every small size."""

import pytest

from databund.crypto.segments import HEADER_SIZE, LAYOUT, TAG_SIZE, SegmentLayout
from databund.errors import InvalidInput, SealBroken

SMALL = SegmentLayout(segment_size=64)


def test_the_template_is_tinks() -> None:
    """One MiB of ciphertext holds 16 bytes less of plaintext, the first segment 40 bytes less again."""
    assert [LAYOUT.capacity(index) for index in (0, 1, 7)] == [(1 << 20) - 56, (1 << 20) - 16, (1 << 20) - 16]


def test_sizes_map_both_ways() -> None:
    """The sealed size tells the plaintext size."""
    assert [SMALL.plaintext_size(SMALL.sealed_size(size)) for size in range(500)] == list(range(500))


def test_sealed_sizes_grow_by_a_tag_per_segment() -> None:
    """Eight bytes fill the first segment of 64, and 48 each later one."""
    sizes = [SMALL.sealed_size(size) for size in (0, 8, 9, 56, 57)]
    assert sizes == [56, 64, 64 + 17, 128, 128 + 17]


def test_no_stream_has_an_impossible_length() -> None:
    """A length between two possible ones is refused."""
    possible = {SMALL.sealed_size(size) for size in range(500)}
    for length in set(range(-1, 600)) - possible:
        with pytest.raises(SealBroken, match=f"has {length} bytes"):
            SMALL.plaintext_size(length)


def test_a_cover_holds_its_range_and_no_more() -> None:
    """For every range of a file, the covering segments begin and end as close to it as segments allow."""
    size = 200
    for start in range(size):
        for length in (1, 2, 48, 49, size - start):
            if start + length > size:
                continue
            cover = SMALL.cover(start, length, size=size)
            end = cover.plaintext_offset + cover.length - TAG_SIZE * cover.count
            assert cover.plaintext_offset <= start < cover.plaintext_offset + SMALL.capacity(cover.first)
            assert end - SMALL.capacity(cover.first + cover.count - 1) < start + length <= end
            assert cover.offset == (cover.first * 64 or HEADER_SIZE)


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 0), (0, 11), (10, 1)])
def test_a_range_outside_the_file_has_no_cover(start: int, length: int) -> None:
    """Ranges that are empty or leave the file are refused."""
    with pytest.raises(InvalidInput, match="not inside"):
        SMALL.cover(start, length, size=10)
