"""Ranges: parts of a sealed stream decrypted without reading the rest, for file systems and column readers.

A range opens only the segments that cover it. That they belong to this stream, at this place, is certain; that the
stream is whole is only certain once its last segment was read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final

from databund.crypto.content_keys import ContentKey
from databund.crypto.sealing import StreamCipher
from databund.crypto.segments import HEADER_SIZE, LAYOUT, TAG_SIZE, SegmentLayout
from databund.errors import InvalidInput, SealBroken

__all__ = ["RangeReader", "read_range"]

Fetch = Callable[[int, int], bytes]
_AGAIN: Final = "Fetch it again; the store cut it off."


class RangeReader:
    """Random access to the plaintext of one sealed stream.

    ``fetch(offset, length)`` gives that many bytes of the stream, which has ``length`` bytes in all; an HTTP range
    request does. The header is fetched once. Raises `SealBroken`, and whatever ``fetch`` raises.
    """

    def __init__(self, fetch: Fetch, key: ContentKey, *, length: int, layout: SegmentLayout = LAYOUT) -> None:
        self._fetch = fetch
        self._key = key
        self._layout = layout
        self.size: Final = layout.plaintext_size(length)
        self._cipher: StreamCipher | None = None

    def read(self, start: int, length: int) -> bytes:
        """Plaintext bytes from ``start``; like a file's read, it gives fewer (or none) when the plaintext ends before.

        Raises `InvalidInput` for a negative number.
        """
        if start < 0 or length < 0:
            raise InvalidInput(
                f"There is no range of {length} bytes from {start}.", fix="Count from the start of the file."
            )
        length = min(length, self.size - start)
        if length <= 0:
            return b""
        cipher = self._cipher = self._cipher or self._begin()
        cover = self._layout.cover(start, length, size=self.size)
        sealed = memoryview(self._exactly(cover.offset, cover.length))
        plain = memoryview(bytearray(cover.length - TAG_SIZE * cover.count))
        place = taken = 0
        for index in range(cover.first, cover.first + cover.count):
            capacity = min(self._layout.capacity(index), len(plain) - place)
            end = taken + capacity + TAG_SIZE
            whole = cover.plaintext_offset + place + capacity == self.size
            cipher.decrypt_into(index, sealed[taken:end], plain[place : place + capacity], last=whole)
            place, taken = place + capacity, end
        begin = start - cover.plaintext_offset
        return bytes(plain[begin : begin + length])

    def _begin(self) -> StreamCipher:
        return StreamCipher(self._key, self._exactly(0, HEADER_SIZE), layout=self._layout)

    def _exactly(self, offset: int, length: int) -> bytes:
        data = self._fetch(offset, length)
        if len(data) != length:
            raise SealBroken(f"The sealed stream gave {len(data)} bytes at byte {offset}, not {length}.", fix=_AGAIN)
        return data


def read_range(
    source: BinaryIO, key: ContentKey, *, start: int, length: int, sealed_length: int, offset: int = 0
) -> bytes:
    """Plaintext bytes ``start`` to ``start + length`` of the stream at ``offset`` in a seekable ``source``.

    ``sealed_length`` is the stream's length in bytes. For many ranges of one stream keep a `RangeReader`.
    """

    def fetch(begin: int, count: int) -> bytes:
        source.seek(offset + begin)
        return source.read(count)

    return RangeReader(fetch, key, length=sealed_length).read(start, length)
