"""Sealing: streams of any size encrypted and opened in constant memory, in Tink's AES-GCM-HKDF streaming layout.

Each stream has its own AES-256 key, HKDF-SHA256 of the content key with the salt in its header. Segment ``i`` is
AES-GCM under the nonce prefix || i (32 bits, big-endian) || 1 for the last segment, else 0, so that streams cannot be
cut, reordered or extended. The associated data is empty, so that any Tink opens a stream with nothing but the key.
Where the bytes lie is decided in `databund.crypto.segments`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from databund.crypto import _hazmat
from databund.crypto._files import store_fault, unusable
from databund.crypto.content_keys import ContentKey
from databund.crypto.segments import HEADER_SIZE, LAYOUT, PREFIX_SIZE, SALT_SIZE, TAG_SIZE, SegmentLayout
from databund.errors import SealBroken

__all__ = ["ByteSink", "ByteSource", "Hasher", "Opener", "Sealed", "Sealer", "StreamCipher", "open_sealed", "seal"]


class ByteSource(Protocol):
    """What can fill a buffer: an open file, a BytesIO, a socket's file."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read up to ``len(buffer)`` bytes; 0 at the end."""
        ...


class ByteSink(Protocol):
    """What takes bytes; it may take fewer than it is given."""

    def write(self, data: memoryview, /) -> int | None:
        """Write and return the number of bytes taken (None: all)."""
        ...


