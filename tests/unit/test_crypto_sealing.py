"""Sealing: what opens, what does not, and what the errors say."""

import io
from pathlib import Path

import pytest

from databund.crypto.content_keys import ContentKey
from databund.crypto.ranges import RangeReader, read_range
from databund.crypto.sealing import Opener, Sealed, Sealer, open_sealed, seal
from databund.crypto.segments import SegmentLayout
from databund.errors import FileUnusable, InvalidInput, KeyInvalid, SealBroken, StoreFull

VECTORS = Path(__file__).parents[1] / "vectors" / "tink_streaming"
SMALL = SegmentLayout(segment_size=64)
KEY = ContentKey.generate()
TEXT = bytes(range(200))


def sealed_small(data: bytes = TEXT, key: ContentKey = KEY) -> bytes:
    """``data`` sealed in segments of 64 bytes."""
    sink = io.BytesIO()
    Sealer(key, layout=SMALL).seal(io.BytesIO(data), sink)
    return sink.getvalue()


def opened_small(
    sealed: bytes, key: ContentKey = KEY, sink: io.BytesIO | None = None, length: int | None = None
) -> bytes:
    """What `sealed_small` made, opened."""
    sink = sink or io.BytesIO()
    Opener(key, layout=SMALL).open(io.BytesIO(sealed), sink, length=length)
    return sink.getvalue()


