"""Segments: where each byte of a sealed stream lies. Arithmetic only.

Tink's AES-GCM-HKDF streaming layout: a header (its own length in one byte, a salt, a nonce prefix), then segments of
ciphertext and tag. Every segment but the last fills ``segment_size`` bytes; the header counts towards the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from databund.errors import InvalidInput, SealBroken

__all__ = ["HEADER_SIZE", "LAYOUT", "SALT_SIZE", "TAG_SIZE", "Cover", "SegmentLayout"]

SALT_SIZE: Final = 32
PREFIX_SIZE: Final = 7
HEADER_SIZE: Final = 1 + SALT_SIZE + PREFIX_SIZE
TAG_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Cover:
    """The segments that cover a range of the plaintext.

    ``first`` and ``count`` number segments; ``offset`` and ``length`` are their place in the sealed stream, and
    ``plaintext_offset`` is where their plaintext begins, all in bytes.
    """

    first: int
    count: int
    offset: int
    length: int
    plaintext_offset: int


@dataclass(frozen=True, slots=True)
class SegmentLayout:
    """The layout for one size of ciphertext segment, in bytes."""

    segment_size: int

    def capacity(self, index: int) -> int:
        """Bytes of plaintext that fit into segment ``index``."""
        return self.segment_size - TAG_SIZE - (HEADER_SIZE if index == 0 else 0)

    def sealed_size(self, size: int) -> int:
        """Bytes of the sealed stream of ``size`` bytes of plaintext."""
        beyond = max(0, size - self.capacity(0))
        return HEADER_SIZE + size + TAG_SIZE * (1 + -(-beyond // self.capacity(1)))

    def plaintext_size(self, length: int) -> int:
        """Bytes of plaintext in a sealed stream of ``length`` bytes. Raises `SealBroken` for a length none can have."""
        size = length - HEADER_SIZE - TAG_SIZE * max(1, -(-length // self.segment_size))
        if size < 0 or self.sealed_size(size) != length:
            raise SealBroken(
                f"No sealed stream has {length} bytes.", fix="Fetch it again; it is cut off or something was added."
            )
        return size

    def cover(self, start: int, length: int, *, size: int) -> Cover:
        """The segments that hold plaintext bytes ``start`` to ``start + length`` of ``size``.

        Raises `InvalidInput` for a range that is empty or not inside the plaintext.
        """
        if start < 0 or length < 1 or start + length > size:
            raise InvalidInput(
                f"Bytes {start} to {start + length} are not inside a file of {size} bytes.",
                fix="Ask for a range inside the file.",
            )
        first, last = self._holding(start), self._holding(start + length - 1)
        begin = first * self.segment_size + (HEADER_SIZE if first == 0 else 0)
        end = min((last + 1) * self.segment_size, self.sealed_size(size))
        return Cover(
            first=first,
            count=last - first + 1,
            offset=begin,
            length=end - begin,
            plaintext_offset=0 if first == 0 else self.capacity(0) + (first - 1) * self.capacity(1),
        )

    def _holding(self, place: int) -> int:
        if place < self.capacity(0):
            return 0
        return 1 + (place - self.capacity(0)) // self.capacity(1)


LAYOUT: Final = SegmentLayout(segment_size=1 << 20)
"""The layout of the key template AES256_GCM_HKDF_1MB, the only one databund writes."""