class Hasher(Protocol):
    """What digests the ciphertext as it passes, such as a BLAKE3 hasher."""

    def update(self, data: memoryview, /) -> object:
        """Take in the next bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Sealed:
    """How many bytes of plaintext went in (``size``) and how many of ciphertext came out (``length``)."""

    size: int
    length: int


def seal(source: ByteSource, sink: ByteSink, key: ContentKey, *, hasher: Hasher | None = None) -> Sealed:
    """Encrypt ``source`` from where it stands to its end into ``sink``; ``hasher`` sees the ciphertext.

    Raises `FileUnusable` when the source and `StoreFull` or `StoreUnavailable` when the sink fails.
    """
    return Sealer(key).seal(source, sink, hasher=hasher)


def open_sealed(
    source: ByteSource, sink: ByteSink, key: ContentKey, *, length: int | None = None, hasher: Hasher | None = None
) -> Sealed:
    """Decrypt a stream of ``length`` sealed bytes (None: all that follow) from ``source`` into ``sink``.

    Raises `SealBroken` naming the segment; only whole segments that opened before it were written. When ``length`` is
    given, ``hasher`` has then seen every byte taken from the source. Faults of source and sink are those of `seal`.
    """
    return Opener(key).open(source, sink, length=length, hasher=hasher)


class StreamCipher:
    """AES-GCM of the segments of one stream, from one buffer into another."""

    def __init__(self, key: ContentKey, header: memoryview | bytes, *, layout: SegmentLayout = LAYOUT) -> None:
        self._layout = layout
        if len(header) != HEADER_SIZE or header[0] != HEADER_SIZE:
            raise SealBroken(
                "Segment 0, at byte 0, does not open: the header is not that of a sealed stream (AES256_GCM_HKDF_1MB).",
                fix="Check that it is the sealed blob, and fetch it again.",
            )
        salt, prefix = bytes(header[1 : 1 + SALT_SIZE]), bytes(header[1 + SALT_SIZE :])
        self._cipher = _hazmat.AESGCM(_hazmat.hkdf_sha256(key.reveal(), salt=salt, info=b""))
        self._nonce = bytearray(prefix + bytes(5))

    def encrypt_into(self, index: int, plaintext: memoryview, sealed: memoryview, *, last: bool) -> None:
        """Fill ``sealed``, which is `TAG_SIZE` longer than ``plaintext``."""
        self._cipher.encrypt_into(self._nonce_of(index, last=last), plaintext, None, sealed)

    def decrypt_into(self, index: int, sealed: memoryview, plaintext: memoryview, *, last: bool) -> None:
        """Fill ``plaintext``; what is in it after a `SealBroken` must not be used."""
        if len(sealed) < TAG_SIZE:
            raise self.broken(index, "it is cut off")
        try:
            self._cipher.decrypt_into(self._nonce_of(index, last=last), sealed, None, plaintext)
        except _hazmat.InvalidTag:
            why = "its bytes were altered, moved or cut off, or it was sealed under another key"
            raise self.broken(index, why) from None

    def broken(self, index: int, why: str) -> SealBroken:
        """The error for segment ``index``."""
        return SealBroken(
            f"Segment {index}, at byte {index * self._layout.segment_size} of the sealed stream, does not open: {why}.",
            fix="Fetch it again; if it still fails, ask the provider for the key of this very version.",
        )

    def _nonce_of(self, index: int, *, last: bool) -> bytearray:
        self._nonce[PREFIX_SIZE:-1] = index.to_bytes(4)
        self._nonce[-1] = last
        return self._nonce


class Sealer:
    """Seals streams one after another through the same two buffers. Not for two threads at once."""

    def __init__(self, key: ContentKey, *, layout: SegmentLayout = LAYOUT) -> None:
        self._key = key
        self._layout = layout
        self._plain = memoryview(bytearray(layout.segment_size))
        self._sealed = memoryview(bytearray(layout.segment_size))

    def seal(
        self, source: ByteSource, sink: ByteSink, *, size: int | None = None, hasher: Hasher | None = None
    ) -> Sealed:
        """Do what `seal` does; ``size`` stops it after that many bytes, though the source may have more."""
        header = bytes([HEADER_SIZE]) + _hazmat.random_bytes(SALT_SIZE + PREFIX_SIZE)
        cipher = StreamCipher(self._key, header, layout=self._layout)
        self._sealed[:HEADER_SIZE] = header
        feed = _Feed(source, size)
        index = length = total = 0
        last = False
        while not last:
            begin = HEADER_SIZE if index == 0 else 0
            count, last = feed.next(self._plain[: self._layout.capacity(index)])
            end = begin + count + TAG_SIZE
            cipher.encrypt_into(index, self._plain[:count], self._sealed[begin:end], last=last)
            if hasher is not None:
                hasher.update(self._sealed[:end])
            _write(sink, self._sealed[:end])
            index, total, length = index + 1, total + count, length + end
        return Sealed(size=total, length=length)


class Opener:
    """Opens streams one after another through the same two buffers. Not for two threads at once."""

    def __init__(self, key: ContentKey, *, layout: SegmentLayout = LAYOUT) -> None:
        self._key = key
        self._layout = layout
        self._plain = memoryview(bytearray(layout.segment_size))
        self._sealed = memoryview(bytearray(layout.segment_size))

    def open(
        self, source: ByteSource, sink: ByteSink, *, length: int | None = None, hasher: Hasher | None = None
    ) -> Sealed:
        """Do what `open_sealed` does."""
        if length is not None:
            self._layout.plaintext_size(length)
        feed = _Feed(source, length)
        cipher: StreamCipher | None = None
        index = taken = total = 0
        last = False
        while not last:
            count, last = feed.next(self._sealed)
            taken += count
            if hasher is not None:
                hasher.update(self._sealed[:count])
            begin = 0
            if cipher is None:
                cipher, begin = self._begin(count), HEADER_SIZE
            if last and length not in (None, taken):
                raise cipher.broken(index, "the stream ends too early")
            plain = self._plain[: max(0, count - begin - TAG_SIZE)]
            cipher.decrypt_into(index, self._sealed[begin:count], plain, last=last)
            _write(sink, plain)
            index, total = index + 1, total + len(plain)
        return Sealed(size=total, length=taken)

    def _begin(self, count: int) -> StreamCipher:
        return StreamCipher(self._key, self._sealed[: min(count, HEADER_SIZE)], layout=self._layout)


class _Feed:
    """Fills buffers from a source, and tells which filling is the last: by a byte count, or by looking one ahead."""

    def __init__(self, source: ByteSource, size: int | None) -> None:
        self._source = source
        self._left = size
        self._ahead = memoryview(bytearray(1))
        self._kept = 0

    def next(self, buffer: memoryview) -> tuple[int, bool]:
        """Fill ``buffer`` as far as the source goes; gives the bytes in it, and whether they are the last."""
        if self._left is not None:
            wanted = min(len(buffer), self._left)
            count = self._fill(buffer[:wanted])
            self._left -= count
            return count, count < wanted or self._left == 0
        buffer[: self._kept] = self._ahead[: self._kept]
        count = self._kept + self._fill(buffer[self._kept :])
        self._kept = self._fill(self._ahead) if count == len(buffer) else 0
        return count, self._kept == 0

    def _fill(self, buffer: memoryview) -> int:
        count = 0
        while count < len(buffer):
            try:
                got = self._source.readinto(buffer[count:])
            except OSError as error:
                raise unusable(error, _name(self._source)) from error
            if not got:
                break
            count += got
        return count


def _write(sink: ByteSink, data: memoryview) -> None:
    while data:
        try:
            taken = sink.write(data)
        except OSError as error:
            raise store_fault(error, _name(sink)) from error
        data = data[len(data) if taken is None else taken :]


def _name(stream: object) -> str:
    return str(getattr(stream, "name", "the stream"))