class Trickle(io.BytesIO):
    """A source and sink that takes and gives at most three bytes at a time."""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Give three bytes."""
        return super().readinto(buffer[:3])

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        """Take three bytes."""
        return super().write(data[:3])


class Broken(io.RawIOBase):
    """A disk that fails to read."""

    def readinto(self, _: memoryview, /) -> int:  # type: ignore[override]
        """Fail."""
        raise OSError(5, "Input/output error")


def test_the_stored_tink_stream_opens() -> None:
    """A stream that Tink sealed once and for all opens with its keyset."""
    key, sink = ContentKey.from_keyset((VECTORS / "keyset.json").read_bytes()), io.BytesIO()
    open_sealed(io.BytesIO((VECTORS / "sealed.bin").read_bytes()), sink, key)
    assert sink.getvalue() == (VECTORS / "plaintext.txt").read_bytes()


def test_every_small_size_opens_again() -> None:
    """Sealing and opening gives the bytes back, whether the length is told or not."""
    for size in range(130):
        sealed = sealed_small(TEXT[:size])
        assert opened_small(sealed) == opened_small(sealed, length=len(sealed)) == TEXT[:size]
        assert len(sealed) == SMALL.sealed_size(size)


def test_short_reads_and_writes_are_completed() -> None:
    """A source that gives, and a sink that takes, only a few bytes at a time are served to the end."""
    sealed, opened = Trickle(), Trickle()
    assert seal(Trickle(TEXT), sealed, KEY) == Sealed(size=200, length=256)
    sealed.seek(0)
    open_sealed(sealed, opened, KEY)
    assert opened.getvalue() == TEXT


def test_each_seal_is_different() -> None:
    """Sealing the same bytes twice shares neither salt nor ciphertext."""
    first, second = sealed_small(), sealed_small()
    assert first[1:40] != second[1:40]
    assert first[40:] != second[40:]


def test_a_seal_says_how_much_it_did() -> None:
    """Plaintext in and ciphertext out are counted, and the hasher sees the ciphertext."""
    seen, sink = bytearray(), io.BytesIO()

    class Recorder:
        def update(self, data: memoryview, /) -> None:
            seen.extend(data)

    assert seal(io.BytesIO(TEXT), sink, KEY, hasher=Recorder()) == Sealed(size=200, length=256)
    assert bytes(seen) == sink.getvalue()


def test_a_wrong_key_is_refused() -> None:
    """Another key opens nothing, and the error says where it stopped."""
    sink = io.BytesIO()
    with pytest.raises(SealBroken, match="Segment 0, at byte 0 "):
        opened_small(sealed_small(), ContentKey.generate(), sink)
    assert sink.getvalue() == b""


def test_nothing_of_a_broken_segment_is_written() -> None:
    """The segments before the broken one are written, of itself nothing; number and offset are named."""
    sealed, sink = bytearray(sealed_small()), io.BytesIO()
    sealed[130] ^= 1
    with pytest.raises(SealBroken, match="Segment 2, at byte 128 "):
        opened_small(bytes(sealed), sink=sink)
    assert sink.getvalue() == TEXT[: 8 + 48]


def test_a_cut_stream_is_refused() -> None:
    """Cut anywhere, also between segments, a stream does not open, whether the length is told or not."""
    sealed = sealed_small()
    for cut in range(len(sealed)):
        for length in (None, len(sealed)):
            with pytest.raises(SealBroken):
                opened_small(sealed[:cut], length=length)


def test_a_stream_that_ends_early_but_validly_is_refused() -> None:
    """A whole shorter stream in the place of a longer one is not mistaken for it."""
    with pytest.raises(SealBroken, match="ends too early"):
        opened_small(sealed_small(TEXT[:5]), length=SMALL.sealed_size(200))


@pytest.mark.parametrize("extra", [1, 16, 40, 64, 200])
def test_an_extended_stream_is_refused(extra: int) -> None:
    """Bytes behind the last segment do not pass."""
    with pytest.raises(SealBroken):
        opened_small(sealed_small() + bytes(extra))


def test_reordered_segments_are_refused() -> None:
    """Segments of one stream cannot change places."""
    sealed = sealed_small()
    swapped = sealed[:64] + sealed[128:192] + sealed[64:128] + sealed[192:]
    with pytest.raises(SealBroken, match="Segment 1, at byte 64 "):
        opened_small(swapped)


def test_a_foreign_header_is_refused() -> None:
    """A file that is no sealed stream is called that."""
    with pytest.raises(SealBroken, match="not that of a sealed stream"):
        opened_small(b"PAR1" * 100)


def test_a_full_disk_is_named() -> None:
    """A sink without room raises `StoreFull`."""
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(StoreFull, match="/dev/full"):
        seal(io.BytesIO(TEXT), full, KEY)


def test_an_unreadable_source_is_named() -> None:
    """A source that fails raises `FileUnusable`."""
    with pytest.raises(FileUnusable, match="Input/output error"):
        seal(Broken(), io.BytesIO(), KEY)


@pytest.mark.parametrize(
    ("start", "length"), [(0, 200), (0, 1), (7, 2), (8, 48), (55, 60), (199, 1), (190, 99), (200, 5), (50, 0)]
)
def test_a_range_equals_the_slice(start: int, length: int) -> None:
    """Reading a range gives what slicing the plaintext gives, also past its end."""
    sealed = sealed_small()
    reader = RangeReader(lambda at, count: sealed[at : at + count], KEY, length=len(sealed), layout=SMALL)
    assert (reader.size, reader.read(start, length)) == (200, TEXT[start : start + length])


def test_a_range_reads_only_its_segments() -> None:
    """One byte costs the header and one segment."""
    sealed, asked = sealed_small(), []

    def fetch(at: int, count: int) -> bytes:
        asked.append((at, count))
        return sealed[at : at + count]

    reader = RangeReader(fetch, KEY, length=len(sealed), layout=SMALL)
    assert reader.read(60, 1) + reader.read(61, 1) == TEXT[60:62]
    assert asked == [(0, 40), (128, 64), (128, 64)]


def test_a_range_of_a_stream_inside_a_file() -> None:
    """A stream may begin anywhere in its source."""
    sink = io.BytesIO()
    seal(io.BytesIO(TEXT), sink, KEY)
    source = io.BytesIO(b"before" + sink.getvalue() + b"after")
    assert read_range(source, KEY, start=10, length=5, sealed_length=256, offset=6) == TEXT[10:15]


def test_a_broken_range_is_refused() -> None:
    """Altered bytes, short answers and negative ranges raise."""
    sealed = bytearray(sealed_small())
    sealed[70] ^= 1
    reader = RangeReader(lambda at, count: bytes(sealed[at : at + count]), KEY, length=len(sealed), layout=SMALL)
    with pytest.raises(SealBroken, match="Segment 1, at byte 64 "):
        reader.read(8, 1)
    with pytest.raises(SealBroken, match="not 40"):
        RangeReader(lambda *_: b"", KEY, length=len(sealed), layout=SMALL).read(0, 1)
    with pytest.raises(InvalidInput, match="no range"):
        reader.read(-1, 4)


def test_a_content_key_hides_itself() -> None:
    """Neither repr nor str nor a pickle shows a content key."""
    key = ContentKey(b"k" * 32)
    assert repr(key) == str(key) == "ContentKey(…)"
    with pytest.raises(TypeError):
        key.__reduce__()


def test_a_content_key_survives_its_keyset() -> None:
    """Written as a Tink keyset and read again, a key is the same; another key differs."""
    assert ContentKey.from_keyset(KEY.to_keyset()) == KEY
    assert ContentKey.generate() != KEY
    assert len({KEY, ContentKey(KEY.reveal())}) == 1


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"\xff",
        b"[]",
        KEY.to_keyset().replace(b"ENABLED", b"DISABLED"),
        KEY.to_keyset().replace(b"RAW", b"TINK"),
        KEY.to_keyset().replace(b"AesGcmHkdf", b"AesCtrHmac"),
        KEY.to_keyset().replace(b'"EggIgIBA', b'"EggIgIAB'),
        KEY.to_keyset().replace(b'"primaryKeyId":1', b'"primaryKeyId":2'),
        KEY.to_keyset().replace(b'"EggIgIBA', b'"Egg*gIBA'),
    ],
)
def test_another_keyset_is_refused(document: bytes) -> None:
    """A keyset that is not one enabled AES256_GCM_HKDF_1MB key is refused, and no secret is quoted."""
    with pytest.raises(KeyInvalid) as caught:
        ContentKey.from_keyset(document)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_content_key_has_32_bytes(size: int) -> None:
    """Any other size is refused."""
    with pytest.raises(KeyInvalid, match="32 bytes"):
        ContentKey(bytes(size))
